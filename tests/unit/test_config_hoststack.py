"""stack.json as the host reads it: what newer kinds of stack add, and what older ones lack."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from stackpin.config.hoststack import HostStack, SharedPort, SlotPorts
from stackpin.host.stack import Stack

SLOTS = {"stack": "web", "user": "web", "opt": "/opt/web", "data": "/var/lib/web"}
COMPOSE = {"project": "web", "slot_service": "server", "port": 80}


def document(**more: Any) -> dict[str, Any]:
    return HostStack.model_validate({**SLOTS, **more}).as_json()


def test_a_shared_port_is_that_of_both_slots() -> None:
    ports = SharedPort(port=9090, rehearsal=18290)
    found = document(ports=ports, overlap=False)
    assert found["ports"] == {"blue": 9090, "green": 9090, "rehearsal": 18290}
    assert ports.as_list() == [9090, 18290]
    assert Stack.from_json("web", found).ports["green"] == 9090


@pytest.mark.parametrize(
    "wrong",
    [
        {"ports": SharedPort(port=1, rehearsal=2), "overlap": True},
        {"ports": {"port": 1, "rehearsal": 1}, "overlap": False},
        {"ports": {"blue": 1, "green": 1, "rehearsal": 2}, "overlap": False},
    ],
)
def test_ports_that_would_clash_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        document(**wrong)


def test_what_a_stack_does_not_use_is_not_in_its_file() -> None:
    """So that the files of stacks deployed before stay as they are."""
    plain = document(ports=SlotPorts())
    assert not {"members", "env_files", "compose"} & set(plain)
    assert "host_network" not in document(kind="compose", compose=COMPOSE)["compose"]

    given = document(env_files=["/etc/web/secrets.env"], members=["web-a"])
    assert given["env_files"] == ["/etc/web/secrets.env"] and given["members"] == ["web-a"]
    compose = document(kind="compose", compose={**COMPOSE, "host_network": True})["compose"]
    assert compose["host_network"] is True
