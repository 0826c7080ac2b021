"""Checks of any server that speaks this protocol, by its address.

    python -m tests.conformance ws://127.0.0.1:8000/ws

It prints a line for each check, and exits with 1 if one fails.
"""
