"""What an inventory says about a lab host, so that pyinfra logs in to it."""

import re

from stackpin.lab.hosts import Lab
from stackpin.lab.ssh import LabHost

__all__ = ["belongs_to_fleet", "host_data"]


def host_data(lab: Lab, host: LabHost) -> dict[str, str | int]:
    """Give the host's connection data: the deploy user, the lab's key, strict host keys."""
    return {
        "ssh_hostname": host.address,
        "ssh_port": host.ssh_port,
        "ssh_user": "deploy",
        "ssh_key": str(lab.ssh_key),
        "ssh_known_hosts_file": str(lab.known_hosts),
        "ssh_strict_host_key_checking": "yes",
    }


def belongs_to_fleet(name: str, *, nodes: bool = False) -> bool:
    """Tell by its name whether a lab host is one of a fleet's, or, with `nodes`, a node of it."""
    return bool(re.fullmatch(r"node\d+" if nodes else r"registry|server|node\d+", name))
