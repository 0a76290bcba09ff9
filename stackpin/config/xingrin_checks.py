"""The answers that show a healthy XingRin: the server's own, and nginx in front of it."""

from __future__ import annotations

from pydantic import JsonValue

from stackpin.config.checks import HttpCheck

# What the API's root lists, whatever its numbers.
_ROOT: dict[str, JsonValue] = {"organizations": None, "targets": None}


def slot() -> list[HttpCheck]:
    """List checks asked of a server's container, on its own address."""
    return [
        HttpCheck(name="api", url="http://{address}:{port}/api/", json_has=_ROOT, timeout=10.0),
        HttpCheck(
            name="workers",
            url="http://{address}:{port}/api/workers/",
            json_has={"results": []},
            timeout=10.0,
        ),
    ]


def host(public_port: int) -> list[HttpCheck]:
    """List checks asked on the host of what nginx publishes on `public_port`.

    None is asked from outside: the firewall lets only nodes, and who is allowed, reach the port.
    """
    return [
        HttpCheck(
            name="api-through-nginx",
            where="host",
            url=f"https://127.0.0.1:{public_port}/api/",
            json_has=_ROOT,
            timeout=10.0,
        )
    ]
