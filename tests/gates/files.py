"""A rendered project has exactly the files that its options need."""

from pathlib import Path

from tests.template import Combination

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
    "app/auth/identity.py",
    "app/auth/origin.py",
    "app/bounded_requests.py",
    "app/broker/__init__.py",
    "app/broker/base.py",
    "app/broker/memory.py",
    "app/connection.py",
    "app/hand_over.py",
    "app/handshake.py",
    "app/limits.py",
    "app/logs.py",
    "app/main.py",
    "app/manager.py",
    "app/metrics.py",
    "app/prebuilt_frames.py",
    "app/permissions.py",
    "app/presence.py",
    "app/protocol.py",
    "app/room.py",
    "app/routes/__init__.py",
    "app/routes/echo.py",
    "app/routes/ops.py",
    "app/routes/realtime.py",
    "app/security_headers.py",
    "app/settings.py",
    "app/start.py",
    "app/writer.py",
    "pyproject.toml",
    "tests/__init__.py",
    "tests/auth/__init__.py",
    "tests/broker/__init__.py",
    "tests/broker/memory.py",
    "tests/client.py",
    "tests/conftest.py",
    "tests/quick_start.py",
    "tests/ruled_app.py",
    "tests/server.py",
    "tests/soak/__init__.py",
    "tests/soak/conftest.py",
    "tests/soak/light.py",
    "tests/soak/listeners.py",
    "tests/soak/member.py",
    "tests/soak/observed.py",
    "tests/soak/server.py",
    "tests/soak/test_aborts.py",
    "tests/soak/test_churn.py",
    "tests/soak/test_expiry.py",
    "tests/soak/test_load.py",
    "tests/soak/test_model.py",
    "tests/soak/test_shutdown.py",
    "tests/soak/test_slow_client.py",
    "tests/soak/visitor.py",
    "tests/test_bounded_requests.py",
    "tests/test_catch_up.py",
    "tests/test_control_frames.py",
    "tests/test_deploy.py",
    "tests/test_echo.py",
    "tests/test_fuzz.py",
    "tests/test_headers.py",
    "tests/test_history.py",
    "tests/test_limits.py",
    "tests/test_logs.py",
    "tests/test_manager.py",
    "tests/test_metrics.py",
    "tests/test_model.py",
    "tests/test_openapi.py",
    "tests/test_origin.py",
    "tests/test_permissions.py",
    "tests/test_plain_uvicorn.py",
    "tests/test_prebuilt_frames.py",
    "tests/test_presence.py",
    "tests/test_quick_start.py",
    "tests/test_realtime.py",
    "tests/test_recovery.py",
    "tests/test_room.py",
    "tests/test_server.py",
    "tests/test_settings.py",
    "tests/test_slow_client.py",
}

ACCOUNTS = {
    "app/auth/__main__.py",
    "app/auth/accounts.py",
    "app/auth/database.py",
    "app/auth/live.py",
    "app/auth/logins.py",
    "app/auth/throttle.py",
    "app/routes/accounts.py",
    "migrations/env.py",
    "migrations/script.py.mako",
    "migrations/versions/accounts_0001.py",
    "tests/auth/accounts.py",
    "tests/quick_hashes.py",
    "tests/database.py",
    "tests/test_account_logs.py",
    "tests/test_account_outage.py",
    "tests/test_account_settings.py",
    "tests/test_accounts.py",
    "tests/test_add_user.py",
    "tests/test_database.py",
    "tests/test_live_logins.py",
    "tests/test_login_watches.py",
    "tests/test_throttle.py",
}

SESSIONS = ACCOUNTS | {
    "app/auth/sessions.py",
    "tests/test_session_expiry.py",
    "tests/test_sessions.py",
}
TOKENS = ACCOUNTS | {
    "app/auth/tokens.py",
    "tests/auth/tokens.py",
    "tests/test_live_tokens.py",
    "tests/test_tokens.py",
}
SHARED = {
    "none": set[str](),
    "cookie": SESSIONS,
    "ticket": SESSIONS | {"migrations/versions/tickets_0001.py"},
    "jwt": TOKENS,
    "first_message": TOKENS | {"tests/test_strangers.py"},
}
AUTH = {
    style: shared | {f"app/auth/{style}.py", f"tests/auth/{style}.py"}
    for style, shared in SHARED.items()
}

BROKER = {
    "memory": set[str](),
    "redis": {
        "app/broker/redis.py",
        "app/broker/redis_canary.lua",
        "app/broker/redis_history.lua",
        "app/broker/redis_pipeline.py",
        "app/broker/redis_position.lua",
        "app/broker/redis_publish.lua",
        "app/broker/redis_subscriptions.py",
        "compose.yaml",
        "tests/broker/redis.py",
        "tests/pair.py",
        "tests/soak/test_redis_churn.py",
        "tests/soak/test_redis_outages.py",
        "tests/test_redis.py",
        "tests/test_redis_backend.py",
        "tests/test_redis_connection.py",
        "tests/test_redis_model.py",
        "tests/test_redis_outage.py",
        "tests/test_redis_settings.py",
    },
}

CLIENT = {
    "html": {
        "app/routes/web.py",
        "tests/browser.py",
        "tests/test_web.py",
        "tests/test_web_resume.py",
        "web/auth/index.js",
        "web/backoff.js",
        "web/codes.js",
        "web/connection.js",
        "web/icon.svg",
        "web/index.html",
        "web/log.js",
        "web/main.js",
        "web/pace.js",
        "web/room.js",
        "web/rooms.js",
        "web/style.css",
        "web/view.js",
        "web/wake.js",
    },
    "none": set[str](),
}

ACCOUNTS_IN_HTML = {"web/auth/accounts/form.js", "web/auth/accounts/http.js"}
STYLE_IN_HTML = {
    "none": set[str](),
    "cookie": ACCOUNTS_IN_HTML | {"web/auth/session.js"},
    "ticket": ACCOUNTS_IN_HTML | {"web/auth/session.js"},
    "jwt": ACCOUNTS_IN_HTML | {"web/auth/tokens.js"},
    "first_message": ACCOUNTS_IN_HTML | {"web/auth/tokens.js"},
}


def expected_files(combination: Combination, *, licensed: bool = False) -> set[str]:
    files = COMMON | AUTH[combination.auth] | BROKER[combination.broker]
    files |= CLIENT[combination.client]
    if combination.client == "html":
        files |= {f"web/auth/{combination.auth}.js"} | STYLE_IN_HTML[combination.auth]
    if combination.auth != "none":
        files |= {f"tests/test_auth_{combination.auth}.py"}
        if combination.broker == "redis":
            files |= {"tests/test_redis_logins.py"}
    return files | {"LICENSE"} if licensed else files


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
