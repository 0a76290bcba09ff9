"""What an inventory may add: environment variables beside a service's own, a backup repository."""

from __future__ import annotations

import re
from collections.abc import Mapping

from stackpin.config.envfile import unwritable
from stackpin.config.problems import invalid

_SECRET_NAME = re.compile(r"TOKEN|PASSWORD|PASSWD|SECRET|CREDENTIAL|PRIVATE|API_?KEY")


def judge(prefix: str, own: Mapping[str, str], field: str, variables: Mapping[str, object]) -> None:
    """Raise the validation error for the first wrong entry of {prefix}env and its two kin.

    `own` maps a variable to the setting it has already; `field` is "env", "secret_env" or
    "backup_env"; values are texts or secret references.
    """
    for name, value in variables.items():
        if not re.fullmatch(r"[A-Z_][A-Z0-9_]*", name) or name.startswith("STACKPIN_"):
            raise invalid(
                f"names of capital letters, digits and _ not beginning with STACKPIN_ ({name!r})",
                "Rename it.",
            )
        if name in own and field != "backup_env":
            raise invalid(f"no {name}: it has a setting of its own", f"Set {own[name]}.")
        if field == "env" and _SECRET_NAME.search(name):
            raise invalid(f"no secret ({name} looks like one)", f"Move it to {prefix}secret_env.")
        if isinstance(value, str) and unwritable(value):
            raise invalid(f"{name} without {unwritable(value)}", "Remove it.")


def require_no_password(prefix: str, repository: str) -> None:
    """Raise the validation error for a restic repository with a password in its address."""
    if re.search(r"//[^/@\s]*:[^/@\s]*@", repository) or not repository.isprintable():
        raise invalid("a repository without a password in it", f"Put it in {prefix}backup_env.")
