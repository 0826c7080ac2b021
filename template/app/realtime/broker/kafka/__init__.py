"""Kafka as the broker."""
