"""Production hosts. Group data: `inventories/group_data/prod.py`, which holds the pins.

Put your hosts in, then try: stackpin check inventories/prod site
"""

from typing import Any

hosts: list[str | tuple[str, dict[str, Any]]] = [
    # "relay1.example.net",
    # ("relay2.example.net", {"ssh_user": "deploy", "ssh_port": 2222}),
]
