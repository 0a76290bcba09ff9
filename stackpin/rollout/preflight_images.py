"""Preflight of hosts that run images: Docker, room for it, and the way to the registry."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from stackpin.config.xingrin import XingrinBase
from stackpin.engine.remote import RemoteError
from stackpin.engine.session import Session

__all__ = ["image_items"]

TIMEOUT = 60.0
HUB = "registry-1.docker.io"

# Runs on the host with its python3: what counts is the way from there, not from here.
PROBE = """
import http.client, json, shutil, ssl, subprocess, sys
asked = json.load(sys.stdin)
told = {"docker": None, "free_mb": None, "registry": None}
docker = shutil.which("docker")
if docker:
    ran = subprocess.run([docker, "version", "--format", "{{.Server.Version}}"],
                         capture_output=True, text=True, timeout=20)
    told["docker"] = ran.stdout.strip() or "no daemon: " + ran.stderr.strip()[-200:]
for path in ("/var/lib/docker", "/var/lib"):
    try:
        told["free_mb"] = shutil.disk_usage(path).free >> 20
        break
    except OSError:
        pass
name, _, port = asked["host"].rpartition(":") if asked["host"][-1:].isdigit() and ":" in \\
    asked["host"] else (asked["host"], "", "443")
try:
    context = ssl.create_default_context()
    if asked["ca"]:
        context.load_verify_locations(cadata=asked["ca"])
    link = http.client.HTTPSConnection(name.strip("[]"), int(port), timeout=15, context=context)
    link.request("GET", "/v2/")
    told["registry"] = link.getresponse().status
except (OSError, ssl.SSLError, http.client.HTTPException, ValueError) as error:
    told["registry"] = str(error) or type(error).__name__
print(json.dumps(told))
"""


def image_items(
    session: Session, host: str, settings: XingrinBase, *, installed: bool
) -> list[dict[str, Any]]:
    """Return preflight items of one host; `installed`: it runs a release of this stack already.

    Then the images may be there, and only the pull can tell: an unreachable registry warns.
    """
    registry = HUB if settings.registry in {"docker.io", ""} else settings.registry
    ca = settings.registry_ca
    asked = {"host": registry, "ca": Path(ca).read_text(encoding="utf-8") if ca else None}
    ran = session.run(host, ["python3", "-c", PROBE], json.dumps(asked).encode(), timeout=TIMEOUT)
    try:
        told = json.loads(ran.stdout)
    except ValueError:
        raise RemoteError(host, f"the registry was not tried: {ran.stderr[-300:]}") from None
    return [
        _docker(told["docker"]),
        _room(told["free_mb"], settings),
        _registry(registry, told["registry"], settings, installed=installed),
    ]


def _docker(found: str | None) -> dict[str, Any]:
    ok = found is not None and not found.startswith("no daemon")
    return {
        "name": "docker",
        "ok": ok,
        # The deploy installs it; a daemon that does not answer is no affair of a package.
        "severity": "warn" if found is None else "fail",
        "measured": found or "absent",
        "expected": "a daemon that answers",
        "remedy": "The deploy installs it." if found is None else "See journalctl -u docker.",
    }


def _room(free: int | None, settings: XingrinBase) -> dict[str, Any]:
    return {
        "name": "disk of docker",
        "ok": free is None or free >= settings.min_disk_mb,
        "severity": "fail",
        "measured": f"{free} MiB free",
        "expected": f"at least {settings.min_disk_mb} MiB",
        "remedy": "Make room below /var/lib/docker; `docker system df` shows what takes it.",
    }


def _registry(
    registry: str, found: object, settings: XingrinBase, *, installed: bool
) -> dict[str, Any]:
    ok = found in {200, 401}
    what = f"HTTP {found}" if isinstance(found, int) else str(found)
    mirrored = bool(settings.registry_mirrors)
    return {
        "name": f"registry {registry}",
        "ok": ok,
        "severity": "warn" if installed or mirrored else "fail",
        "measured": "answers" if ok else what,
        "expected": f"https://{registry}/v2/ answers this host",
        "remedy": "" if ok else "Check its route to the registry, and xingrin_registry_ca.",
    }
