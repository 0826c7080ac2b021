"""How every ASGI system here is served: one worker process of uvicorn on uvloop."""

import os
from collections.abc import Callable
from typing import Any

import uvicorn

BROKER_URL = os.environ.get("BROKER_URL", "memory://")


def serve(app: Callable[..., Any]) -> None:
    """Serve on the port that the environment names, until SIGTERM."""
    uvicorn.run(
        app,
        host="127.0.0.1",
        port=int(os.environ["PORT"]),
        loop="uvloop",
        ws="websockets-sansio",
        # On by default. Off for all systems, as it would outweigh what is measured.
        ws_per_message_deflate=False,
    )
