"""What every handler works with, made once at the start of the process."""

import sys
from dataclasses import dataclass

from .auth import Authenticator
from .metrics import Metrics
from .packs import PackRepository
from .releases import Release
from .settings import Settings
from .store import Database


@dataclass(frozen=True)
class Context:
    """The parts of the program."""

    settings: Settings
    release: Release
    database: Database
    auth: Authenticator
    packs: PackRepository
    metrics: Metrics


def log(line: str) -> None:
    """One line on standard output, at once: it may be a pipe to the journal."""
    sys.stdout.write(line + "\n")
    sys.stdout.flush()
