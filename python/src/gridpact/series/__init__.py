"""Time series on a fixed grid of slots."""
