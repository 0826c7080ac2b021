"""`python -m app` serves in production; `python -m app --help` names the other commands."""

from app import events
from app.realtime.command_line import main
from app.settings import load_settings

if __name__ == "__main__":
    main("app.main:app", events, load_settings)
