"""Generation of code, tables and routes from contracts/, and checks of the contracts."""
