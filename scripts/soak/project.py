"""The project that is soaked: rendered, with a route that shows what a worker is busy with."""

import secrets
import subprocess
import sys
import urllib.parse
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from scripts.soak.servers import Application, PostgresServer, RedisServer
from tests.template import Combination, render, take_snapshot

COMBINATION = Combination("cookie", "redis", "none")

ROUTE = '''"""What a worker is busy with, for those who look for leaks."""

import asyncio
import gc
import os

from fastapi import APIRouter

router = APIRouter()


@router.get("/soak")
async def soak() -> dict[str, int]:
    """The process, its tasks and its open sockets."""
    gc.collect()
    folder = f"/proc/{os.getpid()}/fd"
    links = (os.path.join(folder, name) for name in os.listdir(folder))
    sockets = sum(is_socket(link) for link in links)
    return {"pid": os.getpid(), "tasks": len(asyncio.all_tasks()), "sockets": sockets}


def is_socket(link: str) -> bool:
    try:
        return os.readlink(link).startswith("socket:")
    except FileNotFoundError:
        return False
'''

PASSWORD = "correct horse battery staple"  # noqa: S105 - of accounts that last as long as a run

ADD_ACCOUNTS = """
import asyncio, sys
from app.auth.accounts.database import open_database
from app.auth.accounts.store import Accounts
from app.settings import load_settings

async def main():
    async with open_database(load_settings().database_url) as database:
        accounts = Accounts(database)
        for name in sys.argv[2:]:
            await accounts.add(name, sys.argv[1])

asyncio.run(main())
"""


def make_project(folder: Path, template: Path | None = None) -> Path:
    """Render a project with accounts and Redis, with the route `/soak`."""
    if template is None:
        template = folder / "template"
        take_snapshot(template)
    project = render(folder / "my-chat", COMBINATION, template=template)
    routes = project / "app" / "routes"
    (routes / "soak.py").write_text(ROUTE)
    own = (routes / "__init__.py").read_text()
    own = own.replace("import echo", "import echo, soak")
    (routes / "__init__.py").write_text(own.replace("(echo.router,)", "(echo.router, soak.router)"))
    return project


def make_application(
    project: Path, redis: RedisServer, postgres: PostgresServer, history_seconds: int
) -> Application:
    """The project in production with two workers. All limits are the default ones."""
    return Application(
        project,
        {
            "ENVIRONMENT": "production",
            "WEB_CONCURRENCY": "2",
            "BROKER_URL": redis.url,
            "DATABASE_URL": postgres.url,
            "SECRET_KEYS": secrets.token_urlsafe(32),
            "HISTORY_SECONDS": str(history_seconds),
        },
    )


def add_accounts(app: Application, names: list[str]) -> None:
    """Add accounts to the database, as `python -m app.auth.accounts` does one by one."""
    done = subprocess.run(
        [sys.executable, "-c", ADD_ACCOUNTS, PASSWORD, *names],
        cwd=app.folder,
        env=app.environment,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    if done.returncode:
        raise RuntimeError(f"the accounts could not be made: {done.stderr}")


def log_in(app: Application, names: list[str]) -> list[str]:
    """Log in over HTTP. Returns the session cookie of each."""

    def cookie_of(name: str) -> str:
        form = urllib.parse.urlencode({"username": name, "password": PASSWORD}).encode()
        with urllib.request.urlopen(f"{app.url}/auth/login", form, timeout=30) as answer:  # noqa: S310
            header: str = answer.headers["Set-Cookie"]
        return header.partition(";")[0]

    with ThreadPoolExecutor(4) as threads:
        return list(threads.map(cookie_of, names))
