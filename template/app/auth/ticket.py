"""Sockets open with a ticket: `/ws?ticket=…`, valid for half a minute and for one use.

A user with a session gets tickets from `POST /auth/ticket`. Right for clients that can't
send a header or a cookie with the handshake, and for sockets on another host than the
pages. URLs end up in logs and histories, so a ticket is worthless after its use.
"""

import secrets
import time
from typing import Annotated

from fastapi import Depends, Query, Response
from fastapi.requests import HTTPConnection
from pydantic import BaseModel
from sqlalchemy import BigInteger, ForeignKey, String, delete, select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Mapped, mapped_column

from app.auth.accounts.database import Base, Database, OpenDatabase
from app.auth.accounts.live import open_session
from app.auth.accounts.logins import LoggedInUser, Login, LoginStore, digest, has_not_ended
from app.auth.accounts.routes import make_router
from app.auth.accounts.settings import AccountSettings as AuthSettings
from app.auth.accounts.store import Account
from app.auth.sessions import SessionCookie, SessionUser, router, session_user
from app.realtime.authentication import Authentication, Security
from app.realtime.identity import Unauthenticated

__all__ = ["AUTHENTICATION", "AuthSettings", "CurrentUser"]

TICKET_SECONDS = 30


class Ticket(Base):
    """A ticket that has not been used."""

    __tablename__ = "tickets"

    hash: Mapped[str] = mapped_column(String(64), primary_key=True)
    login_id: Mapped[str] = mapped_column(ForeignKey(Login.id, ondelete="CASCADE"), index=True)
    expires_at: Mapped[int] = mapped_column(BigInteger, index=True)
    """Seconds since 1970."""


class TicketAnswer(BaseModel):
    """What opens one socket. `expires_in` is in seconds."""

    ticket: str
    expires_in: int = TICKET_SECONDS


@router.post("/ticket", responses={401: {"description": "Not logged in"}})
async def issue(response: Response, database: OpenDatabase, user: SessionUser) -> TicketAnswer:
    """A ticket for one socket, for a user with a session."""
    ticket = secrets.token_urlsafe(32)
    now = int(time.time())
    row = Ticket(hash=digest(ticket), login_id=user.login, expires_at=now + TICKET_SECONDS)
    try:
        async with database.transaction() as session:
            await session.execute(delete(Ticket).where(Ticket.expires_at <= now))
            session.add(row)
    except IntegrityError:  # the session ended a moment ago
        raise Unauthenticated("This session has ended: log in again.") from None
    response.headers["Cache-Control"] = "no-store"
    return TicketAnswer(ticket=ticket)


async def authenticate(
    connection: HTTPConnection,
    database: OpenDatabase,
    logins: LoginStore,
    cookie: SessionCookie,
    ticket: Annotated[str | None, Query(max_length=256)] = None,
) -> LoggedInUser:
    """The user of a socket's ticket, or of a request's session.

    Raises Unauthenticated. A ticket that was presented is used up, whether the handshake
    succeeds or not.
    """
    if connection.scope["type"] != "websocket":
        return await session_user(connection, logins, cookie)
    if ticket is None:
        raise Unauthenticated("A socket needs a ticket from POST /auth/ticket.")
    user = await redeem(ticket, database)
    if user is None:
        raise Unauthenticated("This ticket is not valid any more: ask for a new one.")
    return user


async def redeem(ticket: str, database: Database) -> LoggedInUser | None:
    """Use up a ticket. If it is presented twice at once, on any worker, one succeeds."""
    use = (
        delete(Ticket)
        .where(Ticket.hash == digest(ticket), Ticket.expires_at > int(time.time()))
        .returning(Ticket.login_id)
    )
    async with database.transaction() as session:
        login = await session.scalar(use)
        if login is None:
            return None
        query = (
            select(Account.id, Account.name, Login.id, Login.expires_at)
            .join(Login)
            .where(Login.id == login, has_not_ended())
        )
        row = (await session.execute(query)).one_or_none()
    return row and LoggedInUser(*row)


SECURITY = Security(
    "ticket",
    {
        "type": "httpApiKey",
        "in": "query",
        "name": "ticket",
        "description": "From POST /auth/ticket, for a user who is logged in. It is valid for "
        f"{TICKET_SECONDS} seconds and for one socket.",
    },
)

AUTHENTICATION = Authentication(
    authenticate,
    routers=[make_router(authenticate, router)],
    open_session=open_session,
    is_sent_by_browsers=True,
    security=SECURITY,
)

CurrentUser = Annotated[LoggedInUser, Depends(authenticate)]
