"""Staging hosts. Group data: `inventories/group_data/staging.py`, which holds the pins."""

from typing import Any

hosts: list[str | tuple[str, dict[str, Any]]] = [
    # ("relay-staging.example.net", {"ssh_user": "deploy"}),
]
