"""Where this machine gets its Debian packages, so that lab hosts use the same mirror.

No mirror is named in the code: the machine's own apt configuration is the only source.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from stackpin.errors import Refused
from stackpin.lab.commands import run

__all__ = [
    "AptSource",
    "Mirrors",
    "acquire_settings",
    "codename",
    "find_mirrors",
    "machine_sources",
]

ROLLING = {"stable", "oldstable", "testing", "unstable", "sid"}
KEYRING = "/usr/share/keyrings/debian-archive-keyring.gpg"


@dataclass(frozen=True)
class AptSource:
    """One archive with its suites, whichever file format it came from."""

    uris: tuple[str, ...]
    suites: tuple[str, ...]


@dataclass(frozen=True)
class Mirrors:
    """The archive of a release and, where the machine has them, updates and security."""

    main: str
    updates: str | None = None
    security: str | None = None

    def sources(self, release: str) -> str:
        """Write a deb822 sources file for `release`."""
        pairs = [
            (self.main, release),
            (self.updates, f"{release}-updates"),
            (self.security, f"{release}-security"),
        ]
        return "\n".join(
            f"Types: deb\nURIs: {uri}\nSuites: {suite}\nComponents: main\nSigned-By: {KEYRING}\n"
            for uri, suite in pairs
            if uri
        )


def parse_one_line(text: str) -> list[AptSource]:
    """`deb [options] uri suite components` lines; comments and deb-src are left out."""
    pattern = re.compile(r"^\s*deb\s+(?:\[[^]]*\]\s+)?(\S+)\s+(\S+)", re.MULTILINE)
    return [AptSource((uri,), (suite,)) for uri, suite in pattern.findall(text)]


def parse_deb822(text: str) -> list[AptSource]:
    """Stanzas with Types, URIs, Suites; disabled ones and pure deb-src are left out."""
    found = []
    for stanza in re.split(r"\n\s*\n", text):
        fields: dict[str, str] = {}
        key = ""
        for line in stanza.splitlines():
            if line.startswith("#"):
                continue
            if line[:1].isspace() and key:
                fields[key] += " " + line.strip()
            elif ":" in line:
                key, _, value = line.partition(":")
                key = key.strip().lower()
                fields[key] = value.strip()
        on = fields.get("enabled", "yes").lower() not in {"no", "false", "0"}
        if on and "deb" in fields.get("types", "").split():
            uris, suites = fields.get("uris", "").split(), fields.get("suites", "").split()
            found.append(AptSource(tuple(uris), tuple(suites)))
    return found


def machine_sources(apt: Path = Path("/etc/apt")) -> list[AptSource]:
    """List every enabled package source of this machine."""
    found: list[AptSource] = []
    for path in [apt / "sources.list", *sorted((apt / "sources.list.d").glob("*"))]:
        if not path.is_file():
            continue
        text = path.read_text(encoding="utf-8", errors="replace")
        if path.suffix == ".list":
            found += parse_one_line(text)
        elif path.suffix == ".sources":
            found += parse_deb822(text)
    return found


def find_mirrors(sources: Iterable[AptSource], codename: str, override: str | None) -> Mirrors:
    """Pick the Debian archives among `sources` for a machine running `codename`.

    `override` is an archive the user named; it replaces them all. Refused when there is neither.
    """
    if override:
        return Mirrors(override)
    uris: dict[str, str] = {}
    for source in sources:
        for suite in source.suites:
            base, _, kind = suite.replace("/", "-").partition("-")
            if source.uris and base in {codename, *ROLLING}:
                uris.setdefault(kind, source.uris[0])
    if "" not in uris:
        raise Refused(
            f"no Debian archive for {codename or 'this release'} in /etc/apt: "
            "name one with `stackpin lab up --mirror URL` or STACKPIN_LAB_MIRROR"
        )
    return Mirrors(uris[""], uris.get("updates"), uris.get("security"))


def codename(path: Path = Path("/etc/os-release")) -> str:
    """Name the release this machine runs, such as `bookworm`; empty when it does not say."""
    for line in path.read_text().splitlines() if path.exists() else ():
        if line.startswith("VERSION_CODENAME="):
            return line.partition("=")[2].strip('"')
    return ""


def acquire_settings() -> str:
    """Collect this machine's apt settings for fetching (proxy, dates), as an apt.conf file."""
    wanted = re.compile(r'^Acquire::(https?|Check-|ForceIPv|Retries)[^"]*"[^"]+";$')
    dump = run("apt-config", "dump", check=False).stdout
    lines = [line for line in dump.splitlines() if wanted.match(line)]
    # Methods named by path (a certificate, a helper) would not exist on the host.
    return "".join(f"{line}\n" for line in lines if ' "/' not in line)
