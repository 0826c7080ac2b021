"""A rendered project shows no trace of the template, nor of what was not chosen."""

import re
from dataclasses import asdict
from functools import cache
from pathlib import Path

from tests.gates.files import files_in
from tests.template import Combination, choices

STATEMENT = re.compile(r"\{%|%\}|_copier")
"""Of those, what has no other meaning in `BRACES`."""

BRACES = ("docs/client/", "web/src/", "app/realtime/contract/typescript.py")
"""Where two braces are common."""

OF_OTHERS = {".copier-answers.yml", "web/package-lock.json"}
"""The answers name options, and a lock file whatever packages there are."""

JINJA = re.compile(r"\{%|%\}|\{\{|\{#|#\}|_copier")

WORKFLOW_EXPRESSION = re.compile(r"\$\{\{.*?\}\}")
"""What GitHub's workflows have themselves."""

WORDS = {
    "cookie": r"cookie|itsdangerous",
    "jwt": r"jwt|bearer\.|access.token|refresh.token",
    "first_message": r"(?<![.\w])first_message(?![:=\w])|auth message",
    "ticket": r"tickets?\b",
    "none": r"\bguests?\b|anonymous",
    "redis": r"redis|\blua\b|valkey",
    "postgres": r"pgbouncer|pg_notify",
    "nats": r"\bnats\b|jetstream",
    "rabbitmq": r"rabbit|\bamqps?\b|aio.pika|aiormq",
    "kafka": r"kafka",
    "servers": r"testcontainers|docker|compose\.yaml",
    "html": r"\bES modules\b",
    "react": r"\breact\b(?! to)",
    "vue": r"\bvue\b",
    "angular": r"angular",
    "python": r"\btextual\b|-m client\b|(?<![\w/])client/",
    "page": r"\bhtml|javascript|\bweb/|static",
    "built": r"node_modules|\bvite\b|vitest|npm (run|ci)",
    "accounts": r"\baccounts?\b|password|argon2|pwdlib|\blog(ged)?.?in\b|registration"
    r"|auth/register|secret_?keys?\b|multipart|sqlalchemy|sqlite|database_url|session.(is|has)",
}
"""What only those speak of who chose the option.

`accounts` stands for all styles but none, `servers` for all brokers but memory, `page` for
the clients that run in a browser, and `built` for those of them that are built.
"""

BUILT = {"react", "vue", "angular"}
PAGES = BUILT | {"html"}

KIN = {"cookie": "ticket", "jwt": "first_message"}
"""Styles whose words another one may use: it is built on the same files."""

PHRASES = {
    "sends the cookies of": "what browsers do, which is why origins are checked",
    "guest:guest@": "the user that a new RabbitMQ has",
    "guest-*": "a name that is reserved where there are accounts",
    "fonts.gstatic.com": "where Swagger UI has its fonts from",
    "lang_altertable.html": "a page of SQLite's documentation",
    "No accounts: every connection is a guest": "what the style of auth is",
}
"""What may be said in every project, and why."""

PATTERNS = {option: re.compile(words, re.IGNORECASE) for option, words in WORDS.items()}

FREE_FILES = {
    # A user and a password for the broker.
    "app/realtime/broker/kafka/errors.py": {"accounts"},
    "app/realtime/broker/kafka/options.py": {"accounts"},
    "docs/broker/kafka.md": {"accounts"},
    "tests/engine/broker/kafka/test_settings.py": {"accounts"},
    # RabbitMQ's first user is a guest with a password.
    "app/realtime/broker/rabbitmq/connection.py": {"accounts", "none"},
    "app/realtime/broker/rabbitmq/options.py": {"accounts", "none"},
    "docs/broker/rabbitmq.md": {"accounts", "none"},
    "tests/engine/broker/rabbitmq/conftest.py": {"accounts", "none"},
    "tests/engine/broker/rabbitmq/test_backend.py": {"accounts", "none"},
    "tests/engine/broker/rabbitmq/test_settings.py": {"accounts", "none"},
    "tests/engine/broker/rabbitmq/test_tls.py": {"accounts", "none"},
    "tests/support/broker/rabbitmq.py": {"accounts", "none"},
    "app/realtime/command_line.py": {"page"},  # writes types for one
    # The document of the wire has a page of its own.
    "app/realtime/contract/close_codes.py": {"accounts"},
    "app/realtime/contract/html.py": {"page"},
    "app/realtime/contract/page.py": {"page"},
    "app/realtime/contract/routes.py": {"page"},
    "tests/engine/contract/test_document.py": {"accounts"},
    "tests/engine/contract/test_page.py": {"page"},
    "tests/engine/faulty_relay.py": {"cookie"},  # passes on whatever a handshake has
    # These look for something in a log.
    "client/chat/screen.py": {"accounts"},
    "tests/engine/client/python/terminal.py": {"accounts"},
    # The core serves every style.
    "web/src/realtime/connection.test.ts": {"accounts", "jwt", "ticket"},
    # The engine serves every style, and says what a login is to a socket.
    "app/realtime/actions.py": {"accounts"},
    "app/realtime/authentication.py": {"accounts"},
    "app/realtime/socket.py": {"accounts"},
    "app/realtime/visit.py": {"accounts"},
    "app/routes/echo.py": {"cookie"},  # shows how an endpoint reads one
    "docs/recipes.md": {"accounts"},  # shows tables in a database
    "tests/engine/client/html/browser.py": {"accounts"},  # fills in a form, if there is one
    "tests/engine/example/routes/echo.py": {"cookie"},
    "tests/engine/test_recipes.py": {"accounts"},
    "tests/engine/test_echo.py": {"cookie"},
    "tests/engine/auth/accounts/test_logs.py": {"cookie", "ticket"},  # wherever a secret may be
    # Whoever connects to PostgreSQL does it with a password.
    "app/realtime/broker/postgres/address.py": {"accounts"},
    "app/realtime/broker/postgres/errors.py": {"accounts"},
    "compose.yaml": {"accounts"},
    # NATS has accounts of its own, to which clients log in.
    "app/realtime/broker/nats/connection.py": {"accounts"},
    "app/realtime/broker/nats/options.py": {"accounts"},
    "app/realtime/broker/nats/stream.py": {"accounts"},
    "docs/broker/nats.md": {"accounts"},
    "tests/engine/broker/nats/test_settings.py": {"accounts"},
    "tests/support/broker/nats.py": {"accounts"},
    "docs/broker/postgres.md": {"accounts"},
    "tests/engine/broker/postgres/test_connection.py": {"accounts"},
    "tests/support/broker/postgres.py": {"accounts"},
    "tests/support/postgresql.py": {"accounts"},
    "tests/engine/server/test_head.py": {"page"},  # mounts files
    "tests/engine/server/test_logs.py": {"ticket"},
}
"""Files that may speak of an option that was not chosen."""

OF_A_BROKER = re.compile(
    r"(?:.*/)?broker/(?!base|memory|__init__).*|compose\.yaml|tests/support/postgresql\.py"
)
FREE_OF_A_BROKER = {"accounts", "none"}
"""Brokers have users with passwords of their own; that of a new RabbitMQ is `guest`."""


def traces_of_jinja(project: Path) -> list[str]:
    """Lines and file names with a delimiter that only the template has."""
    names = sorted(files_in(project))
    findings = [name for name in names if JINJA.search(name)]
    for name in names:
        if name in OF_OTHERS:
            continue
        text = (project / name).read_text(errors="replace")
        if name.startswith(".github/"):
            text = WORKFLOW_EXPRESSION.sub("", text)
        delimiter = STATEMENT if name.startswith(BRACES) else JINJA
        findings += [f"{name}:{number}: {line}" for number, line in lines_with(delimiter, text)]
    return findings


@cache
def lines_with(delimiter: re.Pattern[str], text: str) -> list[tuple[int, str]]:
    lines = enumerate(text.splitlines(), 1)
    return [(number, line.strip()) for number, line in lines if delimiter.search(line)]


def traces_of_unchosen(project: Path, combination: Combination) -> list[str]:
    """Lines that speak of an option that the project does not have."""
    unchosen = {
        option
        for question, chosen in asdict(combination).items()
        for option in choices(question)
        if option != chosen and option in WORDS
    }
    # "none" is a choice of two questions, and has words as a style of auth only.
    unchosen -= {"none"} if combination.auth == "none" else set()
    unchosen |= {"accounts"} if combination.auth == "none" else {"none"}
    unchosen |= {"servers"} if combination.broker == "memory" else set()
    unchosen -= {style for style, kin in KIN.items() if combination.auth == kin}
    unchosen |= set() if combination.client in PAGES else {"page"}
    unchosen |= set() if combination.client in BUILT else {"built"}
    return [
        f"{name}:{number}: {option}: {line.strip()}"
        for name in sorted(files_in(project) - OF_OTHERS)
        for number, line, options in mentions((project / name).read_text(errors="replace"))
        for option in sorted(options & unchosen)
        if option not in FREE_FILES.get(name, ())
        and not (option in FREE_OF_A_BROKER and OF_A_BROKER.fullmatch(name))
    ]


@cache
def mentions(text: str) -> list[tuple[int, str, set[str]]]:
    """The lines of a file that speak of options. Most files are in many projects."""
    found = []
    for number, line in enumerate(text.splitlines(), 1):
        rest = line
        for phrase in PHRASES:
            rest = rest.replace(phrase, "")
        options = {it for it, words in PATTERNS.items() if words.search(rest)}
        if options:
            found.append((number, line, options))
    return found
