"""Certificates: one's own, or a self-signed one made once on the host, whose key never travels."""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence
from pathlib import Path

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    PublicFormat,
    load_pem_private_key,
)
from pyinfra.api.command import QuoteString, StringCommand
from pyinfra.api.operation import operation
from pyinfra.context import host

from facts.files import Tree
from facts.tls import Certificate
from operations.archives import read_text
from operations.entries import File
from operations.notes import Change, note
from operations.program import Commands
from stackpin.config.common import Resolve
from stackpin.config.portal import TlsFiles
from stackpin.errors import Refused

DAYS = 825  # the longest life browsers accept for a certificate someone trusts by hand


@operation()
def self_signed(
    certificate: str, key: str, names: Sequence[str], container: tuple[str, str] | None = None
) -> Commands:
    """Make an EC P-256 certificate for `names` (DNS names and addresses; the first is its subject).

    Kept as long as it covers all names, belongs to its key and lasts another month. nginx, when
    it runs, is told about a new one; a mark beside it says that it has not been yet. `container`,
    a stack and its service, names the nginx that runs in a container instead of on the host.
    """
    found = host.get_fact(Certificate, certificate=certificate, key=key)
    good = found and found.matches_key and found.lasts_a_month and set(names) <= set(found.names)
    if not good:
        before = f"for {', '.join(found.names)}" if found else None
        note(Change("certificate", certificate, before, f"self-signed for {', '.join(names)}"))
        yield _make(certificate, key, names, container)
        return
    due = _due(certificate)
    present = host.get_fact(Tree, paths=[key, due])
    modes = {path: node.mode for path, node in present.items()}
    if due in present:
        note(Change("service", "nginx", "a reload for its certificate is due", "reloaded"))
        yield _reload(certificate, container)
    if modes.get(key) != "600":
        note(Change("file", key, modes.get(key), "0600"))
        yield StringCommand("chmod 0600", QuoteString(key))
    elif due not in present:
        host.noop(f"{certificate} covers {', '.join(names)}")


def _due(certificate: str) -> str:
    return f"{certificate}.reload"


def _reload(certificate: str, container: tuple[str, str] | None) -> StringCommand:
    """Reload nginx where it runs and its configuration is sound, and remove the mark if so."""
    remove = StringCommand("rm -f", QuoteString(_due(certificate)))
    if container is not None:
        stack, service = container
        ask = f"--filter label=stackpin.stack={stack} --filter label=stackpin.service={service}"
        # xargs -r: before the first release there is no container, and nothing to tell.
        return StringCommand(
            "{ ! command -v docker >/dev/null || docker ps -q",
            ask,
            "| xargs -r docker kill -s HUP >/dev/null; } &&",
            remove,
        )
    return StringCommand(
        "if systemctl is-active -q nginx; then if nginx -t -q; then systemctl reload nginx &&",
        remove,
        "; fi; else",
        remove,
        "; fi",
    )


def _make(
    certificate: str, key: str, names: Sequence[str], container: tuple[str, str] | None
) -> StringCommand:
    alternatives = ",".join(f"{'IP' if _is_address(n) else 'DNS'}:{n}" for n in names)
    return StringCommand(
        "umask 077 && rm -f",
        QuoteString(f"{key}.new"),
        QuoteString(f"{certificate}.new"),
        "&& openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -sha256",
        f"-days {DAYS} -subj",
        # a common name holds 64 characters at most; browsers read the alternatives anyway
        QuoteString(f"/CN={names[0][:64]}"),
        "-addext",
        QuoteString(f"subjectAltName={alternatives}"),
        "-keyout",
        QuoteString(f"{key}.new"),
        "-out",
        QuoteString(f"{certificate}.new"),
        "2>/dev/null && chmod 0644",
        QuoteString(f"{certificate}.new"),
        # The mark is there before the files: a run killed from here on leaves it to the next one.
        "&& touch",
        QuoteString(_due(certificate)),
        "&& mv -fT",
        QuoteString(f"{key}.new"),
        QuoteString(key),
        "&& mv -fT",
        QuoteString(f"{certificate}.new"),
        QuoteString(certificate),
        "&&",
        _reload(certificate, container),
    )


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True


def pair_problem(certificate: str, key: str) -> str | None:
    """Why these two PEM texts cannot serve TLS together, or None. The key is never repeated."""
    try:
        public = x509.load_pem_x509_certificate(certificate.encode()).public_key()
    except (ValueError, UnsupportedAlgorithm) as error:
        return f"the certificate cannot be read ({error})"
    try:
        private = load_pem_private_key(key.encode(), password=None)
    except TypeError:
        return "the key has a passphrase, which nginx cannot ask for"
    except (ValueError, UnsupportedAlgorithm):
        return "the key is not a private key in PEM form"
    form = (Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    if public.public_bytes(*form) != private.public_key().public_bytes(*form):
        return "the key does not belong to the certificate"
    return None


def given(  # noqa: PLR0917 - what it is made from, then where it goes
    variable: str, tls: TlsFiles, resolve: Resolve, root: Path, certificate: str, key: str
) -> list[File]:
    """Return the files of a certificate of one's own: `key`, then `certificate`, paths on the host.

    Raises Refused naming `variable` when the two do not belong together: nginx would not start
    again with them.
    """
    path = root / Path(tls.certificate).expanduser()
    secret = resolve(tls.key).get_secret_value()
    text = read_text(path, f"{variable}['certificate']")
    problem = pair_problem(text, secret)
    if problem:
        raise Refused(
            f"{variable}: found that {problem} ({path}, {tls.key}); expected a "
            "certificate with its own key, both PEM. Refer to files which belong together."
        )
    return [File(key, secret.rstrip("\n") + "\n", "0600", secret=True), File(certificate, text)]
