"""Compute tasks: the state machine, their payloads and results, leases and the outbox."""
