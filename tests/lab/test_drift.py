"""Drift on a real host: in sync, changed by hand in every way, and not to be checked."""

from __future__ import annotations

import time
from xml.etree import ElementTree

import pytest
from operator_seat import Seat
from project import host_name

from stackpin.lab import Lab

pytestmark = pytest.mark.timeout(900)


@pytest.fixture(scope="module")
def seat(lab: Lab, tmp_path_factory: pytest.TempPathFactory) -> Seat:
    made = Seat.make(lab, lab.reset(host_name(lab)), tmp_path_factory.mktemp("seat"))
    made.stackpin("deploy", "site", "--yes").exits(0)
    return made


def codes(seat: Seat) -> set[str]:
    """The finding codes of a drift run that must end with 2."""
    host = seat.stackpin("drift", "site", "--json").exits(2).json["hosts"][seat.host.name]
    return {finding["code"] for finding in host["findings"]}


def test_in_sync_after_a_deploy_and_nothing_is_touched(seat: Seat) -> None:
    before = seat.on_host("systemctl show -p MainPID,NRestarts crm@blue crm@green nginx")
    ran = seat.stackpin(
        "drift", "site", "--junit", "drift.xml", "--prometheus", "drift.prom"
    ).exits(0)
    assert f"{seat.host.name}: in sync" in ran.out
    root = ElementTree.parse(seat.folder / "drift.xml").getroot()  # noqa: S314 -- our own file
    assert (root.get("failures"), root.get("errors")) == ("0", "0")
    metrics = (seat.folder / "drift.prom").read_text()
    labels = f'host="{seat.host.name}",inventory="lab",stack="site"'
    assert f"stackpin_drift_in_sync{{{labels}}} 1.0" in metrics
    assert seat.on_host("systemctl show -p MainPID,NRestarts crm@blue crm@green nginx") == before


def test_changes_by_hand_are_shown_with_a_diff(seat: Seat) -> None:
    site = "/etc/nginx/sites-available/stackpin-portal.conf"
    seat.on_host(
        f"cp -p {site} /root/site && sed -i 's/server_tokens off/server_tokens on/' {site}"
    )
    seat.on_host("chmod 0644 /etc/stackpin/crm/slots/blue.env")
    ran = seat.stackpin("drift", "site", "--junit", "drift.xml").exits(2)
    assert "server_tokens off" in ran.out
    assert "blue.env" in ran.out
    root = ElementTree.parse(seat.folder / "drift.xml").getroot()  # noqa: S314
    assert int(root.get("failures") or 0) >= 2
    seat.on_host(f"cp -p /root/site {site}; chmod 0600 /etc/stackpin/crm/slots/blue.env")
    seat.stackpin("drift", "site").exits(0)


def test_findings_of_the_host_about_itself(seat: Seat) -> None:
    live = seat.state()["live_slot"]
    unit = f"crm@{live}.service"
    seat.on_host(
        f"mkdir -p /etc/systemd/system/{unit}.d && "
        f"printf '[Service]\\nNice=5\\n' >/etc/systemd/system/{unit}.d/99-hand.conf && "
        "systemctl daemon-reload && "
        "systemd-run --unit=stray python3 -m http.server --bind 0.0.0.0 9999"
    )
    time.sleep(1)
    seat.stackpin("maintenance on", "site").exits(0)
    assert {"unit-override", "stray-listener", "maintenance-on"} <= codes(seat)
    seat.on_host(
        f"systemctl stop stray; rm -r /etc/systemd/system/{unit}.d; systemctl daemon-reload"
    )
    seat.stackpin("maintenance off", "site").exits(0)
    seat.stackpin("drift", "site").exits(0)


def test_a_stopped_service_and_a_slot_file_by_hand(seat: Seat) -> None:
    seat.stackpin("stop", "site", "--yes").exits(0)
    assert "slot-not-running" in codes(seat)
    seat.stackpin("start", "site").exits(0)
    file = "/var/lib/stackpin/crm/live.green"
    live = seat.state()["live_slot"]
    seat.on_host(f"rm {file}" if live == "green" else f"touch {file}")
    assert "slot-journal-disagreement" in codes(seat)
    seat.on_host(f"touch {file}" if live == "green" else f"rm {file}")
    seat.stackpin("drift", "site").exits(0)


def test_a_release_changed_by_hand(seat: Seat) -> None:
    server = f"/opt/crm/releases/{seat.state()['live_release']}/server"
    seat.on_host(f"cp -p {server} /root/server && printf x >>{server}")
    assert "release-modified" in codes(seat)
    seat.on_host(f"cp -p /root/server {server}.new && mv {server}.new {server}")
    seat.stackpin("drift", "site").exits(0)


def test_a_wanted_release_that_is_not_live(seat: Seat) -> None:
    ran = seat.stackpin("drift", "crm", "--json", crm_version="v1.1.0").exits(2)
    releases = ran.json["hosts"][seat.host.name]["releases"]["crm"]
    assert releases["now"].startswith("v1.0.0-")
    assert releases["wanted"].startswith("v1.1.0-")


def test_a_wrong_question_is_refused(seat: Seat) -> None:
    assert "crm_versoin" in seat.stackpin("drift", "site", crm_versoin="v1").exits(3).text
    seat.stackpin("drift", "crn").exits(3)


def test_a_host_that_cannot_be_reached_is_1_and_said_everywhere(seat: Seat) -> None:
    seat.lab.cut(seat.host.name)
    try:
        ran = seat.stackpin(
            "drift", "site", "--junit", "drift.xml", "--prometheus", "drift.prom", "--json"
        )
    finally:
        seat.lab.heal(seat.host.name)
    ran.exits(1)
    assert ran.json["result"] == "not checked"
    assert "no SSH connection" in ran.json["hosts"][seat.host.name]["error"]
    root = ElementTree.parse(seat.folder / "drift.xml").getroot()  # noqa: S314
    assert root.get("errors") == "1"
    assert "stackpin_drift_checked" in (seat.folder / "drift.prom").read_text()
    labels = f'host="{seat.host.name}",inventory="lab",stack="site"'
    assert f"stackpin_drift_checked{{{labels}}} 0.0" in (seat.folder / "drift.prom").read_text()
