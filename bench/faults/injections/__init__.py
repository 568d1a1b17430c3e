"""The faults, grouped by what they do to the platform."""
