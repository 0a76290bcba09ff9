"""The demo's third act: five services as systemd units, upgraded one by one under load.

Runs the same commands a user would type, in the clone it is started from. The pin is put back at
the end.
"""

from __future__ import annotations

from pathlib import Path

from stackpin.lab.hosts import Lab
from stackpin.lab.story import Story, put_back, stackpin
from stackpin.lab.traffic import gate_traffic
from stackpin.pins import read as read_pin

__all__ = ["act"]

INVENTORY = "inventories/infra"
PINS = Path("inventories/group_data/infra.py")
HOST = "lab1"
STACK = (INVENTORY, "infracore")
GOOD, BETTER, BROKEN = "v1.0.0", "v1.1.0", "v1.2.0"


def act(story: Story, lab: Lab) -> None:
    """Play InfraCore's story on one host with a fresh disk."""
    story.chapter("0. A real host on this machine")
    lab.up(1)
    lab.reset(HOST)
    with put_back(PINS):
        _tell(story, lab)


def _tell(story: Story, lab: Lab) -> None:
    story.chapter("1. Five services on a bare host")
    stackpin("preflight", *STACK)
    stackpin("deploy", *STACK, "--yes")
    stackpin("status", *STACK)
    stackpin("drift", *STACK)
    story.claim(True, "five services and their files are up, and there is no drift")

    story.chapter("2. An upgrade under load, service by service")
    words = ("update", *STACK, "--yes", "--version")
    story.under_load(gate_traffic(lab, HOST), f"update to {BETTER}", *words, BETTER)
    story.claim(_pinned() == BETTER, f"the pin says {BETTER}")

    story.chapter("3. A console that answers 500")
    story.under_load(gate_traffic(lab, HOST), f"refusing {BROKEN}", *words, BROKEN, expect=4)
    story.claim(_pinned() == BETTER, f"the pin says {BETTER} again")

    story.chapter("4. The way back")
    back = ("rollback", *STACK, "--yes")
    story.under_load(gate_traffic(lab, HOST), f"rollback to {GOOD}", *back)
    story.claim(_pinned() == GOOD, f"the pin says {GOOD} again")
    stackpin("verify", *STACK)
    story.look(INVENTORY)


def _pinned() -> str:
    return read_pin(PINS, "infracore_version").value
