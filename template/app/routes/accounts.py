"""`/auth`: register, log in and out, and ask who one is."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Annotated

from fastapi import APIRouter, Depends, FastAPI, Form, HTTPException, Response, status
from fastapi.requests import HTTPConnection
from pydantic import BaseModel

from app.auth import CurrentUser
from app.auth import router as login_router
from app.auth.accounts import AccountsStore, InvalidAccount, NameTaken, open_accounts
from app.auth.origin import check_origin
from app.settings import Settings


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[None]:
    """Keep the database open for as long as the application runs."""
    settings: Settings = app.state.settings
    async with open_accounts(settings.database_url) as accounts:
        app.state.accounts = accounts
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
    connection: HTTPConnection,
    accounts: AccountsStore,
    username: Annotated[str, Form()] = "",
    password: Annotated[str, Form()] = "",
) -> UserAnswer:
    """Create an account, where REGISTRATION_OPEN allows it."""
    settings: Settings = connection.app.state.settings
    if not settings.registration_open:
        raise HTTPException(status.HTTP_403_FORBIDDEN, "Registration is closed.")
    try:
        account = await accounts.add(username, password)
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
