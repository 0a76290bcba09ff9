"""Stock pyinfra alone: safe, idempotent, refusing in time. One host, one story, in file order."""

from __future__ import annotations

import re
import shutil
import ssl
import subprocess
from pathlib import Path

import pytest
from project import REPOSITORY, host_name
from stock_host import TOKEN, Stock, changed

from stackpin.lab import Lab

pytestmark = [
    pytest.mark.timeout(900),
    pytest.mark.filterwarnings("ignore::urllib3.exceptions.InsecureRequestWarning"),
]


@pytest.fixture(scope="module")
def stock(lab: Lab, tmp_path_factory: pytest.TempPathFactory) -> Stock:
    return Stock.make(lab, lab.reset(host_name(lab)), tmp_path_factory.mktemp("stock"))


@pytest.fixture(scope="module")
def deployed(stock: Stock) -> Stock:
    """The host after one deploy of everything."""
    stock.on_host("rm -rf /srv/plain /usr/local/lib/stackpin")
    ran = stock.pyinfra("site").exits(0)
    assert "CRM: release" in changed(ran)
    return stock


REFUSED = [
    ({"crm_repo_root": "/srv/plain"}, "not a Git work tree"),
    ({"crm_repo_root": "/srv/none", "crm_repo_create": False}, "nothing there"),
    ({"crm_version": "latest"}, "latest is not a version"),
    ({"crm_version": "v9.9.9"}, "found nothing (no such file"),
    ({"crm_admin_token": "env:NOT_SET_ANYWHERE"}, "no such environment variable"),
    ({"crm_admin_tokn": "env:X"}, "Did you mean crm_admin_token"),
    ({"crm_user": "deploy"}, "an account with user id"),
    ({"portal_assets": "templates"}, "no index.html"),
]


@pytest.mark.parametrize(("data", "why"), REFUSED, ids=[next(iter(d)) for d, _ in REFUSED])
def test_refused_before_anything_is_touched(stock: Stock, data: dict[str, object], why: str):
    stock.on_host("mkdir -p /srv/plain")
    before = stock.on_host("find /etc /opt /srv /usr/local /var/lib -xdev -newer /srv/plain | sort")
    ran = stock.pyinfra("site", "-y", **data)
    assert ran.code == 1
    assert why in ran.text
    assert "Traceback" not in ran.text
    assert "Starting operation" not in ran.text
    after = stock.on_host("find /etc /opt /srv /usr/local /var/lib -xdev -newer /srv/plain | sort")
    assert after == before
    assert "crm" not in stock.on_host("cut -d: -f1 /etc/passwd")


def test_a_wrong_artifact_is_refused(stock: Stock, tmp_path: Path):
    shutil.copytree(stock.folder / "artifacts/crm", tmp_path / "a")
    with (tmp_path / "a/crm-v1.0.0.pyz").open("ab") as file:
        file.write(b"!")
    ran = stock.pyinfra("crm", crm_artifact=str(tmp_path / "a/crm-{version}.pyz"))
    assert ran.code == 1
    assert "found SHA-256" in ran.text


def test_a_bare_host_can_be_planned(stock: Stock):
    ran = stock.pyinfra("site", "--dry").exits(0)
    predicted = re.findall(r"^    (?:\S+ \| )?((?:CRM|Portal): .*?)  +1 \(", ran.text, re.M)
    assert {"CRM: release", "Portal: pages", "Portal: nginx site"} <= set(predicted)
    assert "crm" not in stock.on_host("cut -d: -f1 /etc/passwd")


def test_everything_answers(deployed: Stock):
    assert deployed.get("/portal/").status_code == 200
    assert deployed.get("/portal-admin-api/healthz").text.strip() == "ok"
    # a token with every shell metacharacter arrived as it is
    assert deployed.api("/api/packs").status_code == 200
    assert deployed.get("/portal-admin-api/api/packs").status_code == 401
    for page in ("admin/", "admin/providers.html", "admin/batch-import.html"):
        assert deployed.get(f"/portal/{page}").status_code == 200, page
    assert deployed.get("/kimi-portal/").headers["Location"] == "/portal/"
    assert deployed.get("/portal-admin-api/metrics").status_code == 404
    assert deployed.get("/portal/", "http").headers["Location"].startswith("https://")
    headers = deployed.get("/portal/").headers
    assert "default-src 'self'" in headers["Content-Security-Policy"]
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert headers["Server"] == "nginx"


def test_publishing_commits_from_inside_the_sandbox(deployed: Stock):
    draft = {
        "pack_id": "cn",
        "provider_id": "stock-test",
        "manifest": {
            "display_name": "Stock",
            "base_url": "https://api.example.net",
            "models": ["m1"],
        },
    }
    made = deployed.api("/api/provider-drafts", method="POST", json=draft)
    assert made.status_code in (200, 201), made.text
    body = made.json()
    number = body.get("draft_id") or body.get("id") or body["draft"]["id"]
    published = deployed.api(f"/api/provider-drafts/{number}/publish", method="POST", json={})
    assert published.status_code == 200, published.text
    log = deployed.on_host("runuser -u crm -- git -C /srv/crm/repo log --format=%s -1")
    assert "stock-test" in log


def test_a_second_run_changes_nothing_and_restarts_nothing(deployed: Stock):
    before = deployed.pids()
    ran = deployed.pyinfra("site").exits(0)
    assert changed(ran) == []
    assert "Success" not in ran.text.partition("--> Results")[0]
    assert deployed.pids() == before
    for deploy in ("crm", "portal"):
        assert changed(deployed.pyinfra(deploy).exits(0)) == []


def test_the_unit_is_hardened(deployed: Stock):
    text = deployed.on_host("systemd-analyze security --no-pager crm@blue.service | tail -1")
    exposure = float(re.findall(r": ([\d.]+)", text)[0])
    assert exposure <= 1.2, text


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("/etc/stackpin/crm/stack.json", "600 root root"),
        ("/etc/stackpin/crm/slots/blue.env", "600 root root"),
        ("/opt/crm/slots/blue/env", "600 root root"),
        ("/opt/crm/slots/blue/server", "755 root root"),
        ("/var/lib/crm/data", "700 crm crm"),
        ("/var/lib/stackpin", "711 root root"),
        ("/var/lib/stackpin/crm", "711 root root"),
        ("/etc/stackpin/portal/tls/portal.key", "600 root root"),
        ("/srv/crm/repo", "755 crm crm"),
    ],
)
def test_exact_modes(deployed: Stock, path: str, expected: str):
    assert deployed.on_host(f"stat -L -c '%a %U %G' {path}").strip() == expected


def test_only_nginx_and_sshd_listen_outside(deployed: Stock):
    lines = deployed.on_host("ss -Hltn | awk '{print $4}'").split()
    outside = {int(a.rpartition(":")[2]) for a in lines if not a.startswith(("127.", "[::1]"))}
    assert outside == {22, 80, 443}


def test_old_protocols_are_refused(deployed: Stock):
    answer = deployed.on_host(
        "for v in tls1 tls1_1 tls1_2 tls1_3; do"
        " openssl s_client -$v -cipher 'ALL:@SECLEVEL=0' -connect 127.0.0.1:443 </dev/null"
        " >/dev/null 2>&1 && echo $v; done; true"
    )
    assert answer.split() == ["tls1_2", "tls1_3"]


def test_the_token_is_nowhere_it_should_not_be(deployed: Stock):
    ran = deployed.pyinfra("crm", "-y", "-vvv", "--debug", "--diff", crm_version="v1.2.0")
    assert ran.code == 1
    needle = TOKEN.rpartition("\\ ")[2]
    assert needle not in ran.text
    found = deployed.on_host(
        f"grep -rlsF '{needle}' /etc /opt /var /tmp /run /usr/local /srv --exclude-dir=journal"
        " | xargs -r stat -c '%a %U %n'"
    )
    assert all(line.startswith("600 root /opt/crm/releases/") for line in found.splitlines()), found
    assert needle not in deployed.on_host("ps -eww -o args; journalctl --no-pager -q")


def test_a_bad_release_never_serves_and_a_good_one_takes_over(deployed: Stock):
    before = deployed.pids()
    ran = deployed.pyinfra("crm", crm_version="v1.2.0")
    assert ran.code == 1
    assert "packs" in ran.text
    assert deployed.pids() == before
    deployed.pyinfra("crm", crm_version="v1.1.0").exits(0)
    assert str(deployed.state()["live_release"]).startswith("v1.1.0-")
    assert (deployed.state()["live_slot"], deployed.state()["pending"]) == ("green", None)
    assert deployed.get("/portal-admin-api/healthz").headers["X-App-Version"] == "v1.1.0"
    assert changed(deployed.pyinfra("crm", crm_version="v1.1.0").exits(0)) == []


def test_a_syntax_error_in_a_snippet_leaves_nginx_as_it_is(deployed: Stock, tmp_path: Path):
    before = deployed.pids()
    snippet = tmp_path / "snippet.conf"
    snippet.write_text("location /x { retrun 204; }\n")
    ran = deployed.pyinfra("portal", portal_nginx_snippet=str(snippet))
    assert ran.code == 1
    assert "retrun" in ran.text
    assert deployed.pids() == before
    deployed.on_host("nginx -t -q")
    snippet.write_text("location /x { return 204; }\n")
    deployed.pyinfra("portal", portal_nginx_snippet=str(snippet)).exits(0)
    assert deployed.get("/x").status_code == 204
    assert deployed.pids() == before


def test_maintenance_answers_reads_and_writes_alike(deployed: Stock):
    deployed.on_host("touch /var/lib/stackpin/crm/maintenance")
    try:
        for method in ("GET", "POST"):
            answer = deployed.api("/api/packs", method=method)
            assert (answer.status_code, answer.headers["Retry-After"]) == (503, "30")
            assert "<h1>" in answer.text
        assert deployed.get("/portal/").status_code == 503
    finally:
        deployed.on_host("rm /var/lib/stackpin/crm/maintenance")
    assert deployed.api("/api/packs").status_code == 200


def test_new_pages_and_given_certificates_replace_old_ones(deployed: Stock, tmp_path: Path):
    shutil.copytree(REPOSITORY / "portal", tmp_path / "portal")
    (tmp_path / "portal/new.html").write_text("new\n")
    subprocess.run(
        [
            "openssl",
            "req",
            "-x509",
            "-newkey",
            "rsa:2048",
            "-nodes",
            "-days",
            "30",
            "-subj",
            "/CN=given.example.net",
            "-keyout",
            "key.pem",
            "-out",
            "crt.pem",
        ],
        capture_output=True,
        cwd=tmp_path,
        check=True,
    )
    tls = {"certificate": str(tmp_path / "crt.pem"), "key": f"file:{tmp_path}/key.pem"}
    data = {"portal_assets": str(tmp_path / "portal"), "portal_tls": tls}
    before = deployed.pids()
    ran = deployed.pyinfra("portal", "-y", "-vvv", "--debug", **data).exits(0)
    assert "PRIVATE KEY" not in ran.text
    assert deployed.get("/portal/new.html").text == "new\n"
    served = ssl.get_server_certificate((deployed.host.address, 443))
    assert served.split() == (tmp_path / "crt.pem").read_text().split()
    assert changed(deployed.pyinfra("portal", **data).exits(0)) == []
    assert deployed.pids() == before


def test_drift_by_hand_is_put_right_without_a_restart(deployed: Stock):
    before = deployed.pids()
    deployed.on_host(
        "chmod 0644 /etc/stackpin/crm/stack.json; echo X=1 >> /etc/stackpin/crm/slots/blue.env"
    )
    ran = deployed.pyinfra("crm", crm_version="v1.1.0").exits(0)
    assert changed(ran) == ["CRM: files and directories"]
    assert deployed.pids() == before


def test_after_a_reboot_the_live_slot_serves(deployed: Stock):
    deployed.lab.reboot(deployed.host.name)
    deployed.on_host(
        "timeout 60 sh -c 'until curl -fsk https://127.0.0.1/portal/; do sleep 0.5; done'"
    )
    assert deployed.state()["live_slot"] == "green"
    assert deployed.api("/api/packs").status_code == 200
    assert changed(deployed.pyinfra("crm", crm_version="v1.1.0").exits(0)) == []
