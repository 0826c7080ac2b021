"""A chat for the terminal: the example of `app/events.py`, on this client.

Delete this folder and `client/__main__.py` along with the example's events.
"""
