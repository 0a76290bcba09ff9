"""The lab: everything a first deploy needs, nothing to fill in.

Build the CRM's releases first: python -m stackpin.lab.apps.crm.build --out artifacts/crm
"""

import shlex as _shlex
import sys as _sys

# The release every CRM host runs.
crm_version = "v1.0.0"
crm_artifact = "artifacts/crm/crm-{version}.pyz"

# Made up by the lab on first use and kept in its directory.
crm_admin_token = f"command:{_shlex.quote(_sys.executable)} -m stackpin.lab.secret crm-admin-token"

# A wrong answer is given up on sooner than the default of a minute: the demo shows two of them.
crm_gate = {"min_healthy": 12.0, "timeout": 25.0}

crm_repo_create = True
crm_public_url = "https://portal.example.net"
crm_public_ca = "host"

portal_server_name = "portal.example.net"
