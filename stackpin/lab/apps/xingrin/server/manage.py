"""The management commands that start.sh and a deploy call."""

import sys
import time
from collections.abc import Callable, Sequence

from .auth import hash_password
from .database import Postgres, Taken, Unavailable
from .migrations import migrate, schema_step
from .settings import INSECURE_KEY, Settings
from .store import SqlStore

__all__ = ["main"]

WAIT_SECONDS = 30.0
NOTHING_TO_DO = {"init_wordlists", "init_nuclei_templates", "init_fingerprints", "collectstatic"}
ENGINE = "full scan"


def main(arguments: Sequence[str]) -> int:
    """Run one command; 0, 1 when it failed, 2 when there is no such command."""
    name, *options = [*arguments, "help"]
    settings = Settings.read()
    commands: dict[str, Callable[[], int]] = {
        "makemigrations": _make,
        "migrate": lambda: _migrate(settings),
        "check": lambda: _check(settings, "--deploy" in options),
        "init_default_engine": lambda: _engine(settings),
        "init_admin": lambda: _admin(settings),
        "schema-step": lambda: _step(settings),
        **{name: (lambda: 0) for name in NOTHING_TO_DO},
    }
    if name not in commands:
        _say(f"commands: {', '.join(sorted(commands))}")
        return 2
    try:
        return commands[name]()
    except Unavailable as error:
        _say(
            f"{name}: database {settings.db_name} at {settings.db_host}:{settings.db_port}: {error}"
        )
        return 1


def _make() -> int:
    # It always invents the same name: that is the trap (see `migrations`).
    _say("Migrations for 'engine':\n  0001_initial\n    - Create models")
    return 0


def _migrate(settings: Settings) -> int:
    _say("Running migrations:")
    end = time.monotonic() + WAIT_SECONDS
    while True:
        try:
            migrate(Postgres(settings), settings.release, _say)
        except Unavailable as error:
            # A container started together with its database; a wrong password is no matter of time.
            if "authentication failed" in str(error) or time.monotonic() > end:
                raise
            time.sleep(0.5)
        else:
            return 0


def _check(settings: Settings, strict: bool) -> int:
    if settings.secret_key == INSECURE_KEY:
        _say("?: (security.W009) SECRET_KEY is the public default")
        if strict:
            return 1
    _say("System check identified no issues.")
    return 0


def _engine(settings: Settings) -> int:
    try:
        SqlStore(Postgres(settings)).add("scan_engine", {"name": ENGINE})
    except Taken:
        _say(f"the engine {ENGINE!r} is there")
    return 0


def _admin(settings: Settings) -> int:
    stored = hash_password(settings.admin_password)
    values = {"username": "admin", "password": stored, "is_superuser": True}
    try:
        SqlStore(Postgres(settings)).add("auth_user", values)
    except Taken:
        _say("the user admin is there; its password stays")
    return 0


def _step(settings: Settings) -> int:
    done = schema_step(Postgres(settings), settings.release, _say)
    _say(f"schema step of {settings.release}: {done} changes")
    return 0


def _say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()
