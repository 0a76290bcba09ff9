"""Builds from real Git repositories: clean, once, complete or not there."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from stackpin import redact
from stackpin.artifacts import Cache, building, commits, resolve
from stackpin.artifacts.commits import Repository
from stackpin.config.sources import SOURCE, git
from stackpin.errors import Refused

IDENTITY = {f"GIT_{who}_{what}": "a@example.org" for who in ("AUTHOR", "COMMITTER")
            for what in ("NAME", "EMAIL")}  # fmt: skip
FIRST = "1700000000 +0000"


def run_git(folder: Path, *words: str) -> str:
    env = {**os.environ, **IDENTITY, "GIT_COMMITTER_DATE": FIRST, "GIT_ALLOW_PROTOCOL": "file"}
    done = subprocess.run(
        ["git", "-c", "init.defaultBranch=main", *words],
        cwd=folder, env=env, check=True, capture_output=True, text=True,
    )  # fmt: skip
    return done.stdout.strip()


def commit(folder: Path, **files: str) -> str:
    for name, text in files.items():
        (folder / name).write_text(text)
    run_git(folder, "add", ".")
    run_git(folder, "commit", "-qm", "change")
    return run_git(folder, "rev-parse", "HEAD")


@pytest.fixture(scope="module")
def origin(tmp_path_factory) -> Path:
    """Repositories with a tag v1.0.0 (annotated), which tests copy; `super` has a submodule."""
    root = tmp_path_factory.mktemp("origin")
    for name in ("lib", "app", "super"):
        (root / name).mkdir()
        run_git(root / name, "init", "-q", "--template=")
    commit(root / "lib", part="library\n")
    run_git(root / "super", "submodule", "--quiet", "add", "../lib", "lib")
    for name in ("app", "super"):
        commit(root / name, main="main\n")
        run_git(root / name, "tag", "-am", "first", "v1.0.0")
    return root


class Kit:
    def __init__(self, root: Path) -> None:
        self.root, self.app, self.cache = root, root / "app", Cache(root / "cache")
        self.told: list[str] = []
        self.counter = root / "counter"

    def source(self, *build: str, outputs=("out",), ref="v1.0.0", repo="app", **more):
        commands = [f"echo x >> {self.counter}", *build]
        return SOURCE.validate_python(git(repo, ref, commands, list(outputs), **more))

    def resolve(self, *build: str, production=(), **more):
        commits._asked.clear()
        source = self.source(*build, **more)
        return resolve(
            source, "v1.0.0", self.root, cache=self.cache, progress=self.told.append,
            production=production,
        )  # fmt: skip

    @property
    def builds(self) -> int:
        return len(self.counter.read_text().split())

    @property
    def left(self) -> list[str]:
        """Names of what is in the making, or stayed so."""
        return [one.name for one in (self.cache.root / "entries").iterdir() if one.name[0] == "."]


@pytest.fixture
def kit(memory_path, origin, monkeypatch):
    shutil.copytree(origin, memory_path, dirs_exist_ok=True)
    # The versions of other tools take longer than such a build.
    monkeypatch.setattr(building, "_ALWAYS", ("git",))
    return Kit(memory_path)


def test_clean_tree_clean_environment_and_provenance(kit, monkeypatch):
    monkeypatch.setenv("AWS_SECRET", "not for builds")
    commit_id = run_git(kit.root / "super", "rev-parse", "v1.0.0^{commit}")
    library = run_git(kit.root / "lib", "rev-parse", "HEAD")
    monkeypatch.setenv("GIT_DIR", "/nowhere")
    found = kit.resolve(
        "git status --porcelain > status; git describe >> status",
        "mkdir -p out/deep; cat main lib/part > out/deep/server; chmod 700 out/deep/server",
        "env > env; cat ~/.npmrc > npmrc",
        outputs=["out", "status", "env", "npmrc"],
        env={"MODE": "release"},
        mirrors="cn",
        repo="super",
    )
    assert list(found.outputs) == ["env", "npmrc", "out/deep/server", "status"]
    server = found.outputs["out/deep/server"]
    assert (server.path.read_text(), server.size) == ("main\nlibrary\n", 13)
    assert server.path.stat().st_mode & 0o777 == 0o755
    assert found.outputs["status"].path.read_text() == "?? status\nv1.0.0\n"
    assert found.outputs["npmrc"].path.read_text().startswith("registry=https://")
    env = dict(line.split("=", 1) for line in found.outputs["env"].path.read_text().splitlines())
    assert env["SOURCE_DATE_EPOCH"] == "1700000000"
    assert env["GOPROXY"].endswith(",direct")
    assert env["MODE"] == "release"
    assert env["HOME"].startswith(str(kit.cache.root))
    assert "AWS_SECRET" not in env
    told = found.as_json()
    assert told["commit"] == commit_id
    assert told["submodules"] == {"lib": library}
    assert (told["repo"], told["ref"], told["env"]) == ("super", "v1.0.0", ["MODE"])
    assert told["builder"]["git"].startswith("git version")
    assert told["outputs"]["out/deep/server"]["sha256"] == server.sha256
    assert not kit.left
    assert kit.cache.root.stat().st_mode & 0o777 == 0o700


def test_a_commit_needs_no_repository_the_second_time(kit):
    head = run_git(kit.app, "rev-parse", "HEAD")
    first = kit.resolve("echo > out", ref=head)
    shutil.rmtree(kit.app)
    second = kit.resolve("echo > out", ref=head)
    assert (first.cached, second.cached, kit.builds) == (False, True, 1)
    assert first.outputs == second.outputs


def test_a_tag_is_asked_and_known_when_nobody_answers(kit):
    assert not kit.resolve("echo > out").cached
    assert kit.resolve("echo > out").cached
    shutil.rmtree(kit.app)
    kit.told.clear()
    assert kit.resolve("echo > out").cached
    assert "Going on with" in kit.told[0]
    with pytest.raises(Refused, match="ls-remote failed"):
        kit.resolve("echo > out", ref="v2.0.0")
    assert kit.builds == 1


def test_other_inputs_are_another_build(kit):
    kit.resolve("echo > out")
    kit.resolve("echo > out", env={"A": "1"})
    kit.resolve("echo > out", mirrors="cn")
    kit.resolve("echo > out", submodules=False)
    kit.resolve("echo > out; ")
    assert kit.builds == 5


def test_a_moved_tag_is_refused(kit):
    before = run_git(kit.app, "rev-parse", "v1.0.0^{commit}")
    kit.resolve("echo > out")
    after = commit(kit.app, main="other\n")
    run_git(kit.app, "tag", "-f", "v1.0.0")
    with pytest.raises(Refused, match="was moved") as caught:
        kit.resolve("echo > out")
    assert before in str(caught.value)
    assert after in str(caught.value)
    # What was meant can still be said.
    assert kit.resolve("echo > out", ref=before).cached


def test_a_branch_is_followed(kit):
    first = kit.resolve("cp main out", ref="main")
    commit(kit.app, main="second\n")
    second = kit.resolve("cp main out", ref="main")
    assert first.provenance["commit"] != second.provenance["commit"]
    assert second.outputs["out"].path.read_text() == "second\n"


@pytest.mark.parametrize("ref", ["v9.9.9", "f" * 40, "refs/heads/none"])
def test_no_such_reference(kit, ref):
    with pytest.raises(Refused, match="found no"):
        kit.resolve("echo > out", ref=ref)


@pytest.mark.parametrize("repo", ["ext::sh -c 'touch ran'", "http://127.0.0.1:1/x", "nowhere"])
def test_only_safe_transports(kit, repo, monkeypatch):
    monkeypatch.chdir(kit.root)
    with pytest.raises(Refused, match="ls-remote failed"):
        kit.resolve("echo > out", repo=repo)
    assert not (kit.root / "ran").exists()


def test_a_submodule_of_somebody_elses_must_not_reach_for_our_files(kit, monkeypatch):
    """The repository is taken for a remote one: its submodule on this disk is not cloned."""
    monkeypatch.setattr(Repository, "fetch", lambda self, _commit: kit.root / "super")
    head = run_git(kit.root / "super", "rev-parse", "HEAD")
    foreign = Repository("https://git.example.org/super", kit.root, kit.cache, kit.told.append)
    foreign._url = f"file://{kit.root}/super"
    with pytest.raises(Refused, match="'file' not allowed"):
        foreign.check_out(head, kit.root / "t", submodules=True)


def test_a_failing_build_says_how_and_leaves_nothing(kit, monkeypatch):
    monkeypatch.setattr(redact, "_known", frozenset({"hunter2hunter2"}))
    with pytest.raises(Refused) as caught:
        kit.resolve("seq 100; echo hunter2hunter2 >&2; exit 7", "echo never")
    text = str(caught.value)
    assert "build command 2/3 `seq 100" in text
    assert "found exit 7" in text
    assert "  73\n" in text
    assert "  71\n" not in text
    log = Path(text.rsplit("All of it: ", 1)[1])
    assert "\n1\n" in log.read_text()
    assert "hunter2" not in text + log.read_text()
    assert log.stat().st_mode & 0o777 == 0o600
    assert not kit.left
    assert kit.resolve("seq 100 > out").outputs["out"].size == 292


def test_a_build_that_does_not_end_is_ended_with_its_children(kit, monkeypatch):
    monkeypatch.setattr(building, "COMMAND_SECONDS", 0.5)
    with pytest.raises(Refused, match="no end within"):
        kit.resolve(f"sleep 300 & echo $! > {kit.root}/pid; wait")
    assert gone(int((kit.root / "pid").read_text()))


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT])
def test_a_killed_build_leaves_no_half(kit, number):
    slow = f"echo half > out; [ -e {kit.root}/pid ] || {{ echo $$ > {kit.root}/pid; sleep 300; }}"
    code = (
        "import signal, sys; from pathlib import Path;"
        # A shell starts what runs in its background deaf to this.
        "signal.signal(signal.SIGINT, signal.default_int_handler);"
        "from stackpin.artifacts import Cache, resolve; from stackpin.config.sources import SOURCE;"
        "resolve(SOURCE.validate_json(sys.argv[1]), 'v1', Path(sys.argv[2]),"
        " cache=Cache(Path(sys.argv[2]) / 'cache'))"
    )
    source = kit.source(slow).model_dump_json()
    build = subprocess.Popen(
        [sys.executable, "-c", code, source, str(kit.root)], stderr=subprocess.DEVNULL
    )
    pid = int(waited_for(lambda: (kit.root / "pid").read_text().strip()))
    # Whoever reads what the command says is a thread, and begun once its end is seen to.
    waited_for(lambda: len(list(Path(f"/proc/{build.pid}/task").iterdir())) > 1)
    build.send_signal(number)
    build.wait(60)
    assert bool(kit.left) == (number == signal.SIGKILL)
    assert gone(pid) == (number == signal.SIGINT)
    assert kit.cache.entries() == []
    found = kit.resolve(slow)
    assert (found.cached, found.outputs["out"].size, kit.left) == (False, 5, [])
    if number == signal.SIGKILL:
        os.kill(pid, signal.SIGKILL)  # what nobody was left to end


def test_two_at_once_build_once(kit):
    commits._asked.clear()
    source = kit.source("sleep 0.4; date +%N > out")
    found = []

    def one() -> None:
        found.append(
            resolve(source, "v1", kit.root, cache=Cache(kit.cache.root), progress=kit.told.append)
        )

    threads = [threading.Thread(target=one) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(one.cached for one in found) == [False, True]
    assert found[0].outputs == found[1].outputs
    assert kit.builds == 1
    assert any(line.startswith("waiting for another run") for line in kit.told)


@pytest.mark.parametrize("damage", ["changed", "added", "gone", "manifest"])
def test_a_damaged_entry_is_made_anew(kit, damage):
    first = kit.resolve("echo good > out")
    if damage == "changed":
        first.outputs["out"].path.write_text("bad!\n")
    elif damage == "added":
        (first.path / "more").touch()
    elif damage == "gone":
        first.outputs["out"].path.unlink()
    else:
        (first.path.parent / "manifest.json").write_text("{")
    second = kit.resolve("echo good > out")
    assert (second.cached, kit.builds) == (False, 2)
    assert second.outputs["out"].path.read_text() == "good\n"


@pytest.mark.parametrize(
    ("command", "said"),
    [
        ("true", "output out: found nothing"),
        ("ln -s /etc/passwd out", "a link or no regular file"),
        ("mkdir out; mkfifo out/pipe", "a link or no regular file"),
        ("mkdir out; ln -s /etc out/all", "a link or no regular file"),
        ("mkdir out; touch \"out/$(printf 'a\\tb')\"", "odd characters"),
    ],
)
def test_outputs_are_files_of_the_build(kit, command, said):
    with pytest.raises(Refused, match=said):
        kit.resolve(command)
    assert not kit.left


def test_prune_removes_what_was_not_used(kit):
    old = kit.resolve("echo 1 > out")
    new = kit.resolve("echo 2 > out")
    os.utime(old.path.parent, (1, 1))
    gone_now = kit.cache.prune(30)
    assert gone_now == [f"entries/{old.path.parent.name}"]
    assert [one.path for one in kit.cache.entries()] == [new.path]


# --- a build host: ssh is a stand-in that runs the command here, in a session of its own ----

SSH = """#!/bin/sh
if [ "$1" = -G ]; then echo "hostname real.example.org"; exit; fi
while [ "$1" != -- ]; do shift; done
echo "$3" >> "$SSH_LOG"
[ "$2" = ann@builder ] || { echo "Permission denied" >&2; exit 255; }
exec setsid -w sh -c "$3"
"""


@pytest.fixture
def ssh(kit, monkeypatch):
    (kit.root / "bin").mkdir()
    (kit.root / "remote").mkdir()
    (kit.root / "bin/ssh").write_text(SSH)
    (kit.root / "bin/ssh").chmod(0o755)
    monkeypatch.setenv("PATH", f"{kit.root}/bin:{os.environ['PATH']}")
    monkeypatch.setenv("SSH_LOG", str(kit.root / "ssh.log"))
    monkeypatch.setenv("TMPDIR", str(kit.root / "remote"))
    return kit.root / "remote"


def test_a_build_host_builds_and_keeps_nothing(kit, ssh):
    commands = (
        "mkdir -p out/a; cat main lib/part > out/a/b; chmod +x out/a/b; pwd; git describe >&2",
        'echo "it\'s" \'$HOME\' "$MODE" > out/c; printenv HOME >> out/c',
    )
    more = {"build_host": "ann@builder", "env": {"MODE": "a b'c"}, "repo": "super"}
    there = kit.resolve(*commands, **more)
    assert list(there.outputs) == ["out/a/b", "out/c"]
    assert there.outputs["out/a/b"].path.read_text() == "main\nlibrary\n"
    assert there.outputs["out/a/b"].path.stat().st_mode & 0o777 == 0o755
    said, home = there.outputs["out/c"].path.read_text().splitlines()
    assert said == "it's $HOME a b'c"
    assert home.startswith(str(ssh))
    assert there.provenance["build_host"] == "ann@builder"
    assert there.provenance["architecture"].startswith("Linux")
    assert list(ssh.iterdir()) == []
    log = (kit.root / "ssh.log").read_text()
    assert kit.resolve(*commands, **more).cached
    assert (kit.root / "ssh.log").read_text() == log  # not asked again


def test_a_build_host_that_fails(kit, ssh, monkeypatch):
    with pytest.raises(Refused, match="found exit 3"):
        kit.resolve("echo no; exit 3", build_host="ann@builder")
    monkeypatch.setattr(building, "COMMAND_SECONDS", 0.5)
    with pytest.raises(Refused, match="no end within"):
        kit.resolve(f"echo $$ > {kit.root}/pid; sleep 300", build_host="ann@builder")
    waited_for(lambda: gone(int((kit.root / "pid").read_text())))
    waited_for(lambda: not list(ssh.iterdir()))
    with pytest.raises(Refused, match="Permission denied"):
        kit.resolve("echo > out", build_host="bob@builder")


def test_nothing_is_built_where_it_will_run(kit, ssh):
    for production in ({"BUILDER"}, {"builder", "x"}, {"real.example.org"}):
        with pytest.raises(Refused, match="a host of this inventory"):
            kit.resolve("echo > out", build_host="ann@builder", production=production)
    with pytest.raises(Refused, match="@local"):
        kit.resolve("echo > out", production={"@local", "a"})
    assert not kit.counter.exists()


def gone(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(") ", 1)[1][0] == "Z"
    except FileNotFoundError:
        return True


def waited_for(ask):
    until = time.monotonic() + 60
    while time.monotonic() < until:
        try:
            if found := ask():
                return found
        except FileNotFoundError:
            pass
        time.sleep(0.02)
    raise AssertionError("it never came")
