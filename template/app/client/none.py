"""No client: the application serves sockets and HTTP routes only."""

from fastapi import FastAPI


def include_client(_: FastAPI) -> None:
    """Nothing to serve."""
