"""Gridpact: energy management in which every boundary is a contract."""
