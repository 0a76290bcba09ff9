"""What each release is, including the faults some of them have on purpose."""

from dataclasses import dataclass

LOGIN_HISTORY = "login-history"


@dataclass(frozen=True)
class Release:
    """One release: how far its schema goes, what it can do, how one of its services misbehaves."""

    version: str
    schema: int = 2
    features: tuple[str, ...] = (LOGIN_HISTORY,)
    fails: str = ""
    """The service that answers 500 to everything."""
    dies: str = ""
    """The service whose process ends by itself, as a crash would..."""
    dies_after: float = 20.0
    """...so many seconds after it began to listen."""
    deaf: str = ""
    """The service that runs and binds no port."""


RELEASES = {
    release.version: release
    for release in (
        Release("v1.0.0", schema=1, features=()),
        Release("v1.1.0"),
        Release("v1.2.0", fails="console"),
        Release("v1.3.0", dies="probe"),
        Release("v1.4.0", deaf="orchestrator"),
        Release("v1.5.0"),
    )
}
