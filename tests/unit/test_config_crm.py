"""The CRM's and portal's settings: what they accept, refuse, and turn into."""

import json

import pytest
from pydantic import SecretStr, TypeAdapter

from stackpin.config.checks import Check
from stackpin.config.crm import CrmSettings
from stackpin.config.load import load
from stackpin.config.portal import PortalSettings
from stackpin.config.problems import ConfigProblems, merged
from stackpin.config.sources import FileSource, file, git, url
from stackpin.config.stacks import STACKS, stack
from stackpin.errors import Refused

CHECK = TypeAdapter(Check)
LITERAL = "hunter2hunter2-never-shown"
LEAST = {"crm_version": "v1.0.0", "crm_admin_token": "env:TOKEN"}
SITE = {**LEAST, "portal_server_name": "sub.example.org"}
SOURCES = dict.fromkeys(SITE, "inventories/group_data/prod.py")


def crm(**more):
    return load(CrmSettings, "crm_", {**LEAST, **more}, "h1", SOURCES)


def problems(model=CrmSettings, prefix="crm_", least=LEAST, **more):
    with pytest.raises(ConfigProblems) as caught:
        load(model, prefix, {**least, **more}, "h1", SOURCES)
    return caught.value.problems


def resolve(ref):
    return SecretStr(f"value-of-{ref.target}")


def test_least_settings_give_a_whole_stack():
    host = crm().host_stack().as_json()
    assert host["ports"] == {"blue": 18190, "green": 18191, "rehearsal": 18192}
    assert host["gate"] == {
        "pass_score": 0.75,
        "consecutive": 3,
        "interval": 1.0,
        "settle": 1.0,
        "min_healthy": 12.0,
        "timeout": 60.0,
    }
    assert host["guard_seconds"] == 90
    assert host["listeners"] == {"allowed": ["22/tcp", "443/tcp", "80/tcp"]}
    assert json.loads(crm().host_stack().text()) == host


def test_environment_has_the_secrets_and_slots_only_addresses():
    settings = crm(crm_admin_password="file:/p", crm_secret_env={"EXTRA_KEY": "env:K"})
    assert settings.environment(resolve) == {
        "SUB2API_CRM_ADMIN_TOKEN": "value-of-TOKEN",
        "SUB2API_CRM_ADMIN_USERNAME": "admin",
        "SUB2API_CRM_ADMIN_PASSWORD": "value-of-/p",
        "SUB2API_CRM_ADMIN_SESSION_TTL": "12h",
        "SUB2API_CRM_REPO_ROOT": "/srv/crm/repo",
        "EXTRA_KEY": "value-of-K",
    }
    assert settings.slot_env("green") == {
        "SUB2API_CRM_LISTEN_ADDR": "127.0.0.1:18191",
        "SUB2API_CRM_SQLITE_DSN": "file:/var/lib/crm/data/crm.db"
        "?_foreign_keys=on&_busy_timeout=5000",
    }


def test_rehearsal_touches_nothing_live():
    env = crm().slot_env("rehearsal")
    assert env["SUB2API_CRM_LISTEN_ADDR"] == "127.0.0.1:18192"
    assert env["SUB2API_CRM_REPO_ROOT"].startswith("/var/lib/crm/rehearsal/")
    assert "/var/lib/crm/rehearsal/" in env["SUB2API_CRM_SQLITE_DSN"]


def test_seven_answers():
    settings = crm(crm_public_url="https://sub.example.org/")
    assert [c.name for c in settings.checks("slot")] == [
        "healthz", "packs", "hosts", "packs-without-token", "metrics",
    ]  # fmt: skip
    assert [c.url for c in settings.checks("public")] == [
        "https://sub.example.org/portal/",
        "https://sub.example.org/portal-admin-api/healthz",
    ]
    assert not crm().checks("public")
    assert all(c["where"] != "public" for c in settings.host_stack().checks)


def test_backup_secrets_reach_the_host_only_through_resolve():
    settings = crm(crm_backup_env={"AWS_SECRET_ACCESS_KEY": "env:S3"})
    assert settings.host_stack().backup.env == {}
    assert settings.host_stack(resolve).backup.env == {"AWS_SECRET_ACCESS_KEY": "value-of-S3"}
    assert "value-of" not in repr(settings.host_stack(resolve).backup)


@pytest.mark.parametrize(
    "value",
    ["latest", "LATEST", "", "__WILL_BE_SET_BY_INSTALLER__", "1.2.3", "v1.2", "v01.2.3", "v1.2.3+b",
     "v1.2.3\n", "v1.2.3 ", "v\uff11.2.3", 1.2, None, b"v1.2.3", "v1.2.3-" + "a" * 99],
)  # fmt: skip
def test_versions_refused(value):
    (problem,) = problems(crm_version=value)
    assert problem.variable == "crm_version"
    assert problem.file == "inventories/group_data/prod.py"
    assert "vX.Y.Z" in problem.expected
    assert problem.remedy


def test_prerelease_is_for_other_inventories():
    assert crm(crm_version="v1.2.0-rc.1").version == "v1.2.0-rc.1"
    (problem,) = problems(crm_version="v1.2.0-rc.1", stackpin_production=True)
    assert "stackpin_production" in problem.expected


@pytest.mark.parametrize(
    ("variable", "value", "named"),
    [
        ("crm_admin_token", LITERAL, "crm_admin_token"),
        ("crm_admin_password", {"kind": "nope", "target": LITERAL}, "crm_admin_password"),
        ("crm_admin_tokn", LITERAL, "crm_admin_tokn"),
        ("crm_env", {"API_TOKEN": LITERAL}, "crm_env"),
        ("crm_env", {"SUB2API_CRM_ADMIN_TOKEN": LITERAL}, "crm_env"),
        ("crm_env", {"X": [LITERAL]}, "crm_env"),
        ("crm_secret_env", {"X": LITERAL}, "crm_secret_env"),
        ("crm_backup_env", {"X": LITERAL}, "crm_backup_env"),
        ("crm_backup_repository", f"rest:https://u:{LITERAL}@h/", "crm_backup_repository"),
        ("crm_public_url", f"https://u:{LITERAL}@h/", "crm_public_url"),
        (
            "crm_extra_checks",
            [{"kind": "http", "name": "a", "url": "http://h/", "headers": {"X-Token": LITERAL}}],
            "crm_extra_checks[0]['headers']",
        ),
        ("stackpin_password", LITERAL, "stackpin_password"),
        ("cmr_version", LITERAL, "cmr_version"),
    ],
)
def test_a_literal_secret_is_refused_and_never_shown(variable, value, named):
    found = problems(**{variable: value})
    assert any(problem.variable.startswith(named) for problem in found)
    assert LITERAL not in repr(found)


def test_every_problem_at_once():
    found = problems(
        crm_version="latest",
        crm_ports={"blue": 1, "green": 1},
        crm_portz={},
        crm_gate={"timeout": "9", "pas": 1},
        crm_drain_seconds=True,
        crm_user="Root!",
        crm_repo_root="relative",
        crm_keep_releases="5",
        stackpin_lock_ttl=1,
        portal_listeners_allowed=["22"],
    )
    assert {problem.variable for problem in found} == {
        "crm_version", "crm_ports", "crm_portz", "crm_gate['timeout']", "crm_gate['pas']",
        "crm_drain_seconds", "crm_user", "crm_repo_root", "crm_keep_releases",
        "stackpin_lock_ttl", "portal_listeners_allowed[0]",
    }  # fmt: skip
    assert all(p.host == "h1" and p.found and p.expected and p.remedy for p in found)


def test_missing_variables_say_what_to_write():
    with pytest.raises(ConfigProblems) as caught:
        load(CrmSettings, "crm_", {}, "h1")
    text = str(caught.value)
    assert "crm_version" in text
    assert "crm_admin_token = 'env:CRM_ADMIN_TOKEN'" in text
    assert caught.value.exit_code == 3


def test_unknown_variables_get_a_proposal():
    (problem,) = problems(crm_guard_second=90)
    assert problem.remedy == "Did you mean crm_guard_seconds?"


def test_variables_of_others_are_left_alone():
    crm(
        ssh_user="root",
        xingrin_version="latest",
        _sudo=True,
        image_tag="x",
        anything={"a": object()},
    )


def test_guard_must_outlast_the_probe():
    (problem,) = problems(crm_guard_seconds=20, crm_gate={"consecutive": 20})
    assert problem.variable == "crm_guard_seconds"


def test_gate_must_be_able_to_pass_in_time():
    (problem,) = problems(crm_gate={"min_healthy": 60.0})
    assert problem.variable == "crm_gate"
    assert "timeout" in problem.expected


def test_two_checks_of_one_name():
    (problem,) = problems(crm_extra_checks=[{"kind": "memory", "name": "healthz"}])
    assert "used twice" in problem.expected


@pytest.mark.parametrize("artifact", ["{app}", "{version", "a\nb", "", "{version!r}"])
def test_artifact_templates_refused(artifact):
    assert problems(crm_artifact=artifact)[0].variable == "crm_artifact"


def test_artifact_from_a_path_or_a_source():
    settings = crm(crm_version="v1.2.3", crm_artifact_sha256="0" * 64)
    assert settings.source().at(settings.version) == FileSource(
        path="artifacts/crm/crm-v1.2.3.pyz", sha256="0" * 64
    )
    built = git("https://git.example.org/crm", build=["make"], outputs=["bin/server"])
    assert crm(crm_artifact=built).source().at("v1.2.3").ref == "v1.2.3"
    (problem,) = problems(crm_artifact=built, crm_artifact_sha256="0" * 64)
    assert "crm_artifact as sha256=" in problem.remedy


@pytest.mark.parametrize(
    ("artifact", "variable"),
    [
        (url("ftp://x/y", "0" * 64), "crm_artifact['url']"),
        (git("https://x/y", outputs=["../z"]), "crm_artifact['outputs'][0]"),
        ({"kind": "git", "outputs": ["x"]}, "crm_artifact['repo']"),
        (file("x", sha256="zz"), "crm_artifact['sha256']"),
    ],
)
def test_one_problem_names_the_entry_of_a_source(artifact, variable):
    (problem,) = problems(crm_artifact=artifact)
    assert problem.variable == variable
    assert "server-" not in problem.remedy


def test_problems_shared_by_hosts_are_shown_once():
    found = []
    for host in ("h1", "h2"):
        with pytest.raises(ConfigProblems) as caught:
            load(CrmSettings, "crm_", {**LEAST, "crm_version": "latest"}, host)
        found += caught.value.problems
    (one,) = merged(found)
    assert one.host == "h1, h2"


def test_portal_reads_the_crms_ports_without_its_secrets():
    data = {"portal_server_name": "sub.example.org", "crm_ports": {"blue": 1, "green": 2}}
    portal = load(PortalSettings, "portal_", data, "h1")
    assert portal.upstream.ports.blue == 1
    assert portal.upstream.slot_file == "/var/lib/stackpin/crm/live.green"
    assert portal.host_stack().as_json()["static"] == {"root": "/srv/portal", "link": "current"}
    assert portal.secrets() == []


def test_portal_refuses_what_nginx_cannot_serve():
    least = {"portal_server_name": "sub.example.org"}
    found = problems(PortalSettings, "portal_", least, portal_server_name="a b;", portal_assets="",
                     portal_tls={"certificate": "x", "key": LITERAL},
                     portal_extra_checks=[{"kind": "tcp", "name": "x"}])  # fmt: skip
    named = {problem.variable for problem in found}
    assert {"portal_server_name", "portal_assets", "portal_extra_checks"} <= named
    assert LITERAL not in repr(found)
    (problem,) = problems(PortalSettings, "portal_", least, portal_http_port=443)
    assert "differ" in problem.expected


@pytest.mark.parametrize(
    ("tls", "named"),
    [
        ("selfsigned", "portal_tls"),
        ({"certificate": "x"}, "portal_tls['key']"),
        ({"certificate": "x", "key": LITERAL}, "portal_tls['key']"),
        (None, "portal_tls"),
    ],
)
def test_a_wrong_certificate_is_one_problem(tls, named):
    least = {"portal_server_name": "sub.example.org"}
    found = problems(PortalSettings, "portal_", least, portal_tls=tls)
    assert {problem.variable for problem in found} == {named}
    assert LITERAL not in repr(found)


def test_the_commands_own_data_is_accepted():
    settings = crm(stackpin_driver="operator", stackpin_lock_token="abc")
    assert settings.shared.driver == "operator"
    assert "abc" not in repr(settings)


def test_site_is_portal_then_crm():
    site = stack("site")
    assert [part.name for part in site.components()] == ["portal", "crm"]
    assert list(site.settings(SITE, "h1")) == ["portal", "crm"]
    with pytest.raises(ConfigProblems) as caught:
        site.settings({"crm_version": "latest"}, "h1")
    named = {problem.variable for problem in caught.value.problems}
    assert named == {"crm_version", "crm_admin_token", "portal_server_name"}


def test_unknown_stack_is_refused_with_a_proposal():
    with pytest.raises(Refused, match="Did you mean portal"):
        stack("protal")
    assert STACKS["crm"].version_variable == "crm_version"


def test_every_kind_of_check_survives_its_json():
    for check in [*crm().checks(), CHECK.validate_python({"kind": "sqlite", "name": "db"})]:
        assert CHECK.validate_json(json.dumps(check.as_json())) == check


def test_only_http_checks_are_asked_from_outside() -> None:
    with pytest.raises(ConfigProblems, match="only http checks"):
        crm(crm_extra_checks=[{"kind": "tcp", "name": "t", "where": "public", "port": 22}])
