"""Where a rollback goes."""

from __future__ import annotations

from typing import Any

import pytest

from stackpin.errors import Refused
from stackpin.rollout.rollback import target_release


def state(**extra: Any) -> dict[str, Any]:
    releases = [
        {"id": "v1.0.0-aaaaaaaa", "complete": True},
        {"id": "v1.1.0-bbbbbbbb", "complete": True},
        {"id": "v1.1.0-cccccccc", "complete": True},
        {"id": "v1.2.0-dddddddd", "complete": False},
    ]
    return {"installed": True, "releases": releases, "last_good": "v1.0.0-aaaaaaaa", **extra}


def test_the_recorded_one() -> None:
    assert target_release("h", "crm", state(), None) == "v1.0.0-aaaaaaaa"


@pytest.mark.parametrize("to", ["v1.0.0", "v1.0.0-aaaaaaaa"])
def test_a_named_one(to: str) -> None:
    assert target_release("h", "crm", state(), to) == "v1.0.0-aaaaaaaa"


@pytest.mark.parametrize(
    ("to", "told"), [("v1.1.0", "several"), ("v1.2.0", "no complete"), ("v9", "no complete")]
)
def test_refused(to: str, told: str) -> None:
    with pytest.raises(Refused, match=told):
        target_release("h", "crm", state(), to)


def test_nothing_recorded() -> None:
    with pytest.raises(Refused, match="--to"):
        target_release("h", "crm", state(last_good=None), None)
    with pytest.raises(Refused, match="not installed"):
        target_release("h", "crm", {"installed": False}, None)
