"""What is measured: the systems, how a client talks to each, and the scenarios."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

Kind = Literal["load", "idle", "handshakes", "stall", "crowd", "presence"]

EVERY_SYSTEM: tuple[Kind, ...] = ("load", "idle", "handshakes", "stall")

SYSTEMS_FOLDER = Path(__file__).parent / "systems"


@dataclass(frozen=True)
class Framing:
    """How a client of a system speaks. `%r` is the room, `%s` a number, `%p` the text."""

    path: str
    publish: str = "%p"
    hello: tuple[str, ...] = ()
    """What a client sends after the handshake, to enter its room."""
    ready: str | None = None
    """What the frame contains that says that it has entered."""
    greets: bool = False
    """Whether the server sends a first frame by itself."""
    answer: str | None = None
    """A frame and what to answer it with, as `FRAME=REPLY`."""
    back: str | None = None
    """What a client sends to enter its room again: `%p` is its epoch, `%s` its offset."""
    recovered: str | None = None
    """What the `ready` frame contains when the messages that the client missed follow."""
    leave: str | None = None


PLAIN = Framing("/ws/%r")

FRAMED = Framing(
    "/ws/%r",
    publish='{"type":"message","room":"%r","offset":%s,"id":"%s","event":"chat.message",'
    '"data":{"text":"%p"},"sender":{"id":"c61f172a9b3d4e5f","name":"guest-c61f17"},'
    '"sent_at":"2026-11-21T12:00:00.000000Z"}',
)
"""For a server that passes on what it is sent: frames as long as those of the generated app."""

PROTOCOL = Framing(
    "/ws",
    publish='{"type":"publish","room":"%r","id":"%s","event":"chat.message","data":{"text":"%p"}}',
    hello=('{"type":"join","room":"%r"}',),
    ready='"joined"',
    greets=True,
    back='{"type":"join","room":"%r","since":{"epoch":"%p","offset":%s}}',
    recovered='"recovered":true',
    leave='{"type":"leave","room":"%r"}',
)

CHANX = Framing("/ws/%r", publish='{"action":"chat","payload":{"text":"%p"}}')

ENGINE_IO = Framing(
    "/socket.io/?EIO=4&transport=websocket",
    publish='42["publish","%r","%p"]',
    hello=("40", '420["join","%r"]'),
    ready="430[",
    greets=True,
    answer="2=3",
)


@dataclass(frozen=True)
class System:
    """A server to measure. `script` is a file of `systems/`; none: the generated app."""

    name: str
    title: str
    script: str | None
    broker: Literal["memory", "redis"] = "memory"
    framing: Framing = PLAIN
    environment: dict[str, str] = field(default_factory=dict)
    once: bool = False
    """Whether it is in the first round only: no target depends on it."""
    kinds: tuple[Kind, ...] = EVERY_SYSTEM
    """Of the scenarios that it is measured in."""


SYSTEMS = (
    System("raw", "raw uvloop server (the limit)", "raw.py"),
    System(
        "raw-framed",
        "raw uvloop server, frames as long as the app's",
        "raw.py",
        framing=FRAMED,
        kinds=("load",),
    ),
    System(
        "app-memory",
        "**the generated app**, memory",
        None,
        framing=PROTOCOL,
        kinds=(*EVERY_SYSTEM, "crowd", "presence"),
    ),
    System(
        "app-redis",
        "**the generated app**, Redis",
        None,
        "redis",
        PROTOCOL,
        kinds=(*EVERY_SYSTEM, "crowd", "presence"),
    ),
    System("websockets", "`websockets.broadcast`", "websockets_broadcast.py", once=True),
    System("tutorial", "FastAPI tutorial's manager", "tutorial.py"),
    System(
        "broadcaster-memory",
        "broadcaster as in the books, memory",
        "broadcaster_books.py",
        once=True,
    ),
    System(
        "broadcaster-redis",
        "broadcaster as in the books, Redis",
        "broadcaster_books.py",
        "redis",
        once=True,
    ),
    System(
        "readme-memory", "broadcaster as in its README, memory", "broadcaster_readme.py", once=True
    ),
    System(
        "readme-redis",
        "broadcaster as in its README, Redis",
        "broadcaster_readme.py",
        "redis",
        once=True,
    ),
    System("litestar-memory", "Litestar channels, memory", "litestar_channels.py", once=True),
    System(
        "litestar-redis", "Litestar channels, Redis", "litestar_channels.py", "redis", once=True
    ),
    System(
        "socketio-memory",
        "python-socketio, memory",
        "socketio_rooms.py",
        framing=ENGINE_IO,
        once=True,
    ),
    System(
        "socketio-redis",
        "python-socketio, Redis",
        "socketio_rooms.py",
        "redis",
        ENGINE_IO,
        once=True,
    ),
    System(
        "channels-pubsub",
        "Django Channels, Redis pub/sub layer",
        "django_channels.py",
        "redis",
        environment={"LAYER": "pubsub"},
        once=True,
    ),
    System(
        "channels-core",
        "Django Channels, Redis core layer",
        "django_channels.py",
        "redis",
        environment={"LAYER": "core"},
        once=True,
    ),
    System("chanx", "chanx, memory layer", "chanx_groups.py", framing=CHANX, once=True),
)


@dataclass(frozen=True)
class Scenario:
    """What is done to every system."""

    name: str
    title: str
    kind: Kind = "load"
    rooms: int = 1
    clients: int = 100
    """In each room."""
    window: int = 1
    """Messages in flight, in each room."""
    bytes: int = 100
    """The text of a message."""
    concurrency: int = 64
    """Handshakes under way."""
    seconds: float = 3
    """What is measured, after a warm-up."""
    times: int = 1
    """How often each round measures it, one system after the other."""
    once: bool = False
    """Whether it is in the first round only: it varies little, or takes long."""
    in_every_round: tuple[str, ...] = ()
    """Systems for which it is repeated nevertheless, as a target depends on it."""

    def is_repeated_for(self, system: System) -> bool:
        """Whether later rounds measure it too."""
        return system.name in self.in_every_round or not (self.once or system.once)


SCENARIOS = (
    Scenario("100w1", "1 × 100, one in flight"),
    Scenario("1000w1", "1 × 1,000, one in flight", clients=1000),
    Scenario("100w8", "1 × 100, eight in flight", window=8),
    Scenario("1000w8", "1 × 1,000, eight in flight", clients=1000, window=8),
    Scenario("100x10", "100 × 10, one in flight", rooms=100, clients=10),
    Scenario(
        "idle",
        "5,000 idle connections",
        "idle",
        rooms=50,
        once=True,
        in_every_round=("app-memory",),
    ),
    # Over in a second.
    Scenario("handshakes", "2,000 handshakes", "handshakes", rooms=20, times=3),
    # Longer messages, so that the buffers of the kernel (some 2.5 MB) are full in time.
    Scenario("stall100", "1 of 100 stops reading", "stall", bytes=4000, seconds=6, once=True),
    Scenario(
        "stall1000",
        "1 of 1,000 stops reading",
        "stall",
        clients=1000,
        bytes=4000,
        seconds=10,
        once=True,
        in_every_round=("app-memory",),
    ),
    Scenario(
        "crowd",
        "5,000 clients return after the server was killed",
        "crowd",
        rooms=500,
        clients=10,
        concurrency=200,
        once=True,
        in_every_round=("app-redis",),
    ),
    Scenario(
        "presence",
        "4,000 guests enter a room",
        "presence",
        clients=4000,
        concurrency=200,
        seconds=10,
    ),
)
