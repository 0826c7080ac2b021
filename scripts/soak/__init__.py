"""The soak: a generated server under load and faults, and a check of what its clients saw.

`python -m scripts.soak` renders a project with accounts and Redis and serves it with two
workers. Thousands of sockets record everything that they do and receive, while workers,
Redis and PostgreSQL are killed and paused. Afterwards `checker.py` reads what was recorded
and compares it with what the documentation promises.
"""
