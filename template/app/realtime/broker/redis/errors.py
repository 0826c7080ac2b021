"""What went wrong with Redis, and what to do about it."""

import re

from redis.exceptions import AskError, RedisError, TryAgainError

from app import PROJECT_NAME

Outage = (RedisError, OSError, TimeoutError, RuntimeError)
"""What a broken connection, an unreachable server or a server that is loading raises.

uvloop raises RuntimeError when a connection is written to after a reset.
"""

Moving = (AskError, TryAgainError)
"""What a node of a Redis Cluster answers if it does not own a slot, or not all of its keys.

It has not carried out the command. A `MovedError` is an `AskError`, too.
"""

IN_SCRIPTS = (
    "del expire hdel hget hincrby hmget hset info publish spublish time "
    "xadd xdel xlen xrange xrevrange zadd zcard zrange zrem"
)
"""The commands that the Lua scripts call."""

ADVICE = (
    (r"to run the '(?P<what>[^']+)' command", "+{what}"),
    (r"can't run this command", " ".join(f"+{name}" for name in IN_SCRIPTS.split())),
    (r"access a key|keys (mentioned|used)", f"~{PROJECT_NAME}:*"),
    (r"access a channel|channel mentioned|channels used", f"&{PROJECT_NAME}:*"),
)
"""The rule of an ACL that is missing, by what Redis says. Its words differ by release."""

EXPLANATIONS = (
    (r"cluster support disabled", "this is no Redis Cluster: BROKER_URL has to be redis://…"),
    (r"unknown (redis )?command.*(ssubscribe|spublish)", "a Redis Cluster needs Redis 7 or later"),
    (
        r"invalid username-password|invalid password",
        "Redis does not take the user and the password: correct them in BROKER_URL",
    ),
    (
        r"authentication required|without any password|already authenticated",
        "Redis asks for a user or a password: name them in BROKER_URL",
    ),
    (
        r"certificate verify failed",
        "the certificate of Redis is not trusted: name its authority with ssl_ca_certs",
    ),
)
"""What the operator has to know, by what Redis says."""


def explain(error: BaseException, user: str) -> str | None:
    """Tell the operator what to correct, if waiting does not help."""
    said = str(error)
    for pattern, rule in ADVICE:
        if found := re.search(pattern, said, re.IGNORECASE):
            what = found.groupdict().get("what")
            return (
                f"Redis does not allow {what or rule!r} to the user {user!r}: "
                f"add it with ACL SETUSER {user} {rule.format(what=what)}"
            )
    for pattern, explanation in EXPLANATIONS:
        if re.search(pattern, said, re.IGNORECASE):
            return f"{explanation} ({said})"
    return None
