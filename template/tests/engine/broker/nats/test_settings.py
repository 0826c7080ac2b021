"""What BROKER_URL may say about NATS, and what is logged when NATS refuses it."""

import logging
from pathlib import Path

import pytest

from app.realtime.broker import Backend, BrokerUnavailable
from app.realtime.broker.nats.options import read_options
from tests.engine.broker.contract import connected, publish, subscribe
from tests.engine.broker.nats.certificates import make_certificate
from tests.engine.example.settings import Settings
from tests.engine.test_settings import Refusal, refusal
from tests.support.broker.nats import NatsServer
from tests.support.client import until

__all__ = ["refusal"]


@pytest.mark.parametrize(
    ("url", "what"),
    [
        ("nats://localhost:port", "port"),
        ("nats://localhost:4222,other:99999", "port"),
        ("nats://", "a server has no name"),
        ("nats://a:4222,,b:4222", "a server has no name"),
        ("nats://localhost/chat", "has no path"),
        ("nats://localhost#4", "fragment"),
        ("nats://localhost?max_reconnect_attempts=5", "there is no max_reconnect_attempts"),
        ("nats://localhost?replicas=three", "replicas has to be a number from 1 to 5"),
        ("nats://localhost?replicas=0", "replicas"),
        ("nats://localhost?replicas=", "replicas has no value"),
        ("nats://localhost?replicas=1&replicas=3", "replicas is given twice"),
        ("nats://localhost?storage=disk", "storage has to be file or memory"),
        ("nats://localhost?stream=a.b", "stream has to be"),
        ("nats://localhost?creds=/not/there", "creds names a file that is not there"),
        ("nats://localhost?tls_ca=/not/there", "tls_ca needs a URL that begins with tls://"),
        ("tls://localhost?tls_ca=/not/there", "tls_ca can't be used"),
        ("tls://localhost?tls_cert=/not/there", "tls_cert and tls_key belong together"),
    ],
)
def test_a_bad_url_is_told_by_the_settings(refusal: Refusal, url: str, what: str) -> None:
    sentence = refusal(BROKER_URL=url)
    assert "BROKER_URL" in sentence
    assert what in sentence


def test_a_url_may_name_servers_a_login_and_options(tmp_path: Path) -> None:
    creds = tmp_path / "app.creds"
    creds.touch()
    url = f"nats://alice:s%40cret@a:4222,[::1]:5222,c/?replicas=3&storage=memory&creds={creds}"
    assert Settings(broker_url=url).broker_url == url
    options = read_options(url)
    assert options.servers == ("nats://a:4222", "nats://[::1]:5222", "nats://c:4222")
    assert (options.user, options.password) == ("alice", "s@cret")
    assert (options.replicas, options.storage, options.creds) == (3, "memory", str(creds))


@pytest.mark.parametrize("url", ["nats://secret@localhost", "nats://localhost?token=secret"])
def test_a_url_may_have_a_token(url: str) -> None:
    options = read_options(url)
    assert (options.user, options.password, options.token) == (None, None, "secret")


# --- What NATS refuses ------------------------------------------------------------------


async def sentence_about(url: str, caplog: pytest.LogCaptureFixture) -> str:
    """What is logged while a backend can't be used, once."""
    caplog.set_level(logging.WARNING)
    async with connected(url) as backend:
        await until(lambda: bool(warnings(caplog)))
        with pytest.raises(BrokerUnavailable):
            await backend.publish("room", "text")
        await until(lambda: len(warnings(caplog)) > 1)  # that the publish failed
        assert not backend.alive
    first, failure = warnings(caplog)
    assert "did not take" in failure
    return first


def warnings(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [it.getMessage() for it in caplog.records if it.name.startswith("app.")]


PASSWORD = 'authorization { user: "alice", password: "secret" }'
WITHOUT_API = (
    'authorization { users: [{ user: "alice", password: "secret", '
    'permissions: { publish: { deny: "$JS.API.>" } } }] }'
)


@pytest.mark.parametrize("login", ["", "alice:wrong@", "token@"])
async def test_a_wrong_password_is_told(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, login: str
) -> None:
    async with NatsServer(tmp_path, PASSWORD, login).running() as server:
        sentence = await sentence_about(server.url, caplog)
    assert "NATS refused the login in BROKER_URL" in sentence
    assert "wrong" not in sentence


async def test_a_missing_right_is_told(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    async with NatsServer(tmp_path, WITHOUT_API, "alice:secret@").running() as server:
        sentence = await sentence_about(server.url, caplog)
    assert "the NATS user lacks a right" in sentence
    assert "$js.api.stream.info" in sentence


async def test_a_server_without_jetstream_is_told(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with NatsServer(tmp_path, has_jetstream=False).running() as server:
        assert "JetStream is not enabled" in await sentence_about(server.url, caplog)


async def test_a_server_that_is_too_old_is_told(
    server: NatsServer, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("app.realtime.broker.nats.connection.MINIMUM_VERSION", (99, 0))
    assert "is too old" in await sentence_about(server.url, caplog)


async def test_more_replicas_than_servers_are_told(
    server: NatsServer, caplog: pytest.LogCaptureFixture
) -> None:
    sentence = await sentence_about(f"{server.url}?replicas=3", caplog)
    assert "JetStream refused the stream" in sentence
    assert "replicas" in sentence


async def test_a_server_without_tls_gets_no_password(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with NatsServer(tmp_path, PASSWORD, "alice:secret@").running() as server:
        sentence = await sentence_about(server.url.replace("nats://", "tls://"), caplog)
    assert "the server does not require TLS" in sentence


async def test_an_unreachable_server_is_told_once(caplog: pytest.LogCaptureFixture) -> None:
    sentence = await sentence_about("nats://127.0.0.1:1", caplog)
    assert "no connection to NATS" in sentence


async def works(backend: Backend, room: str) -> None:
    """Check that a backend publishes and reads."""
    await subscribe(backend, room)
    await publish(backend, room, 1)
    assert len((await backend.history(room, last=9)).publications) == 1


@pytest.mark.parametrize("login", ["alice:secret@", "nobody:secret@"])
async def test_what_is_repaired_works_without_a_restart(
    tmp_path: Path, room: str, login: str
) -> None:
    broken = NatsServer(tmp_path, PASSWORD.replace("secret", "other"), login)
    async with broken.running(), connected(broken.url) as backend:
        with pytest.raises(BrokerUnavailable):
            await backend.publish(room, "text")
        broken.kill()
        broken.config = PASSWORD.replace("alice", login.partition(":")[0])
        await broken.start()
        await works(backend, room)


async def test_tls_with_an_authority_of_ones_own(tmp_path: Path, room: str) -> None:
    authority = make_certificate(tmp_path)
    config = "tls {" + f"cert_file: '{authority}', key_file: '{authority}'" + "}"
    async with NatsServer(tmp_path, config).running() as server:
        url = server.url.replace("nats://", "tls://")
        async with connected(f"{url}?tls_ca={authority}") as backend:
            await works(backend, room)
        async with connected(url) as stranger:
            with pytest.raises(BrokerUnavailable):
                await stranger.publish(room, "text")


RIGHTS = """
authorization { users: [ { user: alice, password: secret, permissions: {
  publish: { allow: [
    "chat.record.*", "chat.live.plain.*", "_INBOX.>", "$JS.API.DIRECT.GET.chat",
    "$JS.API.STREAM.INFO.chat", "$JS.API.STREAM.UPDATE.chat",
    "$JS.API.STREAM.MSG.GET.chat", "$JS.API.STREAM.CREATE.chat"
  ] }
  subscribe: { allow: [ "chat.live.*.*", "_INBOX.>" ] }
} } ] }
"""
"""Those that docs/broker/nats.md lists."""


async def test_the_rights_that_the_documentation_lists_suffice(tmp_path: Path, room: str) -> None:
    async with (
        NatsServer(tmp_path, RIGHTS, "alice:secret@").running() as server,
        connected(f"{server.url}?stream=chat", history_size=3) as backend,
    ):
        await works(backend, room)
        await backend.publish(room, "plain")
        await publish(backend, room, 1, 2, 3, 4, 1)  # which looks up what has the id
        (known,) = await publish(backend, room, 5)
        await backend.page(room, before=known.offset, limit=2)
        seen = known.model_copy(update={"offset": known.offset + 1000})
        lost = await backend.history(room, last=1, seen=seen)
        assert lost.position.epoch != known.epoch
