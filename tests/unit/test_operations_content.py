"""What the stacks consist of: texts that are complete, the same each time, and hold no secret."""

import io
import re
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest

from operations import crm_content, portal_content
from operations.entries import Directory, File
from operations.rendering import render
from stackpin import secrets
from stackpin.config.crm import CrmSettings
from stackpin.config.load import load
from stackpin.config.portal import PortalSettings
from stackpin.engine.transport import NoDelayTransport
from stackpin.errors import Refused

REPOSITORY = Path(__file__).resolve().parents[2]
TOKEN = "t0ken $&|/\"'\\ x"


@pytest.fixture
def crm(monkeypatch):
    monkeypatch.setenv("TEST_CRM_TOKEN", TOKEN)
    secrets.forget()
    yield crm_settings()
    secrets.forget()


def crm_settings(**data):
    flat = {"crm_version": "v1.0.0", "crm_admin_token": "env:TEST_CRM_TOKEN"} | data
    return load(CrmSettings, "crm_", flat, "relay1")


def portal_settings(**data):
    return load(PortalSettings, "portal_", {"portal_server_name": "p.example.net"} | data, "r1")


@pytest.fixture
def artifact(tmp_path):
    folder = tmp_path / "artifacts/crm"
    folder.mkdir(parents=True)
    (folder / "crm-v1.0.0.pyz").write_bytes(b"program")
    digest = "2c624232cdd221771294dfbb310aca000a0df6ac8b66b696d90ef06fdefb64a3"
    sums = subprocess.check_output(["sha256sum", "crm-v1.0.0.pyz"], cwd=folder, text=True)
    (folder / "SHA256SUMS").write_text(sums)
    return tmp_path, digest


def test_crm_entries_have_parents_first_and_the_modes_of_the_contract(crm):
    entries = crm_content.entries(crm, secrets.resolver(crm, "relay1"))
    by_path = {entry.path: entry for entry in entries}
    assert len(by_path) == len(entries)
    seen = set()
    for entry in entries:
        parent = entry.path.rpartition("/")[0]
        assert parent not in by_path or parent in seen, entry.path
        seen.add(entry.path)
    modes = {path: entry.mode for path, entry in by_path.items() if not path.endswith("unit")}
    assert modes["/etc/stackpin/crm/stack.json"] == "0600"
    assert modes["/etc/stackpin/crm/slots/green.env"] == "0600"
    assert modes["/var/lib/stackpin/crm"] == "0711"
    assert (modes["/var/lib/crm/data"], by_path["/var/lib/crm/data"].user) == ("0700", "crm")
    # the token lives in the release's environment alone
    assert not any(TOKEN in e.content for e in entries if isinstance(e, File))


def test_crm_release_changes_with_everything_the_process_sees(crm, artifact, monkeypatch):
    root, _ = artifact

    def release(settings):
        secrets.forget()
        return crm_content.release(settings, secrets.resolver(settings, "relay1"), root)[0]

    first = release(crm)
    assert first == release(crm)
    assert f'STACKPIN_RELEASE="{first.id}"' in first.env_text
    assert 'STACKPIN_VERSION="v1.0.0"' in first.env_text
    ports = {"blue": 1190, "green": 1191, "rehearsal": 1192}
    others = {
        release(crm_settings(crm_env={"SUB2API_CRM_ACCESS_LOG": "on"})).id,
        release(crm_settings(crm_ports=ports)).id,
        release(crm_settings(crm_repo_root="/home/crm/repo")).id,
    }
    monkeypatch.setenv("TEST_CRM_TOKEN", TOKEN + "2")
    others.add(release(crm).id)
    assert len(others | {first.id}) == 5
    assert TOKEN not in repr(first)


def test_crm_release_without_its_artifact_is_refused(crm, tmp_path):
    with pytest.raises(Refused, match="Build or copy"):
        crm_content.release(crm, secrets.resolver(crm, "relay1"), tmp_path)


def test_unit_reads_slot_after_release_and_may_write_only_its_own(crm):
    unit = crm_content.unit(crm)
    assert re.findall("EnvironmentFile=(.*)", unit) == [
        "/opt/crm/slots/%i/env",
        "/etc/stackpin/crm/slots/%i.env",
    ]
    assert re.findall("ReadWritePaths=(.*)", unit) == ["/var/lib/crm/data", "/srv/crm/repo"]
    assert "ProtectHome=yes" in unit
    home = crm_content.unit(crm_settings(crm_repo_root="/home/crm/repo"))
    assert "ProtectHome=tmpfs\nBindPaths=/home/crm/repo\n" in home


def test_an_undefined_variable_in_a_template_is_an_error():
    with pytest.raises(Exception, match="undefined"):
        render("crm/unit.service.j2", stack="crm")


@pytest.fixture
def pages(tmp_path):
    folder = tmp_path / "portal"
    (folder / "admin").mkdir(parents=True)
    (folder / "index.html").write_text("<h1>Portal</h1>")
    (folder / "admin/index.html").write_text("<h1>Admin</h1>")
    (folder / ".git").mkdir()
    (folder / ".git/config").write_text("secret")
    return tmp_path


def test_portal_release_depends_on_contents_alone(pages):
    settings = portal_settings()
    release, body = portal_content.release(settings, pages)
    with tarfile.open(fileobj=io.BytesIO(body)) as tar:
        assert tar.getnames() == ["admin/index.html", "index.html"]
    (pages / "portal/index.html").touch()
    assert portal_content.release(settings, pages) == (release, body)
    (pages / "portal/index.html").write_text("<h1>New</h1>")
    assert portal_content.release(settings, pages)[0].id != release.id
    with pytest.raises(Refused, match="no index"):
        portal_content.release(portal_settings(portal_assets="admin"), pages)


def test_portal_site_follows_the_settings(pages):
    settings = portal_settings(
        portal_https_port=8443,
        portal_http_port=8080,
        crm_ports={"blue": 1, "green": 2, "rehearsal": 3},
        portal_nginx_snippet="snippet.conf",
    )
    (pages / "snippet.conf").write_text("location /x { return 204; }\n")
    files, links = portal_content.site(settings, [], pages)
    text = files[0].content
    assert "https://$host:8443$request_uri" in text
    assert "server 127.0.0.1:2 max_fails=0 backup;" in text
    assert "if (-f /var/lib/stackpin/crm/live.green)" in text
    assert f"include {portal_content.SNIPPET};" in text
    assert files[1].content.startswith("location /x")
    assert links[0].target == files[0].path
    assert "Certificate:" not in text
    certificate = File(portal_content.CERTIFICATE, "x")
    given = portal_content.site(settings, [certificate], pages)[0][0].content
    assert certificate.sha256 in given
    with pytest.raises(Refused, match="portal_nginx_snippet"):
        portal_content.site(settings, [], pages / "elsewhere")


def test_portal_entries_and_certificate_names(pages):
    settings = portal_settings(crm_public_address="192.0.2.1")
    resolve = secrets.resolver(settings, "r1")
    entries = portal_content.entries(settings, resolve, pages)
    assert Directory(portal_content.TLS, "0700") in entries
    assert portal_content.names(settings, "192.0.2.9") == [
        "p.example.net",
        "192.0.2.1",
        "192.0.2.9",
    ]
    assert portal_content.names(settings, "relay1.example.net")[-1] == "192.0.2.1"


def test_a_certificate_that_does_not_fit_is_refused(pages, monkeypatch):
    monkeypatch.setenv("TEST_TLS_KEY", "not a key at all")
    (pages / "p.crt").write_text("not a certificate")
    secrets.forget()
    tls = {"certificate": "p.crt", "key": "env:TEST_TLS_KEY"}
    settings = portal_settings(portal_tls=tls)
    with pytest.raises(Refused, match="portal_tls") as error:
        portal_content.tls_files(settings, secrets.resolver(settings, "r1"), pages)
    assert "not a key at all" not in str(error.value)


def test_our_top_level_packages_are_not_shadowed_by_installed_ones():
    # pyinfra puts the working directory at the END of sys.path
    script = "import facts, operations; print(facts.__file__, operations.__file__)"
    out = subprocess.check_output([sys.executable, "-c", script], cwd="/", text=True).split()
    assert [Path(path).parent for path in out] == [REPOSITORY / "facts", REPOSITORY / "operations"]


def test_the_transport_survives_a_socket_without_options():
    assert NoDelayTransport.to_json() == "NoDelayTransport"
