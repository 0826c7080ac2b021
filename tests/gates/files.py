"""A rendered project has exactly the files that its options need.

The application's files and the owner's tests are listed here, as an owner will read them. Of
the other tests and of a client, a project has all but those that bear the name of another
option.
"""

import re
from collections.abc import Iterable
from functools import cache
from pathlib import Path

from tests.template import COMBINATIONS, Combination, snapshot

COMMON = {
    ".copier-answers.yml",
    ".env.example",
    ".github/workflows/ci.yml",
    ".github/workflows/update.yml",
    ".gitignore",
    "README.md",
    "app/__init__.py",
    "app/__main__.py",
    "app/auth/__init__.py",
    "app/client/__init__.py",
    "app/events.py",
    "app/handlers.py",
    "app/main.py",
    "app/permissions.py",
    "app/realtime/__init__.py",
    "app/realtime/actions.py",
    "app/realtime/api.py",
    "app/realtime/application.py",
    "app/realtime/authentication.py",
    "app/realtime/bearer.py",
    "app/realtime/broker/__init__.py",
    "app/realtime/broker/base.py",
    "app/realtime/broker/memory.py",
    "app/realtime/command_line.py",
    "app/realtime/commands.py",
    "app/realtime/connection.py",
    "app/realtime/contract/__init__.py",
    "app/realtime/contract/asyncapi.py",
    "app/realtime/contract/close_codes.py",
    "app/realtime/contract/draft7.py",
    "app/realtime/contract/examples.py",
    "app/realtime/contract/html.py",
    "app/realtime/contract/messages.py",
    "app/realtime/contract/page.css",
    "app/realtime/contract/page.py",
    "app/realtime/contract/routes.py",
    "app/realtime/contract/schemas.py",
    "app/realtime/contract/typescript.py",
    "app/realtime/contract/wire.py",
    "app/realtime/dependencies.py",
    "app/realtime/endpoint.py",
    "app/realtime/events.py",
    "app/realtime/feed.py",
    "app/realtime/frames.py",
    "app/realtime/handlers.py",
    "app/realtime/history.py",
    "app/realtime/identity.py",
    "app/realtime/limits.py",
    "app/realtime/manager.py",
    "app/realtime/metrics.py",
    "app/realtime/operations.py",
    "app/realtime/origin.py",
    "app/realtime/parser.py",
    "app/realtime/payloads.py",
    "app/realtime/presence/__init__.py",
    "app/realtime/presence/announcements.py",
    "app/realtime/presence/news.py",
    "app/realtime/presence/roster.py",
    "app/realtime/presence/tracker.py",
    "app/realtime/protocol.py",
    "app/realtime/publisher.py",
    "app/realtime/replays.py",
    "app/realtime/room.py",
    "app/realtime/rooms.py",
    "app/realtime/server/__init__.py",
    "app/realtime/server/asgi.py",
    "app/realtime/server/cross_origin.py",
    "app/realtime/server/frames.py",
    "app/realtime/server/hand_over.py",
    "app/realtime/server/handshake.py",
    "app/realtime/server/head.py",
    "app/realtime/server/headers.py",
    "app/realtime/server/interface.py",
    "app/realtime/server/logs.py",
    "app/realtime/server/requests.py",
    "app/realtime/server/run.py",
    "app/realtime/server/start.py",
    "app/realtime/server/texts.py",
    "app/realtime/settings.py",
    "app/realtime/socket.py",
    "app/realtime/turns.py",
    "app/realtime/visit.py",
    "app/routes/__init__.py",
    "app/routes/echo.py",
    "app/settings.py",
    "docs/asyncapi.md",
    "docs/native.md",
    "docs/recipes.md",
    "pyproject.toml",
    "tests/__init__.py",
    "tests/conftest.py",
    "tests/test_chat.py",
}

ACCOUNTS = {
    "app/auth/accounts/__init__.py",
    "app/auth/accounts/__main__.py",
    "app/auth/accounts/database.py",
    "app/auth/accounts/errors.py",
    "app/auth/accounts/live.py",
    "app/auth/accounts/logins.py",
    "app/auth/accounts/names.py",
    "app/auth/accounts/passwords.py",
    "app/auth/accounts/registrations.py",
    "app/auth/accounts/routes.py",
    "app/auth/accounts/settings.py",
    "app/auth/accounts/store.py",
    "app/auth/accounts/throttle.py",
    "migrations/env.py",
    "migrations/script.py.mako",
    "migrations/versions/accounts_0001.py",
}
SESSIONS = ACCOUNTS | {"app/auth/sessions.py"}
TOKENS = ACCOUNTS | {"app/auth/tokens.py"}
AUTH = {
    "none": {"app/auth/none.py"},
    "cookie": SESSIONS | {"app/auth/cookie.py"},
    "ticket": SESSIONS | {"app/auth/ticket.py", "migrations/versions/tickets_0001.py"},
    "jwt": TOKENS | {"app/auth/jwt.py"},
    "first_message": TOKENS | {"app/auth/first_message.py"},
}

SERVERS = {"app/realtime/broker/outage.py", "compose.yaml"}
LOG = SERVERS | {
    "app/realtime/broker/log/__init__.py",
    "app/realtime/broker/log/backend.py",
    "app/realtime/broker/log/base.py",
    "app/realtime/broker/log/channels.py",
    "app/realtime/broker/log/entry.py",
    "app/realtime/broker/log/epochs.py",
    "app/realtime/broker/log/partition.py",
    "app/realtime/broker/log/reading.py",
    "app/realtime/broker/log/supervisor.py",
    "app/realtime/broker/log/writer.py",
}
BROKER = {
    "memory": set[str](),
    "postgres": SERVERS
    | {
        "app/realtime/broker/postgres/__init__.py",
        "app/realtime/broker/postgres/address.py",
        "app/realtime/broker/postgres/backend.py",
        "app/realtime/broker/postgres/epoch.sql",
        "app/realtime/broker/postgres/errors.py",
        "app/realtime/broker/postgres/notifications.py",
        "app/realtime/broker/postgres/pipeline.py",
        "app/realtime/broker/postgres/publish.sql",
        "app/realtime/broker/postgres/read.sql",
        "app/realtime/broker/postgres/schema.py",
        "app/realtime/broker/postgres/statements.py",
        "app/realtime/broker/postgres/subscriptions.py",
        "app/realtime/broker/postgres/sweep.sql",
        "app/realtime/broker/postgres/tables.sql",
        "docs/broker/postgres.md",
    },
    "nats": SERVERS
    | {
        "app/realtime/broker/nats/__init__.py",
        "app/realtime/broker/nats/backend.py",
        "app/realtime/broker/nats/canary.py",
        "app/realtime/broker/nats/channels.py",
        "app/realtime/broker/nats/connection.py",
        "app/realtime/broker/nats/link.py",
        "app/realtime/broker/nats/names.py",
        "app/realtime/broker/nats/options.py",
        "app/realtime/broker/nats/past.py",
        "app/realtime/broker/nats/publisher.py",
        "app/realtime/broker/nats/publishing.py",
        "app/realtime/broker/nats/reader.py",
        "app/realtime/broker/nats/requests.py",
        "app/realtime/broker/nats/stream.py",
        "docs/broker/nats.md",
    },
    "rabbitmq": LOG
    | {
        "app/realtime/broker/rabbitmq/__init__.py",
        "app/realtime/broker/rabbitmq/backend.py",
        "app/realtime/broker/rabbitmq/batches.py",
        "app/realtime/broker/rabbitmq/connection.py",
        "app/realtime/broker/rabbitmq/consumer.py",
        "app/realtime/broker/rabbitmq/log.py",
        "app/realtime/broker/rabbitmq/options.py",
        "app/realtime/broker/rabbitmq/stream.py",
        "docs/broker/rabbitmq.md",
    },
    "kafka": LOG
    | {
        "app/realtime/broker/kafka/__init__.py",
        "app/realtime/broker/kafka/backend.py",
        "app/realtime/broker/kafka/connection.py",
        "app/realtime/broker/kafka/errors.py",
        "app/realtime/broker/kafka/options.py",
        "app/realtime/broker/kafka/topic.py",
        "docs/broker/kafka.md",
    },
    "redis": SERVERS
    | {
        "app/realtime/broker/redis/__init__.py",
        "app/realtime/broker/redis/backend.py",
        "app/realtime/broker/redis/canary.lua",
        "app/realtime/broker/redis/cluster.py",
        "app/realtime/broker/redis/connections.py",
        "app/realtime/broker/redis/epoch.lua",
        "app/realtime/broker/redis/errors.py",
        "app/realtime/broker/redis/history.lua",
        "app/realtime/broker/redis/names.py",
        "app/realtime/broker/redis/node.py",
        "app/realtime/broker/redis/page.lua",
        "app/realtime/broker/redis/pipeline.py",
        "app/realtime/broker/redis/position.lua",
        "app/realtime/broker/redis/publish.lua",
        "app/realtime/broker/redis/run.lua",
        "app/realtime/broker/redis/sentinel.py",
        "app/realtime/broker/redis/servers.py",
        "app/realtime/broker/redis/subscriptions.py",
        "docs/broker/redis.md",
    },
}

CLIENT = {
    "html": {"app/client/html.py"},
    "react": {"app/client/built.py", "app/client/react.py"},
    "vue": {"app/client/built.py", "app/client/vue.py"},
    "angular": {"app/client/built.py", "app/client/angular.py"},
    "python": {"app/client/none.py", "tests/test_client.py"},
    "none": {"app/client/none.py"},
}

PARTS_OF_AUTH = {
    "none": {"none"},
    "cookie": {"cookie", "sessions", "accounts"},
    "ticket": {"ticket", "sessions", "accounts"},
    "jwt": {"jwt", "tokens", "accounts"},
    "first_message": {"first_message", "tokens", "accounts"},
}
"""The names that the files of a style of authentication bear."""

PARTS_OF_BROKER = {
    "memory": set[str](),
    "redis": {"redis"},
    "postgres": {"postgres"},
    "nats": {"nats"},
    "rabbitmq": {"rabbitmq", "log"},
    "kafka": {"kafka", "log"},
}
"""The names that the files of a broker bear, beside those of memory, which is always there."""

PARTS_OF_CLIENT = {
    "html": {"html"},
    "react": {"react", "built"},
    "vue": {"vue", "built"},
    "angular": {"angular", "built"},
    "python": {"python"},
    "none": set[str](),
}
"""The names that the files of a client bear, beside its own folder."""

DERIVED = (
    "client/",
    "docs/client/",
    "tests/conformance/",
    "tests/engine/",
    "tests/support/",
    "web/",
)
"""Where a project has all files of the template but those of other options."""

CONDITION = re.compile(r"\{% if (auth|broker|client) (==|!=) '(\w+)' %\}(.+?)\{% endif %\}")
"""What is in the name of a file or folder that only one answer gives."""


def expected_files(combination: Combination, *, licensed: bool = False) -> set[str]:
    files = COMMON | AUTH[combination.auth] | BROKER[combination.broker]
    files |= CLIENT[combination.client]
    derived = {name for name in names_for(combination) if name.startswith(DERIVED)}
    files |= {name for name in derived if belongs_to(combination, name)}
    return files | {"LICENSE"} if licensed else files


@cache
def template_files() -> frozenset[str]:
    """What the template has, with conditions in some names."""
    return frozenset(name.removesuffix(".jinja") for name in files_in(snapshot() / "template"))


def names_for(combination: Combination) -> set[str]:
    """What the template has, under the names that these answers give."""

    def chosen(condition: re.Match[str]) -> str:
        question, operator, answer, name = condition.groups()
        is_so = (getattr(combination, question) == answer) == (operator == "==")
        return name if is_so else "{"

    return {it for name in template_files() if "{" not in (it := CONDITION.sub(chosen, name))}


def belongs_to(combination: Combination, name: str) -> bool:
    """Whether a file is for this combination, by the options in its path."""
    chosen = {
        "auth": PARTS_OF_AUTH[combination.auth] | {"__init__", "index", "server", "Gate"},
        "broker": PARTS_OF_BROKER[combination.broker]
        | {"memory", "__init__", "contract", "test_memory"},
        "client": PARTS_OF_CLIENT[combination.client] | {"__init__"},
    }
    for question, names in chosen.items():
        found = re.search(rf"/{question}/([^/.]+)", name)
        if found and found[1] not in names:
            return False
    return is_of_the_answers(combination, name)


def is_of_the_answers(combination: Combination, name: str) -> bool:
    """The same, for files that do not bear the name of an option."""
    auth, broker, client = combination.auth, combination.broker, combination.client
    only_with = {
        r"client/.*": client == "python",
        r"web/.*": client not in {"python", "none"},
        r"web/src/.*": client != "html",
        r"tests/engine/client/.*": client != "none",
        r"tests/support/postgresql\.py": auth != "none" or broker == "postgres",
        r"tests/engine/(workers/)?auth/.*": auth != "none",
        r"tests/engine/(soak/(broker|workers)|workers)/.*": broker != "memory",
        r"tests/support/(broker_server|pair|proxy)\.py": broker != "memory",
    }
    return all(is_so for names, is_so in only_with.items() if re.fullmatch(names, name))


def in_no_project(projects: Iterable[Path]) -> list[str]:
    """What the template has and none of these projects."""
    names = set[str]().union(*map(names_for, COMBINATIONS))
    return [f"{name}: in no project" for name in sorted(names.difference(*map(files_in, projects)))]


def files_in(project: Path) -> set[str]:
    return {
        path.relative_to(project).as_posix() for path in project.rglob("*") if not path.is_dir()
    }


def wrong_files(project: Path, combination: Combination, *, licensed: bool = False) -> list[str]:
    """Files that are missing or too many, and folders without a file."""
    expected, found = expected_files(combination, licensed=licensed), files_in(project)
    empty = [path for path in project.rglob("*") if path.is_dir() and not any(path.iterdir())]
    return [
        *(f"{name}: missing" for name in sorted(expected - found)),
        *(f"{name}: unexpected" for name in sorted(found - expected)),
        *(f"{path.relative_to(project)}: an empty folder" for path in sorted(empty)),
    ]
