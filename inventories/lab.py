"""The hosts of the lab that runs on this machine: `stackpin lab up` starts it.

Both stacks go to every host, except those of a fleet that runs beside them (`inventories/fleet`).
Group data: `inventories/group_data/lab.py`.
"""

from pyinfra.api.exceptions import InventoryError

from stackpin.errors import StackpinError
from stackpin.lab import Lab
from stackpin.lab.inventory import belongs_to_fleet, host_data

_lab = Lab.load()
try:
    _hosts = [host for host in _lab.hosts if not belongs_to_fleet(host.name)]
except StackpinError as error:
    raise InventoryError(str(error)) from error
if not _hosts:
    raise InventoryError("no lab is running: start one with `stackpin lab up`")

# The portal's name is in no DNS.
_all = [
    (host.name, host_data(_lab, host) | {"crm_public_address": host.address}) for host in _hosts
]

crm = _all
portal = _all
