"""Generation of code, tables and routes from contracts/, and the checks of the contracts themselves."""
