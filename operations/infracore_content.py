"""What InfraCore's files part consists of on its host, as values."""

from __future__ import annotations

import ipaddress
from pathlib import Path

from operations import certificates, docker_engine, firewall
from operations.crm_content import boot_unit, state_directories
from operations.entries import Directory, File, Link
from operations.infracore_edge import CERTIFICATE, KEY, TLS, rules
from operations.rendering import TEMPLATES
from operations.xingrin_content import pull_secrets
from stackpin.config.common import Resolve
from stackpin.config.infracore import FILES, InfracoreBase, InfracoreFiles
from stackpin.config.infracore_env import JWT
from stackpin.config.infracore_types import DATA, ETC, HOME, LOGS, REHEARSALS
from stackpin.config.portal import TlsFiles

__all__ = ["PACKAGES", "data", "entries", "generated", "given", "names"]

PACKAGES = (
    "ca-certificates",
    "curl",
    "iproute2",
    "nftables",
    "nginx",
    "openssl",
    "python3",
    "restic",
    "sqlite3",
)
JWT_DIGITS = 64


def entries(
    settings: InfracoreFiles, resolve: Resolve, root: Path
) -> list[Directory | File | Link]:
    """Every file and directory of the part but nginx's and the data, parents first."""
    user = settings.user
    docker: list[Directory | File] = []
    if settings.mode == "compose":
        login, ca = pull_secrets(settings, resolve, root)
        docker += docker_engine.registry_entries(settings.registry, login, ca)
    secrets: list[File] = []
    if settings.backup_password is not None:
        password = resolve(settings.backup_password).get_secret_value()
        path = f"/etc/stackpin/{FILES}/restic.password"
        secrets.append(File(path, password + "\n", "0600", secret=True))
    return [
        *state_directories(FILES),
        *docker,
        Directory(HOME),
        Directory(f"{HOME}/releases"),
        Directory(f"{HOME}/services"),
        Directory(ETC, "0750", group=user),
        Directory(TLS, "0700"),
        # Where gate keeps the certificates it gets by ACME: its own, so not beside nginx's key.
        Directory(f"{ETC}/certs", "0700", user, user),
        Directory(LOGS, "0750", user, user),
        Directory(REHEARSALS, "0711"),
        Directory("/var/backups/stackpin", "0700"),
        Directory("/var/backups/stackpin/infracore", "0700"),
        boot_unit(),
        File(
            f"/etc/stackpin/{FILES}/stack.json",
            settings.host_stack(resolve).text(),
            "0600",
            secret=bool(settings.backup_env),
        ),
        File(f"{HOME}/maintenance.html", (TEMPLATES / "portal/maintenance.html").read_text()),
        *firewall.entries(FILES, rules(settings)),
        *given(settings, resolve, root),
        *secrets,
    ]


def data(settings: InfracoreBase) -> list[Directory]:
    """Directories of what the services store; in mode compose they lie in docker's volume."""
    base, user = settings.data_dir, settings.user
    kept = [settings.config.snap.repo_dir, settings.config.snap.temp_dir]
    below = {parent for path in kept for parent in [path, *_parents(path)]}
    return [
        Directory(base, "0750", user, user),
        *(Directory(base + path.removeprefix(DATA), "0750", user, user) for path in sorted(below)),
    ]


def _parents(path: str) -> list[str]:
    """List the directories between the data's own and `path`."""
    return [str(parent) for parent in Path(path).parents if str(parent).startswith(f"{DATA}/")]


def generated(settings: InfracoreFiles) -> dict[str, int]:
    """Return the secrets to make up on the host, name -> digits. Given ones are not made up."""
    return {} if settings.jwt_secret is not None else {JWT: JWT_DIGITS}


def given(settings: InfracoreFiles, resolve: Resolve, root: Path) -> list[File]:
    """Return the files of a certificate of one's own. Raises Refused for two that do not fit."""
    if not isinstance(settings.tls, TlsFiles):
        return []
    return certificates.given("infracore_tls", settings.tls, resolve, root, CERTIFICATE, KEY)


def names(settings: InfracoreFiles, address: str | None) -> list[str]:
    """List what a self-signed certificate must cover: the name, and a known address."""
    try:
        known = [str(ipaddress.ip_address(address or ""))]
    except ValueError:
        known = []
    return list(dict.fromkeys([settings.server_name, *known]))
