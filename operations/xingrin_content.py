"""What XingRin's server stack consists of on its host, as values."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from operations import docker_engine, firewall, xingrin_compose
from operations.containers import image_release
from operations.crm_content import boot_unit, state_directories
from operations.entries import Directory, File, Link
from stackpin.config.common import Resolve
from stackpin.config.fields import RegistryFields
from stackpin.config.release import Release
from stackpin.config.xingrin import XingrinBase, XingrinServer
from stackpin.config.xingrin_env import GENERATED
from stackpin.errors import Refused

STACK = "xingrin-server"
PACKAGES = ("ca-certificates", "curl", "iproute2", "nftables", "openssl", "python3", "restic")
SETTINGS = f"/etc/stackpin/{STACK}"
SECRETS = f"{SETTINGS}/secrets.env"
TLS = f"{SETTINGS}/tls"
CERTIFICATE, KEY = f"{TLS}/fullchain.pem", f"{TLS}/privkey.pem"
# One value under two names: the one Django reads, and the one the product's own files set.
SAME_SECRET = {"DJANGO_SECRET_KEY": "SECRET_KEY"}


def generated(settings: XingrinServer) -> tuple[dict[str, int], dict[str, str]]:
    """Return the secrets to make up on the host: name -> digits, and name -> name of the same.

    Those that are given are not made up.
    """
    given = {"DB_PASSWORD"} if settings.db_password is not None else set()
    if settings.secret_key is not None:
        given |= {"SECRET_KEY", "DJANGO_SECRET_KEY"}
    digits = {n: d for n, d in GENERATED.items() if n not in given and n not in SAME_SECRET}
    return digits, {n: other for n, other in SAME_SECRET.items() if n not in given}


def pull_secrets(
    settings: RegistryFields, resolve: Resolve, root: Path
) -> tuple[tuple[str, str] | None, str | None]:
    """Return the registry's login (user, password) and its CA's text, each None where not set."""
    login = None
    if settings.registry_username is not None and settings.registry_password is not None:
        password = resolve(settings.registry_password).get_secret_value()
        login = (settings.registry_username, password)
    return login, read_pem(f"{settings.prefix}registry_ca", settings.registry_ca, root)


def read_pem(variable: str, name: str | None, root: Path) -> str | None:
    """Return the text of a local file of certificates. Raises Refused naming `variable`."""
    if name is None:
        return None
    path = root / name
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise Refused(
            f"{variable}: found {path}, which cannot be read ({error}), expected a file of "
            "certificates in PEM form. Correct the path."
        ) from error
    if "-----BEGIN CERTIFICATE-----" not in text or "PRIVATE KEY-----" in text:
        raise Refused(
            f"{variable}: found {path} without a certificate, or with a private key, expected "
            "certificates in PEM form and nothing else. Name another file."
        )
    return text


def ports(settings: XingrinServer, *, nodes: bool) -> list[int]:
    """List the TCP ports the stack publishes, which the firewall guards."""
    depend, front = settings.services(nodes=nodes)
    found = [xingrin_compose.REDIS_PORT]
    if "postgres" in depend:
        found.append(settings.db_port)
    if "nginx" in front:
        found.append(settings.public_port)
    return sorted(found)


def rules(settings: XingrinServer, node_addresses: Sequence[str]) -> str:
    """Text of the firewall: nodes (IP addresses) and who is allowed, nobody else."""
    guarded = ports(settings, nodes=bool(node_addresses))
    sources = [*node_addresses, *settings.allow]
    return firewall.rules(STACK, guarded, sources, ["docker0", xingrin_compose.BRIDGE])


def entries(
    settings: XingrinServer,
    resolve: Resolve,
    root: Path,
    images: Mapping[str, str],
    node_addresses: Sequence[str],
) -> list[Directory | File | Link]:
    """Every file and directory of the stack, parents first; releases not included."""
    host_stack = settings.host_stack(resolve, nodes=bool(node_addresses), images=dict(images))
    login, ca = pull_secrets(settings, resolve, root)
    secrets: list[File] = []
    if settings.backup_password is not None:
        password = resolve(settings.backup_password).get_secret_value()
        secrets.append(File(f"{SETTINGS}/restic.password", password + "\n", "0600", secret=True))
    return [
        *state_directories(STACK),
        *docker_engine.registry_entries(settings.registry, login, ca),
        Directory(f"{SETTINGS}/slots", "0700"),
        Directory(TLS),
        *roots(STACK),
        Directory("/var/backups/stackpin", "0700"),
        Directory(f"/var/backups/stackpin/{STACK}", "0700"),
        *data_directories(settings),
        boot_unit(),
        File(
            f"{SETTINGS}/stack.json",
            host_stack.text(),
            "0600",
            secret=bool(settings.backup_env),
        ),
        *firewall.entries(STACK, rules(settings, node_addresses)),
        *secrets,
    ]


def roots(stack: str) -> list[Directory]:
    """Directories of a stack's releases and slots."""
    return [
        Directory(f"/opt/{stack}"),
        Directory(f"/opt/{stack}/releases"),
        Directory(f"/opt/{stack}/slots"),
        Directory(f"/var/lib/{stack}", "0711"),
    ]


def data_directories(settings: XingrinBase) -> list[Directory]:
    """List the product's own directories, on the server as on nodes."""
    base = settings.data_dir
    return [Directory(base), Directory(f"{base}/results"), Directory(f"{base}/logs")]


def release(
    settings: XingrinServer,
    resolve: Resolve,
    images: Mapping[str, str],
    root: Path,
    *,
    nodes: bool,
) -> Release:
    """Return the pinned release; `images` are the locked ones by role."""
    environment = settings.environment(resolve)
    digits, same = generated(settings)
    variables = sorted({*environment, *digits, *same})
    text = xingrin_compose.text(settings, variables, images, TLS, nodes=nodes)
    # Whatever secret is in the environment: without one the id would let anyone try out guesses.
    known = (settings.secret_key, settings.db_password, *settings.secret_env.values())
    given = [ref for ref in (*known, settings.admin_password) if ref is not None]
    key = resolve(given[0]).get_secret_value() if given else ""
    return image_release(settings.version, "compose.yml", text, environment, images, key, root)
