"""How a registry wants to be asked: Basic, or Bearer with a token from where it says."""

from __future__ import annotations

import base64
import json
import re
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlencode, urlsplit

from stackpin.registry.errors import BadAnswer, Unauthorized

__all__ = ["Authorizer", "Challenge", "Credentials", "challenges"]

_PARAMETER = re.compile(r"""([\w!#$%&'*+.^`|~-]+)\s*=\s*(?:"((?:[^"\\]|\\.)*)"|([^\s,"]+))""")
_SCHEME = re.compile(r"[\w!#$%&'*+.^`|~-]+")
_SOON = 10.0  # seconds before its end a token is not used any more
_LIFETIME = 60.0  # of a token whose answer does not say


@dataclass(frozen=True)
class Credentials:
    """A user of the registry; the password is never shown."""

    username: str
    password: str = field(repr=False)

    @property
    def basic(self) -> str:
        """The value of a Basic Authorization header."""
        raw = f"{self.username}:{self.password}".encode()
        return "Basic " + base64.b64encode(raw).decode("ascii")


@dataclass(frozen=True)
class Challenge:
    """One way to authenticate: `scheme` in lower case and its parameters."""

    scheme: str
    parameters: Mapping[str, str]


def challenges(header: str) -> list[Challenge]:
    """Take a WWW-Authenticate header apart; it may hold several challenges."""
    found: list[tuple[str, dict[str, str]]] = []
    position = 0
    while position < len(header):
        parameter = _PARAMETER.match(header, position)
        if parameter and found:
            name, quoted, plain = parameter.groups()
            value = re.sub(r"\\(.)", r"\1", quoted) if quoted is not None else plain
            found[-1][1].setdefault(name.lower(), value)
            position = parameter.end()
            continue
        scheme = _SCHEME.match(header, position)
        if scheme:
            found.append((scheme[0].lower(), {}))
            position = scheme.end()
        else:
            position += 1  # blanks and commas
    return [Challenge(scheme, parameters) for scheme, parameters in found]


class Authorizer:
    """Remembers, per repository, the header that a registry accepted.

    `fetch(url, authorization, image)` gets a token server's answer body; it raises
    RegistryProblem. `now` is a clock in seconds.
    """

    def __init__(
        self,
        registry: str,
        credentials: Credentials | None,
        fetch: Callable[[str, str | None, str], bytes],
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self._registry, self._credentials, self._fetch, self._now = (
            registry,
            credentials,
            fetch,
            now,
        )
        self._headers: dict[str, tuple[str, float]] = {}

    def header(self, repository: str) -> str | None:
        """Return the Authorization header known to work for `repository`, None to go without."""
        header, until = self._headers.get(repository, ("", 0.0))
        return header if header and self._now() < until else None

    def answer(self, asked: str, repository: str, image: str) -> str:
        """Return a header for the challenge `asked` (WWW-Authenticate). Raises Unauthorized.

        Also called when a header was refused: it may have run out, so it is made anew.
        """
        self._headers.pop(repository, None)
        offered = {one.scheme: one for one in reversed(challenges(asked))}
        if "bearer" in offered:
            made = self._token(offered["bearer"], repository, image)
        elif "basic" in offered and self._credentials is not None:
            made = self._credentials.basic, float("inf")
        elif "basic" in offered:
            raise Unauthorized(self._registry, image, "401 and no user to log in as")
        else:
            ways = ", ".join(offered) or "no way"
            raise BadAnswer(self._registry, image, f"401 with {ways} to authenticate")
        self._headers[repository] = made
        return made[0]

    def _token(self, challenge: Challenge, repository: str, image: str) -> tuple[str, float]:
        realm = urlsplit(challenge.parameters.get("realm", ""))
        if realm.scheme != "https" or not realm.hostname or realm.username is not None:
            # The password goes there: never in clear.
            raise BadAnswer(self._registry, image, "a token server whose address is not https")
        query = {"scope": challenge.parameters.get("scope") or f"repository:{repository}:pull"}
        if "service" in challenge.parameters:
            query["service"] = challenge.parameters["service"]
        joined = "&".join(part for part in (realm.query, urlencode(query)) if part)
        url = realm._replace(query=joined, fragment="").geturl()
        basic = self._credentials.basic if self._credentials else None
        began = self._now()
        told = _object(self._fetch(url, basic, image))
        token = told.get("token") or told.get("access_token")
        if not isinstance(token, str) or not re.fullmatch(r"[!-~]+", token):
            raise BadAnswer(self._registry, image, "an answer of its token server without a token")
        lifetime = told.get("expires_in")
        plain = isinstance(lifetime, int | float) and not isinstance(lifetime, bool)
        seconds = max(float(lifetime), _LIFETIME) if plain and lifetime else _LIFETIME
        return f"Bearer {token}", began + seconds - _SOON


def _object(body: bytes) -> dict[str, Any]:
    try:
        value = json.loads(body)
    except (ValueError, RecursionError):
        return {}
    return value if isinstance(value, dict) else {}
