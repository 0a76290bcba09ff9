"""`make demo`: a story on real hosts of this machine, each claim checked as it is made.

Runs the same commands a user would type, in the clone it is started from. The first act is here:
the CRM's. The pin in `inventories/group_data/lab.py` is put back at the end, and the lab is taken
down.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from pathlib import Path

import click

from stackpin.lab import demo_fleet, demo_infracore
from stackpin.lab.hosts import Lab
from stackpin.lab.story import ClaimError, Story, as_json, console, put_back, stackpin
from stackpin.lab.traffic import traffic
from stackpin.pins import read as read_pin

INVENTORY = "inventories/lab"
PINS = Path("inventories/group_data/lab.py")
HOST = "lab1"


def pinned() -> str:
    """Return the CRM version in the lab's group data now."""
    return read_pin(PINS, "crm_version").value


def tell(story: Story, lab: Lab) -> None:
    """Tell the story itself."""
    story.chapter("1. A bare host gets the CRM and its portal")
    stackpin("check", INVENTORY, "site")
    stackpin("plan", INVENTORY, "site", "--limit", HOST, expect=(2,))
    stackpin("deploy", INVENTORY, "site", "--limit", HOST, "--yes")
    gate = as_json("verify", INVENTORY, "site", "--limit", HOST)
    story.claim(gate["ok"] is True, "all checks of the health gate pass")
    stackpin("deploy", INVENTORY, "site", "--limit", HOST, "--yes")
    stackpin("drift", INVENTORY, "site", "--limit", HOST)
    story.claim(True, "a second deploy changes nothing, and there is no drift")

    story.chapter("2. A new version under load")
    words = ("update", INVENTORY, "crm", "--limit", HOST, "--yes", "--version")
    story.under_load(traffic(lab, HOST), "update to v1.1.0", *words, "v1.1.0")
    story.claim(pinned() == "v1.1.0", "the pin says v1.1.0")

    story.chapter("3. A broken version is refused")
    story.under_load(traffic(lab, HOST), "refusing v1.2.0", *words, "v1.2.0", expect=4)
    story.claim(pinned() == "v1.1.0", "the pin was put back to v1.1.0")

    story.chapter("4. Drift is found and put right")
    lab.run(HOST, ["chmod", "0644", "/etc/stackpin/crm/stack.json"])
    lab.run(HOST, ["sh", "-c", "echo 'X=1' >> /etc/stackpin/crm/slots/blue.env"])
    stackpin("drift", INVENTORY, "site", "--limit", HOST, expect=(2,))
    story.claim(True, "two changes made by hand are reported, exit code 2")
    stackpin("deploy", INVENTORY, "site", "--limit", HOST, "--yes")
    stackpin("drift", INVENTORY, "site", "--limit", HOST)
    story.claim(True, "the next deploy puts them right")

    story.chapter("5. The way back")
    back = ("rollback", INVENTORY, "crm", "--yes")
    story.under_load(traffic(lab, HOST), "rollback to v1.0.0", *back)
    story.claim(pinned() == "v1.0.0", "the pin says v1.0.0 again")
    stackpin("history", INVENTORY, "crm", "--limit", HOST)
    stackpin("status", INVENTORY, "site", "--limit", HOST)
    stackpin("evidence", "verify", "evidence")
    story.claim(True, "the evidence of every run is complete and unaltered")
    story.look(INVENTORY)


def first_act(story: Story, lab: Lab) -> None:
    """Play the CRM's story on one host."""
    story.chapter("0. A real host on this machine")
    lab.up(1)
    lab.reset(HOST)
    with put_back(PINS):
        tell(story, lab)


ACTS: dict[str, Callable[[Story, Lab], None]] = {
    "crm": first_act,
    "fleet": demo_fleet.act,
    "infracore": demo_infracore.act,
}
ALL = "all"


@click.command()
@click.option("--act", type=click.Choice([*ACTS, ALL]), default="crm", show_default=True)
@click.option("--keep", is_flag=True, help="Leave the last act's lab running afterwards.")
def main(act: str, keep: bool) -> None:
    """Play one act, or all; exit 1 at the first claim that does not hold."""
    story, began = Story(), time.monotonic()
    lab = Lab.load()
    try:
        for number, name in enumerate(ACTS if act == ALL else [act]):
            if number:
                lab.down()
            ACTS[name](story, lab)
    except ClaimError as failure:
        console.print(f"[bold red]Not proved:[/] {failure}")
        sys.exit(1)
    finally:
        if not keep:
            lab.down()
    story.tell_all(time.monotonic() - began)


if __name__ == "__main__":
    main()
