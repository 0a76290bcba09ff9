"""Downloads a file whose digest is known before; it gets its name only when it has that digest."""

from __future__ import annotations

import hashlib
import time
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urljoin, urlsplit

import requests
import tenacity

from stackpin.artifacts.cache import Cache
from stackpin.artifacts.model import Resolved, Say
from stackpin.artifacts.outputs import is_plain
from stackpin.artifacts.unpacking import is_archive, unpack
from stackpin.config.sources import UrlSource
from stackpin.errors import Refused

__all__ = ["download"]

BYTES_MAX = 2 * 1024**3
ATTEMPTS = 4
TIMEOUT = (10.0, 30.0)  # seconds to connect, and for each wait for data
TOLD_EVERY = 5.0  # seconds
_REDIRECTS = 5
_BLOCK = 1 << 16
_MOVED = frozenset({301, 302, 303, 307, 308})


class _Again(Exception):  # noqa: N818 - a signal to try again, not an error of ours
    """The network or the server failed: another attempt may not."""


def download(source: UrlSource, cache: Cache, say: Say) -> Resolved:
    """Return the file at `source.url`, an archive unpacked, from the cache where it is there.

    Raises Refused for other content, an unusable answer, or when nothing answers.
    """
    sha256 = source.sha256
    if not isinstance(sha256, str):
        raise Refused(
            f"{source.url}: found no SHA-256 for this version in sha256, expected one. "
            "Add the version with the digest its publisher names."
        )
    name = unquote(urlsplit(source.url).path.rsplit("/", 1)[-1])
    if not is_plain(name):
        raise Refused(f"{source.url}: found no file's name at its end, expected one.")

    def make(files: Path, work: Path) -> dict[str, Any]:
        file = work / name
        _fetch(source.url, file, sha256, say)
        if is_archive(name):
            unpack(file, files, source.url)
        else:
            file.chmod(0o755)
            file.rename(files / name)
        return {"kind": "url", "url": source.url, "sha256": sha256}

    inputs = {"kind": "url", "sha256": sha256, "name": name}
    return cache.keep(inputs, make, source.url, say)


def _fetch(url: str, into: Path, sha256: str, say: Say) -> None:
    retrying = tenacity.Retrying(
        retry=tenacity.retry_if_exception_type(_Again),
        stop=tenacity.stop_after_attempt(ATTEMPTS),
        wait=tenacity.wait_exponential(0.5, max=8.0),
        before_sleep=lambda state: say(f"{url}: {_why(state)}; trying again"),
        sleep=time.sleep,
        reraise=True,
    )
    try:
        found = retrying(_once, url, into, say)
    except _Again as again:
        raise Refused(
            f"{url}: {again} ({ATTEMPTS} attempts), expected the file. Try again later, or take "
            "it from elsewhere with file(...)."
        ) from None
    if found != sha256:
        raise Refused(
            f"{url}: found SHA-256 {found}, expected {sha256}. Find out why it changed; change "
            "sha256 only if you trust this content."
        )


def _why(state: tenacity.RetryCallState) -> str:
    return str(state.outcome.exception()) if state.outcome else ""


def _once(url: str, into: Path, say: Say) -> str:
    """Make one attempt; return the SHA-256 of what came. Raises _Again or Refused."""
    try:
        with requests.Session() as session, _opened(session, url) as answer:
            return _received(answer, url, into, say)
    except (requests.ConnectionError, requests.Timeout) as error:
        raise _Again(f"found {type(error).__name__}") from None
    except requests.RequestException as error:  # a body that ends early is one of these
        raise _Again(f"found {type(error).__name__}") from None


def _opened(session: requests.Session, url: str) -> requests.Response:
    """Return the answer that has the file, after redirects that lose no protection."""
    here = url
    for _ in range(_REDIRECTS + 1):
        answer = session.get(
            here,
            stream=True,
            timeout=TIMEOUT,
            allow_redirects=False,
            headers={"Accept-Encoding": "identity", "User-Agent": "stackpin"},
        )
        if answer.status_code not in _MOVED:
            break
        answer.close()
        there = urljoin(here, answer.headers.get("Location", ""))
        if urlsplit(there).scheme not in {"https", urlsplit(here).scheme}:
            raise Refused(f"{url}: found a redirect to {there}, expected to stay on https.")
        here = there
    else:
        raise Refused(f"{url}: found more than {_REDIRECTS} redirects, expected the file.")
    if answer.status_code == 429 or answer.status_code >= 500:
        answer.close()
        raise _Again(f"found status {answer.status_code}")
    if answer.status_code != 200:
        answer.close()
        raise Refused(f"{url}: found status {answer.status_code}, expected 200. Correct the URL.")
    return answer


def _received(answer: requests.Response, url: str, into: Path, say: Say) -> str:
    declared = answer.headers.get("Content-Length", "")
    length = int(declared) if declared.isdecimal() else -1
    _require_size(url, length)
    size, digest, told = 0, hashlib.sha256(), time.monotonic()
    with into.open("wb") as file:
        for block in answer.iter_content(_BLOCK):
            size += len(block)
            _require_size(url, size)
            digest.update(block)
            file.write(block)
            if time.monotonic() - told > TOLD_EVERY:
                told = time.monotonic()
                of = f" of {length >> 20}" if length >= 0 else ""
                say(f"{url}: {size >> 20}{of} MiB")
    if 0 <= length != size:
        raise _Again(f"found {size} bytes of {length}")
    return digest.hexdigest()


def _require_size(url: str, size: int) -> None:
    if size > BYTES_MAX:
        raise Refused(f"{url}: found more than {BYTES_MAX >> 20} MiB, expected at most that.")
