"""The suite that a project is rendered with fails when the application is broken."""

import shutil
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.gates.suite import failing_tests
from tests.template import Combination, Rendered, choices, render

ANYBODY = """
async def anybody() -> LoggedInUser:
    return LoggedInUser(id="anybody", name="anybody", login="x", expires_at=9e9)


AUTHENTICATION = Authentication(
    anybody, """
"""In place of the check of a credential."""


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
            f"app/auth/{combination.auth}.py",
            "AUTHENTICATION = Authentication(\n    authenticate,",
            ANYBODY.rstrip(),
            f"tests/engine/auth/{combination.auth}/test_{combination.auth}.py",
            test,
        )
        for combination, test in (
            (COOKIE, "test_a_handshake_without_a_cookie_is_refused"),
            (JWT, "test_a_handshake_without_a_token_is_refused"),
            (FIRST_MESSAGE, "test_a_connection_with_a_bad_token_is_closed_with_4401"),
            (TICKET, "test_a_handshake_with_a_session_but_without_a_ticket_is_refused"),
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
        "tests/engine/auth/ticket/test_ticket.py",
        "test_a_ticket_that_was_used_on_one_worker_is_refused_by_another",
    ),
    Fault(
        "an unauthenticated connection may wait for ever",
        FIRST_MESSAGE,
        "app/auth/first_message.py",
        "asyncio.timeout_at(deadline)",
        "asyncio.timeout_at(deadline + 60)",
        "tests/engine/auth/first_message/test_first_message.py",
        "test_a_silent_connection_is_closed_with_4401_after_five_seconds",
    ),
    Fault(
        "a token outlives its login",
        JWT,
        "app/auth/tokens.py",
        "user = await logins.user(claims.login)",
        'user = User(claims.user, "Ada")',
        "tests/engine/auth/tokens/test_tokens.py",
        "test_logging_out_ends_the_login",
    ),
    Fault(
        "a socket outlives its token",
        JWT,
        "app/auth/accounts/live.py",
        "        self._expiry = loop.call_later(seconds, ",
        "        self._expiry = loop.call_later(3600 + seconds, ",
        "tests/engine/auth/tokens/test_live_tokens.py",
        "test_a_socket_is_closed_with_4401_when_its_token_expires",
    ),
    Fault(
        "a socket outlives its login",
        COOKIE,
        "app/auth/accounts/live.py",
        '            watch.end("the login has ended")\n',
        "            pass\n",
        "tests/engine/auth/accounts/test_live_logins.py",
        "test_logging_out_closes_the_sockets_of_that_login_and_no_other",
    ),
    Fault(
        "a password may be guessed for ever",
        COOKIE,
        "app/auth/accounts/throttle.py",
        "            raise TooManyAttempts",
        "            pass",
        "tests/engine/auth/accounts/test_throttle.py",
        "test_after_ten_wrong_passwords_further_logins_are_refused",
    ),
    Fault(
        "anybody may register for ever",
        COOKIE,
        "app/auth/accounts/registrations.py",
        "            raise TooManyRegistrations(seconds)",
        "            pass",
        "tests/engine/auth/accounts/test_registrations.py",
        "test_a_client_that_registers_too_many_accounts_is_told_when_to_try_again",
    ),
    Fault(
        "the id of a login ends it",
        JWT,
        "app/auth/accounts/logins.py",
        "    return digest(series_of(token))",
        "    return series_of(token)",
        "tests/engine/auth/tokens/test_tokens.py",
        "test_the_id_of_a_login_neither_renews_nor_ends_it",
    ),
    Fault(
        "names that look alike are accepted",
        COOKIE,
        "app/auth/accounts/names.py",
        '"".join(known.get(char, char) for char in decomposed)',
        "decomposed",
        "tests/engine/auth/accounts/test_names.py",
        "test_registration_refuses_reserved_names_and_names_that_look_like_taken_ones",
    ),
    Fault(
        "everybody may enter every room",
        MEMORY,
        "app/realtime/actions.py",
        '        if not await self._run(connection, may, f"may {action}"):\n',
        '        if await self._run(connection, may, f"may {action}") is None:\n',
        "tests/engine/test_permissions.py",
        "test_a_forbidden_join_gives_no_membership_and_no_message",
    ),
    Fault(
        "any page may open a socket",
        MEMORY,
        "app/realtime/endpoint.py",
        "APIRouter(dependencies=[Depends(check_origin)])",
        "APIRouter()",
        "tests/engine/test_origin.py",
        "test_a_page_of_another_origin_is_refused_before_accept",
    ),
    Fault(
        "the documentation is open in production",
        MEMORY,
        "app/realtime/settings.py",
        'self.docs_open = self.environment == "development"',
        "self.docs_open = True",
        "tests/engine/server/test_headers.py",
        "test_the_documentation_is_closed_in_production",
    ),
    Fault(
        "metrics need no token",
        MEMORY,
        "app/realtime/operations.py",
        "if settings.metrics_token is not None:",
        "if settings.metrics_token is None:",
        "tests/engine/test_metrics.py",
        "test_with_a_token_only_who_knows_it_is_answered",
    ),
    Fault(
        "a message is lost",
        MEMORY,
        "app/realtime/room.py",
        "        self._send_frames(frames)\n        self._published_at",
        "        if position.offset % 5:\n            self._send_frames(frames)\n"
        "        self._published_at",
        "tests/engine/test_realtime.py",
        "test_live_messages_follow_joined_without_a_gap",
    ),
    Fault(
        "a client that reconnects receives part of what it missed",
        MEMORY,
        "app/realtime/history.py",
        "if it.offset > position.offset]",
        "if it.offset > position.offset][1:]",
        "tests/engine/test_recovery.py",
        "test_a_client_that_reconnects_receives_what_it_missed_and_then_live_messages",
    ),
    Fault(
        "a part of the past passes for all of it",
        MEMORY,
        "app/realtime/broker/base.py",
        "        return first <= offset <= max(end, self.quiet_until or 0)\n",
        "        return offset <= max(end, self.quiet_until or 0)\n",
        "tests/engine/test_recovery.py",
        "test_a_room_remembers_as_many_messages_as_the_setting_says",
    ),
    Fault(
        "a message that is sent again is delivered again",
        MEMORY,
        "app/realtime/broker/memory.py",
        "        first = known.offsets.get(message.id)\n",
        "        first = None\n",
        "tests/engine/test_recovery.py",
        "test_a_message_that_is_sent_again_is_delivered_once",
    ),
    Fault(
        "a slow client's outbox is not bounded",
        MEMORY,
        "app/realtime/connection.py",
        '            self.close(CloseCode.TRY_AGAIN_LATER, "too slow")\n',
        "            pass\n",
        "tests/engine/test_slow_client.py",
        "test_a_slow_client_is_closed_alone_with_1013",
    ),
    Fault(
        "each message is written alone",
        MEMORY,
        "app/realtime/turns.py",
        "TURNS = 3\n",
        "TURNS = 1\n",
        "tests/engine/test_room.py",
        "test_frames_that_come_at_about_the_same_time_are_one_write",
    ),
    Fault(
        "each publish is a round trip",
        REDIS,
        "app/realtime/broker/redis/pipeline.py",
        "TURNS = 3\n",
        "TURNS = 0\n",
        "tests/engine/broker/redis/test_pipeline.py",
        "test_commands_that_come_at_about_the_same_time_share_a_round_trip",
    ),
    Fault(
        "whoever falls behind with a frame gets it again",
        MEMORY,
        "app/realtime/room.py",
        "            for connection in behind:\n                connection.send_frames(frames)\n",
        "            for connection in list(self._behind):\n"
        "                connection.send_frames(frames)\n",
        "tests/engine/test_room.py",
        "test_a_member_that_falls_behind_misses_nothing_and_gets_nothing_twice",
    ),
    Fault(
        "a room does not hear that a member falls behind",
        MEMORY,
        "app/realtime/connection.py",
        "                room.update(self)\n",
        "                pass\n",
        "tests/engine/test_room.py",
        "test_a_member_that_falls_behind_misses_nothing_and_gets_nothing_twice",
    ),
    Fault(
        "frames go on after the close frame",
        MEMORY,
        "app/realtime/server/frames.py",
        "        if not (self.close_sent or self.transport.is_closing()):\n",
        "        if True:\n",
        "tests/engine/server/test_frames.py",
        "test_nothing_is_written_after_the_close_frame",
    ),
    Fault(
        "headers stay as long as their socket",
        MEMORY,
        "app/realtime/server/frames.py",
        "        self.request.headers.clear()  # the parser keeps a reference to the request\n",
        "",
        "tests/engine/server/test_frames.py",
        "test_the_headers_of_a_handshake_are_not_kept",
    ),
    Fault(
        "a socket keeps the request that it was, until the garbage is collected",
        MEMORY,
        "app/realtime/server/requests.py",
        "        self.parser = None  # type: ignore[assignment]\n",
        "",
        "tests/engine/server/test_requests.py",
        "test_a_socket_keeps_nothing_of_its_request",
    ),
    Fault(
        "a client may send as much as it likes",
        MEMORY,
        "app/realtime/limits.py",
        "        return Verdict.REFUSE if tokens >= -self._burst else Verdict.ABUSE\n",
        "        return Verdict.FINE\n",
        "tests/engine/test_limits.py",
        "test_a_client_that_does_not_slow_down_is_closed_alone_with_1008",
    ),
    Fault(
        "messages stay in their process",
        REDIS,
        "app/realtime/broker/redis/subscriptions.py",
        "                self._deliver(event)\n",
        "                pass\n",
        "tests/engine/workers/test_workers.py",
        "test_two_processes_exchange_messages",
    ),
    Fault(
        "what an outage kept from a worker stays away",
        REDIS,
        "app/realtime/feed.py",
        "is_read=await self._read_history(room)",
        "is_read=True",
        "tests/engine/broker/redis/test_outage.py",
        "test_messages_that_no_worker_received_are_filled_in",
    ),
    Fault(
        "members are not told of what is lost",
        REDIS,
        "app/realtime/room.py",
        "        self.send(Resync(room=self.name, epoch=position.epoch, offset=position.offset))\n",
        "",
        "tests/engine/workers/test_outage.py",
        "test_members_are_told_when_the_broker_lost_everything",
    ),
    Fault(
        "a lost connection to Redis is not made again",
        REDIS,
        "app/realtime/broker/redis/subscriptions.py",
        "            await asyncio.sleep(delay)\n",
        "            await asyncio.sleep(3600 + delay)\n",
        "tests/engine/workers/test_outage.py",
        "test_clients_are_told_of_an_outage_and_the_server_survives_it",
    ),
    Fault(
        "a publication that Redis did not take is lost in silence",
        REDIS,
        "app/realtime/manager.py",
        "        PUBLICATIONS_REFUSED.labels(code).inc()\n",
        "        return\n",
        "tests/engine/workers/test_outage.py",
        "test_clients_are_told_of_an_outage_and_the_server_survives_it",
    ),
    Fault(
        "a project is ready without its broker",
        REDIS,
        "app/realtime/broker/redis/subscriptions.py",
        "        if self._heard_at is None or self._is_refused:\n            return False\n",
        "        if self._heard_at is None or self._is_refused:\n            return True\n",
        "tests/engine/workers/test_outage.py",
        "test_clients_are_told_of_an_outage_and_the_server_survives_it",
    ),
    Fault(
        "a Redis that refuses to write passes for one that takes messages",
        REDIS,
        "app/realtime/broker/redis/subscriptions.py",
        " or self._is_refused:\n",
        ":\n",
        "tests/engine/broker/redis/test_connection.py",
        "test_a_server_that_refuses_to_write_is_told_and_outlived",
    ),
    Fault(
        "after an outage all rooms read history at once",
        MEMORY,
        "app/realtime/feed.py",
        "                        async with self._catching_up:\n",
        "                        if True:\n",
        "tests/engine/test_catch_up.py",
        "test_many_rooms_do_not_all_ask_at_once",
    ),
    Fault(
        "what is published while a room is opened does not reach who opens it",
        MEMORY,
        "app/realtime/rooms.py",
        "        with room.recording():\n            feed.start(room)",
        "        feed.start(room)\n        with room.recording():\n            pass",
        "tests/engine/test_catch_up.py",
        "test_what_is_published_while_history_is_on_its_way",
    ),
    Fault(
        "a gap that history does not fill is passed over",
        MEMORY,
        "app/realtime/feed.py",
        "            room.resync(Position(epoch=event.position.epoch, offset=event.previous))\n",
        "            room.position = event.position\n",
        "tests/engine/test_catch_up.py",
        "test_a_gap_is_filled_or_the_members_are_told",
    ),
    Fault(
        "members are not told that history can't be read after an outage",
        MEMORY,
        "app/realtime/feed.py",
        "                room.resync(room.position)\n",
        "                pass\n",
        "tests/engine/test_catch_up.py",
        "test_a_gap_is_filled_or_the_members_are_told",
    ),
    Fault(
        "who joins twice is there for ever",
        MEMORY,
        "app/realtime/rooms.py",
        "for r in present if r.connection not in room.members]",
        "for r in present]",
        "tests/engine/test_presence.py",
        "test_a_user_who_joins_again_is_there_once",
    ),
    Fault(
        "pongs count against no limit",
        MEMORY,
        "app/realtime/server/frames.py",
        "        if self._is_tolerable():\n            super().handle_pong(event)\n",
        "        super().handle_pong(event)\n",
        "tests/engine/server/test_control_frames.py",
        "test_a_flood_of_control_frames_closes_the_socket_at_once",
    ),
    Fault(
        "a trailer has no end",
        MEMORY,
        "app/realtime/server/requests.py",
        "        else:  # it may be answered already\n            self.transport.close()\n",
        "",
        "tests/engine/server/test_requests.py",
        "test_trailers_and_chunk_extensions_are_bounded",
    ),
    Fault(
        "one channel that is forgotten moves another",
        MEMORY,
        "app/realtime/broker/memory.py",
        "            if not self._is_heard(channel):\n                return None\n",
        "            return None\n",
        "tests/engine/broker/test_memory.py",
        "test_a_quiet_channel_does_not_move_with_others",
    ),
    Fault(
        "users of a killed worker stay too long",
        REDIS,
        "app/realtime/presence/tracker.py",
        "                if neighbour.unheard == 3:\n",
        "                if neighbour.unheard == 6:\n",
        "tests/engine/workers/test_workers.py",
        "test_users_of_a_killed_process_leave",
    ),
    Fault(
        "a client publishes what only the application may",
        MEMORY,
        "app/realtime/events.py",
        "if issubclass(it, kind) and it.__from_clients__]",
        "if issubclass(it, kind)]",
        "tests/engine/test_events.py",
        "test_an_event_of_the_application_is_forbidden_to_clients",
    ),
    Fault(
        "a signal comes back to its sender",
        MEMORY,
        "app/realtime/room.py",
        "            if connection.id not in senders:\n",
        "            if True:\n",
        "tests/engine/test_signals.py",
        "test_a_signal_reaches_every_other_connection_and_not_its_sender",
    ),
    Fault(
        "for a client that is behind, every signal counts",
        MEMORY,
        "app/realtime/connection.py",
        "                if waiting.signal == key:\n",
        "                if waiting.signal is key:\n",
        "tests/engine/test_signals.py",
        "test_for_a_client_that_is_behind_only_the_newest_of_each_sender_counts",
    ),
    Fault(
        "a handler that refuses lets the message through",
        MEMORY,
        "app/realtime/actions.py",
        "                await self._run_before(connection, message)\n",
        "",
        "tests/engine/test_handlers.py",
        "test_what_its_handler_does_not_let_through_reaches_nobody",
    ),
    Fault(
        "a handler that fails ends the socket",
        MEMORY,
        "app/realtime/actions.py",
        '            raise Rejected("internal", "something went wrong in the server") from None\n',
        "            raise\n",
        "tests/engine/test_handlers.py",
        "test_a_handler_that_fails_is_logged_and_the_socket_stays_open",
    ),
    Fault(
        "a slow handler ends its socket",
        MEMORY,
        "app/realtime/server/frames.py",
        "(self._has_taken_data or self.handler_is_running)",
        "self._has_taken_data",
        "tests/engine/test_handlers.py",
        "test_a_handler_may_take_longer_than_the_keepalive",
    ),
    Fault(
        "a wrong key opens the server API",
        MEMORY,
        "app/realtime/bearer.py",
        "    if not is_known:\n",
        "    if not key:\n",
        "tests/engine/test_api.py",
        "test_without_a_valid_key_every_request_is_refused",
    ),
    Fault(
        "an eviction leaves the user in the room",
        MEMORY,
        "app/realtime/manager.py",
        "            await self._rooms.leave(name, connection)\n"
        '            connection.send(Left(room=shown_name(name), reason="evicted"))\n',
        '            connection.send(Left(room=shown_name(name), reason="evicted"))\n',
        "tests/engine/test_api.py",
        "test_an_evicted_user_leaves_the_room_and_can_join_again",
    ),
    Fault(
        "the handlers of the owner are not found",
        MEMORY,
        "app/realtime/application.py",
        "        self._handlers = Handlers.of(handlers)\n",
        "        self._handlers = Handlers()\n",
        "tests/engine/test_own_application.py",
        "test_the_handler_answers_and_publishes",
    ),
    Fault(
        "a test of the engine needs the owner's events",
        MEMORY,
        "tests/engine/doubles.py",
        "from tests.engine.example.events import ChatMessage\n",
        "from app.events import ChatMessage\n",
        "tests/engine/test_boundary.py",
        "test_the_engines_tests_import_nothing_of_the_owner",
    ),
    Fault(
        "a command stays with the worker that was asked",
        REDIS,
        "app/realtime/commands.py",
        'CHANNEL = "commands"\n',
        'CHANNEL = f"commands since {time.time()}"\n',
        "tests/engine/workers/test_api.py",
        "test_evicting_and_disconnecting_act_on_both_workers_within_a_second",
    ),
    Fault(
        "a command that a worker missed is not carried out",
        MEMORY,
        "app/realtime/commands.py",
        "            if isinstance(event, Resubscribed):\n                await self._catch_up()\n",
        "            if isinstance(event, Resubscribed):\n                pass\n",
        "tests/engine/test_commands.py",
        "test_commands_that_were_missed_are_carried_out_later",
    ),
    Fault(
        "what is for one user reaches others",
        MEMORY,
        "app/realtime/rooms.py",
        "    return connection.user.room if room == OWN_ROOM else room\n",
        '    return "@everybody" if room == OWN_ROOM else room\n',
        "tests/engine/test_api.py",
        "test_publishing_to_a_user_reaches_the_user_on_all_devices_and_nobody_else",
    ),
    Fault(
        "a page leaves out a message",
        MEMORY,
        "app/realtime/broker/memory.py",
        "        start = min(end - 1, known.position.offset) - limit\n",
        "        start = min(end - 1, known.position.offset) - limit + 1\n",
        "tests/engine/broker/test_memory.py",
        "test_pages_go_back_to_the_oldest_that_is_remembered",
    ),
    Fault(
        "publishing again answers with another position",
        MEMORY,
        "app/realtime/broker/memory.py",
        "            return known.at(first)\n",
        "            return known.position\n",
        "tests/engine/broker/test_memory.py",
        "test_a_record_is_delivered_once_while_it_is_remembered",
    ),
    Fault(
        "entering a room stores something in Redis",
        REDIS,
        "app/realtime/broker/redis/position.lua",
        "  return shared_epoch(), 0\n",
        "  remember(shared_epoch(), 0)\n  return shared_epoch(), 0\n",
        "tests/engine/broker/redis/test_backend.py",
        "test_reading_a_channel_stores_nothing_but_the_epoch",
    ),
    Fault(
        "new rooms can be entered at any rate",
        MEMORY,
        "app/realtime/manager.py",
        "        connection.new_rooms.spend(1)\n",
        "",
        "tests/engine/test_attacks.py",
        "test_entering_new_rooms_is_limited_and_leaves_no_room_behind",
    ),
    Fault(
        "what all rooms remember is not bounded",
        MEMORY,
        "app/realtime/broker/memory.py",
        "        while self.history_bytes and self._size > self.history_bytes:\n",
        "        while False:\n",
        "tests/engine/test_attacks.py",
        "test_what_is_published_in_new_rooms_is_bounded_in_sum",
    ),
    Fault(
        "history can be asked for again and again",
        MEMORY,
        "app/realtime/replays.py",
        "        if seconds:\n",
        "        if False:\n",
        "tests/engine/test_attacks.py",
        "test_asking_for_the_same_history_again_and_again_is_bounded",
    ),
    Fault(
        "a large room is told names",
        MEMORY,
        "app/realtime/presence/news.py",
        "        return 0 < self._most < count\n",
        "        return False\n",
        "tests/engine/test_attacks.py",
        "test_a_crowd_that_enters_a_room_is_told_counts",
    ),
    Fault(
        "a text inside of a payload is read as a message",
        MEMORY,
        "app/realtime/server/texts.py",
        "inner.gi_code is BETWEEN_FRAMES and ",
        "",
        "tests/engine/server/test_texts.py",
        "test_what_looks_like_a_text_in_a_payload_is_not_one",
    ),
    Fault(
        "the engine imports a file of the owner",
        MEMORY,
        "app/realtime/limits.py",
        "from app.realtime.settings import RealtimeSettings\n",
        "from app.realtime.settings import RealtimeSettings\n\nif False:\n    import app.events\n",
        "tests/engine/test_boundary.py",
        "test_the_engine_imports_nothing_of_the_owner",
    ),
    Fault(
        "a page that comes back does not say what it has",
        Combination("none", "memory", "html"),
        "web/realtime/room.js",
        "...(since && { since }) };",
        "};",
        "tests/engine/client/html/test_resume.py",
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
    planted = {fault.combination.auth for fault in FAULTS if fault.new == ANYBODY.rstrip()}
    assert planted == set(choices("auth")) - {"none"}
