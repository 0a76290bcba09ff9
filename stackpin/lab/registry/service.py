"""Debian's docker-registry on a lab host: its files, its start, and whether it answers."""

import json
import shutil
import time
from pathlib import Path

import bcrypt

from stackpin.errors import StackpinError
from stackpin.lab.registry.tls import Pair

__all__ = ["FOLDER", "PORT", "RESTART", "SERVICE", "configure", "settings", "wait"]

SERVICE = "docker-registry.service"
PORT = 5000
FOLDER = "etc/docker/registry"
"""Below the host's root; the names inside are what `settings` says."""

# Tests restart it more often than systemd puts up with.
RESTART = f"systemctl reset-failed {SERVICE}; systemctl restart {SERVICE}"
WAIT_SECONDS = 30.0


def settings(port: int = PORT) -> str:
    """Write the registry's configuration; it listens on every address of the host."""
    there = f"/{FOLDER}"
    return json.dumps(
        {
            "version": "0.1",
            "log": {"level": "warn", "accesslog": {"disabled": True}},
            "storage": {
                "cache": {"blobdescriptor": "inmemory"},
                "filesystem": {"rootdirectory": "/var/lib/docker-registry"},
                "delete": {"enabled": True},
            },
            "http": {
                "addr": f":{port}",
                "tls": {"certificate": f"{there}/server.pem", "key": f"{there}/server.key"},
            },
            "auth": {"htpasswd": {"realm": "lab", "path": f"{there}/htpasswd"}},
        },
        indent=2,
    )


def configure(root: Path, pair: Pair, login: tuple[str, str], port: int = PORT) -> bool:
    """Write the registry's files below a host's `root`; True when one of them changed.

    `login` is user name and password, `pair` the server's certificate and key.
    """
    folder = root / FOLDER
    folder.mkdir(parents=True, exist_ok=True)
    wanted = {
        "config.yml": settings(port).encode(),  # JSON is YAML
        "server.pem": pair.certificate,
        "server.key": pair.key,
    }
    if not _accepts(folder / "htpasswd", login):
        user, password = login
        # The lowest cost bcrypt has: every request of a pull is checked against it.
        line = bcrypt.hashpw(password.encode(), bcrypt.gensalt(rounds=4)).decode()
        wanted["htpasswd"] = f"{user}:{line}\n".encode()
    changed = False
    owner = (root / "var/lib/docker-registry").stat()
    for name, data in wanted.items():
        path = folder / name
        if path.exists() and path.read_bytes() == data:
            continue
        changed = True
        path.write_bytes(data)
        path.chmod(0o600)
        # By number: the host's names for users are not this machine's.
        shutil.chown(path, owner.st_uid, owner.st_gid)
    return changed


def wait(address: str, ca: Path, login: tuple[str, str], seconds: float = WAIT_SECONDS) -> None:
    """Wait until the registry lets us in; StackpinError with its last answer if it does not."""
    import requests  # noqa: PLC0415 - inventories need none

    end = time.monotonic() + seconds
    said = "no answer"
    while time.monotonic() < end:
        try:
            with requests.Session() as session:
                session.trust_env = False
                answer = session.get(
                    f"https://{address}/v2/", auth=login, verify=str(ca), timeout=5
                )
        except requests.RequestException as error:
            said = str(error)
        else:
            if answer.status_code == 200:
                return
            said = f"status {answer.status_code}"
        time.sleep(0.1)
    raise StackpinError(
        f"the lab's registry at {address} does not answer after {seconds:g} s ({said}): "
        "see `stackpin lab ssh registry -- journalctl -u docker-registry`"
    )


def _accepts(path: Path, login: tuple[str, str]) -> bool:
    user, password = login
    if not path.exists():
        return False
    name, _, hashed = path.read_text().strip().partition(":")
    return name == user and bcrypt.checkpw(password.encode(), hashed.encode())
