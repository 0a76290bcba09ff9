"""Run the checks of a stack, all at once, each bounded by its own timeout.

A check never raises: what goes wrong becomes the `got` of its result. Secrets of the release's
environment are expanded where a check asks for them and masked in everything that is returned,
also when the server repeats them.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from stackpin.host import checks_http, checks_local
from stackpin.host.checks_probe import Probe
from stackpin.host.errors import HostError
from stackpin.host.masking import Masker, expand, references
from stackpin.host.stack import Stack

RETRY_PAUSE = 1.0  # seconds between the attempts of one check
GRACE = 0.5  # seconds over its time limit before a check is given up as hung


def run_checks(
    stack: Stack,
    checks: Sequence[dict[str, Any]],
    *,
    port: int | None,
    env: Mapping[str, str],
    where: set[str],
    version: str | None,
    address: str | None = None,
    slot: str | None = None,
) -> list[dict[str, Any]]:
    """Run those of `checks` whose `where` is wanted, in parallel; return CheckResults in order.

    `port` replaces {port} in the checks (None: a check that needs it fails), `address` {address}
    (None: loopback); `slot` is the one asked, by default that of `port`; `env` is the
    release's environment, for {env:NAME} and masking; `version` is what a version header must say.
    """
    chosen = [check for check in checks if check.get("where", "slot") in where]
    # A number in a URL is masked only when it is named like a secret: "7" is in every other text.
    hidden = [{key: value for key, value in check.items() if key != "url"} for check in chosen]
    masker = Masker.of(env, references(_texts(hidden)))
    if slot is None:
        slot = next((name for name, number in stack.ports.items() if number == port), None)
    if address is None and port is not None:
        address = "127.0.0.1"
    results: list[dict[str, Any] | None] = [None] * len(chosen)
    threads = []
    for index, check in enumerate(chosen):
        timeout = float(check.get("timeout") or 5.0)
        probe = Probe(stack, slot, port, env, version, timeout, masker, address)

        def work(index: int = index, check: dict[str, Any] = check, probe: Probe = probe) -> None:
            results[index] = _attempts(check, probe)

        # Daemon threads: one that hangs in the kernel must not keep the program from ending.
        thread = threading.Thread(target=work, daemon=True)
        thread.start()
        threads.append(thread)
    started = time.monotonic()
    for index, (check, thread) in enumerate(zip(chosen, threads, strict=True)):
        limit = _limit(check)
        thread.join(max(0.0, started + limit + GRACE - time.monotonic()))
        if results[index] is None:
            results[index] = _result(check, False, limit, "an answer", "none, hung", "")
    return [_masked(result, masker) for result in results if result is not None]


def _limit(check: Mapping[str, Any]) -> float:
    """Seconds all attempts of a check may take together."""
    attempts = 1 + int(check.get("retries") or 0)
    return attempts * (float(check.get("timeout") or 5.0) + RETRY_PAUSE) - RETRY_PAUSE


def _attempts(check: dict[str, Any], probe: Probe) -> dict[str, Any]:
    started = time.monotonic()
    attempts = 1 + int(check.get("retries") or 0)
    for attempt in range(1, attempts + 1):
        ok, expected, got = _once(check, probe)
        if ok or attempt == attempts:
            break
        time.sleep(RETRY_PAUSE)
    tried = f" ({attempt} attempts)" if attempt > 1 else ""
    seconds = time.monotonic() - started
    return _result(check, ok, seconds, expected, got, _subject(check, probe) + tried)


def _once(check: dict[str, Any], probe: Probe) -> tuple[bool, str, str]:
    kind = str(check.get("kind"))
    run: Callable[[dict[str, Any], Probe], tuple[bool, str, str]] | None
    run = _http if kind == "http" else checks_local.KINDS.get(kind)
    if run is None:
        known = ", ".join(["http", *sorted(checks_local.KINDS)])
        return False, f"a check of kind {known}", f"kind {kind}"
    try:
        return run(check, probe)
    except KeyError as missing:
        return False, f"{missing.args[0]} to be set", "it is not, for this slot or release"
    except TimeoutError:
        return False, "an answer", f"none within {probe.timeout:g} s"
    except HostError as problem:
        return False, "an answer", problem.message
    except Exception as problem:  # whatever goes wrong in one check is that check's failure
        return False, "an answer", f"{type(problem).__name__}: {problem}"


def _http(check: dict[str, Any], probe: Probe) -> tuple[bool, str, str]:
    headers = {
        str(name): expand(probe.fill(str(value)), probe.env)
        for name, value in (check.get("headers") or {}).items()
    }
    method = str(check.get("method") or "GET")
    url = expand(probe.fill(str(check["url"])), probe.env)
    ca = check.get("ca")
    answer = checks_http.fetch(
        method,
        url,
        headers,
        probe.timeout,
        verify=check.get("verify") is not False,
        ca=str(probe.stack.at(str(ca))) if ca else None,
    )
    return checks_http.judge(
        check, answer.status, answer.headers, answer.body, probe.version, probe.mask
    )


def _subject(check: Mapping[str, Any], probe: Probe) -> str:
    if check.get("kind") != "http":
        return str(check.get("kind"))
    try:
        url = probe.fill(str(check.get("url")))
    except KeyError:
        url = str(check.get("url"))
    return f"{check.get('method') or 'GET'} {url}"


def _result(  # noqa: PLR0917
    check: Mapping[str, Any], ok: bool, seconds: float, expected: str, got: str, detail: str
) -> dict[str, Any]:
    required = check.get("required")
    weight = check.get("weight")
    return {
        "name": str(check.get("name") or check.get("kind")),
        "where": str(check.get("where") or "slot"),
        "ok": ok,
        "required": True if required is None else bool(required),
        "weight": 1.0 if weight is None else float(weight),
        "seconds": round(seconds, 3),
        "expected": expected,
        "got": got,
        "detail": detail,
    }


def _masked(result: dict[str, Any], masker: Masker) -> dict[str, Any]:
    return {
        key: masker(value) if isinstance(value, str) and key not in {"name", "where"} else value
        for key, value in result.items()
    }


def _texts(value: object) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        for item in value.values():
            yield from _texts(item)
    elif isinstance(value, (list, tuple)):
        for item in value:
            yield from _texts(item)
