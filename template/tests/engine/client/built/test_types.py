"""`web/src/events.ts` has the types of the application's events as they are now."""

from tests.support.server import PROJECT, run_module

TYPES = PROJECT / "web" / "src" / "events.ts"
COMMAND = "python -m app typescript --output web/src/events.ts"


def test_the_types_of_the_page_are_those_of_the_application() -> None:
    made = run_module(PROJECT, "app", "typescript")
    assert made.returncode == 0, made.stderr
    is_fresh = TYPES.is_file() and TYPES.read_text(encoding="utf-8") == made.stdout
    assert is_fresh, f"app/events.py or app/handlers.py has changed: run `uv run {COMMAND}`"
