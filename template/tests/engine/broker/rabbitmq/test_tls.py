"""RabbitMQ with TLS, which wants certificates of its clients."""

import pytest

from tests.engine.broker.contract import connected, publish, remembered, subscribe
from tests.engine.broker.rabbitmq.certificates import Certificates
from tests.support.client import PATIENCE, until

pytestmark = pytest.mark.usefixtures("rabbitmq")


@pytest.fixture
def made(certificates: Certificates | None) -> Certificates:
    if certificates is None:
        pytest.skip("needs openssl on PATH, to make certificates")
    return certificates


async def test_messages_go_through_tls(made: Certificates, tls_port: int, room: str) -> None:
    options = f"stream={room}&ca={made.path('authority.crt')}"
    options += f"&certificate={made.path('client.crt')}&key={made.path('client.key')}"
    async with connected(f"amqps://guest:guest@127.0.0.1:{tls_port}?{options}") as backend:
        await subscribe(backend, room)
        await publish(backend, room, *range(3))
        assert await remembered(backend, room) == ["0", "1", "2"]
        assert backend.alive


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ("", "name its authority with ca in BROKER_URL"),
        ("?ca={ca}", "no connection to RabbitMQ: "),
    ],
)
async def test_a_certificate_that_is_not_trusted_or_missing_is_told(
    made: Certificates,
    tls_port: int,
    caplog: pytest.LogCaptureFixture,
    options: str,
    sentence: str,
) -> None:
    url = f"amqps://guest:guest@127.0.0.1:{tls_port}{options.format(ca=made.path('authority.crt'))}"
    async with connected(url) as backend:
        await until(lambda: sentence in caplog.text, patience=PATIENCE)
        assert not backend.alive
