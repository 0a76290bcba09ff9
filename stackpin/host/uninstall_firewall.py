"""What an uninstall removes of the firewall: the table of the stack, and what loads it at boot."""

from __future__ import annotations

import os

from stackpin.host import system
from stackpin.host.errors import failed
from stackpin.host.stack import Stack

__all__ = ["listed", "remove"]

UNITS = "/etc/systemd/system"
Item = dict[str, str]


def listed(stack: Stack) -> list[Item]:
    """Return [{unit or table or path, why}]; [] for stacks without rules of their own."""
    if not (stack.settings_dir / "firewall.nft").is_file():
        return []
    unit = f"stackpin-firewall@{stack.name}.service"
    folder = stack.at(UNITS)
    found: list[Item] = []
    if any(os.path.lexists(wants / unit) for wants in folder.glob("*.wants")):
        found.append({"unit": unit, "why": "loads the firewall at boot"})
    # Behind the containers in the list: their ports are closed to strangers as long as they live.
    table = f"inet stackpin_{stack.name.replace('-', '_')}"
    found.append({"table": table, "why": "firewall of the stack's ports"})
    template = folder / "stackpin-firewall@.service"
    others = stack.settings_dir.parent.glob("*/firewall.nft")
    if template.is_file() and all(path.parent == stack.settings_dir for path in others):
        found.append({"path": str(template), "why": "no other stack has a firewall"})
    return found


def remove(item: Item) -> bool:
    """Remove a listed table; False when the item is none. Raises HostError."""
    if "table" not in item:
        return False
    words = item["table"].split()
    system.run(["nft", "delete", "table", *words], check=False)
    if system.run(["nft", "list", "table", *words], check=False).ok:
        raise failed(f"nftables: table {item['table']} does not go")
    return True
