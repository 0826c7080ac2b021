"""Why an account can't be created. The messages are for the user."""


class InvalidAccount(ValueError):
    """A user name or a password is not allowed; the message says why."""


class NameTaken(ValueError):
    """Another account has this user name, or one that looks like it."""
