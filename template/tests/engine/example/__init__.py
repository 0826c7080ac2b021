"""The application that the engine's tests run: the chat that the project was at first.

So what the owner makes of `app/` breaks no test of the engine. `app/realtime` and the rest
of the engine are those of `app/`.
"""
