"""Brokers that are ordered logs: what they have in common."""
