"""How the reference InfraCore is built: bundles, the repository of its source, images."""

import hashlib
import json
import os
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest
from infracore_app_kit import CACHE

from stackpin.errors import Refused
from stackpin.lab.apps.infracore import images
from stackpin.lab.apps.infracore.app.main import SERVICES
from stackpin.lab.apps.infracore.build import build, build_ui
from stackpin.lab.apps.infracore.node import tools
from stackpin.lab.apps.infracore.source import BUILD, OUTPUTS, write_repo
from stackpin.lab.apps.packing import replace_file
from stackpin.lab.apps.xingrin.layers import File, files_layer
from stackpin.lab.registry import catalogue
from stackpin.lab.registry.model import BuiltImage


def content(folder: Path) -> dict[str, tuple[str, int]]:
    """Relative path -> SHA-256 and mode of every file."""
    return {
        str(path.relative_to(folder)): (
            hashlib.sha256(path.read_bytes()).hexdigest(),
            path.stat().st_mode & 0o777,
        )
        for path in folder.rglob("*")
        if path.is_file()
    }


def test_a_bundle_is_whole_and_the_same_each_time(tmp_path: Path) -> None:
    built = build(tmp_path / "a", ["v1.0.0", "v1.1.0"], CACHE)
    one = content(built["v1.0.0"])
    assert content(build(tmp_path / "b", ["v1.0.0"], CACHE)["v1.0.0"]) == one
    assert {name for name in one if name.startswith("bin/")} == {f"bin/{one}" for one in SERVICES}
    assert all(mode == (0o755 if "bin/" in name else 0o644) for name, (_, mode) in one.items())
    listed = dict(
        reversed(line.split("  "))
        for line in (built["v1.0.0"] / "SHA256SUMS").read_text().splitlines()
    )
    assert listed == {name: digest for name, (digest, _) in one.items() if name != "SHA256SUMS"}
    other = content(built["v1.1.0"])
    changed = {name for name in one if one[name] != other[name]}
    assert changed == {f"bin/{name}" for name in SERVICES} | {"SHA256SUMS"}
    stale = built["v1.0.0"] / "ui/dist/assets/stale.js"
    stale.write_text("x")
    build(tmp_path / "a", ["v1.0.0"], CACHE)
    assert not stale.exists()


def test_a_bundle_in_use_is_whole_while_it_is_built_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bundle = build(tmp_path, ["v1.0.0"], CACHE)["v1.0.0"]
    before, seen = content(bundle), 0

    def replace(path: Path, data: bytes, mode: int = 0o644) -> None:
        nonlocal seen
        assert content(bundle) == before
        seen += 1
        replace_file(path, data, mode)

    monkeypatch.setattr("stackpin.lab.apps.infracore.build.replace_file", replace)
    build(tmp_path, ["v1.0.0"], CACHE)
    assert seen == len(before)


def test_the_ui_is_one_page_with_assets_named_by_content() -> None:
    dist = build_ui(CACHE)
    page = (dist / "index.html").read_text()
    assets = list((dist / "assets").iterdir())
    assert {path.suffix for path in assets} == {".js", ".css", ".svg"}
    for path in assets:
        assert f'"/assets/{path.name}"' in page
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
        assert path.stem.rpartition("-")[2] == digest[:8]
        # It works offline: nothing is asked of another site.
        outside = path.read_text().replace("http://www.w3.org/2000/svg", "")
        assert "://" not in outside + page


def test_the_repository_builds_the_same_bytes(tmp_path: Path) -> None:
    commits = write_repo(tmp_path / "one", ["v1.0.0", "v1.1.0"])
    assert write_repo(tmp_path / "two", ["v1.0.0"]) == {"v1.0.0": commits["v1.0.0"]}
    (tmp_path / "bin").mkdir()
    path = f"{tools(tmp_path / 'tools')}:{os.environ['PATH']}"
    for command in BUILD:
        words = [word.replace("python3", sys.executable) for word in command.split()]
        subprocess.run(
            words,
            cwd=tmp_path / "one",
            env={"PATH": path, "HOME": str(tmp_path)},
            check=True,
            capture_output=True,
            timeout=60,
        )
    clean = subprocess.run(
        ["git", "-C", str(tmp_path / "one"), "status", "--porcelain"],
        check=True,
        capture_output=True,
    )
    assert clean.stdout == b""
    bundle = content(build(tmp_path / "bundle", ["v1.1.0"], CACHE)["v1.1.0"])
    for output in OUTPUTS:
        for name, found in content(tmp_path / "one" / output).items():
            assert bundle[f"{output}/{name}"] == found


def test_an_image_has_one_service_and_owns_its_data(tmp_path: Path) -> None:
    debian = dict.fromkeys(images.DEBIAN, files_layer(tmp_path, {"x": File("base")}))
    dist = build_ui(CACHE)
    one, two = (images.describe(tag, debian, dist, tmp_path) for tag in ("v1.0.0", "v1.1.0"))
    assert set(one) == {f"infracore-{service}" for service in SERVICES}
    for name, image in one.items():
        settings = json.loads(image.config)["config"]
        service = name.removeprefix("infracore-")
        assert settings["Cmd"] == [f"/app/bin/{service}"]
        assert (settings["User"], settings["WorkingDir"]) == ("1001:1001", "/app")
        entries = {}
        for layer in image.layers:
            with tarfile.open(layer.path) as bundle:
                entries |= {entry.name: entry for entry in bundle}
        assert entries[f"app/bin/{service}"].mode == 0o755
        assert entries["var/lib/infra-core"].uid == entries["var/lib/infra-core"].gid == 1001
        assert entries["app/configs"].uid == entries["app"].uid == 0
        assert ("app/ui/dist/index.html" in entries) == (service == "console")
        differing = set(image.layers) ^ set(two[name].layers)
        assert len(differing) == 2, "only the program's layer differs between versions"


def test_words_choose_what_is_pushed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def made(*names: tuple[str, str]) -> catalogue.Images:
        return {one: BuiltImage.make(*one, (), {}) for one in names}

    shop = {
        "xingrin": made(("xingrin-agent", "v1.1.0"), ("xingrin-agent", "v1.2.0"), ("redis", "8")),
        "infracore": made(("infracore-gate", "v1.0.0"), ("infracore-gate", "v1.1.0")),
    }
    built: list[str] = []

    def of(product: str):
        def build_it(_cache: Path, _report: object) -> catalogue.Images:
            built.append(product)
            return shop[product]

        return build_it

    monkeypatch.setattr(catalogue, "PRODUCTS", {product: of(product) for product in shop})

    def chosen(*words: str) -> set[str]:
        built.clear()
        found = catalogue.choose(words, tmp_path, lambda _line: None)
        return {f"{image.name}:{image.tag}" for image in found}

    assert len(chosen("all")) == 5
    assert chosen("infracore") == {"infracore-gate:v1.0.0", "infracore-gate:v1.1.0"}
    assert built == ["infracore"]
    assert chosen("v1.1.0") == chosen("xingrin:v1.1.0") == {"xingrin-agent:v1.1.0", "redis:8"}
    assert chosen("infracore:v1.1.0", "v1.2.0") == {
        "infracore-gate:v1.1.0",
        "xingrin-agent:v1.2.0",
        "redis:8",
    }
    for word, told in {
        "v9": "no xingrin image",
        "infracore:v9": "v1.0.0, v1.1.0",
        "a:b": "of a",
    }.items():
        with pytest.raises(Refused, match=told):
            chosen(word)
    assert {catalogue.namespace_of(name) for name in ("infracore-gate", "redis")} == {
        "infracore",
        "yyhuni",
    }
