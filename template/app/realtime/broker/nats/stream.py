"""The stream that keeps the records: made, checked, and described.

The stream republishes every record to a subject that names the stream's generation. So
whoever receives a record knows which generation it belongs to, and a new generation begins
for everybody at once, by an update of the stream.
"""

import logging
import re
import secrets
from typing import Any, NamedTuple

from app.realtime.broker.nats.names import PLAIN, Names
from app.realtime.broker.nats.options import Options
from app.realtime.broker.nats.requests import Refused, Requests

logger = logging.getLogger(__name__)

POSITION_SECONDS = 3600.0
"""How long the stream keeps the last record of a channel if history has none."""

SECOND = 10**9
"""Durations are nanoseconds in JetStream's API."""

MARK = {"made-by": "this application"}
"""The metadata of a stream that an application made, which it may update."""

NO_RESPONDERS = 503
NOT_FOUND = 10059
IN_USE = 10058
NOT_ENABLED = 10076
NOT_ENABLED_FOR_ACCOUNT = 10039
"""Codes of errors, from `server/errors.json` of nats-server."""


class Unusable(Exception):
    """NATS or its stream can't keep the promises. The message is a sentence that says why."""


class Limits(NamedTuple):
    """What the stream has to keep."""

    size: int
    """Records of a channel that are remembered."""
    seconds: float

    @property
    def kept(self) -> int:
        """Records of a channel that are kept: one more tells what came before the oldest."""
        return self.size + 1

    @property
    def max_age(self) -> int:
        return round((self.seconds if self.size else POSITION_SECONDS) * SECOND)

    @property
    def duplicate_window(self) -> int:
        return self.max_age if self.size else min(self.max_age, 120 * SECOND)


class Stream(NamedTuple):
    """What a worker has to know of the stream."""

    generation: str
    epoch: str
    replicas: int
    kept: int
    """Records of a channel that are kept, -1 for all."""
    takes_rollups: bool
    """Whether one message can replace all others of its subject."""
    max_age: float
    """Seconds after which records are deleted; 0 for never."""
    is_bounded: bool
    """Whether the stream deletes records that are younger, when there are too many."""
    last_seq: int


def read_stream(info: dict[str, Any]) -> Stream:
    """What JetStream's API says about the stream."""
    config, created = info["config"], info["created"]
    generation = config["republish"]["dest"].split(".")[2]
    return Stream(
        generation=generation,
        # One that was made anew by the same configuration has another epoch.
        epoch=f"{generation}.{''.join(re.findall(r'[0-9]', created))[4:]}",
        replicas=config.get("num_replicas", 1),
        kept=config.get("max_msgs_per_subject", -1),
        takes_rollups=config.get("allow_rollup_hdrs", False) and not config.get("deny_purge"),
        max_age=config.get("max_age", 0) / SECOND,
        is_bounded=config.get("max_bytes", -1) > 0 or config.get("max_msgs", -1) > 0,
        last_seq=info["state"]["last_seq"],
    )


async def open_stream(
    requests: Requests, names: Names, limits: Limits, options: Options, *, may_update: bool
) -> Stream:
    """Make the stream, or use the one that is there. Raises `Unusable`.

    A stream that an application made gets higher limits if these are, and if `may_update`.
    """
    try:
        info = await requests.call(f"STREAM.INFO.{names.stream}")
    except Refused as error:
        if error.code != NOT_FOUND:
            raise unusable(error) from error
        info = await create(requests, names, limits, options)
    found = info["config"]
    is_own = MARK.items() <= (found.get("metadata") or {}).items()
    if is_own and may_update:
        info = await update(requests, names, info, limits, options)
    fault = fault_of(info["config"], names, None if is_own else limits)
    if fault is not None:
        raise Unusable(f"the stream {names.stream} can't be used: {fault}")
    return read_stream(info)


async def create(
    requests: Requests, names: Names, limits: Limits, options: Options
) -> dict[str, Any]:
    config = {
        "name": names.stream,
        "subjects": [names.records],
        "republish": {
            "src": names.records,
            "dest": names.republished(f"{secrets.token_hex(6)}-0"),
        },
        "retention": "limits",
        "discard": "old",
        "storage": options.storage or "file",
        "num_replicas": options.replicas or 1,
        "max_msgs_per_subject": limits.kept,
        "max_age": limits.max_age,
        "duplicate_window": limits.duplicate_window,
        "allow_direct": True,
        "allow_rollup_hdrs": True,
        "metadata": MARK,
    }
    try:
        info = await requests.call(f"STREAM.CREATE.{names.stream}", config)
    except Refused as error:
        if error.code != IN_USE:
            raise unusable(error) from error
        return await requests.call(f"STREAM.INFO.{names.stream}")  # another worker was faster
    logger.info("made the stream %s in NATS", names.stream)
    return info


async def update(
    requests: Requests, names: Names, info: dict[str, Any], limits: Limits, options: Options
) -> dict[str, Any]:
    """Raise the limits of a stream that an application made to those of these settings.

    Limits are never lowered: applications with other settings may use the stream as well. Each
    of them shows what its own settings say.
    """
    config = info["config"]
    changed = {
        name: value
        for name, value in (
            ("max_msgs_per_subject", limits.kept),
            ("max_age", limits.max_age),
            ("duplicate_window", limits.duplicate_window),
        )
        if 0 < config.get(name, 0) < value
    }
    if options.replicas not in (None, config.get("num_replicas", 1)):
        changed["num_replicas"] = options.replicas
    if options.storage not in (None, config["storage"]):
        logger.warning(
            "the stream %s stays in %s: NATS can't move it", names.stream, config["storage"]
        )
    if not changed:
        return info
    try:
        info = await requests.call(f"STREAM.UPDATE.{names.stream}", {**config, **changed})
    except Refused as error:
        raise unusable(error) from error
    logger.info("changed the stream %s: %s", names.stream, changed)
    return info


def unusable(error: Refused) -> Unusable:
    """What to tell an operator about an error of JetStream's API."""
    if error.code in (NO_RESPONDERS, NOT_ENABLED, NOT_ENABLED_FOR_ACCOUNT):
        return Unusable(
            f"JetStream is not enabled for this account ({error}): "
            "start nats-server with --jetstream, or give the account a quota"
        )
    return Unusable(f"JetStream refused the stream: {error}")


def fault_of(config: dict[str, Any], names: Names, limits: Limits | None) -> str | None:
    """Why a stream can't keep the promises; None if it can.

    `limits` are those that an operator's stream must not fall below.
    """
    republish = config.get("republish") or {}
    # NATS has two ways to name the first wildcard.
    destination = rf"{names.stream}\.live\.([A-Za-z0-9_-]+)\.(\$1|\W+wildcard\(1\)\W+)"
    found = re.fullmatch(destination, republish.get("dest", ""))
    wanted_subjects = {names.records, f"{names.stream}.record.>"}
    if not wanted_subjects & set(config.get("subjects") or ()):
        return f"its subjects have to include {names.records}"
    if republish.get("src") != names.records or found is None or found[1] == PLAIN:
        return f"it has to republish {names.records} to {names.republished('1')}"
    for name, value in (("retention", "limits"), ("discard", "old"), ("allow_direct", True)):
        if config.get(name) != value:
            return f"its {name} has to be {str(value).lower()}"
    for name in ("no_ack", "sealed"):
        if config.get(name):
            return f"it must not have {name}"
    return limits and fault_of_limits(config, limits)


def fault_of_limits(config: dict[str, Any], limits: Limits) -> str | None:
    """Which limit of an operator's stream is too low for the settings of history."""
    per_subject, age = config.get("max_msgs_per_subject", -1), config.get("max_age", 0)
    if 0 < per_subject < limits.kept:
        return f"its max_msgs_per_subject has to be {limits.kept} (HISTORY_SIZE + 1) or -1"
    if limits.size and 0 < age < limits.max_age:
        return f"its max_age has to be {limits.seconds:g}s (HISTORY_SECONDS) or more"
    if limits.size and config.get("duplicate_window", 0) < limits.duplicate_window:
        return f"its duplicate_window has to be {limits.seconds:g}s (HISTORY_SECONDS) or more"
    return None


async def begin_generation(
    requests: Requests, names: Names, lost: str, known: str | None = None
) -> Stream:
    """End a generation of the stream, of which something is lost. Raises `Unusable`.

    Workers that do it at once begin the same one. If `lost` is not the current generation,
    nothing has to be done. `known` is the newest one that this worker has seen.
    """
    info = await requests.call(f"STREAM.INFO.{names.stream}")
    current = read_stream(info)
    if current.generation == lost:
        config = info["config"]
        config["republish"]["dest"] = names.republished(next_generation(known or lost))
        try:
            info = await requests.call(f"STREAM.UPDATE.{names.stream}", config)
        except Refused as error:
            raise Unusable(
                f"the stream {names.stream} has lost messages, and can't be told: {error}"
            ) from error
        logger.warning("the stream %s has lost messages: a new epoch begins", names.stream)
    return read_stream(info)


def next_generation(generation: str) -> str:
    """The name of the one that follows: of "a1b2-0" it is "a1b2-1"."""
    name, separator, number = generation.rpartition("-")
    if separator and number.isdecimal():
        return f"{name}-{int(number) + 1}"
    return f"{generation}-1"


def is_older(generation: str, other: str) -> bool:
    """Whether a generation came before another one of the same stream."""
    (name, _, number), (other_name, _, other_number) = (
        it.rpartition("-") for it in (generation, other)
    )
    if name != other_name or not (number.isdecimal() and other_number.isdecimal()):
        return False
    return int(number) < int(other_number)
