"""What BROKER_URL may say about PostgreSQL."""

import pytest

from app.realtime.broker.postgres.address import read_address
from tests.engine.example.settings import Settings
from tests.engine.test_settings import Refusal, refusal

__all__ = ["refusal"]

URL = "postgresql://app@localhost/app"


@pytest.mark.parametrize(
    ("url", "what"),
    [
        ("postgresql://localhost:port/app", "port"),
        (f"{URL}?sslmod=require", "there is no option sslmod"),
        (f"{URL}?sslmode=always", "sslmode is one of disable, allow"),
        (f"{URL}?sslrootcert=/not/there.crt", "sslrootcert names a file that is not there"),
        (f"{URL}?port=all", "port is a number"),
        (f"{URL}?sslmode", "options have the form"),
        # What the server would take for one of its settings.
        (f"{URL}?synchronous_commit=off", "there is no option synchronous_commit"),
        (f"{URL}?search_path=other", "there is no option search_path"),
        # On which reconnecting depends.
        (f"{URL}?target_session_attrs=any", "there is no option target_session_attrs"),
        (f"{URL}?command_timeout=60", "there is no option command_timeout"),
        (f"{URL}?schema=Chat", "schema has up to 63"),
        (f"{URL}?schema=pg_chat", "schema has up to 63"),
        (f"{URL}?schema={'x' * 64}", "schema has up to 63"),
        (f'{URL}?schema=a"b', "schema has up to 63"),
        (f"{URL}?schema=", "schema has up to 63"),
        (f"{URL}?listen=localhost:5432", "listen is a URL like postgresql://"),
        (f"{URL}?listen=postgresql://localhost/app%3Fsslmode=no", "sslmode is one of"),
        (f"{URL}?listen=postgresql://localhost/app%3Fschema=chat", "there is no option schema"),
    ],
)
def test_a_bad_option_is_told_by_the_settings(refusal: Refusal, url: str, what: str) -> None:
    sentence = refusal(BROKER_URL=url)
    assert "BROKER_URL" in sentence
    assert what in sentence


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://",
        "postgres://localhost",
        "postgresql:///app?host=/run/postgresql",
        "postgresql:///app?host=one,other&port=5432,5433",
        "postgresql://app:s%40cret@[::1]:5433/app?sslmode=verify-full&application_name=chat",
    ],
)
def test_what_leads_to_a_server_is_taken(url: str) -> None:
    assert Settings(broker_url=url).broker_url == url
    address = read_address(url)
    assert address.url.partition("?")[0] == url.partition("?")[0]
    assert not address.is_pooled
    assert address.listen_url == address.url


def test_the_options_of_our_own_are_not_sent_to_the_server() -> None:
    direct = "postgresql://app:secret@direct:5432/app?sslmode=require"
    address = read_address(
        f"{URL}?schema=chat_2&sslmode=prefer&listen={direct.replace('?', '%3F')}"
    )
    assert address.url == f"{URL}?sslmode=prefer"
    assert address.listen_url == direct
    assert address.is_pooled
    assert address.schema == "chat_2"
