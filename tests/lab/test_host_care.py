"""The host program's care commands on a real host: preflight, nginx, inspect, backup, uninstall.

STACKPIN_LAB_HOST names the host to use (its disk is made fresh); the first one otherwise.
"""

from __future__ import annotations

import base64
import json
import os
import shlex
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from stackpin.engine.bundle import host_program
from stackpin.lab import Lab, LabHost
from stackpin.lab.apps.crm.build import build
from stackpin.lab.ssh import ssh_command

TOKEN = "care $&|/\"'`\\ token"
PORTS = {"blue": 18190, "green": 18191, "rehearsal": 18192}
UNIT = """[Unit]
Description=crm in slot %i
[Service]
Type=exec
User=crm
EnvironmentFile=/opt/crm/slots/%i/env
EnvironmentFile=/etc/stackpin/crm/slots/%i.env
ExecStart=/opt/crm/slots/%i/server
Restart=always
RestartSec=1
UMask=0077
"""
BEARER = {"Authorization": "Bearer {env:SUB2API_CRM_ADMIN_TOKEN}"}
URL = "http://127.0.0.1:{port}"
CHECKS: list[dict[str, Any]] = [
    {
        "name": "healthz", "kind": "http", "where": "slot", "url": URL + "/healthz",
        "body": "ok", "version_header": "X-App-Version",
    },
    {
        "name": "hosts", "kind": "http", "where": "slot", "url": URL + "/api/hosts",
        "headers": BEARER, "json_has": {"hosts": []},
    },
    {
        "name": "no-token", "kind": "http", "where": "slot", "url": URL + "/api/hosts",
        "status": 401,
    },
    {"name": "database", "kind": "sqlite", "where": "host", "tables": ["schema_migrations"]},
    {"name": "unit", "kind": "systemd", "where": "slot", "unit": "{stack}@{slot}.service"},
    {"name": "log", "kind": "log", "where": "slot"},
    {"name": "port", "kind": "tcp", "where": "slot"},
]  # fmt: skip
STACK: dict[str, Any] = {
    "stack": "crm", "kind": "slots", "user": "crm", "opt": "/opt/crm", "data": "/var/lib/crm",
    "ports": PORTS, "database": "/var/lib/crm/data/crm.db", "repo_root": "/var/lib/crm/repo",
    "rehearsal": False, "guard_seconds": 60, "drain_seconds": 1, "start_timeout": 20,
    "gate": {"consecutive": 2, "interval": 0.2, "settle": 0.1, "min_healthy": 0.5, "timeout": 15},
    "checks": CHECKS, "listeners": {"allowed": ["22/tcp", "80/tcp", "443/tcp"]},
    "backup": {
        "repository": "/var/backups/stackpin/crm/restic", "keep_last": 6, "keep_daily": 1,
        "paths": ["/var/lib/crm/repo"], "env": {},
    },
}  # fmt: skip
WRITER = """
import http.client, json, sys, time
token, seconds, run = sys.argv[1], float(sys.argv[2]), sys.argv[3]
end, number = time.time() + seconds, 0
while time.time() < end:
    number += 1
    name = f"{run}-{number}"
    body = json.dumps({"pack_id": "load", "provider_id": name, "manifest": {"name": name}})
    link = http.client.HTTPConnection("127.0.0.1", 18190, timeout=10)
    link.request("POST", "/api/provider-drafts", body, {
        "Authorization": b"Bearer " + token.encode(), "Content-Type": "application/json"})
    answer = link.getresponse()
    answer.read()
    if answer.status == 201:
        print(time.time(), name, flush=True)
    else:
        print("refused", answer.status, file=sys.stderr)
    link.close()
"""


class Host:
    """One lab host with the host program on it."""

    def __init__(self, lab: Lab, host: LabHost) -> None:
        self.lab, self.host = lab, host

    def run(self, command: str, data: bytes = b"", *, check: bool = True) -> str:
        argv = [*ssh_command(self.lab.paths, self.host), command]
        done = subprocess.run(argv, input=data, capture_output=True, check=False, timeout=300)
        if check and done.returncode:
            raise AssertionError(f"{command}: {done.returncode}: {done.stderr.decode()}")
        return done.stdout.decode()

    def put(self, path: str, data: bytes | str, mode: str = "0644") -> None:
        raw = data.encode() if isinstance(data, str) else data
        self.run(f"cat > {shlex.quote(path)} && chmod {mode} {shlex.quote(path)}", raw)

    def ask(
        self, command: str, payload: dict[str, Any] | None = None, stack: str = "crm"
    ) -> dict[str, Any]:
        data = json.dumps(payload or {}).encode()
        text = self.run(f"python3 /root/host.pyz {command} {stack}", data, check=False)
        answer: dict[str, Any] = json.loads(text)
        return answer

    def call(
        self, command: str, payload: dict[str, Any] | None = None, stack: str = "crm"
    ) -> dict[str, Any]:
        answer = self.ask(command, payload, stack)
        assert answer["ok"], answer
        return answer

    def refused(self, command: str, payload: dict[str, Any] | None = None) -> dict[str, Any]:
        answer = self.ask(command, payload)
        assert not answer["ok"], answer
        error: dict[str, Any] = answer["error"]
        assert error["kind"] == "refused", error
        return error

    def codes(self) -> list[str]:
        return sorted({item["code"] for item in self.call("inspect")["findings"]})

    def rows(self, query: str) -> list[str]:
        return self.run(f"sqlite3 {STACK['database']} {shlex.quote(query)}").split()


@pytest.fixture(scope="module")
def bare(lab: Lab) -> Host:
    """A fresh host with nothing of ours but the program."""
    wanted = os.environ.get("STACKPIN_LAB_HOST") or lab.hosts[0].name
    host = Host(lab, lab.reset(wanted))
    host.put("/root/host.pyz", host_program()[0])
    return host


def test_preflight_on_a_bare_host(bare: Host) -> None:
    needs = {
        "disk_mb": 100, "memory_mb": 10, "ports": list(PORTS.values()),
        "paths": ["/opt", "/var/lib"], "repo_root": "/var/lib/crm/repo", "repo_create": True,
        "database": STACK["database"], "web_user": "www-data", "artifact_bytes": 10**6,
        "commands": ["systemctl", "python3"], "now": time.time(),
    }  # fmt: skip
    answer = bare.call("preflight", {"needs": needs})
    assert answer["passed"], answer
    names = {item["name"] for item in answer["items"]}
    assert {"port 18190", "repo_root", "nginx", "clock", "dpkg lock", "web_user"} <= names
    assert bare.run("ls /etc/stackpin /var/lib/stackpin 2>/dev/null; true") == ""


def test_preflight_names_what_is_in_the_way(bare: Host) -> None:
    bare.run("systemd-run --unit=squatter python3 -m http.server --bind 127.0.0.1 18191")
    bare.run("mkdir -p /srv/plain; chmod 700 /srv/plain; mkdir -m 700 /var/lib/stackpin")
    for _ in range(50):
        if "18191" in bare.run("ss -Hltn"):
            break
        time.sleep(0.1)
    needs = {
        "disk_mb": 10**9, "memory_mb": 10**7, "ports": [18191, 80], "repo_root": "/srv/plain",
        "web_user": "www-data", "commands": ["no-such-tool"], "now": time.time() - 3600,
    }  # fmt: skip
    answer = bare.call("preflight", {"needs": needs})
    assert not answer["passed"]
    bad = {item["name"]: item for item in answer["items"] if not item["ok"]}
    assert set(bad) - {"time sync"} == {  # the lab's hosts leave the clock to their machine
        "disk /", "memory", "port 18191", "repo_root", "web_user", "command no-such-tool", "clock",
    }  # fmt: skip
    assert "python3 (pid" in bad["port 18191"]["measured"]
    assert bad["repo_root"]["measured"] == "a plain directory"
    assert "/var/lib/stackpin may not" in bad["web_user"]["measured"]
    assert all(item["remedy"] for item in bad.values())
    bare.run("systemctl stop squatter; rmdir /srv/plain /var/lib/stackpin")


def test_nginx_takes_good_changes_and_keeps_its_own_on_bad_ones(bare: Host) -> None:
    path, link = "/etc/nginx/sites-available/care.conf", "/etc/nginx/sites-enabled/care.conf"
    # A module of Debian's packaging, loaded by a link that leads out of /etc/nginx.
    bare.run("mkdir -p /etc/nginx/modules-enabled; echo '# none' > /usr/share/nginx/care.conf; "
             "ln -sf /usr/share/nginx/care.conf /etc/nginx/modules-enabled/50-care.conf; "
             "echo 'add_header X-Care yes;' > /etc/nginx/snippets/care-own.conf")  # fmt: skip
    good = (
        "server { listen 127.0.0.1:8099; include /etc/nginx/snippets/care.conf; "
        "include snippets/care-own.conf; location / { return 200 %s; } }\n"
    )
    files = {path: good % "one", "/etc/nginx/snippets/care.conf": "# abs;\n"}
    payload = {"files": files, "enable": {link: path}}
    before = bare.run("find /etc/nginx -type f -o -type l | sort | xargs ls -l")
    tested = bare.call("nginx-test", payload)
    assert sorted(tested["would_change"]) == sorted([*files, link])
    assert bare.run("find /etc/nginx -type f -o -type l | sort | xargs ls -l") == before
    applied = bare.call("nginx-apply", payload)
    assert applied["reloaded"]
    fetch = "curl -fsS --retry 5 --retry-connrefused -i http://127.0.0.1:8099/"
    assert bare.run(fetch).endswith("one")
    assert bare.call("nginx-apply", payload)["changed"] == []
    pid = bare.run("cat /run/nginx.pid")
    bad = {"files": {path: (good % "two") + "\nserver { lisen 1; }\n"}, "enable": {link: path}}
    for command in ("nginx-test", "nginx-apply"):
        error = bare.refused(command, bad)
        assert 'unknown directive "lisen"' in error["message"]
        assert (error["detail"]["file"], error["detail"]["line"]) == (link, 3)
    assert bare.run(fetch).endswith("one")
    assert bare.run("cat /run/nginx.pid") == pid
    assert bare.run("ls -d /tmp/stackpin-nginx* 2>/dev/null; true") == ""
    bare.refused("nginx-test", {"files": {"/etc/passwd": "x"}})
    bare.refused("nginx-test", {"files": {"/etc/nginx/../passwd": "x"}})
    gone = bare.call("nginx-apply", {"disable": [link]})
    assert gone["changed"] == [link]


@pytest.fixture(scope="module")
def crm(bare: Host, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Host]:
    """The CRM v1.0.0 deployed and serving on blue."""
    out = tmp_path_factory.mktemp("artifacts")
    artifact = build(out, ["v1.0.0"])["v1.0.0"]
    bare.run("useradd --system --user-group --home-dir /nonexistent --shell /usr/sbin/nologin crm")
    root = {"user": "root", "group": "root"}
    own = {"user": "crm", "group": "crm"}

    def directory(path: str, mode: str, owner: dict[str, str] = root) -> dict[str, str]:
        return {"path": path, "mode": mode, **owner}

    def file(path: str, text: str, mode: str) -> dict[str, str]:
        content = base64.b64encode(text.encode()).decode()
        return {"path": path, "mode": mode, "content_b64": content, **root}

    slots = [
        file(
            f"/etc/stackpin/crm/slots/{slot}.env",
            f"SUB2API_CRM_LISTEN_ADDR=127.0.0.1:{port}\n"
            f"SUB2API_CRM_SQLITE_DSN=file:{STACK['database']}?_busy_timeout=5000\n",
            "0600",
        )
        for slot, port in PORTS.items()
    ]
    bare.call("write", {
        "directories": [
            directory("/etc/stackpin", "0755"), directory("/etc/stackpin/crm", "0711"),
            directory("/etc/stackpin/crm/slots", "0700"), directory("/var/lib/stackpin", "0711"),
            directory("/var/lib/stackpin/crm", "0711"),
            directory("/var/lib/stackpin/crm/incoming", "0700"), directory("/opt/crm", "0755"),
            directory("/opt/crm/releases", "0755"), directory("/opt/crm/slots", "0755"),
            directory("/var/lib/crm", "0711"), directory("/var/lib/crm/data", "0700", own),
            directory("/var/lib/crm/repo", "0755", own),
        ],
        "files": [file("/etc/stackpin/crm/stack.json", json.dumps(STACK), "0600"), *slots],
    })  # fmt: skip
    bare.run("cd /var/lib/crm/repo && runuser -u crm -- git init -q .")
    sha256 = deploy(bare, artifact, "v1.0.0-00000001")
    assert sha256
    yield bare


def deploy(host: Host, artifact: Path, release: str) -> str:
    data = artifact.read_bytes()
    sha256 = subprocess.run(
        ["sha256sum", str(artifact)], capture_output=True, text=True, check=True
    ).stdout.split()[0]
    host.put(f"/var/lib/stackpin/crm/incoming/{sha256}", data, "0600")
    quoted = TOKEN.replace("\\", "\\\\").replace('"', '\\"').replace("`", "\\`").replace("$", "\\$")
    env = f'SUB2API_CRM_ADMIN_TOKEN="{quoted}"\nSUB2API_CRM_REPO_ROOT=/var/lib/crm/repo\n'
    info = {"id": release, "version": "v1.0.0", "artifact_sha256": sha256, "artifact_name": "crm"}
    host.call("receive", {"release": info, "env": env, "unit": UNIT})
    host.call("rollout", {"release": release, "who": "test", "reason": "test"})
    return sha256


def test_verify_answers_with_every_check(crm: Host) -> None:
    gate = crm.call("verify")
    assert gate["passed"], gate
    assert [item["name"] for item in gate["results"]] == [check["name"] for check in CHECKS]
    assert TOKEN not in json.dumps(gate)
    crm.run("systemctl stop crm@blue")
    gate = crm.call("verify", {"where": ["slot"]})
    assert not gate["passed"]
    assert gate["log"]
    crm.run("systemctl start crm@blue")


def test_a_clean_host_has_no_findings(crm: Host) -> None:
    for _ in range(50):
        if crm.call("verify")["passed"]:
            break
        time.sleep(0.2)
    seen = crm.call("inspect")
    assert seen["findings"] == [], seen["findings"]
    assert seen["process"]["release_env"] == "v1.0.0-00000001"
    assert seen["database"]["integrity"] == "ok"
    assert "schema_migrations" in seen["database"]["tables"]
    port = next(item for item in seen["listeners"] if item["port"] == 18190)
    assert (port["address"], port["pid"]) == ("127.0.0.1", seen["process"]["pid"])
    assert TOKEN not in json.dumps(seen)


@pytest.mark.parametrize(
    ("harm", "heal", "codes"),
    [
        (
            "mkdir -p /etc/systemd/system/crm@blue.service.d && "
            "printf '[Service]\\nNice=5\\n' > /etc/systemd/system/crm@blue.service.d/x.conf && "
            "systemctl daemon-reload",
            "rm -r /etc/systemd/system/crm@blue.service.d; systemctl daemon-reload",
            ["unit-override"],
        ),
        (
            "sed -i 's/RestartSec=1/RestartSec=9/' /etc/systemd/system/crm@blue.service",
            "cp /opt/crm/slots/blue/unit /etc/systemd/system/crm@blue.service; "
            "systemctl daemon-reload",
            ["unit-override"],
        ),
        (
            "systemd-run --unit=stray python3 -m http.server 9999; "
            "until ss -Hltn | grep -q 9999; do sleep 0.1; done",
            "systemctl stop stray",
            ["stray-listener"],
        ),
        (
            "chmod 644 /opt/crm/slots/blue/env",
            "chmod 600 /opt/crm/slots/blue/env",
            ["mode-wrong"],
        ),
        (
            "touch /var/lib/stackpin/crm/live.green; chmod 644 /var/lib/stackpin/crm/live.green",
            "rm /var/lib/stackpin/crm/live.green",
            ["both-slots-running", "slot-journal-disagreement"],
        ),
        (
            "echo >> /opt/crm/slots/blue/server",
            "truncate -s -1 /opt/crm/slots/blue/server",
            ["release-modified"],
        ),
        (
            "systemctl stop crm@blue",
            "systemctl start crm@blue",
            ["slot-not-running"],
        ),
        (
            "cp -a /opt/crm/releases/v1.0.0-00000001 /opt/crm/releases/other && "
            "ln -sfn ../releases/other /opt/crm/slots/blue",
            "ln -sfn ../releases/v1.0.0-00000001 /opt/crm/slots/blue && "
            "rm -r /opt/crm/releases/other",
            ["running-not-installed", "slot-journal-disagreement"],
        ),
    ],
)  # fmt: skip
def test_each_kind_of_drift_is_found(crm: Host, harm: str, heal: str, codes: list[str]) -> None:
    crm.run(harm)
    try:
        found = crm.codes()
    finally:
        crm.run(heal)
    assert found == codes
    assert crm.codes() == []


def test_maintenance_is_a_finding(crm: Host) -> None:
    crm.call("maintenance", {"on": True, "reason": "test"})
    assert crm.codes() == ["maintenance-on"]
    crm.call("maintenance", {"on": False})


def test_a_backup_under_write_load_has_every_acknowledged_row(crm: Host) -> None:
    crm.put("/root/writer.py", WRITER)
    quoted = shlex.quote(TOKEN)
    argv = [*ssh_command(crm.lab.paths, crm.host), f"python3 /root/writer.py {quoted} 8 a"]
    with subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as writer:
        time.sleep(1)
        began, made = [], []
        for _ in range(3):
            began.append(float(crm.run("date +%s.%N")))
            made.append(crm.call("backup", {"reason": "under, load", "tags": ["t1"]}))
        out, err = writer.communicate(timeout=60)
    assert err == b""
    acknowledged = [line.split() for line in out.decode().splitlines()]
    assert len(acknowledged) > 50
    listed = crm.call("backup-list")["backups"]
    assert [item["id"] for item in listed[-3:]] == [item["id"] for item in made]
    assert listed[-1]["reason"] == "under; load"
    assert listed[-1]["release"] == "v1.0.0-00000001"
    for moment, backup in zip(began, made, strict=True):
        crm.run(
            "rm -rf /root/out; restic -r /var/backups/stackpin/crm/restic --no-cache -q "
            "--password-file /etc/stackpin/crm/restic.password "
            f"restore {backup['id']} --target /root/out"
        )
        names = crm.run(
            "sqlite3 /root/out/var/lib/stackpin/crm/backup/database.sqlite "
            "'SELECT provider_id FROM provider_drafts'"
        ).split()
        wanted = {name for when, name in acknowledged if float(when) < moment}
        assert wanted <= set(names)
        assert len(names) == backup["database"]["tables"]["provider_drafts"]
    assert crm.run("stat -c %a /etc/stackpin/crm/restic.password").strip() == "600"
    assert crm.run("ls /var/lib/stackpin/crm").split().count("backup") == 0


def test_restore_shows_the_loss_and_gives_back_every_row(crm: Host) -> None:
    saved = crm.call("backup", {"reason": "before the import"})
    rows = crm.rows("SELECT provider_id FROM provider_drafts ORDER BY 1")
    crm.run(f"python3 /root/writer.py {shlex.quote(TOKEN)} 1 b")
    now = len(crm.rows("SELECT provider_id FROM provider_drafts"))
    view = crm.call("restore", {"id": saved["id"], "dry": True})
    assert view["lost"]["provider_drafts"] == {"now": now, "then": len(rows)}
    token = {"id": saved["id"], "confirm_token": view["confirm_token"]}
    assert "maintenance" in crm.refused("restore", token)["message"]
    crm.call("maintenance", {"on": True, "reason": "restore"})
    assert "confirm_token" in crm.refused("restore", {"id": saved["id"]})["message"]
    done = crm.call("restore", token)
    crm.call("maintenance", {"on": False})
    assert done["gate"]["passed"]
    assert crm.rows("SELECT provider_id FROM provider_drafts ORDER BY 1") == rows
    assert crm.call("verify")["passed"]
    assert crm.codes() == []
    back = crm.call("restore", {"id": done["safety"], "dry": True})
    assert back["lost"]["provider_drafts"] == {"now": len(rows), "then": now}
    assert crm.run("ls -A /var/lib/crm/data | grep -v '^crm.db'; true") == ""
    assert "before-" not in crm.run("ls /var/lib/crm/data")


def test_a_database_that_does_not_serve_goes_out_again(crm: Host) -> None:
    rename = "sqlite3 /var/lib/crm/data/crm.db 'ALTER TABLE {} RENAME TO {}'"
    crm.run(rename.format("hosts", "hosts_gone"))
    useless = crm.call("backup", {"reason": "useless"})
    crm.run(rename.format("hosts_gone", "hosts"))
    rows = crm.rows("SELECT provider_id FROM provider_drafts ORDER BY 1")
    crm.call("maintenance", {"on": True, "reason": "restore"})
    view = crm.call("restore", {"id": useless["id"], "dry": True})
    payload = {"id": useless["id"], "confirm_token": view["confirm_token"]}
    error = crm.ask("restore", payload)["error"]
    assert error["kind"] == "gate", error
    assert "previous database serves" in error["message"]
    crm.call("maintenance", {"on": False})
    assert crm.call("verify")["passed"]
    assert crm.rows("SELECT provider_id FROM provider_drafts ORDER BY 1") == rows
    assert crm.codes() == []


def test_a_damaged_live_database_is_replaced_and_kept(crm: Host) -> None:
    saved = crm.call("backup", {"reason": "good"})
    crm.call("maintenance", {"on": True, "reason": "restore"})
    crm.run(
        "systemctl stop crm@blue; f=/var/lib/crm/data/crm.db; "
        "dd if=/dev/urandom of=$f bs=1k seek=4 count=40 conv=notrunc status=none"
    )
    error = crm.ask("backup", {"reason": "of the damaged one"})["error"]
    assert error["kind"] == "error"
    view = crm.call("restore", {"id": saved["id"], "dry": True})
    done = crm.call("restore", {"id": saved["id"], "confirm_token": view["confirm_token"]})
    crm.call("maintenance", {"on": False})
    assert done["safety"] is None
    assert done["kept"].startswith("/var/lib/crm/data/crm.db.damaged-")
    assert crm.call("verify")["passed"]
    crm.run("rm /var/lib/crm/data/crm.db.damaged-*")


def test_verify_finds_a_corrupted_repository(crm: Host) -> None:
    good = crm.call("backup-verify")
    assert good["rows"]["provider_drafts"] > 50
    crm.run("cp -a /var/backups/stackpin/crm/restic /root/intact")
    crm.run(
        "f=$(find /var/backups/stackpin/crm/restic/data -type f | xargs ls -S | head -1); "
        "chmod 600 $f; printf '\\377\\000\\377\\000' | dd of=$f bs=1 seek=200 conv=notrunc "
        "status=none"
    )
    error = crm.ask("backup-verify")["error"]
    assert error["kind"] == "error"
    assert error["detail"]["problems"]
    crm.run("rm -rf /var/backups/stackpin/crm/restic; mv /root/intact "
            "/var/backups/stackpin/crm/restic")  # fmt: skip
    crm.call("backup-verify")


def test_a_repository_without_its_password_is_not_overwritten(crm: Host) -> None:
    crm.run("mv /etc/stackpin/crm/restic.password /root/")
    assert "password" in crm.refused("backup")["message"]
    crm.run("mv /root/restic.password /etc/stackpin/crm/")


def test_uninstall_removes_what_it_listed_and_nothing_else(crm: Host) -> None:
    crm.run("mkdir -p /opt/crm-other /var/lib/crmx /etc/stackpin/other; "
            "echo '{}' > /etc/stackpin/other/stack.json")  # fmt: skip
    tree = "find /etc /opt /srv /usr/local /var/lib /var/backups -xdev | sort"
    listed = crm.call("uninstall-list")
    gone = {item["path"] for item in listed["remove"] if "path" in item}
    kept = {item["path"] for item in listed["keep"]}
    assert kept == {
        "/var/lib/crm/repo", "/var/backups/stackpin/crm/restic",
        "/etc/stackpin/crm/restic.password",
    }  # fmt: skip
    assert {"user": "crm", "why": "service account of the stack"} in listed["remove"]
    before = set(crm.run(tree).splitlines())
    crm.refused("uninstall", {"expect": "another"})
    assert set(crm.run(tree).splitlines()) == before
    done = crm.call("uninstall", {"expect": listed["sha256"]})
    assert done["final_backup"]
    after = set(crm.run(tree).splitlines())
    vanished = {path for path in before - after if path.startswith(("/etc/stackpin", "/opt", "/srv",
                "/var/lib/crm", "/var/lib/stackpin", "/etc/systemd", "/usr/local"))}  # fmt: skip
    unlisted = {p for p in vanished if not any(p == g or p.startswith(g + "/") for g in gone)}
    assert unlisted == set()
    assert not {path for path in gone if path in after}
    assert {"/opt/crm-other", "/var/lib/crmx", "/etc/stackpin/other/stack.json"} <= after
    assert kept <= after
    assert "crm" not in crm.run("cut -d: -f1 /etc/passwd").split()
    assert crm.run("systemctl is-active crm@blue; true").strip() == "inactive"
    assert "crm@blue" not in crm.run("systemctl list-units --all --plain 'crm@*'")
    assert crm.call("uninstall-list")["remove"] == []


def test_a_stack_of_files_is_cared_for_as_well(bare: Host) -> None:
    static = {
        "stack": "pages", "kind": "static", "user": "root", "ports": None, "backup": None,
        "static": {"root": "/srv/pages", "link": "current"},
        "checks": [{"name": "space", "kind": "disk", "where": "host", "path": "/", "free_mb": 1}],
        "listeners": {"allowed": ["22/tcp", "80/tcp", "443/tcp"]},
    }  # fmt: skip
    bare.run("mkdir -p -m 711 /etc/stackpin/pages /var/lib/stackpin/pages")
    bare.put("/etc/stackpin/pages/stack.json", json.dumps(static), "0600")
    bare.run(
        "mkdir -p /srv/pages /opt/pages/releases/v1-1/site && "
        'echo \'{"version": "v1"}\' > /opt/pages/releases/v1-1/release.json && '
        "ln -s /opt/pages/releases/v1-1/site /srv/pages/current && "
        "echo '# x' > /etc/nginx/sites-available/stackpin-pages.conf && "
        "ln -s /etc/nginx/sites-available/stackpin-pages.conf /etc/nginx/sites-enabled/"
    )
    seen = bare.call("inspect", stack="pages")
    assert (seen["live_release"], seen["process"], seen["units"]) == ("v1-1", None, [])
    assert [one["code"] for one in seen["findings"]] == ["slot-journal-disagreement"]
    proven = json.dumps({"event": "confirmed", "release": "v1-1", "run": "r1"})
    bare.put("/var/lib/stackpin/pages/releases.jsonl", proven + "\n", "0600")
    assert bare.call("inspect", stack="pages")["findings"] == []
    assert bare.call("verify", stack="pages")["passed"]
    assert bare.call("backup", stack="pages")["database"] is None
    assert bare.call("backup-verify", stack="pages")["files"] >= 2
    listed = bare.call("uninstall-list", {"keep_backups": False}, "pages")
    gone = [item["path"] for item in listed["remove"]]
    assert {"/srv/pages", "/opt/pages", "/var/backups/stackpin/pages"} <= set(gone)
    payload = {"keep_backups": False, "expect": listed["sha256"]}
    bare.call("uninstall", payload, "pages")
    paths = " ".join(gone)
    assert bare.run(f"ls -d {paths} 2>/dev/null; true") == ""
    assert bare.run("nginx -t 2>&1 | tail -1").endswith("successful\n")
