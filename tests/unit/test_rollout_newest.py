"""Which version is the newest: of files, of digests, of tags; `upgrade` is `update --latest`."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from click.testing import CliRunner

from stackpin.cli import main, update
from stackpin.config import sources
from stackpin.errors import Refused
from stackpin.rollout import newest as module
from stackpin.rollout.newest import file_versions, newest_of
from stackpin.rollout.wanted import Wanted

DIGEST = "0" * 64


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "out").mkdir()
    for name in ("app-v1.9.0", "app-v1.10.0", "app-v2.0.0-rc.1", "app-latest", "other-v9.0.0"):
        (tmp_path / "out" / name).touch()
    return tmp_path


@pytest.mark.parametrize(
    "source",
    ["out/app-{version}", sources.FileSource(path="out/app-{version}")],
)
def test_files_are_ordered_by_version_and_final(source: Any, root: Path) -> None:
    assert file_versions(source, root) == ["v1.10.0", "v1.9.0"]


def test_downloads_are_known_by_their_digests(root: Path) -> None:
    digests = {"v1.2.0": DIGEST, "v1.10.0": DIGEST}
    source = sources.UrlSource(url="https://example.org/app-{version}.tar.gz", sha256=digests)
    assert newest_of("x", [SimpleNamespace(artifact=source)], root) == "v1.10.0"


def test_a_build_is_asked_for_in_its_repository(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "git_newest", lambda repo: f"newest of {repo}")
    source = sources.GitSource(repo="/srv/app.git", outputs=["bin"])
    found = newest_of("x", [SimpleNamespace(), SimpleNamespace(artifact=source)], root)
    assert found == "newest of /srv/app.git"


@pytest.mark.parametrize("source", ["out/app", None, "absent/app-{version}"])
def test_where_nobody_can_tell_it_is_refused(source: Any, root: Path) -> None:
    with pytest.raises(Refused, match="lists the versions of stack x"):
        newest_of("x", [SimpleNamespace(artifact=source)], root)


def test_upgrade_asks_for_the_latest_and_keeps_the_options(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: dict[str, Any] = {}

    def roll_to(_out: Any, target: Any, asked: Any, **options: Any) -> int:
        seen.update(options, stack=target.stack, batches=asked["batches"])
        return 0

    monkeypatch.setattr("gevent.monkey.patch_all", lambda **_: True)
    monkeypatch.setattr("stackpin.cli.upgrade.roll_to", roll_to)
    words = ["upgrade", "inventories/prod", "crm", "--batch", "1,50%", "--refresh"]
    assert CliRunner().invoke(main, words).exit_code == 0
    assert seen == {
        "wanted": Wanted(latest=True),
        "allow_downgrade": False,
        "refresh": True,
        "stack": "crm",
        "batches": ("1", "50%"),
    }
    shared = {option.name for option in update.update.params} - {
        option.name for option in main.get_command(None, "upgrade").params
    }  # type: ignore[arg-type, union-attr]
    assert shared == {"version", "latest", "from_git", "from_version_file"}
