"""`/auth`: register, log in and out, and ask who is logged in."""

from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Annotated, Any

from fastapi import APIRouter, Depends, FastAPI, HTTPException, Response, status
from fastapi.requests import HTTPConnection
from pydantic import BaseModel
from sqlalchemy.exc import SQLAlchemyError

from app.auth.accounts.database import open_database
from app.auth.accounts.errors import InvalidAccount, NameTaken
from app.auth.accounts.live import LiveLogins
from app.auth.accounts.logins import Logins
from app.auth.accounts.names import clean_name, find_reserved
from app.auth.accounts.registrations import RegistrationLimits, Registrations
from app.auth.accounts.settings import AccountSettings
from app.auth.accounts.store import (
    Accounts,
    AccountsStore,
    CredentialsForm,
    check_new_password,
)
from app.realtime.identity import User
from app.realtime.manager import ConnectionManager
from app.realtime.origin import check_origin


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[None]:
    """Keep the database open for as long as the application runs."""
    settings: AccountSettings = app.state.settings
    manager: ConnectionManager = app.state.manager
    async with AsyncExitStack() as stack:
        try:
            database = await stack.enter_async_context(open_database(settings.database_url))
        except RuntimeError as error:
            raise SystemExit(str(error)) from None
        except (SQLAlchemyError, OSError) as error:
            reason = getattr(error, "orig", None) or error
            raise SystemExit(f"The database in DATABASE_URL can't be used: {reason}") from None
        app.state.database = database
        app.state.accounts = Accounts(database)
        app.state.registrations = Registrations(
            settings.registrations_per_minute, settings.registrations_per_minute_per_address
        )
        app.state.logins = Logins(database)
        app.state.live_logins = LiveLogins(app.state.logins, manager.broadcast)
        async with app.state.live_logins.running():
            yield


class UserAnswer(BaseModel):
    """A user. The id never changes."""

    id: str
    username: str


class Problem(BaseModel):
    """Why a request was refused, in a sentence."""

    detail: str


def make_router(authenticate: Callable[..., Any], login_router: APIRouter) -> APIRouter:
    """The routes of a style of authentication, together with those all styles have."""
    # The origin is checked so that a foreign page can't log its visitors in as somebody else.
    router = APIRouter(
        prefix="/auth", tags=["accounts"], dependencies=[Depends(check_origin)], lifespan=lifespan
    )
    router.include_router(login_router)
    router.add_api_route(
        "/register",
        register,
        methods=["POST"],
        status_code=status.HTTP_201_CREATED,
        responses={code: {"model": Problem} for code in (403, 409, 422, 429, 503)},
    )

    @router.get("/me", responses={401: {"model": Problem}})
    async def me(user: Annotated[User, Depends(authenticate)], response: Response) -> UserAnswer:
        """Who is logged in."""
        response.headers["Cache-Control"] = "no-store"
        return UserAnswer(id=user.id, username=user.name)

    return router


async def register(
    connection: HTTPConnection,
    accounts: AccountsStore,
    registrations: RegistrationLimits,
    form: CredentialsForm,
) -> UserAnswer:
    """Create an account, if REGISTRATION_OPEN allows it."""
    settings: AccountSettings = connection.app.state.settings
    if not settings.registration_open:
        raise HTTPException(status.HTTP_403_FORBIDDEN, "Registration is closed.")
    try:
        name = clean_name(form.username)
        check_new_password(form.password)
        if find_reserved(name, settings.reserved_names) is not None:
            raise InvalidAccount("This user name is reserved: choose another one.")
        registrations.count(connection.client and connection.client.host)
        account = await accounts.add(name, form.password)
    except NameTaken as error:
        raise HTTPException(status.HTTP_409_CONFLICT, str(error)) from None
    except InvalidAccount as error:
        raise HTTPException(status.HTTP_422_UNPROCESSABLE_CONTENT, str(error)) from None
    return UserAnswer(id=account.id, username=account.name)
