"""`python -m tests.engine.example`: what `python -m app` is for the owner's application."""

from app.realtime.command_line import main
from tests.engine.example import events
from tests.engine.example.settings import load_settings

if __name__ == "__main__":
    main("tests.engine.example.main:app", events, load_settings)
