"""The product's file: what overrides do to it, what they cannot do, that the product reads it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from infracore_parts import files
from pydantic import BaseModel

from stackpin.config import infracore_yaml
from stackpin.config.infracore_types import DATA, PublicPorts
from stackpin.config.infracore_yaml import ProductConfig, document
from stackpin.config.problems import ConfigProblems
from stackpin.lab.apps.infracore.app.settings import load

SLOW = [HealthCheck.too_slow]  # a busy machine is no fault of the strategy
DATABASE = f"{DATA}/console.db"
WORDS = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
VALUES: dict[type, st.SearchStrategy[Any]] = {
    bool: st.booleans(),
    int: st.integers(1, 1000),
    str: WORDS.filter(bool),
    list: st.lists(WORDS, max_size=3),
}


def entries(model: type[BaseModel]) -> st.SearchStrategy[dict[str, Any]]:
    """Overrides of any of a section's entries, at any depth."""
    found: dict[str, st.SearchStrategy[Any]] = {}
    for name, info in model.model_fields.items():
        default = info.get_default(call_default_factory=True)
        if isinstance(default, BaseModel):
            found[name] = entries(type(default))
        elif isinstance(default, str) and default.startswith("/"):
            found[name] = st.sampled_from([f"{DATA}/a", f"{DATA}/b/c"])
        elif name not in {"level", "challenge_type"}:
            found[name] = VALUES[type(default)]
    return st.fixed_dictionaries({}, optional=found)


def read(text: str) -> dict[str, Any]:
    """Read what `text` writes: mappings by indentation, every scalar and odd key as JSON."""
    root: dict[str, Any] = {}
    above = [root]
    for line in text.removesuffix("\n").split("\n"):
        depth = (len(line) - len(line.lstrip(" "))) // 2
        entry = line.strip(" ")
        name, end = json.JSONDecoder().raw_decode(entry) if entry[0] == '"' else ("", 0)
        key, _, value = entry[end:].partition(":")
        del above[depth + 1 :]
        above[depth][name or key] = json.loads(value) if value else {}
        above.append(above[depth][name or key])
    return root


def flat(mapping: dict[str, Any], above: str = "") -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, value in mapping.items():
        path = f"{above}{name}"
        found |= flat(value, f"{path}.") if isinstance(value, dict) else {path: value}
    return found


@settings(max_examples=40, suppress_health_check=SLOW)
@given(entries(ProductConfig))
def test_an_override_changes_its_entry_and_no_other(overrides: dict[str, Any]) -> None:
    made = document(ProductConfig.model_validate(overrides), PublicPorts(), DATABASE)
    before = flat(document(ProductConfig(), PublicPorts(), DATABASE))
    assert flat(made) == before | flat(overrides)
    assert read(infracore_yaml.text(made)) == made


@settings(max_examples=60, suppress_health_check=SLOW)
@given(st.dictionaries(WORDS, st.none() | st.booleans() | VALUES[list], max_size=4))
def test_entries_newer_than_this_are_kept_or_refused_by_name(more: dict[str, Any]) -> None:
    try:
        config = ProductConfig.model_validate({"probe": more})
    except ValueError as error:
        assert any(name and name in str(error) for name in more)
        return
    made = document(config, PublicPorts(), DATABASE)
    assert made["probe"].items() >= more.items()
    assert read(infracore_yaml.text(made)) == made


def test_the_product_reads_it(tmp_path: Path) -> None:
    made = files(
        ports={"gate": 8080, "probe": 9085},
        config={"console": {"auth": {"jwt": {"expires_hours": 2}}}, "snap": {"max_parallel": 2}},
    )
    (tmp_path / "configs").mkdir()
    (tmp_path / "configs/production.yaml").write_text(made.config_text())
    environment = {"INFRA_CORE_ENV": "production", "INFRA_CORE_JWT_SECRET": "s" * 32}
    found = load(environment, tmp_path)
    assert (found.gate_http_port, found.gate_https_port, found.probe_port) == (8080, 443, 9085)
    assert str(found.database) == DATABASE
    assert found.token_seconds == 7200
    assert found.acme_email == ""


def test_no_secret_is_in_it() -> None:
    assert "secret" not in files(jwt_secret="env:JWT").config_text()


@pytest.mark.parametrize(
    ("config", "told"),
    [
        ({"console": {"port": 1}}, "infracore_ports"),
        ({"gate": {"ports": {"http": 1}}}, "infracore_ports"),
        ({"console": {"database": {"path": "/x"}}}, "fixed place"),
        ({"console": {"auth": {"jwt": {"secret": "verbatim"}}}}, "infracore_jwt_secret"),
        ({"console": {"databse": {}}}, "Rename it to database"),
        ({"consol": {}}, "Rename it to console"),
        ({"console": {"host": ""}}, "infracore_config['console']['host']"),
        ({"gate": {"host": ""}}, "infracore_config['gate']['host']"),
        ({"snap": {"repo_dir": ""}}, "an absolute path"),
        ({"snap": {"repo_dir": "/srv/x"}}, f"below {DATA}"),
        ({"snap": {"temp_dir": f"{DATA}/../x"}}, "without .."),
        ({"snap": {"max_parallel": "8"}}, "a whole number"),
        ({"snap": {"max_parallel": 0}}, "at least 1"),
        ({"snap": {"new": float("nan")}}, "finite numbers"),
        ({"gate": {"logs": {"level": "loud"}}}, "'debug', 'info', 'warn' or 'error'"),
        ([], "a mapping"),
    ],
)
def test_what_the_product_would_not_start_with_is_refused(config: Any, told: str) -> None:
    with pytest.raises(ConfigProblems) as caught:
        files(config=config)
    assert told in str(caught.value)
    assert "infracore_config" in str(caught.value)
    assert "verbatim" not in str(caught.value)
