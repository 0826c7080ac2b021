"""The Angular client, which is in `web/`."""

from app.client.built import built_client

include_client = built_client(trusted_types=["angular"])
