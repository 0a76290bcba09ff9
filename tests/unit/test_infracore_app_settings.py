"""What the reference InfraCore reads: its subset of YAML, and the configuration as a whole."""

import json
from pathlib import Path

import pytest
from infracore_app_kit import SECRET, Site

from stackpin.config.infracore_types import PublicPorts
from stackpin.config.infracore_yaml import ProductConfig, document, text
from stackpin.lab.apps.infracore.app.miniyaml import YamlError, parse
from stackpin.lab.apps.infracore.app.pages import Pages
from stackpin.lab.apps.infracore.app.settings import OVERRIDES, SettingsError, load

PRODUCTION = {"INFRA_CORE_ENV": "production"}


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("", {}),
        ("# only\n---\n", {}),
        (
            "a: 1\nb: -2.5\nc: true\nd: No\ne:\nf: ~",
            {"a": 1, "b": -2.5, "c": True, "d": "No", "e": None, "f": None},
        ),
        ("a:\n  b:\n    c: x # y\n  d: 'it''s'\n", {"a": {"b": {"c": "x"}, "d": "it's"}}),
        ('a: "x # \\"y\\" \\u00fc"  # z', {"a": 'x # "y" ü'}),
        ("a: http://x/#y\nb: 1h30m", {"a": "http://x/#y", "b": "1h30m"}),
        (
            "a:\n- 1\n- 'b: c'\nd: [x, y z, 3]\ne: []",
            {"a": [1, "b: c"], "d": ["x", "y z", 3], "e": []},
        ),
        ("a:\n    - x\n\n    - y\n", {"a": ["x", "y"]}),
        ('{"a": {"b": [1, "c"]}}', {"a": {"b": [1, "c"]}}),
        (r'"a b": ["x, y", {"z": "\U0001f600 \\U"}]', {"a b": ["x, y", {"z": "\U0001f600 \\U"}]}),
    ],
)
def test_what_the_subset_means(text: str, value: object) -> None:
    assert parse(text) == value


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("a: 1\na: 2", 2),
        ("a:\n  b: 1\n c: 2", 3),
        ("  a: 1", 1),
        ("a: 1\n  b: 2", 2),
        ("a:\n\tb: 1", 2),
        ("a: &x 1", 1),
        ("a: |\n  text", 1),
        ("a: {b: 1}", 1),
        ("a: b: c", 1),
        ("a:\n- b: 1", 2),
        ("- a", 1),
        ('a: "b', 1),
        ("a: 'b'c", 1),
        ("just text", 1),
    ],
)
def test_what_is_outside_is_refused_with_its_line(text: str, line: int) -> None:
    with pytest.raises(YamlError, match=f"line {line}:"):
        parse(text)


def test_what_stackpin_writes_is_read_as_it_was_meant() -> None:
    config = ProductConfig.model_validate({"gate": {"x y": ["a # b", {"c": "ü: '\U0001f600\\U"}]}})
    written = document(config, PublicPorts(), "/var/lib/infra-core/console.db")
    assert parse(text(written)) == written


@pytest.fixture
def site(tmp_path: Path) -> Site:
    return Site(tmp_path)


def test_the_file_of_the_environment_is_read(site: Site) -> None:
    settings = load(PRODUCTION, site.folder)
    assert settings.gate_http_port == site.ports["gate"]
    assert settings.jwt_secret == SECRET
    assert SECRET not in repr(settings)
    assert (settings.beat_seconds, settings.token_seconds) == (90, 24 * 3600)
    for environment in ({}, {"INFRA_CORE_ENV": "staging"}):
        with pytest.raises(SettingsError, match="No such file"):
            load(environment, site.folder)
    (site.folder / "configs/development.yaml").write_text('{"gate": {"host": "x"}}')
    with pytest.raises(SettingsError, match=r"gate\.ports\.http must be .*console\.host is req"):
        load({}, site.folder)


def test_variables_go_before_the_file_unless_empty(site: Site) -> None:
    def value(name: str, text: str) -> object:
        return vars(load({**PRODUCTION, f"INFRA_CORE_{name}": text}, site.folder))

    before = value("ORCH_PORT", "")
    for name, key in OVERRIDES.items():
        if name.endswith("_PORT"):
            assert 1234 in value(name, "1234").values(), key
        elif name == "ORCH_CLUSTER_MODE":
            assert value(name, "true")["cluster_mode"] is True
        elif name == "PROBE_CHECK_INTERVAL":
            assert value(name, "7s")["probe_seconds"] == 7
        elif name not in {"ACME_ENABLED", "PROBE_ENABLE_NOTIFICATIONS"}:  # nothing reads these
            assert "/x" in {str(one) for one in value(name, "/x").values()}, key
    assert before["orchestrator_port"] == site.ports["orchestrator"]


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        ({"ORCH_PORT": "65536"}, "orchestrator.port must be a port"),
        ({"PROBE_PORT": "80a"}, "probe.port must be a port"),
        ({"ORCH_CLUSTER_MODE": "maybe"}, "orchestrator.cluster_mode must be true or false"),
        ({"PROBE_CHECK_INTERVAL": "0s"}, "probe.check_interval must be a positive duration"),
        ({"PROBE_CHECK_INTERVAL": "soon"}, "probe.check_interval must be a positive duration"),
    ],
)
def test_what_makes_no_sense_is_refused(site: Site, wrong: dict[str, str], told: str) -> None:
    given = {f"INFRA_CORE_{name}": value for name, value in wrong.items()}
    with pytest.raises(SettingsError, match=told):
        load({**PRODUCTION, **given}, site.folder)


def test_production_needs_a_secret(site: Site) -> None:
    path = site.folder / "configs/production.yaml"
    path.write_text(path.read_text().replace(json.dumps(SECRET), '""'))
    with pytest.raises(SettingsError, match="secret is required in production"):
        load(PRODUCTION, site.folder)
    assert load({**PRODUCTION, "INFRA_CORE_JWT_SECRET": "x"}, site.folder).jwt_secret == "x"
    path.rename(path.with_name("development.yaml"))
    assert load({}, site.folder).jwt_secret == ""


def test_a_ui_is_served_where_there_is_one(tmp_path: Path) -> None:
    pages = Pages(tmp_path)
    assert not pages
    (tmp_path / "assets").mkdir()
    (tmp_path / "index.html").write_text("<p>")
    (tmp_path / "assets/app-1.js").write_text("js")
    assert pages
    for path in ("/", "/console", "/api/v1/nothing", "/assets/gone.js", "/assets/../index.html"):
        page = pages.page(path)
        assert (page.status, page.body, page.headers["Cache-Control"]) == (200, b"<p>", "no-cache")
    script = pages.page("/assets/app-1.js")
    assert (script.body, script.content_type) == (b"js", "text/javascript; charset=utf-8")
    assert "immutable" in script.headers["Cache-Control"]
