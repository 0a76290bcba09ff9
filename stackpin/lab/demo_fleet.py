"""The demo's second act: one server, three nodes and a registry, all on one tag.

Runs the same commands a user would type, in the clone it is started from. Pin and lock file are put
back at the end.
"""

from __future__ import annotations

import json
from pathlib import Path

from stackpin import lockfile
from stackpin.lab.hosts import Lab
from stackpin.lab.prober import probing
from stackpin.lab.story import Story, as_json, put_back, stackpin
from stackpin.pins import read as read_pin

__all__ = ["act"]

INVENTORY = "inventories/fleet"
PINS = Path("inventories/group_data/fleet.py")
LOCK = Path("inventories/fleet.lock.toml")
NODES = 3
GOOD, BETTER, CRASHING, INCOMPLETE = "v1.1.0", "v1.2.0", "v1.4.0", "v1.5.0"


def act(story: Story, lab: Lab) -> None:
    """Play the fleet's story; the lab may be up or not, and its hosts get fresh disks."""
    story.chapter("0. A server, three nodes and a registry on this machine")
    for host in lab.fleet(NODES):
        lab.reset(host.name)
    lab.registry.start()
    lab.registry.push(["xingrin"])
    with put_back(PINS, LOCK):
        LOCK.unlink(missing_ok=True)
        _tell(story, lab)


def _tell(story: Story, lab: Lab) -> None:
    story.chapter("1. One tag, locked by digest, on every host")
    stackpin("pin", INVENTORY, "xingrin", "--version", GOOD)
    stackpin("deploy", INVENTORY, "xingrin", "--yes")
    stackpin("workers", "list", INVENTORY)
    story.claim(_online() == NODES, "every node is online", f"({NODES} nodes)")
    story.claim(_digests(lab) == {_locked(GOOD)}, f"every agent runs the locked digest of {GOOD}")
    stackpin("drift", INVENTORY, "xingrin")

    story.chapter("2. An update under heartbeats: canary, then the rest")
    with probing(lab.host("server").address, 8083, "/api/") as probed:
        stackpin(
            *("update", INVENTORY, "xingrin", "--version", BETTER),
            *("--batch", "1,100%", "--yes"),
        )
    figure = f"({probed.good} requests, longest gap {probed.longest_gap:.2f} s)"
    story.claim(probed.longest_gap < 5, "the server answered through its own update", figure)
    story.claim(_digests(lab) == {_locked(BETTER)}, f"every agent runs the digest of {BETTER}")
    story.claim(_online() == NODES, "every node is online")

    story.chapter("3. Bad versions")
    stackpin("update", INVENTORY, "xingrin", "--version", INCOMPLETE, "--yes", expect=(3,))
    story.claim(True, f"{INCOMPLETE} lacks one image of five: refused, nothing touched")
    stackpin("update", INVENTORY, "xingrin", "--version", CRASHING, "--yes", expect=(4,))
    story.claim(_digests(lab) == {_locked(BETTER)}, f"{CRASHING} crashes: the whole fleet is back")
    story.claim(read_pin(PINS, "xingrin_version").value == BETTER, f"the pin says {BETTER} again")
    story.claim(_online() == NODES, "every node is online")

    story.chapter("4. A tag that was pushed again")
    lab.registry.move_tag("xingrin-agent", BETTER)
    stackpin("drift", INVENTORY, "xingrin", expect=(2,))
    stackpin("update", INVENTORY, "xingrin", "--version", BETTER, "--yes", expect=(3,))
    story.claim(True, "the moved tag is drift, and refused")
    story.claim(_digests(lab) == {_locked(BETTER)}, "what runs is still what was locked")
    stackpin("history", INVENTORY, "xingrin", "--limit", "node1")
    story.look(INVENTORY)


def _online() -> int:
    found = as_json("workers", "list", INVENTORY)
    rows = found["workers"]
    assert isinstance(rows, list)  # noqa: S101 - the command's own document
    return sum(row["state"] == "online" and not row.get("local") for row in rows)


def _digests(lab: Lab) -> set[str]:
    """Digests the running agents were made from."""
    found = set()
    for number in range(1, NODES + 1):
        inspected = json.loads(lab.run(f"node{number}", "docker inspect xingrin-agent").stdout)
        found.add(str(inspected[0]["Config"]["Image"]).rpartition("@")[2])
    return found


def _locked(version: str) -> str:

    locked = lockfile.read(LOCK).version("xingrin", version)
    images = locked.images if locked else {}
    return next((d for ref, d in images.items() if "/xingrin-agent:" in ref), "nothing locked")
