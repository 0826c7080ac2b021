"""What BROKER_URL may say about Redis."""

import pytest

from tests.test_settings import Refusal, refusal

__all__ = ["refusal"]


@pytest.mark.parametrize(
    "url",
    [
        "redis://localhost:6379/0?socket_timeout=abc",
        "redis://localhost:6379/0?health_check_interval=often",
        "redis://localhost:port/0",
    ],
)
def test_a_bad_option_is_told_by_the_settings(refusal: Refusal, url: str) -> None:
    assert "BROKER_URL" in refusal(BROKER_URL=url)
