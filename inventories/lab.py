"""The hosts of the lab that runs on this machine: `stackpin lab up` starts it.

Both stacks go to every host. Group data: `inventories/group_data/lab.py`.
"""

from pyinfra.api.exceptions import InventoryError

from stackpin.errors import StackpinError
from stackpin.lab import Lab

_lab = Lab.load()
try:
    _hosts = _lab.hosts
except StackpinError as error:
    raise InventoryError(str(error)) from error
if not _hosts:
    raise InventoryError("no lab is running: start one with `stackpin lab up`")

_all = [
    (
        host.name,
        {
            "ssh_hostname": host.address,
            "ssh_port": host.ssh_port,
            "ssh_user": "deploy",
            "ssh_key": str(_lab.ssh_key),
            "ssh_known_hosts_file": str(_lab.known_hosts),
            "ssh_strict_host_key_checking": "yes",
            # The portal's name is in no DNS.
            "crm_public_address": host.address,
        },
    )
    for host in _hosts
]

crm = _all
portal = _all
