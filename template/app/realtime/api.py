"""`/api`: what the application's other services can ask for, in any language."""

import json
from collections.abc import Sequence
from typing import Annotated, Any, Self

from fastapi import APIRouter, Depends, HTTPException, status
from fastapi.exceptions import RequestValidationError
from fastapi.requests import HTTPConnection
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer
from pydantic import BaseModel, Field, StringConstraints, ValidationError, model_validator

from app.realtime.bearer import check_bearer
from app.realtime.broker import IdTaken
from app.realtime.dependencies import Presence, Publisher
from app.realtime.events import Event, Events, Signal, UnknownEvent
from app.realtime.identity import room_of_user
from app.realtime.protocol import ROOM_PATTERN, Member, MessageId
from app.realtime.settings import RealtimeSettings

ApiRoom = Annotated[str, StringConstraints(pattern=rf"^{ROOM_PATTERN}$")]
UserId = Annotated[str, StringConstraints(min_length=1, max_length=64, pattern=r"^[!-~]+$")]

BearerKey = Annotated[
    HTTPAuthorizationCredentials | None,
    Depends(HTTPBearer(auto_error=False, description="One of API_KEYS.")),
]


async def check_key(connection: HTTPConnection, key: BearerKey) -> None:
    """Raises HTTP 401 unless the request carries one of `API_KEYS`."""
    settings: RealtimeSettings = connection.app.state.settings
    check_bearer(key, settings.api_keys, "one of API_KEYS")


class Problem(BaseModel):
    """Why a request was refused, in a sentence."""

    detail: str


router = APIRouter(
    prefix="/api",
    tags=["server API"],
    dependencies=[Depends(check_key)],
    responses={
        401: {"model": Problem, "description": "No key, or an unknown one"},
        503: {"model": Problem, "description": "The broker did not take the message"},
    },
)


class Publication(BaseModel):
    """An event of `app/events.py`, for a room or for a user."""

    room: ApiRoom | None = None
    user: UserId | None = None
    event: Annotated[str, StringConstraints(max_length=64)]
    data: dict[str, Any] = Field(default_factory=dict)
    id: MessageId | None = Field(default=None, description="Makes it safe to repeat the request.")

    @model_validator(mode="after")
    def _one_address(self) -> Self:
        if (self.room is None) == (self.user is None):
            raise ValueError("name either a room or a user")
        return self


class Published(BaseModel):
    """The position of the event. A signal has none."""

    epoch: str | None
    offset: int | None


class UserAddress(BaseModel):
    user: UserId


class Eviction(BaseModel):
    user: UserId
    room: ApiRoom


class Accepted(BaseModel):
    """Every worker will do it."""


class RoomState(BaseModel):
    """Who is in a room, on all workers."""

    count: int
    members: Sequence[Member]


@router.post(
    "/publish",
    status_code=status.HTTP_202_ACCEPTED,
    responses={409: {"model": Problem, "description": "The id has other content"}},
)
async def publish(
    connection: HTTPConnection, publisher: Publisher, publication: Publication
) -> Published:
    """Publish an event to a room or to a user. The broker has it when the answer comes."""
    events: Events = connection.app.state.events
    try:
        event = events.read(publication.event, json.dumps(publication.data))
    except UnknownEvent as error:
        raise invalid(["event"], str(error)) from None
    except ValidationError as error:
        problem = error.errors(include_url=False, include_input=False)[0]
        raise invalid(["data", *problem["loc"]], problem["msg"]) from None
    room = publication.room or room_of_user(publication.user or "")
    if isinstance(event, Signal):
        await publisher.signal(room, event)
        return Published(epoch=None, offset=None)
    assert isinstance(event, Event)  # noqa: S101 - there are no other kinds
    try:
        position = await publisher.publish(room, event, id=publication.id)
    except IdTaken:
        detail = "Another event in this room has this id: choose a new one."
        raise HTTPException(status.HTTP_409_CONFLICT, detail) from None
    return Published(epoch=position.epoch, offset=position.offset)


def invalid(path: Sequence[str | int], message: str) -> RequestValidationError:
    """HTTP 422, in FastAPI's own format."""
    return RequestValidationError(
        [{"type": "value_error", "loc": ("body", *path), "msg": message, "input": None}]
    )


@router.post("/disconnect", status_code=status.HTTP_202_ACCEPTED)
async def disconnect(publisher: Publisher, address: UserAddress) -> Accepted:
    """Close all sockets of a user with code 4403, on every worker."""
    await publisher.disconnect(address.user)
    return Accepted()


@router.post("/evict", status_code=status.HTTP_202_ACCEPTED)
async def evict(publisher: Publisher, eviction: Eviction) -> Accepted:
    """Remove a user from a room, on every worker. Its clients get `left`."""
    await publisher.evict(eviction.user, eviction.room)
    return Accepted()


@router.get("/rooms/{room}")
async def room_state(presence: Presence, room: ApiRoom) -> RoomState:
    """Who is in a room, on all workers.

    All users are listed, also in a room where clients are told only how many there are. Each
    takes about 50 bytes, and `MAX_CONNECTIONS` bounds how many there can be.
    """
    members = presence.members(room)
    return RoomState(count=len(members), members=members)
