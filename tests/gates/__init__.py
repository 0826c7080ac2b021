"""What a rendered project must keep. Each gate answers with its findings: none is good."""

import pytest


def expect_none(findings: list[str]) -> None:
    """Fail with the findings of a gate, in full."""
    __tracebackhide__ = True
    if findings:
        pytest.fail("\n".join(findings), pytrace=False)
