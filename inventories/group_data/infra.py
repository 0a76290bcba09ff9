"""InfraCore in the lab: everything a first deploy needs, nothing to fill in.

Build its releases first: python -m stackpin.lab.apps.infracore.build --out artifacts/infracore
Containers instead of units: stackpin lab registry --push all, and --data infracore_mode=compose
"""

import contextlib as _contextlib
import shlex as _shlex
import sys as _sys

from stackpin.config.sources import file as _file
from stackpin.errors import StackpinError as _StackpinError
from stackpin.lab import Lab as _Lab

_lab = _Lab.load()
_registry = _lab.registry
# This file is read for every inventory, also where no registry runs.
_address = "docker.io"
_ca: str | None = None
with _contextlib.suppress(_StackpinError):
    _address, _ca = _registry.address, str(_registry.ca)

# The release all five services run.
infracore_version = "v1.0.0"
infracore_artifact = _file("artifacts/infracore/infracore-{version}")
infracore_server_name = "infra.example.net"

# A wrong answer is given up on sooner than the default of a minute.
infracore_gate = {"min_healthy": 4.0, "timeout": 25.0}

# The lab's hosts share one machine.
infracore_min_cpus = 1
infracore_min_memory_mb = 512
infracore_min_disk_mb = 512
infracore_recommended = {"cpus": 1, "memory_mb": 1024, "disk_mb": 1024}

# Read in mode compose only: containers from the lab's own registry.
infracore_lock_file = "inventories/infra.lock.toml"
infracore_registry = _address
infracore_registry_ca = _ca
infracore_registry_username = _registry.username
infracore_registry_password = (
    f"command:{_shlex.quote(_sys.executable)} -m stackpin.lab.secret registry-password"
)
