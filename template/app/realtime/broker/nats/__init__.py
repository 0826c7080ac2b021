"""NATS as the broker."""
