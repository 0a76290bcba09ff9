"""The lab's network: a bridge, masquerading for package installs, and ports that can be cut."""

import json
import shlex
import shutil
from collections.abc import Iterable, Sequence
from ipaddress import IPv4Network
from pathlib import Path

from stackpin.errors import Refused
from stackpin.lab import kernel
from stackpin.lab.commands import run
from stackpin.lab.paths import LabPaths

__all__ = [
    "choose_subnet",
    "far_bridge_down",
    "far_bridge_up",
    "is_cut",
    "network_down",
    "network_up",
    "remove_port",
    "set_port",
    "uplink_mtu",
    "used_networks",
]

CANDIDATES = [IPv4Network(f"10.87.{third}.0/24") for third in range(256)]


def used_networks() -> list[IPv4Network]:
    """Every IPv4 network this machine has an address in or a route to (not the default route)."""
    texts = [
        f"{info['local']}/{info['prefixlen']}"
        for link in json.loads(run("ip", "-json", "-4", "address").stdout or "[]")
        for info in link.get("addr_info", [])
    ]
    routes = json.loads(run("ip", "-json", "-4", "route").stdout or "[]")
    texts += [route["dst"] for route in routes if route.get("dst", "default") != "default"]
    return [IPv4Network(text, strict=False) for text in texts]


def choose_subnet(used: Iterable[IPv4Network], wanted: str | None = None) -> IPv4Network:
    """Pick a /24 that overlaps none of `used`; Refused when `wanted` or every candidate does."""
    taken = list(used)
    candidates = CANDIDATES
    if wanted:
        try:
            candidates = [IPv4Network(wanted)]
        except ValueError as error:
            raise Refused(f"{wanted!r} is no IPv4 network: write it like 10.90.0.0/24") from error
    for candidate in candidates:
        if not any(candidate.overlaps(network) for network in taken):
            return candidate
    raise Refused(
        f"{wanted or 'all of 10.87.0.0/16'} is in use here: set STACKPIN_LAB_SUBNET to a free /24"
    )


def uplink_mtu() -> int:
    """Largest packet in bytes this machine's default route carries; 1500 without one."""
    routes = json.loads(run("ip", "-json", "-4", "route", "show", "default").stdout or "[]")
    for route in routes:
        return int(Path("/sys/class/net", route["dev"], "mtu").read_text())
    return 1500


def network_up(paths: LabPaths, subnet: IPv4Network) -> None:
    """Make bridge, forwarding and firewall rules; does nothing that is already done."""
    if not Path("/sys/class/net", paths.bridge).exists():
        run("ip", "link", "add", paths.bridge, "type", "bridge")
    address = f"{subnet.network_address + 1}/{subnet.prefixlen}"
    run("ip", "address", "replace", address, "dev", paths.bridge)
    run("ip", "link", "set", paths.bridge, "up")
    kernel.want(paths.lab_id)
    _remove_rules(paths.rule_comment)
    tag = ("-m", "comment", "--comment", paths.rule_comment)
    inside = str(subnet)
    # Inserted at the top: where Docker runs, its FORWARD rules would drop bridged frames too.
    either = f"{paths.bridge}+"
    _iptables("-I", "FORWARD", "-i", either, *tag, "-j", "ACCEPT")
    _iptables("-I", "FORWARD", "-o", either, *tag, "-j", "ACCEPT")
    nat = ("-t", "nat", "-A", "POSTROUTING")
    _iptables(*nat, "-s", inside, "!", "-d", inside, *tag, "-j", "MASQUERADE")


def network_down(paths: LabPaths) -> None:
    """Remove what `network_up` made, and nothing else; fine when it is already gone."""
    if shutil.which("iptables"):
        _remove_rules(paths.rule_comment)
    _remove_bridge(paths.bridge)
    far_bridge_down(paths)
    kernel.release(paths.lab_id)


def far_bridge_up(paths: LabPaths) -> None:
    """Make the bridge for delayed hosts (`stackpin.lab.delay`)."""
    run("ip", "link", "add", paths.far_bridge, "type", "bridge")
    run("ip", "link", "set", paths.far_bridge, "up")
    # Where bridged frames pass through iptables, a connection must not be tracked here already:
    # it would not be masqueraded any more when it leaves the machine.
    tag = ("-m", "comment", "--comment", paths.rule_comment)
    _iptables(
        "-t", "raw", "-A", "PREROUTING", "-i", paths.far_bridge, *tag, "-j", "CT", "--notrack"
    )


def far_bridge_down(paths: LabPaths) -> None:
    """Remove what `far_bridge_up` made; fine when it is already gone."""
    if shutil.which("iptables"):
        _remove_rules(paths.rule_comment, [("raw", "PREROUTING")])
    _remove_bridge(paths.far_bridge)


def _remove_bridge(bridge: str) -> None:
    if Path("/sys/class/net", bridge).exists():
        run("ip", "link", "delete", bridge, "type", "bridge")


def set_port(port: str, *, up: bool) -> None:
    """Plug a host's port in, or pull it: the host then neither sends nor receives."""
    run("ip", "link", "set", port, "up" if up else "down")


def remove_port(port: str) -> None:
    """Remove a host's port that is still there: the kernel takes its time after a kill."""
    if Path("/sys/class/net", port).exists():
        run("ip", "link", "delete", port, check=False)  # it may go in this very moment


def is_cut(port: str) -> bool:
    """Tell whether the port exists and is pulled."""
    flags = Path("/sys/class/net", port, "flags")
    return flags.exists() and not int(flags.read_text(), 16) & 1


def _iptables(*arguments: str) -> str:
    return run("iptables", "--wait", *arguments).stdout


def _remove_rules(
    comment: str,
    chains: Sequence[tuple[str, str]] = (("filter", "FORWARD"), ("nat", "POSTROUTING")),
) -> None:
    for table, chain in chains:
        for rule in _iptables("-t", table, "-S", chain).splitlines():
            words = shlex.split(rule)
            if words[0] == "-A" and comment in words:
                _iptables("-t", table, "-D", *words[1:])
