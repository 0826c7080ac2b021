"""The chat's login."""
