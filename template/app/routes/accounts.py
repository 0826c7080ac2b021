"""`/auth`: register, log in and out, and ask who one is."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

from fastapi import APIRouter, Depends, FastAPI, HTTPException, Response, status
from fastapi.requests import HTTPConnection
from pydantic import BaseModel
from sqlalchemy.exc import SQLAlchemyError

from app.auth import CurrentUser
from app.auth import router as login_router
from app.auth.accounts import Accounts, AccountsStore, CredentialsForm, InvalidAccount, NameTaken
from app.auth.database import open_database
from app.auth.live import LiveLogins
from app.auth.logins import Logins
from app.auth.origin import check_origin
from app.manager import ConnectionManager
from app.settings import Settings


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[None]:
    """Keep the database open for as long as the application runs."""
    settings: Settings = app.state.settings
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
        app.state.logins = Logins(database)
        app.state.live_logins = LiveLogins(app.state.logins, manager.broadcast)
        async with app.state.live_logins.running():
            yield


# A foreign page can't log its visitors in as somebody else, nor register them.
router = APIRouter(
    prefix="/auth", tags=["accounts"], dependencies=[Depends(check_origin)], lifespan=lifespan
)
router.include_router(login_router)


class UserAnswer(BaseModel):
    username: str


class Problem(BaseModel):
    """Why a request was refused, in a sentence."""

    detail: str


@router.post(
    "/register",
    status_code=status.HTTP_201_CREATED,
    responses={code: {"model": Problem} for code in (403, 409, 422)},
)
async def register(
    connection: HTTPConnection, accounts: AccountsStore, form: CredentialsForm
) -> UserAnswer:
    """Create an account, where REGISTRATION_OPEN allows it."""
    settings: Settings = connection.app.state.settings
    if not settings.registration_open:
        raise HTTPException(status.HTTP_403_FORBIDDEN, "Registration is closed.")
    try:
        account = await accounts.add(form.username, form.password)
    except NameTaken as error:
        raise HTTPException(status.HTTP_409_CONFLICT, str(error)) from None
    except InvalidAccount as error:
        raise HTTPException(status.HTTP_422_UNPROCESSABLE_CONTENT, str(error)) from None
    return UserAnswer(username=account.name)


@router.get("/me", responses={401: {"model": Problem}})
async def me(user: CurrentUser, response: Response) -> UserAnswer:
    """Who is logged in."""
    response.headers["Cache-Control"] = "no-store"
    return UserAnswer(username=user.name)
