"""Where the machine gets its packages: both file formats, odd spellings, nothing at all."""

from pathlib import Path

import pytest

from stackpin.errors import Refused
from stackpin.lab.sources import (
    AptSource,
    Mirrors,
    codename,
    find_mirrors,
    machine_sources,
    parse_deb822,
    parse_one_line,
)

DEB822 = """\
Types: deb deb-src
# a comment inside
URIs: http://mirror.test/debian
Suites: bookworm bookworm-updates
Components: main
Signed-By: /usr/share/keyrings/debian-archive-keyring.gpg

Types: deb
URIs: http://mirror.test/security
Suites:
  bookworm-security

Types: deb
Enabled: no
URIs: http://off.test/debian
Suites: bookworm
"""

MIRRORS = Mirrors(
    "http://mirror.test/debian", "http://mirror.test/debian", "http://mirror.test/security"
)


def test_deb822_continuation_lines_comments_and_disabled_stanzas() -> None:
    assert parse_deb822(DEB822) == [
        AptSource(("http://mirror.test/debian",), ("bookworm", "bookworm-updates")),
        AptSource(("http://mirror.test/security",), ("bookworm-security",)),
    ]


@pytest.mark.parametrize(
    "text", ["", "\n\n", "# nothing\n", "Types: deb-src\nURIs: x\nSuites: y\n"]
)
def test_deb822_without_a_binary_source(text: str) -> None:
    assert parse_deb822(text) == []


def test_one_line_options_comments_and_sources() -> None:
    text = (
        "# deb http://no.test/debian bookworm main\n"
        "deb-src http://no.test/debian bookworm main\n"
        "  deb [signed-by=/k.gpg arch=amd64] http://yes.test/debian bookworm main contrib\n"
        "deb http://yes.test/security bookworm-security main"
    )
    assert parse_one_line(text) == [
        AptSource(("http://yes.test/debian",), ("bookworm",)),
        AptSource(("http://yes.test/security",), ("bookworm-security",)),
    ]


def test_both_formats_are_read_and_other_files_are_not(tmp_path: Path) -> None:
    (tmp_path / "sources.list").write_text("deb http://a.test/debian bookworm main\n")
    parts = tmp_path / "sources.list.d"
    parts.mkdir()
    (parts / "b.sources").write_text(DEB822)
    (parts / "c.list.save").write_text("deb http://c.test/debian bookworm main\n")
    assert [source.uris[0] for source in machine_sources(tmp_path)] == [
        "http://a.test/debian",
        "http://mirror.test/debian",
        "http://mirror.test/security",
    ]


def test_mirrors_of_this_machine_serve_another_release() -> None:
    mirrors = find_mirrors(parse_deb822(DEB822), "bookworm", None)
    assert mirrors == MIRRORS
    stanzas = mirrors.sources("trixie").split("\n\n")
    assert [stanza.split("Suites: ")[1].split()[0] for stanza in stanzas] == [
        "trixie",
        "trixie-updates",
        "trixie-security",
    ]


def test_the_old_spelling_of_the_security_suite() -> None:
    sources = parse_one_line(
        "deb http://m.test/debian stable main\ndeb http://m.test/sec stable/updates main\n"
    )
    assert find_mirrors(sources, "bookworm", None).main == "http://m.test/debian"


def test_a_named_mirror_replaces_all() -> None:
    mirrors = find_mirrors(parse_deb822(DEB822), "bookworm", "http://mine.test/debian")
    assert mirrors.sources("trixie").count("URIs:") == 1


def test_no_debian_archive_names_the_remedy() -> None:
    other = [AptSource(("http://other.test/packages",), ("noble",))]
    with pytest.raises(Refused, match="--mirror"):
        find_mirrors(other, "bookworm", None)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('ID=debian\nVERSION_CODENAME="trixie"\n', "trixie"),
        ("VERSION_CODENAME=bookworm\n", "bookworm"),
        ("ID=debian\n", ""),
        ("", ""),
    ],
)
def test_codename(tmp_path: Path, text: str, expected: str) -> None:
    release = tmp_path / "os-release"
    release.write_text(text)
    assert codename(release) == expected
    assert codename(tmp_path / "absent") == ""
