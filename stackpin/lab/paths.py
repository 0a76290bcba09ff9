"""Where one lab keeps its things, and the names everything of that lab carries.

All names derive from the lab's directory. `stackpin lab down` therefore finds every process, mount,
bridge and firewall rule of a lab even when its state file was never written.
"""

import hashlib
import os
from dataclasses import dataclass
from pathlib import Path

__all__ = ["FIRST_HOST_NUMBER", "RUN_DIR", "LabPaths", "MachineNames"]

RUN_DIR = Path("/run/stackpin-lab")
"""Shared by all labs of this machine: locks, and who needs IP forwarding."""

FIRST_HOST_NUMBER = 11
"""Last octet of the first host's address; .1 is the machine itself, .2-.10 stay free for tests."""


@dataclass(frozen=True)
class LabPaths:
    """The directories of one lab (both absolute)."""

    home: Path
    cache: Path

    @classmethod
    def from_env(cls) -> "LabPaths":
        """STACKPIN_LAB_DIR and STACKPIN_LAB_CACHE, or the defaults below /var."""
        return cls(
            Path(os.environ.get("STACKPIN_LAB_DIR") or "/var/lib/stackpin-lab").resolve(),
            Path(os.environ.get("STACKPIN_LAB_CACHE") or "/var/cache/stackpin-lab").resolve(),
        )

    @property
    def lab_id(self) -> str:
        """Four hex digits: short, because an interface name has 15 characters at most."""
        return hashlib.sha256(str(self.home).encode()).hexdigest()[:4]

    @property
    def bridge(self) -> str:
        """Name of the network bridge between the machine and the lab's hosts."""
        return f"stackpin-{self.lab_id}"

    @property
    def far_bridge(self) -> str:
        """Name of the bridge behind the delaying link (`stackpin.lab.delay`)."""
        return f"{self.bridge}-f"

    @property
    def rule_comment(self) -> str:
        """The tag on each firewall rule of this lab; only rules with it are ever removed."""
        return f"stackpin-lab:{self.lab_id}"

    @property
    def state_file(self) -> Path:
        """What the lab consists of; see `stackpin.lab.state`."""
        return self.home / "lab.json"

    @property
    def ssh_key(self) -> Path:
        """Private key accepted by root and deploy on every host of this lab."""
        return self.home / "ssh_key"

    @property
    def known_hosts(self) -> Path:
        """The hosts' keys, written when they were made: strict checking works from the start."""
        return self.home / "known_hosts"

    @property
    def hosts(self) -> Path:
        """One directory per host: its disk, its host key, its console log."""
        return self.home / "hosts"

    @property
    def secrets(self) -> Path:
        """Made-up secrets of the lab's inventory, one file each (`stackpin.lab.secret`)."""
        return self.home / "secrets"

    @property
    def registry(self) -> Path:
        """The lab's certificate authority and what it signed (`stackpin.lab.registry`)."""
        return self.home / "authority"

    @property
    def lock_file(self) -> Path:
        """Held by every command that changes this lab."""
        return RUN_DIR / f"{self.lab_id}.lock"

    def machine(self, name: str, number: int) -> "MachineNames":
        """Names and directories of one host."""
        return MachineNames(self.hosts / name, f"{self.lab_id}-{number}", self.lab_id, number)


@dataclass(frozen=True)
class MachineNames:
    """Names and directories of one host."""

    home: Path
    machine: str
    lab_id: str
    number: int

    @property
    def disk(self) -> Path:
        """Holds `upper` and `work`; a tmpfs where the file system cannot carry an overlay."""
        return self.home / "disk"

    @property
    def root(self) -> Path:
        """The host's `/` as the machine sees it."""
        return self.home / "root"

    @property
    def docker(self) -> Path:
        """Docker's data on a host with Docker: outside `root`, since overlays do not nest."""
        return self.home / "docker"

    @property
    def host_key(self) -> Path:
        """The host's ed25519 key; it outlives a reset."""
        return self.home / "ssh_host_ed25519_key"

    @property
    def console(self) -> Path:
        """What the host's systemd printed."""
        return self.home / "console.log"

    @property
    def port(self) -> str:
        """The host's port on the bridge, as systemd-nspawn names it."""
        return f"vb-{self.machine}"
