"""Staging hosts. Group data: `inventories/group_data/staging.py`, which holds the pins."""

from typing import Any

hosts: list[str | tuple[str, dict[str, Any]]] = [
    # ("relay-staging.example.net", {"ssh_user": "deploy"}),
]

# XingRin: one server, and the nodes its tasks run on. See docs/how-to/xingrin.md.
# xingrin = [("scan-staging.example.net", {"ssh_user": "deploy"})]
# workers = [("scan-node-staging.example.net", {"ssh_user": "deploy"})]

# InfraCore: five services on one host or some. See docs/how-to/infracore.md.
# infracore = [("infra-staging.example.net", {"ssh_user": "deploy"})]
