"""Layers and images of the reference XingRin, on small trees."""

import gzip
import hashlib
import io
import json
import os
import subprocess
import tarfile
from pathlib import Path

import pytest

from stackpin.lab.apps.xingrin import build as builder
from stackpin.lab.apps.xingrin.debian import SETS, folder_of, shipped
from stackpin.lab.apps.xingrin.images import DEBIAN, app_files, describe, settings, wanted
from stackpin.lab.apps.xingrin.layers import File, files_layer, pack, tree_layer
from stackpin.lab.apps.xingrin.versions import POSTGRES, REDIS, VERSIONS, XINGRIN
from stackpin.lab.registry.model import Layer

FILES = Path(builder.__file__).parent / "files"


def everything(_path: str) -> bool:
    return True


def tree(root: Path) -> Path:
    (root / "usr/bin").mkdir(parents=True)
    (root / "usr/bin/tool").write_text("#!/bin/sh\n")
    (root / "usr/bin/tool").chmod(0o755)
    (root / "bin").symlink_to("usr/bin")
    os.link(root / "usr/bin/tool", root / "usr/bin/other")
    (root / "var/cache").mkdir(parents=True)
    (root / "var/cache/big").write_text("x")
    return root


def entries(layer: Layer) -> dict[str, tarfile.TarInfo]:
    with tarfile.open(layer.path) as bundle:
        return {entry.name: entry for entry in bundle}


def test_a_tree_becomes_the_same_layer_whenever_it_is_packed(tmp_path: Path) -> None:
    one = tree_layer(tree(tmp_path / "a"), tmp_path / "a.tar.gz", everything, 0)
    two = tree_layer(tree(tmp_path / "b"), tmp_path / "b.tar.gz", everything, 0)
    assert (one.digest, one.diff_id, one.size) == (two.digest, two.diff_id, two.size)


def test_the_names_of_a_layer_are_sums_of_its_bytes(tmp_path: Path) -> None:
    layer = tree_layer(tree(tmp_path / "a"), tmp_path / "a.tar.gz", everything, 0)
    packed = layer.path.read_bytes()
    assert layer.digest == f"sha256:{hashlib.sha256(packed).hexdigest()}"
    plain = hashlib.sha256(gzip.decompress(packed)).hexdigest()
    assert (layer.diff_id, layer.size) == (f"sha256:{plain}", len(packed))


def test_a_layer_keeps_links_modes_and_what_it_was_told_to_keep(tmp_path: Path) -> None:
    keep = lambda path: not path.startswith("var/cache/")  # noqa: E731
    found = entries(tree_layer(tree(tmp_path / "a"), tmp_path / "a.tar.gz", keep, 0))
    assert list(found) == ["bin", "usr", "var", *list(found)[3:]]
    assert found["bin"].linkname == "usr/bin"
    assert found["usr/bin/tool"].islnk() or found["usr/bin/other"].islnk()
    assert found["usr/bin/other"].mode & 0o111
    assert "var/cache" in found
    assert "var/cache/big" not in found


def test_files_of_packages_keep_their_time(tmp_path: Path) -> None:
    root = tree(tmp_path / "a")
    os.utime(root / "usr/bin/tool", (1000, 1000))
    found = entries(tree_layer(root, tmp_path / "a.tar.gz", everything, 2000))
    assert found["usr/bin/other"].mtime == 1000
    assert found["var/cache/big"].mtime == 0


@pytest.mark.skipif(os.geteuid() != 0, reason="device files need root")
def test_what_an_overlay_deleted_becomes_a_whiteout(tmp_path: Path) -> None:
    root = tree(tmp_path / "a")
    os.mknod(root / "usr/bin/gone", 0o600 | 0o020000, os.makedev(0, 0))
    try:
        os.setxattr(root / "var", "trusted.overlay.opaque", b"y")
    except OSError:
        pytest.skip("no trusted attributes here")
    found = entries(tree_layer(root, tmp_path / "a.tar.gz", everything, 0))
    assert "usr/bin/.wh.gone" in found
    assert "usr/bin/gone" not in found
    assert found["var/.wh..wh..opq"].isreg()


def test_files_in_memory_get_their_directories(tmp_path: Path) -> None:
    layer = files_layer(tmp_path, {"app/x/run.sh": File("hi", 0o755), "app/VERSION": File("v")})
    found = entries(layer)
    assert sorted(found) == ["app", "app/VERSION", "app/x", "app/x/run.sh"]
    assert found["app/x/run.sh"].mode == 0o755
    again = files_layer(tmp_path, {"app/VERSION": File("v"), "app/x/run.sh": File("hi", 0o755)})
    assert again == layer
    assert len(list(tmp_path.iterdir())) == 1


def test_only_what_programs_need_is_shipped() -> None:
    assert all(map(shipped, ["tmp", "usr/share/doc", "usr/bin/curl", "var/lib/postgresql"]))
    left_out = ["tmp/x", "usr/share/doc/curl", "var/lib/apt/lists", "etc/apt/sources.list"]
    left_out += ["usr/sbin/policy-rc.d", "usr/lib/x86_64-linux-gnu/libLLVM.so.19.1"]
    assert not any(map(shipped, left_out))


def test_every_image_but_the_one_that_is_missing() -> None:
    there = set(wanted())
    for tag in VERSIONS:
        lacking = {name for name in XINGRIN if (name, tag) not in there}
        assert lacking == ({"xingrin-frontend"} if tag == "v1.5.0" else set())
    assert {POSTGRES, REDIS} <= there
    assert {layer for layers in DEBIAN.values() for layer in layers} == {"base", *SETS}


def test_an_image_is_fully_described(tmp_path: Path) -> None:
    layer = files_layer(tmp_path, {"x": File("base")})
    debian = dict.fromkeys(["base", *SETS], layer)
    images = {one: describe(*one, debian, tmp_path) for one in wanted()}
    agent = images["xingrin-agent", "v1.2.0"]
    config = json.loads(agent.config)
    assert config["rootfs"]["diff_ids"] == [layer.diff_id for layer in agent.layers]
    assert "IMAGE_TAG=v1.2.0" in config["config"]["Env"]
    assert config["config"]["Cmd"] == ["bash", "/app/agent.sh"]
    assert agent.digest != images["xingrin-agent", "v1.1.0"].digest
    assert describe("xingrin-agent", "v1.2.0", debian, tmp_path).manifest == agent.manifest
    assert json.loads(agent.manifest)["layers"][0]["digest"] == layer.digest


def test_the_server_image_carries_the_whole_package() -> None:
    files = app_files("xingrin-server", "v1.2.0")
    assert files["app/VERSION"].content == b"v1.2.0\n"
    assert files["app/start.sh"].mode == 0o755
    modules = {Path(name).name for name in files if name.startswith("app/backend/xingrin/")}
    assert {"__main__.py", "api.py", "manage.py", "resp.py"} <= modules
    assert settings("xingrin-server", "v1.2.0")["Cmd"] == ["/app/start.sh"]
    for name, file in files.items():
        if name.endswith(".py"):
            # Nothing of the operator's side exists inside the image.
            assert b"stackpin" not in file.content
            compile(file.content, name, "exec")


@pytest.mark.parametrize("script", sorted(FILES.glob("*.sh")), ids=lambda path: path.name)
def test_scripts_can_be_read_by_their_shell(script: Path) -> None:
    shell = script.read_text().splitlines()[0].removeprefix("#!")
    subprocess.run([shell, "-n", str(script)], check=True, timeout=10)


def test_the_agents_percentages_are_numbers(tmp_path: Path) -> None:
    (tmp_path / "stat").write_text("cpu  10 0 10 80 0 0 0 0 0 0\ncpu0 1 1 1 1\n")
    (tmp_path / "meminfo").write_text("MemTotal: 200 kB\nMemFree: 1 kB\nMemAvailable: 50 kB\n")
    source = (FILES / "agent.sh").read_text()
    functions = source[source.index("cpu_ticks()") : source.index('if [ -z "$WORKER_ID" ]')]
    script = f"{functions}\nsleep() {{ :; }}\nproc={tmp_path}\ncpu_percent; echo; memory_percent\n"
    done = subprocess.run(
        ["bash", "-c", script], check=True, capture_output=True, text=True, timeout=10
    )
    assert done.stdout.split() == ["0.0", "75.0"]


def test_an_agent_without_a_server_ends_and_a_disabled_one_is_content() -> None:
    agent = ["bash", str(FILES / "agent.sh")]
    env = {"PATH": os.environ["PATH"]}
    assert subprocess.run(agent, env=env, check=False, timeout=10).returncode == 1
    env["AGENT_DISABLED"] = "true"
    assert subprocess.run(agent, env=env, check=False, timeout=10).returncode == 0


def test_saved_images_share_their_layers(tmp_path: Path) -> None:
    layer = files_layer(tmp_path, {"x": File("base")})
    debian = dict.fromkeys(["base", *SETS], layer)
    two = [describe("xingrin-worker", tag, debian, tmp_path) for tag in ("v1.1.0", "v1.2.0")]
    with tarfile.open(builder.save(two, tmp_path / "out.tar", "me")) as bundle:
        names = bundle.getnames()
        content = bundle.extractfile("manifest.json")
        assert content is not None
        index = json.load(content)
    assert [one["RepoTags"] for one in index] == [
        ["me/xingrin-worker:v1.1.0"],
        ["me/xingrin-worker:v1.2.0"],
    ]
    assert len(names) == len(set(names)) == 6
    assert index[0]["Layers"][0] == index[1]["Layers"][0]


def test_packed_files_belong_to_root() -> None:
    with tarfile.open(fileobj=io.BytesIO(pack({"a/b": File("x")}))) as bundle:
        assert {(entry.uid, entry.gid, entry.mtime) for entry in bundle} == {(0, 0, 0)}


def test_the_cache_has_a_name_that_the_lab_can_purge(tmp_path: Path) -> None:
    name = folder_of(tmp_path).name
    kind, _, number = name.partition("-")
    assert kind.isalpha()
    assert len(number) == 12
