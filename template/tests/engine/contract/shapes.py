"""Events and handlers of every shape that a model can have.

`python -m tests.engine.contract.shapes` serves the example with them.
"""

import runpy
from datetime import date, datetime
from decimal import Decimal
from enum import Enum, StrEnum
from typing import Annotated, Any, Generic, Literal, TypeVar
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field, computed_field

from app.realtime import Call, Event, Signal, handles
from app.realtime.contract.messages import Messages
from app.realtime.events import Events
from app.realtime.handlers import Handlers
from tests.engine.example import events, handlers

Item = TypeVar("Item")


class Colour(StrEnum):
    RED = "red"
    GREEN = "green"


class Size(Enum):
    """How large."""

    SMALL = 1
    LARGE = "large"


class Point(BaseModel):
    """A place */ on a map."""

    x: float
    y: float = 0.0
    """Metres to the north."""


class Circle(BaseModel):
    kind: Literal["circle"]
    radius: int


class Square(BaseModel):
    kind: Literal["square"]
    side: int


class Tree(BaseModel):
    children: list["Tree"] = []


class Page(BaseModel, Generic[Item]):
    items: list[Item]


class Extra(BaseModel):
    model_config = ConfigDict(extra="allow")

    known: int


class Renamed(BaseModel):
    model_config = ConfigDict(serialize_by_alias=True)

    two_words: int = Field(alias="two-words")


class Record(BaseModel):
    """Its name is also one of TypeScript's."""

    own: int = Field(alias="ownName")

    @computed_field
    def double(self) -> int:
        return 2 * self.own


class Everything(Event, event="every.thing", from_clients=True):
    """All kinds of fields.

    In two paragraphs.
    """

    text: Annotated[str, Field(description="What it says.", max_length=5)]
    at: datetime
    day: date
    id: UUID
    price: Decimal
    maybe: int | None
    colour: Colour = Colour.RED
    size: Size
    shape: Annotated[Circle | Square, Field(discriminator="kind")]
    points: list[Point]
    choices: list[int | str]
    pair: tuple[int, str]
    many: tuple[bool, ...]
    by_name: dict[str, Point]
    by_colour: dict[Colour, int]
    anything: Any
    free: dict[str, Any]
    tree: Tree
    page: Page[Point]
    extra: Extra
    renamed: Renamed
    record: Record
    long: Literal[
        "the first of several long words", "the second of several", "the third", "the fourth one"
    ]
    longer: Literal[
        "the first of several long words", "the second of several", "the third", "the fourth | one"
    ]


class Moved(Signal, event="moved", from_clients=True):
    to: Point


class Place(Event, event="place"):
    amount: int = 1


class Placed(Event, event="placed"):
    number: int
    comment: str | None = None


class Full(Event, event="full"):
    """No place is left."""


@handles(Place)
async def place(place: Place, _: Call) -> Placed | Full | None:
    if place.amount > 10:
        return Full()
    return Placed(number=place.amount) if place.amount else None


@handles(Full)
async def full(_: Full, __: Call) -> None:
    """Clients may say so, too."""


EVENTS = (Everything, Moved, Place, Placed, Full)
MESSAGES = Messages.of(Events(EVENTS), Handlers([place, full]).calls)


if __name__ == "__main__":
    vars(events).update({it.__name__: it for it in EVENTS})
    vars(handlers).update(place=place, full=full)
    runpy.run_module("tests.engine.example", run_name="__main__")
