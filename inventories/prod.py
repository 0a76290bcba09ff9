"""Production hosts. Group data: `inventories/group_data/prod.py`, which holds the pins.

Put your hosts in, then try: stackpin check inventories/prod site
"""

from typing import Any

hosts: list[str | tuple[str, dict[str, Any]]] = [
    # "relay1.example.net",
    # ("relay2.example.net", {"ssh_user": "deploy", "ssh_port": 2222}),
]

# XingRin: one server, and the nodes its tasks run on. See docs/how-to/xingrin.md.
# xingrin = [("scan.example.net", {"ssh_user": "deploy"})]
# workers = [
#     ("scan-node1.example.net", {"ssh_user": "deploy", "xingrin_node_address": "10.0.0.21"}),
#     ("scan-node2.example.net", {"ssh_user": "deploy", "xingrin_node_address": "10.0.0.22"}),
# ]

# InfraCore: five services on one host or some. See docs/how-to/infracore.md.
# infracore = [("infra1.example.net", {"ssh_user": "deploy"})]
