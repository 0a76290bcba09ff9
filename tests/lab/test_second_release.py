"""Debian 12 beside Debian 13, from bare: what is missing is installed, what is pinned is pinned."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from engine_kit import Kit

from stackpin.lab import Lab

pytestmark = pytest.mark.timeout(900)

RELEASE = "bookworm"
BARE = "nginx-light nginx nginx-common restic sqlite3 git curl"
PINNED = ["restic=0.14*", "jq"]


@pytest.fixture(scope="module")
def kit(lab: Lab, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Kit]:
    before = {host.name for host in lab.hosts}
    lab.up(1, name="second", release=RELEASE)
    name = next(host.name for host in lab.state().hosts if host.release == RELEASE)
    kit = Kit.make(lab, lab.reset(name), tmp_path_factory.mktemp("second"))
    kit.pin("v1.0.0")
    # The image brings what most lab hosts need; a real one brings nothing.
    kit.on_host(
        f"DEBIAN_FRONTEND=noninteractive apt-get -qq -y purge --autoremove {BARE} >/dev/null"
    )
    yield kit
    if name not in before:
        lab.down([name])


def installed(kit: Kit) -> dict[str, str]:
    text = kit.on_host("dpkg-query -W -f '${db:Status-Abbrev} ${Package} ${Version}\n'")
    rows = (line.split() for line in text.splitlines())
    return {package: version for status, package, version in rows if status == "ii"}


def test_it_is_another_debian_beside_the_first(kit: Kit) -> None:
    assert f"VERSION_CODENAME={RELEASE}" in kit.on_host("cat /etc/os-release")
    assert not set(BARE.split()) & set(installed(kit))


def test_preflight_of_a_bare_host(kit: Kit) -> None:
    files = "find /etc /opt /srv /usr/local /var/lib -xdev -printf '%p %s %T@ %m %u\\n' | sort"
    before = kit.on_host(f"{files} | grep -v systemd/timers | sha256sum")
    found = kit.stackpin("preflight", "site", "--json").exits(0).json["hosts"][kit.host.name]
    named = {item["name"]: item for item in found["host"]}
    for program in ("nginx", "git", "restic"):
        item = named[f"version {program}"]
        assert (item["measured"], item["severity"]) == ("absent", "warn")
    assert {part: items[1]["measured"] for part, items in found.items() if part != "host"} == {
        "portal": "none", "crm": "none",
    }  # fmt: skip
    assert kit.on_host(f"{files} | grep -v systemd/timers | sha256sum") == before


def test_a_version_nobody_has_is_named(kit: Kit) -> None:
    ran = kit.deploy("portal", stackpin_packages=["restic=99*"])
    assert ran.code not in {0, 2}
    assert "restic" in ran.text and "99*" in ran.text


def test_everything_missing_is_installed(kit: Kit) -> None:
    before = installed(kit)
    ran = kit.stackpin("plan", "site", stackpin_packages=PINNED).exits(2)
    assert "package restic: absent -> 0.14*" in ran.out
    kit.deploy("site", stackpin_packages=PINNED).exits(0)
    assert (kit.live() or "").startswith("v1.0.0-")
    after = installed(kit)
    assert {"nginx", "git", "restic", "jq", "sqlite3"} <= set(after)
    assert after["restic"].startswith("0.14")
    # Nothing that was there was upgraded on the way.
    assert {name: version for name, version in after.items() if name in before} == before
    assert kit.deploy("site", "--json", stackpin_packages=PINNED).exits(0).json["in_sync"]


def test_our_own_services_hold_their_ports(kit: Kit) -> None:
    answer = kit.stackpin("preflight", "site", "--json", stackpin_packages=PINNED).exits(0)
    found = answer.json["hosts"][kit.host.name]
    ports = {item["name"]: item["measured"] for item in found["crm"] if "port" in item["name"]}
    assert "crm@blue.service, which is ours" in ports["port 18190"]
    assert ports["port 18191"] == "free"
    deployed = next(item for item in found["crm"] if item["name"] == "deployment")
    assert deployed["ok"] and deployed["measured"].endswith("is live in blue, active")
