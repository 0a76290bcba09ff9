"""The host program alone, on a real host: no pyinfra, no operator, only ssh and its commands."""

from __future__ import annotations

import base64
import json
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr

from operations import crm_content
from operations.entries import Directory, File, Link
from stackpin.config.crm import CrmSettings
from stackpin.config.load import load
from stackpin.engine.bundle import host_program
from stackpin.lab import Lab, LabHost
from stackpin.lab.apps.crm.build import main as build_crm
from stackpin.lab.ssh import ssh_command

PROGRAM = "/usr/local/lib/stackpin/host.pyz"
TOKEN = "t0ken-$&|/\"'-core"
QUICK = {"settle": 0.2, "min_healthy": 1.0, "interval": 0.3, "consecutive": 2, "timeout": 25.0}


class FailedError(Exception):
    def __init__(self, code: int, error: dict[str, Any]) -> None:
        super().__init__(f"exit {code}: {error['kind']}: {error['message']}")
        self.code, self.error = code, error


class Crm:
    """A host with the CRM stack put on it by hand."""

    def __init__(self, lab: Lab, host: LabHost, artifacts: Path) -> None:
        self.lab, self.host, self.artifacts = lab, host, artifacts
        self.ssh = ssh_command(lab.paths, host)

    def sh(self, script: str, data: bytes | None = None, timeout: float = 120) -> str:
        done = subprocess.run(
            [*self.ssh, script],
            input=data or b"",
            capture_output=True,
            timeout=timeout,
            check=False,
        )
        assert done.returncode == 0, f"{script}\n{done.stderr.decode()}"
        return done.stdout.decode().strip()

    def call(self, command: str, stack: str = "crm", **payload: Any) -> dict[str, Any]:
        process = self.begin_call(command, stack, **payload)
        out, err = process.communicate(timeout=180)
        try:
            answer = json.loads(out)
        except ValueError:
            raise AssertionError(f"{command}: no answer; {err.decode()[-500:]}") from None
        if not answer["ok"]:
            raise FailedError(process.returncode, answer["error"])
        assert process.returncode == 0
        return answer

    def begin_call(
        self, command: str, stack: str = "crm", **payload: Any
    ) -> subprocess.Popen[bytes]:
        """Start a command and leave it running; its input is complete."""
        process = subprocess.Popen(
            [*self.ssh, f"python3 {PROGRAM} {command} {stack}"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        assert process.stdin
        process.stdin.write(json.dumps(payload).encode())
        process.stdin.close()
        process.stdin = None
        return process

    def kill_program(self, command: str) -> None:
        """Kill -9 the host program while it performs `command`."""
        self.sh(f"pkill -9 -f 'host.pyz [{command[0]}]{command[1:]} crm' || true")

    def settings(self, version: str) -> CrmSettings:
        sums = (self.artifacts / "SHA256SUMS").read_text()
        digest = next(row.split()[0] for row in sums.splitlines() if version in row)
        return load(
            CrmSettings,
            "crm_",
            {
                "crm_version": version,
                "crm_artifact": str(self.artifacts / "crm-{version}.pyz"),
                "crm_artifact_sha256": digest,
                "crm_admin_token": "env:TOKEN",
                "crm_repo_root": "/srv/crm-repo",
                "crm_gate": QUICK,
                "crm_guard_seconds": 20.0,
                "crm_drain_seconds": 2.0,
                "crm_start_timeout": 20.0,
            },
            "core",
        )

    def install(self) -> None:
        content, _ = host_program()
        self.sh(f"mkdir -p {PROGRAM.rpartition('/')[0]} && cat > {PROGRAM}", content)
        self.sh(
            "id crm >/dev/null 2>&1 || useradd --system --home-dir /var/lib/crm crm;"
            "git init -q -b main /srv/crm-repo; cd /srv/crm-repo;"
            "git -c user.name=t -c user.email=t@t commit -q --allow-empty -m first;"
            "chown -R crm:crm /srv/crm-repo"
        )
        entries = crm_content.entries(self.settings("v1.0.0"), lambda _: SecretStr(TOKEN))
        request: dict[str, Any] = {
            "directories": [e.payload() for e in entries if isinstance(e, Directory)],
            "files": [e.payload() for e in entries if isinstance(e, File)],
            "links": [e.payload() for e in entries if isinstance(e, Link)],
        }
        assert self.call("write", **request)["changed"]
        assert self.call("write", **request)["changed"] == []
        self.sh("systemctl daemon-reload && systemctl enable -q stackpin-boot@crm.service")

    def receive(self, version: str) -> str:
        """Send a release and return its id."""
        release, path = crm_content.release(
            self.settings(version), lambda _: SecretStr(TOKEN), Path("/")
        )
        sha256 = release.artifact_sha256
        self.sh(f"cat > /var/lib/stackpin/crm/incoming/{sha256}", path.read_bytes())
        request = {
            "release": release.as_json(),
            "env": release.env_text,
            "unit": release.unit_text,
        }
        self.call("receive", **request)
        assert self.call("receive", **request)["changed"] is False
        return release.id

    def rollout(self, version: str, **more: Any) -> dict[str, Any]:
        return self.call("rollout", release=self.receive(version), who="test", **more)

    def begin(self, version: str, run: str, **more: Any) -> dict[str, Any]:
        release = self.receive(version)
        return self.call(
            "begin", run=run, release=release, mode="operator", who="t", rehearse=False, **more
        )

    def port(self) -> int:
        return 18191 if self.sh("ls /var/lib/stackpin/crm").find("live.green") >= 0 else 18190

    def healthz(self, port: int | None = None) -> str:
        """Status and version of what answers on the live port."""
        port = port or self.port()
        return self.sh(
            f"curl -s -o /dev/null -w '%{{http_code}} %header{{x-app-version}}' "
            f"http://127.0.0.1:{port}/healthz || true"
        )

    def events(self, run: str | None = None) -> list[str]:
        lines = self.call("state")["journal"]
        return [line["event"] for line in lines if run in (None, line["run"])]

    def active(self) -> dict[str, str]:
        return {name: slot["active"] for name, slot in self.call("state")["slots"].items()}

    def wait_for(self, what: Any, timeout: float = 60) -> None:
        deadline = time.monotonic() + timeout
        while not what():
            assert time.monotonic() < deadline, "did not happen in time"
            time.sleep(0.3)


@pytest.fixture(scope="module")
def crm(lab: Lab, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Crm]:
    """One host with v1.0.0 rolled out; tests go on from whatever the one before left live."""
    artifacts = tmp_path_factory.mktemp("artifacts")
    build_crm(["--out", str(artifacts)])
    one = Crm(lab, lab.reset(lab.hosts[-1].name), artifacts)
    one.install()
    yield one


def base(crm: Crm, version: str = "v1.0.0") -> str:
    """Make `version` live and no run open, whatever was before; return its release id."""
    crm.call("recover")
    return str(crm.rollout(version, rehearse=False)["release"])


def test_first_rollout_with_rehearsal(crm: Crm) -> None:
    told = crm.rollout("v1.0.0")
    assert told["changed"] and told["from"] is None
    assert crm.healthz() == "200 v1.0.0"
    state = crm.call("state")
    assert state["live_release"] == told["release"] and state["pending"] is None
    assert state["run"]["stage"] == "retired" and "lock_token" not in state["run"]
    pid = state["slots"]["blue"]["main_pid"]
    again = crm.rollout("v1.0.0")
    assert again["changed"] is False
    assert crm.call("state")["slots"]["blue"]["main_pid"] == pid
    assert crm.events(told["run"]) == [
        "begin", "rehearsed", "started", "gated", "switched", "confirmed", "retired",
    ]  # fmt: skip
    assert (
        crm.sh("ls /var/lib/crm/rehearsal /run/systemd/system | grep -c rehearsal || true") == "1"
    )


def test_update_goes_to_the_other_slot(crm: Crm) -> None:
    before = base(crm)
    told = crm.rollout("v1.1.0")
    assert crm.healthz() == "200 v1.1.0"
    state = crm.call("state")
    assert state["last_good"] == before
    assert sorted(crm.active().values()) == ["active", "inactive"]
    assert told["stages"]["rehearse"]["copied"]["database"] > 0


@pytest.mark.parametrize(
    ("version", "stage", "more"),
    [
        ("v1.3.0", "rehearse", {}),
        ("v1.2.0", "rehearse", {}),
        ("v1.4.0", "gate", {"rehearse": False, "min_healthy": 13}),
    ],
)
def test_bad_release_is_refused(crm: Crm, version: str, stage: str, more: dict[str, Any]) -> None:
    good = base(crm, "v1.1.0")
    crm.sh("sqlite3 /var/lib/crm/data/crm.db 'pragma wal_checkpoint(truncate)' || true")
    before = crm.sh("sha256sum /var/lib/crm/data/crm.db")
    with pytest.raises(FailedError) as failed:
        crm.rollout(version, **more)
    assert failed.value.code == 4, failed.value
    assert failed.value.error["detail"]["stage"] == stage
    assert failed.value.error["detail"]["log"]
    assert TOKEN not in json.dumps(failed.value.error)
    state = crm.call("state")
    assert state["live_release"] == good and crm.healthz() == "200 v1.1.0"
    assert state["run"]["stage"] == "failed" and state["run"]["proven"]
    assert crm.events()[-1] == "failed"
    assert sorted(crm.active().values()) == ["active", "inactive"]
    assert crm.sh("ls -A /var/lib/crm/rehearsal; ls /run/systemd/system | grep rehears||true") == ""
    if stage == "rehearse":
        assert crm.sh("sha256sum /var/lib/crm/data/crm.db") == before


def lease(crm: Crm, ttl: float = 60) -> str:
    return str(crm.call("lock-acquire", owner="test", reason="testing", ttl=ttl)["token"])


def drive(crm: Crm, run: str, upto: str, token: str) -> dict[str, Any]:
    """Perform the stages of an operator's run up to and with `upto`; return its answer."""
    answer: dict[str, Any] = {}
    for stage in ("rehearse", "start", "gate", "switch", "probe", "confirm", "retire"):
        more = {"token": answer["token"]} if stage == "confirm" else {}
        got = crm.call(stage, run=run, lock_token=token, **more)
        answer = {**answer, **got} if stage != "switch" else got
        if stage == upto:
            break
    return answer


def test_stages_of_an_operator(crm: Crm) -> None:
    base(crm)
    token = lease(crm)
    with pytest.raises(FailedError, match="locked by test"):
        crm.rollout("v1.1.0")
    release = crm.sh("ls /opt/crm/releases | grep v1.1.0")
    request = {"run": "op1", "release": release, "lock_token": token, "rehearse": False}
    crm.call("begin", **request)
    crm.call("begin", **request)
    with pytest.raises(FailedError, match="out of order"):
        crm.call("gate", run="op1", lock_token=token)
    armed = drive(crm, "op1", "switch", token)
    again = crm.call("switch", run="op1", lock_token=token)
    assert again["already"] and again["token"] == armed["token"]
    crm.call("probe", run="op1", lock_token=token)
    with pytest.raises(FailedError, match="token"):
        crm.call("confirm", run="op1", token="wrong", lock_token=token)
    crm.call("confirm", run="op1", token=armed["token"], lock_token=token)
    assert "guard" not in crm.sh("systemctl list-timers --all --no-legend")
    with pytest.raises(FailedError, match="roll back"):
        crm.call("abort", run="op1", reason="too late", lock_token=token)
    crm.call("retire", run="op1", lock_token=token)
    assert crm.healthz() == "200 v1.1.0"
    crm.call("lock-release", token=token)


def test_guard_reverts_without_confirmation(crm: Crm) -> None:
    good = base(crm)
    release = crm.receive("v1.1.0")
    token = lease(crm)
    crm.call("begin", run="g1", release=release, lock_token=token, rehearse=False)
    armed = drive(crm, "g1", "switch", token)
    assert crm.healthz() == "200 v1.1.0"
    crm.wait_for(lambda: crm.call("state")["pending"] is None, armed["seconds"] + 15)
    state = crm.call("state")
    assert state["live_release"] == good and crm.healthz() == "200 v1.0.0"
    assert state["run"]["stage"] == "reverted" and state["run"]["proven"]
    last = state["journal"][-1]
    assert (last["event"], last["reason"]) == ("reverted", "guard: not confirmed by deadline")
    with pytest.raises(FailedError) as failed:
        crm.call("confirm", run="g1", token=armed["token"], lock_token=token)
    assert failed.value.code == 4 and "guard" in failed.value.error["message"]
    crm.call("lock-release", token=token)


@pytest.mark.parametrize("how", ["reboot", "kill"])
def test_restart_in_the_guard_window_reverts(crm: Crm, how: str) -> None:
    good = base(crm)
    release = crm.receive("v1.1.0")
    token = lease(crm, 30)
    crm.call("begin", run=f"b-{how}", release=release, lock_token=token, rehearse=False)
    drive(crm, f"b-{how}", "switch", token)
    if how == "kill":
        crm.lab.kill(crm.host.name)
        crm.lab.start(crm.host.name)
    else:
        crm.lab.reboot(crm.host.name)
    crm.wait_for(lambda: crm.call("state")["run"]["stage"] == "reverted")
    crm.wait_for(lambda: crm.healthz() == "200 v1.0.0")
    state = crm.call("state")
    assert state["live_release"] == good and state["pending"] is None
    assert state["journal"][-1]["reason"] == "guard: rebooted before confirm"
    crm.call("lock-release", token=token)


@pytest.mark.parametrize("stage", ["rehearse", "start", "gate", "switch", "probe", "confirm"])
def test_program_killed_in_a_stage_converges(crm: Crm, stage: str) -> None:
    good = base(crm)
    process = crm.begin_call("rollout", release=crm.receive("v1.1.0"), who="killed")
    done = {
        "rehearse": "begun", "start": "rehearsed", "gate": "started", "switch": "gated",
        "probe": "switched", "confirm": "probed",
    }[stage]  # fmt: skip
    # Kill on the host, as soon as run.json says that this stage is at work.
    crm.sh(
        f'for i in $(seq 3000); do grep -q \'"stage": "{done}"\' /var/lib/stackpin/crm/run.json'
        " && pkill -9 -f 'host.pyz [r]ollout crm' && break; sleep 0.01; done"
    )
    process.communicate(timeout=60)
    assert crm.healthz().startswith("200 ")
    crm.call("recover")
    state = crm.call("state")
    assert state["live_release"] == good and crm.healthz() == "200 v1.0.0"
    assert state["run"]["stage"] in ("failed", "reverted") and state["pending"] is None
    assert "its process died" in state["journal"][-1]["reason"]
    assert sorted(crm.active().values()) == ["active", "inactive"]
    assert crm.sh("ls -A /var/lib/crm/rehearsal; ls /run/systemd/system | grep rehears||true") == ""
    assert crm.call("recover")["recovered"] is False


def test_hung_program_cannot_stop_the_guard(crm: Crm) -> None:
    good = base(crm)
    release = crm.receive("v1.1.0")
    token = lease(crm, 100)
    crm.call("begin", run="hung", release=release, lock_token=token, rehearse=False)
    armed = drive(crm, "hung", "switch", token)
    # Somebody holds the mutex and does not move: as a stage stopped in the middle would.
    hold = (
        "import fcntl,os,time;f=open('/var/lib/stackpin/crm/mutex','r+');"
        "fcntl.flock(f,fcntl.LOCK_EX);f.truncate(0);f.write(str(os.getpid()));f.flush();"
        "time.sleep(600)"
    )
    crm.sh(f'setsid python3 -c "{hold}" hung.pyz >/dev/null 2>&1 </dev/null &')
    crm.wait_for(lambda: crm.call("state")["pending"] is None, armed["seconds"] + 45)
    assert crm.call("state")["live_release"] == good
    assert crm.healthz() == "200 v1.0.0"
    crm.call("lock-release", token=token)


def test_restart_has_no_gap_and_a_new_process(crm: Crm) -> None:
    base(crm)
    before = crm.call("state")
    told = crm.call("service", action="restart", who="test")
    after = crm.call("state")
    assert told["slot"] != before["live_slot"] and after["live_release"] == before["live_release"]
    crm.call("service", action="stop")
    assert set(crm.active().values()) == {"inactive"}
    crm.call("service", action="start")
    assert crm.healthz() == "200 v1.0.0"


def test_static_stack(crm: Crm) -> None:
    import hashlib
    import io
    import tarfile

    def archive(text: bytes) -> bytes:
        buffer = io.BytesIO()
        with tarfile.open(fileobj=buffer, mode="w") as tar:
            entry = tarfile.TarInfo("portal/index.html")
            entry.size = len(text)
            tar.addfile(entry, io.BytesIO(text))
        return buffer.getvalue()

    check = {
        "name": "page", "kind": "command", "where": "host", "required": True,
        "argv": ["test", "-s", "/srv/portal/current/portal/index.html"],
    }  # fmt: skip
    document = {
        "stack": "portal", "kind": "static", "opt": "/srv/portal", "guard_seconds": 20,
        "gate": QUICK, "checks": [check], "static": {"root": "/srv/portal", "link": "current"},
    }  # fmt: skip
    text = base64.b64encode(json.dumps(document).encode()).decode()
    crm.call(
        "write",
        "portal",
        directories=[
            {"path": p, "mode": m, "user": "root", "group": "root"}
            for p, m in (
                ("/etc/stackpin/portal", "0711"),
                ("/srv/portal", "0755"),
                ("/var/lib/stackpin/portal/incoming", "0700"),
            )
        ],
        files=[
            {"path": "/etc/stackpin/portal/stack.json", "mode": "0600", "user": "root",
             "group": "root", "content_b64": text}
        ],
    )  # fmt: skip
    for number, page in enumerate((b"one", b"two")):
        data = archive(page)
        sha256 = hashlib.sha256(data).hexdigest()
        crm.sh(f"cat > /var/lib/stackpin/portal/incoming/{sha256}", data)
        release = {"id": f"p-{number}", "version": f"v{number}.0.0", "artifact_sha256": sha256}
        crm.call("receive", "portal", release=release, env="", unit="")
        crm.call("rollout", "portal", release=f"p-{number}", who="test")
        assert crm.sh("cat /srv/portal/current/portal/index.html") == page.decode()
    state = crm.call("state", "portal")
    assert state["live_release"] == "p-1" and state["last_good"] == "p-0"
    # An empty page fails the check of the host, and the link goes back.
    data = archive(b"")
    sha256 = hashlib.sha256(data).hexdigest()
    crm.sh(f"cat > /var/lib/stackpin/portal/incoming/{sha256}", data)
    bad = {"id": "p-bad", "version": "v9.0.0", "artifact_sha256": sha256}
    crm.call("receive", "portal", release=bad, env="", unit="")
    with pytest.raises(FailedError) as failed:
        crm.call("rollout", "portal", release="p-bad", who="test")
    assert failed.value.code == 4
    assert crm.sh("cat /srv/portal/current/portal/index.html") == "two"


def test_boot_starts_what_was_live(crm: Crm) -> None:
    base(crm, "v1.1.0")
    crm.lab.reboot(crm.host.name)
    crm.wait_for(lambda: crm.healthz() == "200 v1.1.0")
    assert sorted(crm.active().values()) == ["active", "inactive"]
