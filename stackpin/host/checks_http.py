"""HTTP checks: what counts as the right answer (pure), and how the host asks for one.

`judge` has no I/O: the host feeds it an answer read with http.client, the operator one read with
requests, so both sides decide alike. Redirects are answers like any other and are never followed.
"""

from __future__ import annotations

import http.client
import ipaddress
import json
import re
import ssl
import time
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple
from urllib.parse import urlsplit

BODY_LIMIT = 1024 * 1024  # bytes read of an answer; a check needs the start, not a download
SHOWN = 300  # characters of the body repeated in a result


class Answer(NamedTuple):
    """One HTTP answer: status, headers (repeated ones joined by ", "), the first bytes of body."""

    status: int
    headers: dict[str, str]
    body: bytes


def judge(  # noqa: PLR0917
    check: Mapping[str, Any],
    status: int,
    headers: Mapping[str, str],
    body: bytes | str,
    version: str | None,
    mask: Callable[[str], str] = str,
) -> tuple[bool, str, str]:
    """Decide whether an answer is the expected one.

    `check` is an http Check as JSON; `headers` are the answer's; `version` is the release's
    version, or None when unknown (then a version header need only be there).
    `mask` hides secrets; it sees the text before it is cut, or half a secret would escape it.
    Returns (ok, expected, got); `got` begins with what was wrong.
    """
    text = body.decode("utf-8", "replace") if isinstance(body, bytes) else body
    lower = {name.lower(): value.strip() for name, value in headers.items()}
    wanted: list[str] = []
    wrong: list[str] = []

    status_wanted = int(check.get("status") or 200)
    wanted.append(f"status {status_wanted}")
    matched = status == status_wanted

    exact = check.get("body")
    if exact is not None:
        wanted.append(f"body {exact!r}")
        # A final newline is how servers end a line of text, not part of the answer.
        if text.rstrip("\r\n") != str(exact).rstrip("\r\n"):
            wrong.append("another body")
    for part in check.get("contains") or ():
        wanted.append(f"body with {part!r}")
        if str(part) not in text:
            wrong.append(f"no {part!r} in the body")
    _judge_json(check, text, wanted, wrong)
    for series in check.get("series") or ():
        wanted.append(f"series {series}")
        if not re.search(rf"^{re.escape(series)}(?=[{{\s])", text, re.MULTILINE):
            wrong.append(f"no series {series}")
    _judge_headers(check, lower, version, wanted, wrong)

    shown = " ".join(mask(text).split())[:SHOWN]
    got = "; ".join([f"status {status}", *map(mask, wrong)])
    return matched and not wrong, mask(", ".join(wanted)), f"{got}: {shown}" if shown else got


def _judge_json(check: Mapping[str, Any], text: str, wanted: list[str], wrong: list[str]) -> None:
    exact, subset = check.get("json"), check.get("json_has")
    if exact is None and subset is None:
        return
    if exact is not None:
        wanted.append(f"JSON {_compact(exact)}")
    if subset is not None:
        wanted.append(f"JSON with {_compact(subset)}")
    try:
        value = json.loads(text)
    except ValueError as problem:
        wrong.append(f"not JSON ({problem})")
        return
    if exact is not None and not _same(exact, value):
        wrong.append("another JSON value")
    if subset is not None:
        missing = _missing(subset, value, "")
        if missing:
            wrong.append(missing)


def _judge_headers(
    check: Mapping[str, Any],
    headers: Mapping[str, str],
    version: str | None,
    wanted: list[str],
    wrong: list[str],
) -> None:
    for name, value in (check.get("response_headers") or {}).items():
        wanted.append(f"header {name}: {value}")
        found = headers.get(name.lower())
        if found != str(value).strip():
            wrong.append(f"no header {name}" if found is None else f"header {name}: {found}")
    name = check.get("version_header")
    if name:
        wanted.append(f"header {name}: {version or 'any version'}")
        found = headers.get(str(name).lower())
        if found is None:
            wrong.append(f"no header {name}")
        elif version is not None and found != version:
            wrong.append(f"header {name}: {found}")


def _compact(value: Any) -> str:  # noqa: ANN401
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def _same(expected: Any, found: Any) -> bool:  # noqa: ANN401
    """JSON equality: unlike Python's, true is not 1."""
    if isinstance(expected, bool) or isinstance(found, bool):
        return expected is found
    if isinstance(expected, dict) and isinstance(found, dict):
        return expected.keys() == found.keys() and all(_same(expected[k], found[k]) for k in found)
    if isinstance(expected, list) and isinstance(found, list):
        return len(expected) == len(found) and all(map(_same, expected, found))
    return bool(expected == found)


def _missing(expected: Any, found: Any, where: str) -> str:  # noqa: ANN401, PLR0911
    """Name the first part of `expected` that `found` lacks, or "".

    A mapping needs its keys, a list needs its members anywhere (so [] is any list and {} any
    mapping), null needs only to be there, anything else must be equal.
    """
    at = where or "the top"
    if expected is None:
        return ""
    if isinstance(expected, dict):
        if not isinstance(found, dict):
            return f"no mapping at {at}"
        for key, value in expected.items():
            path = f"{where}.{key}" if where else str(key)
            if key not in found:
                return f"no key {path}"
            missing = _missing(value, found[key], path)
            if missing:
                return missing
        return ""
    if isinstance(expected, list):
        if not isinstance(found, list):
            return f"no list at {at}"
        lacking = [e for e in expected if all(_missing(e, f, where) for f in found)]
        return f"no {_compact(lacking[0])} in {at}" if lacking else ""
    return "" if _same(expected, found) else f"another value at {at}"


def fetch(
    method: str,
    url: str,
    headers: Mapping[str, str],
    timeout: float,
    *,
    verify: bool = True,
    ca: str | None = None,
) -> Answer:
    """Send one request, read at most BODY_LIMIT bytes; `timeout` (seconds) bounds all of it.

    verify False: any certificate will do. ca: path of a PEM file with those to trust.
    Raises OSError (also TimeoutError), http.client.HTTPException or ValueError (bad URL).
    """
    deadline = time.monotonic() + timeout
    parts = urlsplit(url)
    host = parts.hostname
    if not host or parts.scheme not in {"http", "https"}:
        raise ValueError(f"{url!r} is not an http or https URL")
    connection: http.client.HTTPConnection
    if parts.scheme == "https":
        connection = http.client.HTTPSConnection(
            host, parts.port or 443, timeout=timeout, context=_tls(host, verify, ca)
        )
    else:
        connection = http.client.HTTPConnection(host, parts.port or 80, timeout=timeout)
    target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    # As bytes: http.client would refuse a token that is not Latin-1.
    sent = {"Connection": b"close", **{name: value.encode() for name, value in headers.items()}}
    try:
        connection.request(method, target, headers=sent)
        response = connection.getresponse()
        body = b""
        while len(body) < BODY_LIMIT:
            if time.monotonic() >= deadline:  # a server that drips one byte at a time
                raise TimeoutError("timed out")
            chunk = response.read1(65536)
            if not chunk:
                break
            body += chunk
        names = dict.fromkeys(response.headers.keys())
        found = {name: ", ".join(response.headers.get_all(name, [])) for name in names}
        return Answer(response.status, found, body)
    finally:
        connection.close()


def _tls(host: str, verify: bool, ca: str | None) -> ssl.SSLContext:
    """Verify certificates except on loopback, where nobody but root can stand in between."""
    context = ssl.create_default_context(cafile=ca)
    try:
        loopback = ipaddress.ip_address(host).is_loopback
    except ValueError:
        loopback = host == "localhost"
    if ca is None and (loopback or not verify):
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context
