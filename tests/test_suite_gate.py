"""The suite that a project is rendered with fails when the application is broken."""

import shutil
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.gates.suite import failing_tests
from tests.template import Combination, Rendered, choices, render

ANYBODY = """
from typing import Annotated
from fastapi import Depends
from app.auth.logins import LoggedInUser
ANYBODY = LoggedInUser(name="anybody", login="x", expires_at=9e9)
CurrentUser = Annotated[LoggedInUser, Depends(lambda: ANYBODY)]
"""


@dataclass(frozen=True)
class Fault:
    """A replacement in the code, and the test that must notice it."""

    name: str
    combination: Combination
    file: str
    old: str
    new: str
    suite: str
    test: str


COOKIE, JWT, FIRST_MESSAGE, TICKET = (
    Combination(style, "memory", "none") for style in ("cookie", "jwt", "first_message", "ticket")
)
REDIS, MEMORY = (Combination("none", broker, "none") for broker in ("redis", "memory"))

FAULTS = [
    *(
        Fault(
            f"anybody may open a socket: {combination.auth}",
            combination,
            "app/routes/realtime.py",
            "from app.auth import CurrentUser\n",
            ANYBODY,
            f"tests/test_auth_{combination.auth}.py",
            test,
        )
        for combination, test in (
            (COOKIE, "test_without_a_cookie_no_socket_opens"),
            (JWT, "test_without_a_token_no_socket_opens"),
            (FIRST_MESSAGE, "test_a_bad_token_is_closed_with_4401"),
            (TICKET, "test_a_session_without_a_ticket_opens_no_socket"),
        )
    ),
    Fault(
        "a ticket opens two sockets",
        TICKET,
        "app/auth/ticket.py",
        "        delete(Ticket)\n"
        "        .where(Ticket.hash == digest(ticket), Ticket.expires_at > int(time.time()))\n"
        "        .returning(Ticket.login_id)\n",
        "        select(Ticket.login_id)\n"
        "        .where(Ticket.hash == digest(ticket), Ticket.expires_at > int(time.time()))\n",
        "tests/test_auth_ticket.py",
        "test_a_ticket_that_one_worker_took_is_refused_by_another",
    ),
    Fault(
        "a stranger may wait for ever",
        FIRST_MESSAGE,
        "app/auth/first_message.py",
        "asyncio.timeout_at(deadline)",
        "asyncio.timeout_at(deadline + 60)",
        "tests/test_auth_first_message.py",
        "test_silence_is_closed_with_4401_after_five_seconds",
    ),
    Fault(
        "a token outlives its login",
        JWT,
        "app/auth/tokens.py",
        "if await logins.name(claims.login) != claims.user:",
        "if False:",
        "tests/test_tokens.py",
        "test_logging_out_ends_the_login",
    ),
    Fault(
        "a socket outlives its token",
        JWT,
        "app/auth/live.py",
        "        self._expiry = loop.call_later(seconds, ",
        "        self._expiry = loop.call_later(3600 + seconds, ",
        "tests/test_live_tokens.py",
        "test_a_socket_is_closed_with_4401_when_its_token_expires",
    ),
    Fault(
        "a socket outlives its login",
        COOKIE,
        "app/auth/live.py",
        '            watch.end("the login has ended")\n',
        "            pass\n",
        "tests/test_live_logins.py",
        "test_logging_out_closes_the_sockets_of_that_login_and_no_other",
    ),
    Fault(
        "a password may be guessed for ever",
        COOKIE,
        "app/auth/throttle.py",
        "            raise TooManyAttempts",
        "            pass",
        "tests/test_throttle.py",
        "test_after_ten_wrong_passwords_a_name_has_to_wait",
    ),
    Fault(
        "everybody may enter every room",
        MEMORY,
        "app/routes/realtime.py",
        "if not await may(connection.user, message.type, message.room):",
        "if await may(connection.user, message.type, message.room) is None:",
        "tests/test_permissions.py",
        "test_a_forbidden_join_brings_no_membership_and_no_message",
    ),
    Fault(
        "any page may open a socket",
        MEMORY,
        "app/routes/realtime.py",
        "APIRouter(dependencies=[Depends(check_origin)])",
        "APIRouter()",
        "tests/test_origin.py",
        "test_foreign_page_is_refused_before_accept",
    ),
    Fault(
        "a message is lost",
        MEMORY,
        "app/room.py",
        "            self._send_frames(frames)\n            self._published_at",
        "            if position.offset % 5:\n                self._send_frames(frames)\n"
        "            self._published_at",
        "tests/test_realtime.py",
        "test_offsets_follow_joined_without_a_gap",
    ),
    Fault(
        "who comes back gets part of what was missed",
        MEMORY,
        "app/room.py",
        "if d.offset > position.offset]",
        "if d.offset > position.offset][1:]",
        "tests/test_recovery.py",
        "test_who_returns_gets_what_was_missed_and_then_live_messages",
    ),
    Fault(
        "a part of the past passes for all of it",
        MEMORY,
        "app/room.py",
        "            self.first_offset - 1 <= position.offset <= self.position.offset\n",
        "            position.offset <= self.position.offset\n",
        "tests/test_recovery.py",
        "test_a_room_remembers_so_many_messages",
    ),
    Fault(
        "a message that is sent again is delivered again",
        MEMORY,
        "app/broker/memory.py",
        "        if record.id in known.digests:\n",
        "        if record.id in ():\n",
        "tests/test_recovery.py",
        "test_a_message_that_is_sent_again_is_delivered_once",
    ),
    Fault(
        "a slow client's outbox is not bounded",
        MEMORY,
        "app/connection.py",
        '            self.close(CloseCode.TRY_AGAIN_LATER, "too slow")\n',
        "            pass\n",
        "tests/test_slow_client.py",
        "test_slow_client_is_closed_alone_with_1013",
    ),
    Fault(
        "each message is written alone",
        MEMORY,
        "app/room.py",
        "TURNS = 3\n",
        "TURNS = 1\n",
        "tests/test_room.py",
        "test_what_comes_at_about_the_same_time_is_one_write",
    ),
    Fault(
        "each publish is a round trip",
        REDIS,
        "app/broker/redis_pipeline.py",
        "TURNS = 3\n",
        "TURNS = 0\n",
        "tests/test_redis_backend.py",
        "test_commands_that_come_at_about_the_same_time_share_a_round_trip",
    ),
    Fault(
        "whoever falls behind with a frame gets it again",
        MEMORY,
        "app/room.py",
        "        for connection in behind:\n",
        "        for connection in list(self._behind):\n",
        "tests/test_room.py",
        "test_a_member_that_falls_behind_misses_nothing_and_gets_nothing_twice",
    ),
    Fault(
        "a room does not hear that a member falls behind",
        MEMORY,
        "app/connection.py",
        "                room.update(self)\n",
        "                pass\n",
        "tests/test_room.py",
        "test_a_member_that_falls_behind_misses_nothing_and_gets_nothing_twice",
    ),
    Fault(
        "frames go on after the close frame",
        MEMORY,
        "app/prebuilt_frames.py",
        "        if not (self.close_sent or self.transport.is_closing()):\n",
        "        if True:\n",
        "tests/test_prebuilt_frames.py",
        "test_nothing_is_written_after_the_close_frame",
    ),
    Fault(
        "headers stay as long as their socket",
        MEMORY,
        "app/prebuilt_frames.py",
        "        self.request.headers.clear()  # the parser holds on to the request\n",
        "",
        "tests/test_prebuilt_frames.py",
        "test_headers_go_with_the_handshake",
    ),
    Fault(
        "a socket keeps the request that it was, until the garbage is collected",
        MEMORY,
        "app/bounded_requests.py",
        "        self.parser = None  # type: ignore[assignment]\n",
        "",
        "tests/test_bounded_requests.py",
        "test_a_socket_keeps_nothing_of_the_request_that_it_was",
    ),
    Fault(
        "a client may send as much as it likes",
        MEMORY,
        "app/limits.py",
        "        return Verdict.REFUSE if tokens >= -self._burst else Verdict.ABUSE\n",
        "        return Verdict.FINE\n",
        "tests/test_limits.py",
        "test_whoever_goes_on_is_closed_with_1008_alone",
    ),
    Fault(
        "messages stay in their process",
        REDIS,
        "app/broker/redis_subscriptions.py",
        "                await self.heard.put(event)\n",
        "                pass\n",
        "tests/test_redis.py",
        "test_two_processes_exchange_messages",
    ),
    Fault(
        "what an outage kept from a worker stays away",
        REDIS,
        "app/manager.py",
        "            if not await self._catch_up(room):\n"
        "                room.resync(room.position)\n",
        "            pass\n",
        "tests/test_redis_outage.py",
        "test_what_nobody_heard_is_filled_in",
    ),
    Fault(
        "members are not told of what is lost",
        REDIS,
        "app/room.py",
        "        self.send(Resync(room=self.name, epoch=position.epoch, offset=position.offset))\n",
        "",
        "tests/test_redis_outage.py",
        "test_members_are_told_when_redis_forgot_everything",
    ),
    Fault(
        "a lost connection to Redis is not made again",
        REDIS,
        "app/broker/redis_subscriptions.py",
        "            await asyncio.sleep(delay)\n",
        "            await asyncio.sleep(3600 + delay)\n",
        "tests/test_redis_outage.py",
        "test_an_outage_is_told_and_outlived",
    ),
    Fault(
        "a publication that Redis did not take is lost in silence",
        REDIS,
        "app/manager.py",
        "        PUBLICATIONS_REFUSED.labels(code).inc()\n",
        "        return\n",
        "tests/test_redis_outage.py",
        "test_an_outage_is_told_and_outlived",
    ),
    Fault(
        "a project is ready without its broker",
        REDIS,
        "app/broker/redis_subscriptions.py",
        "        if self._heard_at is None or self._is_refused:\n            return False\n",
        "        if self._heard_at is None or self._is_refused:\n            return True\n",
        "tests/test_redis_outage.py",
        "test_an_outage_is_told_and_outlived",
    ),
    Fault(
        "a Redis that refuses to write passes for one that takes messages",
        REDIS,
        "app/broker/redis_subscriptions.py",
        " or self._is_refused:\n",
        ":\n",
        "tests/test_redis_connection.py",
        "test_a_server_that_refuses_to_write_is_told_and_outlived",
    ),
    Fault(
        "a reset connection to Redis ends the worker",
        REDIS,
        "app/broker/redis_pipeline.py",
        "TimeoutError, RuntimeError)\n",
        "TimeoutError)\n",
        "tests/test_redis_connection.py",
        "test_connections_that_are_reset_come_back",
    ),
    Fault(
        "after an outage all rooms read history at once",
        MEMORY,
        "app/manager.py",
        "                        async with self._catching_up:\n",
        "                        if True:\n",
        "tests/test_catch_up.py",
        "test_many_rooms_do_not_all_ask_at_once",
    ),
    Fault(
        "a gap that history does not fill is passed over",
        MEMORY,
        "app/manager.py",
        "                room.resync(before)\n",
        "                room.position = before\n",
        "tests/test_catch_up.py",
        "test_a_gap_is_filled_or_told",
    ),
    Fault(
        "members are not told that history can't be read after an outage",
        MEMORY,
        "app/manager.py",
        "                room.resync(room.position)\n",
        "                pass\n",
        "tests/test_catch_up.py",
        "test_a_gap_is_filled_or_told",
    ),
    Fault(
        "who joins twice is there for ever",
        MEMORY,
        "app/manager.py",
        "            if request.connection not in room.members:\n",
        "            if True:\n",
        "tests/test_presence.py",
        "test_who_joins_again_is_there_once",
    ),
    Fault(
        "pongs count against no limit",
        MEMORY,
        "app/prebuilt_frames.py",
        "        if self._is_tolerable():\n            super().handle_pong(event)\n",
        "        super().handle_pong(event)\n",
        "tests/test_control_frames.py",
        "test_a_flood_ends_the_socket_at_once",
    ),
    Fault(
        "a trailer has no end",
        MEMORY,
        "app/bounded_requests.py",
        "        else:  # it may be answered already\n            self.transport.close()\n",
        "",
        "tests/test_bounded_requests.py",
        "test_what_follows_a_body_has_an_end",
    ),
    Fault(
        "one channel that is forgotten moves another",
        MEMORY,
        "app/broker/memory.py",
        "        if known is None and channel not in self._subscribed:\n",
        "        if known is None:\n",
        "tests/test_history.py",
        "test_where_a_channel_stands_does_not_depend_on_others",
    ),
    Fault(
        "users of a killed worker stay too long",
        REDIS,
        "app/presence.py",
        "            if neighbour.unheard == 3:\n",
        "            if neighbour.unheard == 6:\n",
        "tests/test_redis.py",
        "test_users_of_a_killed_process_leave",
    ),
    Fault(
        "a page that comes back does not say what it has",
        Combination("none", "memory", "html"),
        "web/room.js",
        "...(since && { since }) };",
        "};",
        "tests/test_web_resume.py",
        "test_a_tab_that_was_offline_misses_nothing",
    ),
]


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.name)
def test_a_broken_application_is_found(tmp_path: Path, rendered: Rendered, fault: Fault) -> None:
    project = tmp_path / "my-chat"
    shutil.copytree(rendered(fault.combination), project)
    path = project / fault.file
    text = path.read_text()
    assert text.count(fault.old) == 1, f"{fault.file} has {text.count(fault.old)} times {fault.old}"
    path.write_text(text.replace(fault.old, fault.new))
    selection = ["-m", "not soak", fault.suite, "-k", fault.test, "--exitfirst"]
    findings = failing_tests(project, selection)
    assert any(f"::{fault.test}" in found and " failure: " in found for found in findings), findings


def test_a_skipped_test_is_found(tmp_path: Path) -> None:
    project = render(tmp_path / "my-chat", MEMORY)
    suite = project / "tests" / "test_skipped.py"
    suite.write_text("import pytest\n\n\ndef test_it() -> None:\n    pytest.skip('not here')\n")
    assert "test_it skipped: not here" in failing_tests(project, ["tests/test_skipped.py"])[0]


def test_a_suite_without_a_test_is_found(tmp_path: Path) -> None:
    project = render(tmp_path / "my-chat", MEMORY)
    assert failing_tests(project, ["-k", "nothing_has_this_name"])[0] == "no test ran"


def test_a_suite_that_cannot_be_collected_is_found(tmp_path: Path) -> None:
    project = render(tmp_path / "my-chat", MEMORY)
    (project / "tests" / "conftest.py").write_text("import nothing_has_this_name\n")
    assert failing_tests(project)


def test_every_style_with_accounts_has_a_fault_planted() -> None:
    planted = {fault.combination.auth for fault in FAULTS if fault.new == ANYBODY}
    assert planted == set(choices("auth")) - {"none"}
