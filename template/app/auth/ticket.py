"""Sockets open with a ticket: `/ws?ticket=…`, good for half a minute and for one use.

Whoever has a session gets tickets from `POST /auth/ticket`. For clients that can't send
a header or a cookie on the handshake, and for sockets on another host than the pages. A
URL is written to logs and histories, so what is in it must be worth nothing afterwards.
"""

import secrets
import time
from typing import Annotated

from fastapi import Query, Response
from fastapi.requests import HTTPConnection
from pydantic import BaseModel
from sqlalchemy import BigInteger, ForeignKey, String, delete, select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Mapped, mapped_column

from app.auth.accounts import Account
from app.auth.database import Base, Database, OpenDatabase
from app.auth.identity import Unauthenticated
from app.auth.logins import LoggedInUser, Login, LoginStore, digest, has_not_ended
from app.auth.sessions import SessionCookie, SessionUser, router, session_user

__all__ = ["authenticate", "router"]

TICKET_SECONDS = 30


class Ticket(Base):
    """A ticket that has not been used."""

    __tablename__ = "tickets"

    hash: Mapped[str] = mapped_column(String(64), primary_key=True)
    login_id: Mapped[str] = mapped_column(ForeignKey(Login.id, ondelete="CASCADE"), index=True)
    expires_at: Mapped[int] = mapped_column(BigInteger, index=True)
    """Seconds since 1970."""


class TicketAnswer(BaseModel):
    """What opens a socket once; `expires_in` is seconds."""

    ticket: str
    expires_in: int = TICKET_SECONDS


@router.post("/ticket", responses={401: {"description": "Not logged in"}})
async def issue(response: Response, database: OpenDatabase, user: SessionUser) -> TicketAnswer:
    """A ticket for one socket, for whoever has a session."""
    ticket = secrets.token_urlsafe(32)
    now = int(time.time())
    row = Ticket(hash=digest(ticket), login_id=user.login, expires_at=now + TICKET_SECONDS)
    try:
        async with database.transaction() as session:
            await session.execute(delete(Ticket).where(Ticket.expires_at <= now))
            session.add(row)
    except IntegrityError:  # the session ended a moment ago, and nothing can refer to it
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
    """Whom a socket's ticket was issued to, and whose session a request belongs to.

    Raises Unauthenticated. A ticket that was presented is used up, whatever comes of the
    handshake.
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
    """Use a ticket up. Of those who present it at once, on any worker, one gets in."""
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
            select(Account.name, Login.id, Login.expires_at)
            .join(Login)
            .where(Login.id == login, has_not_ended())
        )
        row = (await session.execute(query)).one_or_none()
    return row and LoggedInUser(*row)
