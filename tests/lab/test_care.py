"""Looking after a deployed stack on a real host, in file order; the last test removes it."""

from __future__ import annotations

import re
import signal
import subprocess
import threading
import time

import pytest
import requests
from operator_seat import TOKEN, Seat, wait_for
from project import STACKPIN, host_name

from stackpin.lab import Lab

pytestmark = [
    pytest.mark.timeout(900),
    pytest.mark.filterwarnings("ignore::urllib3.exceptions.InsecureRequestWarning"),
]


@pytest.fixture(scope="module")
def seat(lab: Lab, tmp_path_factory: pytest.TempPathFactory) -> Seat:
    made = Seat.make(lab, lab.reset(host_name(lab)), tmp_path_factory.mktemp("seat"))
    made.stackpin("deploy", "site", "--yes").exits(0)
    return made


def test_status_and_history_tell_what_was_deployed(seat: Seat) -> None:
    rows = seat.stackpin("status", "site", "--check", "--json").exits(0).json["hosts"]
    assert [(row["stack"], row["healthy"]) for row in rows] == [("portal", True), ("crm", True)]
    crm = rows[1]
    assert (crm["version"], crm["pin"], crm["active"]) == ("v1.0.0", "v1.0.0", "active")
    runs = seat.stackpin("history", "crm", "--json").exits(0).json["runs"]
    assert [(run["command"], run["outcome"]) for run in runs] == [("deploy", "done")]
    assert runs[0]["seconds"] > 2


def test_evidence_of_the_deploy_verifies_and_notices_tampering(seat: Seat) -> None:
    seat.program([STACKPIN, "evidence", "verify", "evidence"]).exits(0)
    (record,) = (seat.folder / "evidence/lab/crm").iterdir()
    names = {path.name for path in record.iterdir()}
    assert {"01-artifact.json", "02-remote-inspect.json", "03-api-checks.json"} <= names
    assert {"04-portal-checks.json", "05-timings.json", "plan.json", "manifest.json"} <= names
    file = record / "03-api-checks.json"
    kept = file.read_bytes()
    file.write_bytes(kept.replace(b"true", b"fals", 1))
    ran = seat.program([STACKPIN, "evidence", "verify", str(record)]).exits(1)
    assert "03-api-checks.json: altered" in ran.text
    file.write_bytes(kept)


def test_restart_under_load_loses_no_request(seat: Seat) -> None:
    before = seat.state()["live_slot"]
    stop, answers = threading.Event(), []

    def ask() -> None:
        while not stop.is_set():
            try:
                answers.append(seat.api("GET", "/api/hosts").status_code)
            except requests.RequestException as error:
                answers.append(str(error))

    clients = [threading.Thread(target=ask) for _ in range(4)]
    for client in clients:
        client.start()
    ran = seat.stackpin("restart", "crm", "--reason", "a test")
    stop.set()
    for client in clients:
        client.join()
    ran.exits(0)
    assert seat.state()["live_slot"] != before
    assert set(answers) == {200}
    assert len(answers) > 100


def test_stop_asks_and_start_brings_it_back(seat: Seat) -> None:
    seat.stackpin("stop", "site").exits(3)
    assert seat.api("GET", "/healthz").text == "ok"
    seat.stackpin("stop", "site", "--yes").exits(0)
    assert seat.api("GET", "/healthz").status_code == 502
    seat.stackpin("status", "crm", "--check").exits(5)
    seat.stackpin("start", "site").exits(0)
    assert seat.api("GET", "/healthz").text == "ok"


def test_maintenance_page(seat: Seat) -> None:
    seat.stackpin("maintenance on", "site", "--reason", "a test").exits(0)
    assert seat.api("GET", "/healthz").status_code == 503
    assert seat.stackpin("status", "crm", "--json").json["hosts"][0]["maintenance"] is True
    seat.stackpin("maintenance off", "site").exits(0)
    assert seat.api("GET", "/healthz").status_code == 200


def journal_a_secret(seat: Seat, mark: str) -> None:
    """Make a log line of the live unit that holds the token, as a careless program would."""
    unit = f"crm@{seat.state()['live_slot']}.service"
    text = f"MESSAGE={mark} token {TOKEN} end\nOBJECT_SYSTEMD_UNIT={unit}\n"
    seat.on_host("logger --journald", text.encode())


def test_logs_are_masked_on_the_host(seat: Seat) -> None:
    journal_a_secret(seat, "careless")
    ran = seat.stackpin("logs", "crm", "-n", "20").exits(0)
    assert "careless token *** end" in ran.out
    assert TOKEN not in ran.text
    lines = seat.stackpin("logs", "crm", "--since", "1 hour ago", "--json").exits(0)
    assert any("listens on" in line for line in lines.json["hosts"][seat.host.name])


def journalctls(seat: Seat) -> str:
    return seat.on_host("pgrep -x journalctl || true")


def test_following_logs_survives_a_restart_and_ends_clean(seat: Seat) -> None:
    process = seat.start("logs", "crm", "-f", "-n", "1")
    lines: list[str] = []
    assert process.stdout is not None
    reader = threading.Thread(target=lambda: lines.extend(process.stdout or ()))
    reader.start()
    wait_for(lambda: lines)
    seat.stackpin("restart", "crm").exits(0)
    wait_for(lambda: any("is live now" in line for line in lines))
    journal_a_secret(seat, "after")
    wait_for(lambda: any("after token *** end" in line for line in lines))
    process.send_signal(signal.SIGINT)
    assert process.wait(timeout=10) == 0
    reader.join()
    assert process.stderr is not None
    assert process.stderr.read() == ""
    wait_for(lambda: not journalctls(seat))


def test_tunnel_follows_the_live_slot_and_ends_clean(seat: Seat) -> None:
    process = seat.start("tunnel", "crm")
    assert process.stdout is not None
    first = process.stdout.readline()
    url = re.findall(r"http://127\.0\.0\.1:\d+/", first)[0]
    assert requests.get(url + "healthz", timeout=10).text == "ok"
    bearer = {"Authorization": f"Bearer {TOKEN}"}
    assert requests.get(url + "api/hosts", headers=bearer, timeout=10).status_code == 200
    seat.stackpin("restart", "crm").exits(0)
    assert requests.get(url + "healthz", timeout=10).text == "ok"
    process.send_signal(signal.SIGINT)
    assert process.wait(timeout=10) == 0
    with pytest.raises(requests.ConnectionError):
        requests.get(url, timeout=5)


def test_backup_and_restore_with_what_would_be_lost(seat: Seat) -> None:
    seat.write_draft("kept")
    made = seat.stackpin("backup", "crm", "--reason", "a test", "--json").exits(0)
    snapshot = made.json["backups"][0]["id"]
    seat.write_draft("lost")
    seat.stackpin("backup verify", "crm").exits(0)
    assert snapshot in seat.stackpin("backup list", "crm").exits(0).out
    refused = seat.stackpin("restore", "site", snapshot).exits(3)
    assert "provider_drafts: 2 rows now, 1 in the backup" in refused.out
    assert seat.drafts() == {"kept", "lost"}
    seat.stackpin("restore", "site", snapshot, "--yes").exits(0)
    assert seat.drafts() == {"kept"}
    assert seat.state()["maintenance"] in {False, None}


def test_an_unknown_backup_is_refused_untouched(seat: Seat) -> None:
    ran = seat.stackpin("restore", "site", "0123456789", "--yes").exits(3)
    assert "backup list" in ran.text
    assert seat.drafts() == {"kept"}


def test_a_damaged_repository_is_detected(seat: Seat) -> None:
    packs = "/var/backups/stackpin/crm/restic/data"
    pack = seat.on_host(f"find {packs} -type f -size +1k | head -1").strip()
    seat.on_host(f"cp -p {pack} /root/pack && chmod u+w {pack} && printf x >>{pack}")
    ran = seat.stackpin("backup verify", "crm").exits(1)
    assert "damaged" in ran.text
    seat.on_host(f"cp -p /root/pack {pack}")
    seat.stackpin("backup verify", "crm").exits(0)


def test_a_held_lock_refuses_names_its_holder_and_can_be_stolen(seat: Seat) -> None:
    lease = b'{"owner": "ann@desk", "reason": "deploy v9", "ttl": 300, "token": "t"}'
    seat.on_host("python3 /usr/local/lib/stackpin/host.pyz lock-acquire crm", lease)
    ran = seat.stackpin("restart", "crm").exits(3)
    assert "ann@desk" in ran.text
    assert "deploy v9" in ran.text
    assert "held by ann@desk (deploy v9)" in seat.stackpin("lock", "crm").exits(0).out
    seat.stackpin("lock steal", "crm", "--reason", "on a plane").exits(3)
    seat.stackpin("lock steal", "crm", "--reason", "on a plane", "--yes").exits(0)
    assert "free" in seat.stackpin("lock show", "crm").exits(0).out
    runs = seat.stackpin("history", "crm", "--json").json["runs"]
    assert (runs[-1]["command"], runs[-1]["reason"]) == ("lock stolen", "on a plane")


def test_prune_keeps_what_is_live(seat: Seat) -> None:
    seat.stackpin("deploy", "crm", "--yes", "--no-rehearsal", crm_version="v1.1.0").exits(0)
    live = seat.state()["live_release"]
    ran = seat.stackpin("prune", "crm", "--keep", "1", "--yes", "--json").exits(0)
    assert live not in {item["release"] for item in ran.json["removed"]}
    assert seat.api("GET", "/healthz").headers["X-App-Version"] == "v1.1.0"


def test_history_shows_a_rolled_back_deploy_as_such(seat: Seat) -> None:
    ran = seat.stackpin("deploy", "crm", "--yes", "--no-rehearsal", crm_version="v1.2.0")
    assert ran.code == 4, ran.text
    last = seat.stackpin("history", "crm", "-n", "1", "--json").json["runs"][-1]
    assert last["outcome"] in {"rolled back", "failed, nothing switched"}
    assert "500" in last["reason"] or "gate" in last["reason"]
    assert seat.api("GET", "/healthz").headers["X-App-Version"] == "v1.1.0"


def paths_of(seat: Seat) -> set[str]:
    found = seat.on_host("find /etc /opt /srv /var/lib /var/backups -xdev | sort")
    return set(found.splitlines())


def test_uninstall_removes_what_it_listed_and_nothing_else(seat: Seat) -> None:
    seat.on_host("mkdir -p /opt/crm-other /srv/decoy && touch /srv/decoy/file")
    before = paths_of(seat)
    seat.stackpin("uninstall", "site").exits(3)
    assert paths_of(seat) - before == set()
    assert seat.api("GET", "/healthz").text == "ok"
    ran = seat.stackpin("uninstall", "site", "--yes", "--json").exits(0)
    listed = {
        item["path"] for host in ran.json["listed"] for item in host["remove"] if "path" in item
    }
    gone = before - paths_of(seat)
    stray = {
        path for path in gone if not any(path == p or path.startswith(p + "/") for p in listed)
    }
    # Users, units' links and restic's own housekeeping change files; nothing else may vanish.
    assert {
        path for path in stray if not path.startswith(("/var/backups", "/etc/systemd"))
    } == set()
    left = paths_of(seat)
    assert not {path for path in listed if path in left}
    assert "/srv/decoy/file" in left
    assert "/opt/crm-other" in left
    assert any(path.startswith("/var/backups/stackpin/crm/restic/") for path in left)
    assert not any(path.startswith("/var/lib/stackpin/") for path in left)
    assert seat.on_host("systemctl list-units --all --no-legend 'crm@*' | wc -l").strip() == "0"
    again = seat.stackpin("uninstall", "site", "--yes").exits(0)
    assert "nothing to remove" in again.text


def test_a_tunnel_to_what_is_not_installed_is_refused(seat: Seat) -> None:
    process = seat.start("tunnel", "crm")
    _out, err = process.communicate(timeout=30)
    assert process.returncode == 3
    assert "not installed" in err


def test_help_is_quick() -> None:
    best = 9.0
    for _ in range(3):
        begun = time.monotonic()
        argv = [STACKPIN, "drift", "--help"]
        subprocess.run(argv, check=True, capture_output=True)
        best = min(best, time.monotonic() - begun)
    assert best < 1.0
