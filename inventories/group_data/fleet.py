"""The fleet of the lab: everything a first deploy needs, nothing to fill in.

Start it with `stackpin lab up --fleet 3` and `stackpin lab registry --push all`, then lock a tag:
stackpin pin inventories/fleet xingrin --version v1.1.0
"""

import shlex as _shlex
import sys as _sys

from stackpin.errors import StackpinError as _StackpinError
from stackpin.lab import Lab as _Lab

_lab = _Lab.load()
_registry = _lab.registry
# This file is read for every inventory, also where no fleet runs.
_address, _server = "docker.io", "server"
_ca: str | None = None
_operators: list[str] = []
try:
    _address, _ca = _registry.address, str(_registry.ca)
    _server = _lab.host("server").address
    _operators = [f"{_lab.state().gateway}/32"]
except _StackpinError:
    pass

# The release server and nodes run.
xingrin_version = "v1.1.0"
xingrin_lock_file = "inventories/fleet.lock.toml"

xingrin_registry = _address
xingrin_registry_username = _registry.username
# Made up by the lab on first use and kept in its directory.
xingrin_registry_password = (
    f"command:{_shlex.quote(_sys.executable)} -m stackpin.lab.secret registry-password"
)
xingrin_registry_ca = _ca
xingrin_redis_image = f"{_address}/{_registry.namespace}/redis:8"
xingrin_postgres_image = f"{_address}/{_registry.namespace}/postgres:17"

# Under this address nodes reach the server; it is in its certificate.
xingrin_public_host = _server
# This machine may ask the API too, beside the nodes.
xingrin_allow = _operators

# Only v1.6.0 changes tables, in a way its images do not find out by themselves.
xingrin_schema_step = {"v1.6.0": ["python", "manage.py", "schema-step"]}

# The lab's machines are small and its containers start in seconds.
xingrin_gate = {"min_healthy": 8.0, "timeout": 60.0}
xingrin_start_timeout = 60.0
xingrin_min_disk_mb = 256
xingrin_min_memory_mb = 64
# The image of the lab's hosts comes with nginx.
xingrin_listeners_allowed = ["22/tcp", "80/tcp"]
