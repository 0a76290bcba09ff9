"""Which environment variables an inventory may hand to the CRM besides those with a setting."""

from __future__ import annotations

import re
from collections.abc import Mapping

from stackpin.config.envfile import unwritable
from stackpin.config.problems import invalid

ENV = "SUB2API_CRM_"
_SECRET_NAME = re.compile(r"TOKEN|PASSWORD|PASSWD|SECRET|CREDENTIAL|PRIVATE|API_?KEY")
_OWN = {  # variables with a setting of their own
    f"{ENV}ADMIN_TOKEN": "crm_admin_token",
    f"{ENV}ADMIN_USERNAME": "crm_admin_username",
    f"{ENV}ADMIN_PASSWORD": "crm_admin_password",
    f"{ENV}ADMIN_SESSION_TTL": "crm_admin_session_ttl",
    f"{ENV}LISTEN_ADDR": "crm_ports",
    f"{ENV}REPO_ROOT": "crm_repo_root",
    f"{ENV}SQLITE_DSN": "nothing: the database is at a fixed place",
}


def judge(field: str, variables: Mapping[str, object]) -> None:
    """Raise the validation error for the first wrong entry of crm_env and its two kin.

    `field` is "env", "secret_env" or "backup_env"; values are texts or secret references.
    """
    for name, value in variables.items():
        if not re.fullmatch(r"[A-Z_][A-Z0-9_]*", name) or name.startswith("STACKPIN_"):
            raise invalid(
                f"names of capital letters, digits and _ not beginning with STACKPIN_ ({name!r})",
                "Rename it.",
            )
        if name in _OWN and field != "backup_env":
            raise invalid(f"no {name}: it has a setting of its own", f"Set {_OWN[name]}.")
        if field == "env" and _SECRET_NAME.search(name):
            raise invalid(f"no secret ({name} looks like one)", "Move it to crm_secret_env.")
        if isinstance(value, str) and unwritable(value):
            raise invalid(f"{name} without {unwritable(value)}", "Remove it.")
