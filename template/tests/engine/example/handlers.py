"""The example has no handlers. `tests/engine/own_app.py` has."""
