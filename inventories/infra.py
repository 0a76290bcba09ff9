"""InfraCore on this machine: `stackpin lab up 1` starts a host, `... lab up 2` two.

Every host of the lab is in the group infracore, except those of a fleet that runs beside them.
What to do with it: docs/how-to/infracore.md.
Group data: `inventories/group_data/infra.py`; a file infracore.py there would be read for the group
of that name in every inventory. Ports 80 and 443 of a host are gate's here: take another host than
the one `inventories/lab` deployed the portal to.
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
    raise InventoryError("no lab is running: start one with `stackpin lab up 1`")

infracore = [(host.name, host_data(_lab, host)) for host in _hosts]
