"""The message broker: one port, an adapter per broker."""
