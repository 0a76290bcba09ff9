"""What a load is told to do and what it tells afterwards; the targets it refuses."""

import ipaddress
import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self
from urllib.parse import urlsplit

REQUEST_SECONDS = 15.0
LOST_SECONDS = 600.0  # for asking, after the load, what became of every write
MOST_SECONDS = 3600.0
MOST_REQUESTS = 500_000

_LAB_NETWORKS = [
    ipaddress.ip_network(text)
    for text in (
        "127.0.0.0/8",
        "10.0.0.0/8",
        "172.16.0.0/12",
        "192.168.0.0/16",
        "::1/128",
        "fc00::/7",
    )
]


class RefusedTargetError(ValueError):
    """The target is not a lab address."""


@dataclass(frozen=True)
class Plan:
    """What to load, how hard and for how long."""

    url: str
    token_file: Path | None = None
    """With the CRM's admin token; InfraCore needs none."""
    server_name: str = ""
    ca: Path | None = None
    seconds: float = 20.0
    keep_alive: int = 32
    one_shot: int = 8
    rate: float = 120.0
    """Requests per second over all clients; think time keeps it there on a fast host."""
    max_requests: int = 100_000
    app: str = "crm"
    """What is asked: crm or infracore."""

    def __post_init__(self) -> None:
        """Refuse what could hurt somebody, or would never end."""
        check_target(self.url)
        if not 0 < self.seconds <= MOST_SECONDS or not 0 < self.max_requests <= MOST_REQUESTS:
            raise ValueError(f"at most {MOST_SECONDS:.0f} seconds and {MOST_REQUESTS} requests")
        if (
            not 0 < self.keep_alive + self.one_shot <= 256
            or min(self.keep_alive, self.one_shot) < 0
        ):
            raise ValueError("between 1 and 256 clients")
        if not 0 < self.rate <= 5000:
            raise ValueError("the rate must be above 0 and at most 5000 per second")
        if self.url.startswith("https:") and self.ca is None:
            raise ValueError("https needs --ca: a load test that trusts anybody proves nothing")


@dataclass
class Result:
    """What happened. `ok + failed == requests`; `lost` is None if it could not be found out."""

    started: str = ""
    ended: str = ""
    seconds: float = 0.0
    requests: int = 0
    ok: int = 0
    failed: int = 0
    failed_by_kind: dict[str, int] = field(default_factory=dict)
    samples: list[dict[str, str]] = field(default_factory=list)
    longest_gap: float = 0.0
    """Most seconds between two good answers with a failure between them; 0 without a failure."""
    latency_ms: dict[str, float] = field(default_factory=dict)
    versions: dict[str, int] = field(default_factory=dict)
    """Answers by the `X-App-Version` they carried: a switch can be seen in it."""
    acknowledged: list[str] = field(default_factory=list)
    """Names of the hosts whose registration was answered with 201."""
    lost: list[str] | None = None
    """Acknowledged names the service does not know any more, asked for after the load."""

    @classmethod
    def read(cls, path: Path) -> Self:
        """Read a result that was written with `--json`."""
        return cls(**json.loads(path.read_text(encoding="utf-8")))


def check_target(url: str) -> tuple[str, int, bool]:
    """Return address, port and whether TLS is spoken; refuse all but loopback and private ones."""
    parts = urlsplit(url)
    host = parts.hostname or ""
    if parts.scheme not in ("http", "https") or parts.path not in ("", "/") or parts.query:
        raise RefusedTargetError(f"{url!r} is not of the form https://ADDRESS[:PORT]")
    try:
        address = ipaddress.ip_address("127.0.0.1" if host == "localhost" else host)
    except ValueError as error:
        raise RefusedTargetError(f"{host!r} is not an address; names are not resolved") from error
    if not any(address in network for network in _LAB_NETWORKS):
        raise RefusedTargetError(f"{address} is neither a loopback nor a private address")
    secure = parts.scheme == "https"
    return str(address), parts.port or (443 if secure else 80), secure
