"""Reports a failed start with one sentence.

A lifespan ends the start with `SystemExit("a sentence")`, as `load_settings` does. Without
this middleware, the server would log a traceback in which nobody finds the sentence.
"""

from starlette.types import ASGIApp, Message, Receive, Scope, Send


class StartFailures:
    """The middleware that passes only the sentence on to the server."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "lifespan":
            await self._app(scope, receive, send)
            return
        failures: list[Message] = []

        async def hold_failure(message: Message) -> None:
            if message["type"] == "lifespan.startup.failed":
                failures.append(message)
            else:
                await send(message)

        try:
            await self._app(scope, receive, hold_failure)
        except SystemExit as end:
            if not failures:
                raise
            await send({"type": "lifespan.startup.failed", "message": str(end)})
        except BaseException:
            for message in failures:
                await send(message)
            raise
