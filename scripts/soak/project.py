"""The project that is soaked: rendered, with a route that shows what a worker is busy with."""

import json
import secrets
import subprocess
import sys
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

MAKE_LOGINS = """
import asyncio, json, sys
from app.auth.accounts.database import open_database
from app.auth.accounts.logins import Logins
from app.auth.accounts.store import Accounts
from app.auth.sessions import cookie_name, make_signer
from app.settings import load_settings

async def main():
    settings, cookies = load_settings(), []
    signer = make_signer(settings)
    async with open_database(settings.database_url) as database:
        accounts, logins = Accounts(database), Logins(database)
        for number in range(int(sys.argv[1])):
            account = await accounts.add(f"soaker {number}", "correct horse battery staple")
            token = signer.sign(await logins.start(account, 3600)).decode()
            cookies.append(f"{cookie_name(settings)}={token}")
    print(json.dumps(cookies))

asyncio.run(main())
"""
"""Run in the project, it adds accounts and logs each of them in."""


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


def make_logins(app: Application, count: int) -> list[str]:
    """Add accounts. Returns the session cookie of each, with its name."""
    done = subprocess.run(
        [sys.executable, "-c", MAKE_LOGINS, str(count)],
        cwd=app.folder,
        env=app.environment,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    if done.returncode:
        raise RuntimeError(f"the accounts could not be made: {done.stderr}")
    cookies: list[str] = json.loads(done.stdout)
    return cookies
