"""Requests to one address: TLS, retries, redirects and a time by which all must have ended."""

from __future__ import annotations

import ssl
import time
from collections.abc import Mapping
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from http.cookiejar import DefaultCookiePolicy
from typing import Any
from urllib.parse import urljoin, urlsplit

import requests
import tenacity
import urllib3
from requests.adapters import HTTPAdapter

from stackpin.errors import Refused
from stackpin.registry.errors import (
    BadAnswer,
    RateLimited,
    RegistryProblem,
    RegistryUnreachable,
    TlsProblem,
)

__all__ = ["Answer", "Transport", "trusting"]

BODY_MAX = 4 * 1024 * 1024  # what the specification asks registries to accept as a manifest
_REDIRECTS = 5
_LONGEST_WAIT = 20.0  # seconds one command waits when a registry asks for patience
_REDIRECTED = frozenset({301, 302, 303, 307, 308})
_ORIGIN = {"https": 443, "http": 80}


@dataclass(frozen=True)
class Answer:
    """What was answered: status, headers (names in any case), body, and who said it."""

    status: int
    headers: Mapping[str, str]
    body: bytes
    url: str


class _Again(Exception):  # noqa: N818 - a signal to try again, not an error of ours
    def __init__(self, problem: RegistryProblem, wait: float | None = None) -> None:
        super().__init__(str(problem))
        self.problem, self.wait = problem, wait


class _Trusting(HTTPAdapter):
    def __init__(self, context: ssl.SSLContext) -> None:
        self._context = context
        super().__init__()

    def init_poolmanager(self, *args: Any, **options: Any) -> None:  # noqa: ANN401
        super().init_poolmanager(*args, ssl_context=self._context, **options)


def trusting(ca: str | None) -> ssl.SSLContext:
    """Return a context that trusts the system's authorities and those in the file `ca`.

    Raises Refused for a file that cannot be used.
    """
    context = ssl.create_default_context()
    if ca is not None:
        try:
            context.load_verify_locations(cafile=ca)
        except (OSError, ssl.SSLError) as error:
            raise Refused(
                f"registry_ca: {ca}: found {error.strerror or error}, expected a readable "
                "file with PEM certificates. Correct the path."
            ) from None
    return context


class Transport:
    """Asks one registry address, `base` such as "https://10.0.0.5:5000".

    `timeout` bounds connecting and each wait for data, in seconds; `attempts` how often a question
    is put when the network or the server fails. Safe to use from several threads.
    """

    def __init__(self, base: str, context: ssl.SSLContext, timeout: float, attempts: int) -> None:
        self.base, self.name = base.rstrip("/"), urlsplit(base).netloc
        self._timeout, self._attempts = timeout, attempts
        self._session = requests.Session()
        self._session.mount("https://", _Trusting(context))
        self._session.cookies.set_policy(DefaultCookiePolicy(allowed_domains=[]))
        self._session.headers["User-Agent"] = "stackpin"
        self._session.headers["Accept-Encoding"] = "identity"  # digests are of what is sent

    def ask(
        self, method: str, url: str, image: str, headers: Mapping[str, str], until: float
    ) -> Answer:
        """Put one question; `until` is when (time.monotonic) it must have been answered.

        `url` may be relative to the base. Any status that is not 429 or 5xx is an answer; after
        those, and after network errors, it is tried again with growing pauses. Raises
        RegistryProblem.
        """

        def enough(state: tenacity.RetryCallState) -> bool:
            late = time.monotonic() + state.upcoming_sleep >= until
            return late or state.attempt_number >= self._attempts

        retrying = tenacity.Retrying(
            retry=tenacity.retry_if_exception_type(_Again),
            stop=enough,
            wait=_pause,
            sleep=time.sleep,
            reraise=True,
        )
        try:
            return retrying(
                self._once, method, urljoin(self.base + "/", url), image, headers, until
            )
        except _Again as again:
            raise again.problem from None

    def same_origin(self, url: str) -> bool:
        """Whether `url` is at this very address: scheme, host and port."""
        return _origin(url) == _origin(self.base)

    def _once(
        self, method: str, url: str, image: str, headers: Mapping[str, str], until: float
    ) -> Answer:
        sent = dict(headers)
        for _ in range(_REDIRECTS + 1):
            answer = self._send(method, url, image, sent, until)
            if answer.status not in _REDIRECTED or "location" not in answer.headers:
                break
            target = urljoin(url, answer.headers["location"])
            if urlsplit(target).scheme != "https" and urlsplit(url).scheme == "https":
                raise BadAnswer(self.name, image, "a redirect away from https")
            if _origin(target) != _origin(url):
                sent.pop("Authorization", None)  # credentials are for who was asked, nobody else
            url = target
        else:
            raise BadAnswer(self.name, image, f"more than {_REDIRECTS} redirects")
        if answer.status == 429:
            wait = _retry_after(answer.headers.get("retry-after"))
            told = "" if wait is None else f" (it asks to wait {wait:.0f} s)"
            problem: RegistryProblem = RateLimited(self.name, image, f"429{told}")
            if wait is not None and wait > _LONGEST_WAIT:
                raise problem
            raise _Again(problem, wait)
        if answer.status >= 500:
            raise _Again(RegistryUnreachable(self.name, image, f"status {answer.status}"))
        return answer

    def _send(
        self, method: str, url: str, image: str, headers: Mapping[str, str], until: float
    ) -> Answer:
        rest = until - time.monotonic()
        if rest <= 0:
            raise RegistryUnreachable(self.name, image, "no answer in the time there is")
        wait = min(self._timeout, rest)
        try:
            with self._session.request(
                method,
                url,
                headers=dict(headers),
                timeout=(wait, wait),
                allow_redirects=False,
                stream=True,
                auth=_as_it_is,
            ) as response:
                body = self._body(response, image, until)
                found = {name.lower(): value for name, value in response.headers.items()}
                return Answer(response.status_code, found, body, url)
        except requests.exceptions.SSLError as error:
            raise TlsProblem(self.name, image, _reason(error)) from None
        except (requests.exceptions.Timeout, urllib3.exceptions.TimeoutError):
            problem = RegistryUnreachable(self.name, image, f"no answer within {wait:.0f} s")
            raise _Again(problem) from None
        except (requests.exceptions.ConnectionError, urllib3.exceptions.HTTPError) as error:
            raise _Again(RegistryUnreachable(self.name, image, _reason(error))) from None
        except requests.exceptions.RequestException as error:
            raise BadAnswer(self.name, image, _reason(error)) from None

    def _body(self, response: requests.Response, image: str, until: float) -> bytes:
        body = b""
        # Not iter_content: it waits for whole chunks, and so for ever when each byte comes late.
        while chunk := response.raw.read1(64 * 1024):
            body += chunk
            if len(body) > BODY_MAX:
                raise BadAnswer(self.name, image, f"more than {BODY_MAX} bytes")
            if time.monotonic() > until:
                raise RegistryUnreachable(self.name, image, "an answer too slow to wait for")
        return body


def _as_it_is(request: requests.PreparedRequest) -> requests.PreparedRequest:
    # Without any `auth`, requests would add what ~/.netrc has for the host.
    return request


def _origin(url: str) -> tuple[str, str | None, int | None]:
    parts = urlsplit(url)
    return parts.scheme, parts.hostname, parts.port or _ORIGIN.get(parts.scheme)


def _pause(state: tenacity.RetryCallState) -> float:
    error = state.outcome.exception() if state.outcome else None
    if isinstance(error, _Again) and error.wait is not None:
        return error.wait
    return float(tenacity.wait_exponential_jitter(initial=0.5, max=5, jitter=0.5)(state))


def _retry_after(value: str | None) -> float | None:
    """Return the seconds a Retry-After header asks for; it is a number or a date."""
    if value is None:
        return None
    if value.strip().isascii() and value.strip().isdecimal():
        return float(value)
    try:
        return max(0.0, parsedate_to_datetime(value).timestamp() - time.time())
    except (ValueError, TypeError, OverflowError):
        return None


def _reason(error: BaseException) -> str:
    """Return the last, plain part of what requests wraps into several layers."""
    seen: set[int] = set()
    inner: BaseException = error
    while id(inner) not in seen:
        seen.add(id(inner))
        nested = (*inner.args, getattr(inner, "reason", None), inner.__cause__)
        causes = [arg for arg in nested if isinstance(arg, BaseException)]
        if not causes:
            break
        inner = causes[0]
    told = getattr(inner, "verify_message", None) or getattr(inner, "strerror", None) or str(inner)
    text = " ".join(str(told).split())
    return text[text.rfind("): ") + 3 :][:200] if "): " in text else text[:200] or "no connection"
