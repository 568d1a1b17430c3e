"""Everything generated from contracts/: nothing in this package is written by hand."""
