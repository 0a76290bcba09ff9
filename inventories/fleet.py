"""XingRin's server and nodes on this machine: `stackpin lab up --fleet 3` starts them.

`stackpin lab registry --push all` gives them a registry with images. Group data:
`inventories/group_data/fleet.py`.
"""

from pyinfra.api.exceptions import InventoryError

from stackpin.errors import StackpinError
from stackpin.lab import Lab
from stackpin.lab.inventory import belongs_to_fleet, host_data

_lab = Lab.load()
try:
    _hosts = {host.name: host_data(_lab, host) for host in _lab.hosts}
except StackpinError as error:
    raise InventoryError(str(error)) from error
if "server" not in _hosts:
    raise InventoryError(
        "no fleet is running in this lab: start one with `stackpin lab up --fleet 3`"
    )

xingrin = [("server", _hosts["server"])]
workers = [(name, data) for name, data in _hosts.items() if belongs_to_fleet(name, nodes=True)]
