"""The relay: moves committed outbox rows to the message broker."""
