"""The lock file says the same after writing and reading, and refuses what is no lock file."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stackpin import lockfile
from stackpin.errors import Refused
from stackpin.lockfile import KEPT, Lock, Locked, parse, pinned, read, write

D = "sha256:" + "a" * 64
E = "sha256:" + "b" * 64
REF = "10.0.0.5:5000/team/app:v1.2.0"
DIGEST = st.builds("sha256:{:064x}".format, st.integers(0, 2**256 - 1))
VERSION = st.builds(
    "v{}.{}.{}{}".format, *[st.integers(0, 99)] * 3, st.sampled_from(["", "-rc.1", "-dev.x"])
)
TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=30)


@given(
    st.dictionaries(
        TEXT.filter(lambda t: t != "version"),
        st.dictionaries(
            VERSION, st.builds(Locked, TEXT, st.dictionaries(TEXT, DIGEST, max_size=4)), max_size=4
        ),
        max_size=3,
    )
)
@settings(max_examples=30, deadline=None)
def test_there_and_back(stacks: dict[str, dict[str, Locked]]) -> None:
    lock = Lock(Path("x"), stacks)
    again = parse(lock.text().encode(), Path("x"))
    assert again == lock
    assert again.text() == lock.text()


@given(st.lists(VERSION, min_size=1, max_size=25))
@settings(deadline=None)
def test_the_last_ones_stay(versions: list[str]) -> None:
    lock = Lock(Path("x"))
    for number, version in enumerate(versions):
        lock = lock.with_version("xingrin", version, {REF: f"sha256:{number:064x}"})
    kept = lock.stacks["xingrin"]
    assert len(kept) == min(KEPT, len(set(versions)))
    last = list(dict.fromkeys(reversed(versions)))[:KEPT]
    assert set(kept) == set(last)


def test_written_and_read(tmp_path: Path) -> None:
    path = tmp_path / "prod.lock.toml"
    assert read(path) == Lock(path)
    first = read(path).with_version("xingrin", "v1.2.0", {REF: D})
    write(path, first)
    assert [entry.name for entry in tmp_path.iterdir()] == ["prod.lock.toml"]
    assert path.stat().st_mode & 0o777 == 0o644
    assert read(path) == first
    assert '[xingrin."v1.2.0".images]' in path.read_text()
    assert first.with_version("xingrin", "v1.2.0", {REF: D}) is first
    assert first.with_version("xingrin", "v1.2.0", {REF: E}).digest("xingrin", "v1.2.0", REF) == E
    assert first.digest("xingrin", "v1.2.0", REF) == D


def test_a_symlink_stays_one(tmp_path: Path) -> None:
    (tmp_path / "real.toml").write_text("version = 1\n")
    link = tmp_path / "link.toml"
    link.symlink_to("real.toml")
    write(link, read(link).with_version("xingrin", "v1.0.0", {REF: D}))
    assert link.is_symlink()
    assert D in (tmp_path / "real.toml").read_text()


def test_not_locked() -> None:
    lock = Lock(Path("inventories/prod.lock.toml")).with_version("xingrin", "v1.0.0", {REF: D})
    for version, ref in (("v1.0.0", "other:v1"), ("v2.0.0", REF)):
        with pytest.raises(Refused) as caught:
            lock.digest("xingrin", version, ref)
        told = str(caught.value)
        assert f"stackpin pin INVENTORY xingrin --version {version}" in told
        assert "inventories/prod.lock.toml" in told
        assert ref in told


@pytest.mark.parametrize(
    "text",
    [
        "",
        "version = 2\n",
        "version = true\n[xingrin]\nx = 1\n",
        "version = 1\nxingrin = 3\n",
        'version = 1\n[xingrin."v1.0.0"]\nlocked = "x"\n',
        'version = 1\n[xingrin."latest"]\nlocked = "x"\nimages = {}\n',
        'version = 1\n[xingrin."v1.0.0"]\nlocked = "x"\nimages = {"a:v1" = "sha256:12"}\n',
        'version = 1\n[xingrin."v1.0.0"]\nlocked = 1\nimages = {}\n',
        'version = 1\n[xingrin."v1.0.0"]\nlocked = "x"\nimages = {}\nmore = 1\n',
        "<<<<<<< ours\nversion = 1\n",
        "\udcff",
    ],
)
def test_malformed(tmp_path: Path, text: str) -> None:
    path = tmp_path / "x.lock.toml"
    path.write_bytes(text.encode("utf-8", "surrogateescape"))
    with pytest.raises(Refused, match=r"x\.lock\.toml: found"):
        read(path)
    assert path.read_bytes() == text.encode("utf-8", "surrogateescape")


def test_what_is_no_digest_is_never_locked() -> None:
    for version, digest in (("v1.0.0", "latest"), ("latest", D), ("v1.0.0", "sha256:" + "A" * 64)):
        with pytest.raises(Refused):
            Lock(Path("x")).with_version("xingrin", version, {REF: digest})


@dataclass(frozen=True)
class Settings:
    version: str = "v1.2.0"
    lock_file: str | None = "prod.lock.toml"
    prefix: str = "xingrin_"

    def own_images(self) -> dict[str, str]:
        return self.images()

    def images(self) -> dict[str, str]:
        return {"server": f"app:{self.version}", "redis": "redis:7"}


def test_pinned(tmp_path: Path) -> None:
    path = tmp_path / "prod.lock.toml"
    write(path, Lock(path).with_version("xingrin", "v1.2.0", {"app:v1.2.0": D, "redis:7": E}))
    assert pinned(Settings(), tmp_path) == {
        "server": f"app:v1.2.0@{D}",
        "redis": f"redis:7@{E}",
    }
    with pytest.raises(Refused, match=r"v1\.3\.0"):
        pinned(Settings("v1.3.0"), tmp_path)
    with pytest.raises(Refused, match=r'Add: xingrin_lock_file = "inventories/NAME\.lock\.toml"'):
        pinned(Settings(lock_file=None), tmp_path)


def test_a_folder_that_is_not_there(tmp_path: Path) -> None:
    path = tmp_path / "none/x.toml"
    with pytest.raises(Refused, match="cannot be written"):
        lockfile.write(path, Lock(path))
