"""Docker itself: its daemon's settings, and what it needs to reach the registry."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping, Sequence
from typing import Any

from pyinfra.api.command import StringCommand
from pyinfra.api.operation import operation
from pyinfra.context import host

from facts.docker import DAEMON_FILE, Daemon
from operations.entries import Directory, File
from operations.notes import Change, note
from operations.program import Commands

CONFIG_DIR = "/etc/stackpin/docker"  # DOCKER_CONFIG of every docker the host program runs


@operation()
def daemon(settings: Mapping[str, Any]) -> Commands:
    """Set the keys of `settings` in the daemon's file, leave all others, and have it reread.

    Only keys docker rereads while it runs belong here (registry-mirrors): nothing is restarted.
    A file that is not JSON is a refusal: somebody wrote it, and docker could not start with it.
    """
    found = host.get_fact(Daemon)
    try:
        present = found.settings()
    except ValueError as error:
        note(Change("file", DAEMON_FILE, f"not JSON: {error}", "a JSON object"))
        yield StringCommand(
            f"echo '{DAEMON_FILE}: found text that is not a JSON object, expected one; repair or "
            "remove it, then run again' >&2; exit 1"
        )
        return
    wrong = {key: value for key, value in settings.items() if present.get(key) != value}
    wanted = [str(m).rstrip("/") for m in settings.get("registry-mirrors", [])]
    unread = bool(wanted) and found.mirrors is not None and found.mirrors != wanted
    if not wrong and not unread:
        host.noop(f"{DAEMON_FILE} has {', '.join(settings) or 'nothing to set'}")
        return
    for key, value in wrong.items():
        before = json.dumps(present[key]) if key in present else None
        note(Change("file", f"{DAEMON_FILE} {key}", before, json.dumps(value)))
    note(Change("service", "docker", "settings from before", "settings reread"))
    if wrong:
        text = json.dumps({**present, **settings}, indent=2, sort_keys=True) + "\n"
        # dockerd judges the file before it carries its name: with a bad one it would not start.
        yield StringCommand(
            f"install -d -m 0755 /etc/docker && base64 -d > {DAEMON_FILE}.new"
            " && { ! command -v dockerd >/dev/null"
            f" || dockerd --validate --config-file={DAEMON_FILE}.new >/dev/null; }}"
            f" && chmod 0644 {DAEMON_FILE}.new && sync {DAEMON_FILE}.new"
            f" && mv -fT {DAEMON_FILE}.new {DAEMON_FILE}",
            _stdin=base64.encodebytes(text.encode()).decode(),
        )
    yield StringCommand("if systemctl is-active -q docker; then systemctl reload docker; fi")


def registry_entries(
    registry: str, login: tuple[str, str] | None, ca: str | None
) -> list[Directory | File]:
    """Files docker reads for `registry` (host:port): `login` is user and password, `ca` PEM text.

    They lie below /etc/stackpin, which must be there. The login's file is there without a login
    too, so that nobody's own one is ever used.
    """
    auths: dict[str, dict[str, str]] = {}
    if login is not None:
        name = "https://index.docker.io/v1/" if registry == "docker.io" else registry
        auths[name] = {"auth": base64.b64encode(":".join(login).encode()).decode()}
    config = json.dumps({"auths": auths}, indent=1, sort_keys=True) + "\n"
    entries: list[Directory | File] = [
        Directory(CONFIG_DIR, "0700"),
        File(f"{CONFIG_DIR}/config.json", config, "0600", secret=True),
    ]
    if ca is not None:
        folder = f"/etc/docker/certs.d/{registry}"
        entries += [
            Directory("/etc/docker"),
            Directory("/etc/docker/certs.d"),
            Directory(folder),
            File(f"{folder}/ca.crt", ca),
        ]
    return entries


def settings(mirrors: Sequence[str]) -> dict[str, Any]:
    """Return the daemon's settings that follow from the declared mirrors; none, nothing to set."""
    return {"registry-mirrors": [f"{m}/" for m in mirrors]} if mirrors else {}
