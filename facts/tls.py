"""Certificates on a host."""

# ruff: noqa: D102 - what default, command and process do is told once, by pyinfra
from __future__ import annotations

import ipaddress
import re
import shlex
from dataclasses import dataclass

from pyinfra.api.facts import FactBase


@dataclass(frozen=True)
class CertificateInfo:
    """A certificate with its key's permissions. `names` are DNS names and addresses, sorted."""

    names: tuple[str, ...] = ()
    lasts_a_month: bool = False
    matches_key: bool = False


class Certificate(FactBase[CertificateInfo | None]):
    """The certificate at `certificate` and whether `key` belongs to it, or None."""

    @staticmethod
    def default() -> CertificateInfo | None:
        return None

    def command(self, certificate: str, key: str) -> str:
        c, k = shlex.quote(certificate), shlex.quote(key)
        public = "openssl pkey -pubin -pubout 2>/dev/null | sha256sum"
        return (
            f"if [ -f {c} ] && [ -f {k} ] && command -v openssl >/dev/null; then echo found=1;"
            f" openssl x509 -in {c} -noout -ext subjectAltName 2>/dev/null;"
            f" openssl x509 -in {c} -noout -checkend 2592000 >/dev/null 2>&1 && echo month=1;"
            f' if [ "$(openssl x509 -in {c} -noout -pubkey 2>/dev/null | {public})" ='
            f' "$(openssl pkey -in {k} -pubout 2>/dev/null | {public})" ]; then echo pair=1; fi;'
            " fi; true"
        )

    def process(self, output: list[str]) -> CertificateInfo | None:
        if "found=1" not in output:
            return None
        names = re.findall(r"(?:DNS|IP Address):([^,\s]+)", "\n".join(output))
        return CertificateInfo(
            tuple(sorted(map(_plain, names))), "month=1" in output, "pair=1" in output
        )


def _plain(name: str) -> str:
    """Write an address the one usual way: openssl spells IPv6 in full."""
    try:
        return str(ipaddress.ip_address(name))
    except ValueError:
        return name
