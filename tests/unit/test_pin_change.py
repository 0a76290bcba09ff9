"""Pin and lock file are written together, put back together, and survive a kill between them."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from stackpin import assignments, lockfile, pins
from stackpin.config.stacks import stack
from stackpin.errors import Refused
from stackpin.lockfile import Lock
from stackpin.registry.errors import TagMissing
from stackpin.rollout import pinning, updating
from stackpin.rollout.model import Request, Roll, Run
from stackpin.rollout.progress import Silent
from stackpin.rollout.wanted import Wanted, git_newest

GROUP_DATA = '# The pin.\nxingrin_version = "v1.1.0"  # keep me\n'
DIGEST = "sha256:" + "a" * 64
INVENTORY = Path("inventories/prod.py")
LOCK = Path("inventories/prod.lock.toml")
PIN = Path("inventories/group_data/prod.py")


class Settings(SimpleNamespace):
    """As much of settings as pins need."""

    lock_file: str | None = str(LOCK)
    prefix = "xingrin_"
    registry = "10.0.0.5:5000"
    version = "v1.1.0"

    def images(self) -> dict[str, str]:
        return {"server": f"10.0.0.5:5000/team/server:{self.version}"}


@pytest.fixture(autouse=True)
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.chdir(tmp_path)
    PIN.parent.mkdir(parents=True)
    PIN.write_text(GROUP_DATA)
    INVENTORY.write_text("xingrin = ['a']\n")

    def imaged(_inventory: Path, _stack: Any, data: Any) -> list[Any]:
        return [Settings(version=data.get("xingrin_version", "v1.1.0"))]

    def locked(settings: Any, lock: Lock, *_: Any, **__: Any) -> Lock:
        one = settings[0]
        if one.version == "v1.5.0":
            raise TagMissing("10.0.0.5:5000", "team/frontend:v1.5.0", "none")
        return lock.with_version(
            "xingrin", one.version, dict.fromkeys(one.images().values(), DIGEST)
        )

    monkeypatch.setattr(pinning, "declared", imaged)
    monkeypatch.setattr(updating, "declared", imaged)
    monkeypatch.setattr(pinning, "locked", locked)
    monkeypatch.setattr(updating, "newest_of", lambda *_: "v1.9.0")
    yield


def go(monkeypatch: pytest.MonkeyPatch, work: Callable[[Run], int], wanted: Any = "v1.2.0") -> int:
    run = Run(Request("update", str(INVENTORY), stack("xingrin")), Silent(), lambda _: None)
    monkeypatch.setattr(updating, "perform", work)
    return updating.update(run, wanted, allow_downgrade=False, say=lambda _: None)


def versions() -> tuple[str, set[str]]:
    lock = lockfile.read(LOCK)
    return pins.read(PIN, "xingrin_version").value, set(lock.stacks.get("xingrin", {}))


def test_both_are_written_before_the_rollout(monkeypatch: pytest.MonkeyPatch) -> None:
    def work(_run: Run) -> int:
        assert versions() == ("v1.2.0", {"v1.2.0"})
        return 0

    assert go(monkeypatch, work) == 0
    assert versions() == ("v1.2.0", {"v1.2.0"})
    assert PIN.read_text() == GROUP_DATA.replace("v1.1.0", "v1.2.0")


@pytest.mark.parametrize("existing", [False, True])
@pytest.mark.parametrize("end", [3, 4, 5, KeyboardInterrupt(), ValueError("x")])
def test_both_are_put_back(
    monkeypatch: pytest.MonkeyPatch, end: int | BaseException, existing: bool
) -> None:
    if existing:
        pinning.prepare(INVENTORY, stack("xingrin"), "v1.1.0", {}, print).make(print)
    before = LOCK.read_bytes() if existing else None

    def work(run: Run) -> int:
        run.rolls.append(Roll("a", "xingrin-server", "o", "n", outcome="rolled-back", code=4))
        if isinstance(end, BaseException):
            raise end
        return end

    if isinstance(end, BaseException):
        with pytest.raises(type(end)):
            go(monkeypatch, work)
    else:
        assert go(monkeypatch, work) == end
    assert PIN.read_text() == GROUP_DATA
    assert (LOCK.read_bytes() if LOCK.exists() else None) == before


def test_kept_with_a_node_out_of_reach(monkeypatch: pytest.MonkeyPatch) -> None:
    def work(run: Run) -> int:
        run.rolls += [
            Roll("a", "xingrin-server", "o", "n", outcome="serving"),
            Roll("b", "xingrin-worker", None, None, outcome="unreachable", code=2),
        ]
        return 2

    assert go(monkeypatch, work) == 2
    assert versions() == ("v1.2.0", {"v1.2.0"})


def test_what_others_wrote_meanwhile_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    def pin_meanwhile(_run: Run) -> int:
        PIN.write_text(GROUP_DATA.replace("v1.1.0", "v1.7.0"))
        return 4

    def lock_meanwhile(_run: Run) -> int:
        LOCK.write_text("version = 1\n# theirs\n")
        return 4

    assert go(monkeypatch, lock_meanwhile) == 4
    assert LOCK.read_text() == "version = 1\n# theirs\n"
    assert PIN.read_text() == GROUP_DATA
    LOCK.unlink()
    assert go(monkeypatch, pin_meanwhile) == 4
    assert versions() == ("v1.7.0", {"v1.2.0"})


def test_a_missing_image_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(TagMissing):
        go(monkeypatch, lambda _run: 0, "v1.5.0")
    assert PIN.read_text() == GROUP_DATA
    assert not LOCK.exists()


def test_the_pinned_version_again_keeps_its_lock(monkeypatch: pytest.MonkeyPatch) -> None:
    assert go(monkeypatch, lambda _run: 4, "v1.1.0") == 4
    assert versions() == ("v1.1.0", {"v1.1.0"})


def test_the_lock_file_must_be_declared(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Settings, "lock_file", None)
    line = r'Add: xingrin_lock_file = "inventories/prod\.lock\.toml"'
    with pytest.raises(Refused, match=line):
        go(monkeypatch, lambda _run: 0)
    assert PIN.read_text() == GROUP_DATA


@pytest.mark.parametrize("function", ["replace_bytes", "bump", "perform"])
def test_killed_anywhere_the_next_update_converges(
    monkeypatch: pytest.MonkeyPatch, function: str
) -> None:
    child = os.fork()
    if child == 0:  # no fixture or handler may run in here
        try:
            if function == "perform":
                go(monkeypatch, lambda _run: os.kill(os.getpid(), signal.SIGKILL) or 0)
            module = lockfile if function == "replace_bytes" else assignments
            name = "write" if function == "bump" else "replace_bytes"
            real = getattr(module, name)

            def killed(*args: Any) -> None:
                if function == "replace_bytes":
                    real(*args)  # killed after the lock was written, in the other case before
                os.kill(os.getpid(), signal.SIGKILL)

            monkeypatch.setattr(module, name, killed)
            go(monkeypatch, lambda _run: 0)
        finally:
            os._exit(7)
    assert os.WTERMSIG(os.waitpid(child, 0)[1]) == signal.SIGKILL
    pin, locks = versions()
    assert locks == {"v1.2.0"}
    assert pin == ("v1.2.0" if function == "perform" else "v1.1.0")
    assert go(monkeypatch, lambda _run: 0) == 0
    assert versions() == ("v1.2.0", {"v1.2.0"})
    assert sorted(entry.name for entry in LOCK.parent.iterdir()) == [
        "group_data",
        "prod.lock.toml",
        "prod.py",
    ]


def test_pin_alone() -> None:
    wanted = Wanted(latest=True)
    change = updating.pin(
        INVENTORY, stack("xingrin"), wanted, {}, allow_downgrade=False, refresh=False, say=print
    )
    assert (change.pin.value, change.version) == ("v1.1.0", "v1.9.0")
    assert versions() == ("v1.9.0", {"v1.9.0"})
    with pytest.raises(Refused, match="allow-downgrade"):
        updating.pin(
            INVENTORY,
            stack("xingrin"),
            Wanted("v1.2.0"),
            {},
            allow_downgrade=False,
            refresh=False,
            say=print,
        )
    with pytest.raises(Refused, match="given once"):
        updating.pin(
            INVENTORY,
            stack("xingrin"),
            Wanted("v1.9.0"),
            {"xingrin_version": "v1.0.0"},
            allow_downgrade=False,
            refresh=False,
            say=print,
        )


def never() -> str:
    raise AssertionError


@pytest.mark.parametrize(
    "wanted",
    [Wanted(), Wanted("v1.0.0", latest=True), Wanted(from_git="x", from_version_file="y")],
)
def test_exactly_one_way_to_name_it(wanted: Wanted) -> None:
    with pytest.raises(Refused, match="exactly one"):
        wanted.resolve(never)


def test_from_a_file(tmp_path: Path) -> None:
    file = tmp_path / "VERSION"
    file.write_text("  v1.4.2\n\n")
    assert Wanted(from_version_file=str(file)).resolve(never) == "v1.4.2"
    for text in ("latest\n", "__WILL_BE_SET_BY_INSTALLER__", "", "1.2.3", "v1.2.3 v1.2.4"):
        file.write_text(text)
        with pytest.raises(Refused, match="--from-version-file"):
            Wanted(from_version_file=str(file)).resolve(never)
    with pytest.raises(Refused, match=r"(?i)no such file"):
        Wanted(from_version_file=str(tmp_path / "none")).resolve(never)


def test_from_git(tmp_path: Path) -> None:
    repository = tmp_path / "repo"

    def git(*argv: str) -> None:
        user = ["-c", "user.name=a", "-c", "user.email=a@example.org"]
        subprocess.run(["git", "-C", str(repository), *user, *argv], check=True)

    repository.mkdir()
    git("init", "-q")
    git("commit", "-q", "--allow-empty", "-m", "x")
    with pytest.raises(Refused, match="found 0 tags"):
        git_newest(str(repository))
    for tag in ("v1.9.0", "v1.10.0", "v2.0.0-rc.1", "v3", "release-9.0.0"):
        git("tag", tag)
    git("tag", "-a", "v1.10.1", "-m", "annotated")
    assert Wanted(from_git=str(repository)).resolve(never) == "v1.10.1"
    with pytest.raises(Refused, match="git exit"):
        git_newest(str(tmp_path / "none"))
    with pytest.raises(Refused) as caught:
        git_newest("https://user:hush-hush@127.0.0.1:1/x.git")
    assert "hush" not in str(caught.value)
    with pytest.raises(Refused):
        git_newest("--upload-pack=touch /tmp/owned")
