"""Redis as the broker."""
