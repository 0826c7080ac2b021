"""How a start that fails is told.

A lifespan ends it with `SystemExit("a sentence")`, as `load_settings` does. Left to
itself, the server would log that with a traceback, in which nobody finds the sentence.
"""

from starlette.types import ASGIApp, Message, Receive, Scope, Send


class StartFailures:
    """The middleware that hands the server the sentence alone."""

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
