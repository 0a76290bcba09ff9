"""Pins against a real registry: what is locked, and every way it can refuse. No host is touched."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from stackpin import lockfile
from stackpin.errors import StackpinError
from stackpin.lab import Lab
from stackpin.lab.paths import LabPaths
from stackpin.lab.registry import faults
from stackpin.registry.client import Registry
from stackpin.registry.errors import RegistryUnreachable

REPOSITORY = Path(__file__).parents[2]
OLD, NEW, INCOMPLETE = "v1.1.0", "v1.2.0", "v1.5.0"


@pytest.fixture(scope="module")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    """A registry alone, in a lab of this module's own."""
    one = Lab(LabPaths(tmp_path_factory.mktemp("pins"), LabPaths.from_env().cache))
    try:
        one.up(names=["registry"], docker=True)
        one.registry.start()
        one.registry.push([OLD, NEW, INCOMPLETE])
    except StackpinError as error:
        pytest.fail(f"no lab: {error}")
    yield one
    one.down()


@dataclass
class Repository:
    """An operator's folder whose fleet uses the registry."""

    folder: Path
    lab: Lab

    def stackpin(self, *words: str, **environment: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [
                sys.executable,
                "-m",
                "stackpin",
                words[0],
                "inventories/prod.py",
                "xingrin",
                *words[1:],
            ],
            cwd=self.folder,
            capture_output=True,
            text=True,
            timeout=150,
            check=False,
            env={
                **os.environ,
                "PYTHONPATH": str(REPOSITORY),
                "PINS_PASSWORD": self.lab.registry.password,
                **environment,
            },
        )

    def pin(self, version: str, *words: str, **environment: str) -> tuple[int, str]:
        done = self.stackpin("pin", "--version", version, *words, **environment)
        return done.returncode, done.stderr

    @property
    def pins(self) -> str:
        return (self.folder / "inventories/group_data/prod.py").read_text()

    @property
    def lock(self) -> lockfile.Lock:
        return lockfile.read(self.folder / "inventories/prod.lock.toml")

    def files(self) -> tuple[str, str]:
        return self.pins, self.lock.text()


@pytest.fixture
def repository(registry: Lab, tmp_path: Path) -> Iterator[Repository]:
    one, (folder, data) = registry.registry, (tmp_path, tmp_path / "inventories/group_data")
    data.mkdir(parents=True)
    (folder / "inventories/prod.py").write_text("xingrin = ['server']\nworkers = ['node1']\n")
    values = {
        "version": OLD,
        "lock_file": "inventories/prod.lock.toml",
        "registry": one.address,
        "namespace": one.namespace,
        "registry_username": one.username,
        "registry_password": "env:PINS_PASSWORD",
        "registry_ca": str(one.ca),
        "redis_image": one.pusher.reference("redis", "8"),
        "postgres_image": one.pusher.reference("postgres", "17"),
        "public_host": "server.example.net",
    }
    lines = [f'xingrin_{name} = "{value}"\n' for name, value in values.items()]
    (data / "prod.py").write_text("".join(lines))
    yield Repository(folder, registry)
    faults.heal(registry)


def test_every_image_is_locked_by_what_was_pushed(repository: Repository) -> None:
    assert repository.pin(OLD)[0] == 0
    pusher = repository.lab.registry.pusher
    expected = {
        pusher.reference(image.name, image.tag): image.digest
        for image in repository.lab.registry.images([OLD])
    }
    found = repository.lock.version("xingrin", OLD)
    assert found is not None
    assert dict(found.images) == expected
    assert len(expected) == 7
    done = repository.stackpin("pin", "--latest")
    assert done.returncode == 0, done.stderr
    assert f'xingrin_version = "{NEW}"' in repository.pins  # v1.5.0 is newer and incomplete
    assert set(repository.lock.stacks["xingrin"]) == {OLD, NEW}


def test_a_missing_image_refuses_pin_and_update(repository: Repository) -> None:
    before = repository.files()
    for words in (("pin",), ("update", "--yes")):
        done = repository.stackpin(*words, "--version", INCOMPLETE)
        assert done.returncode == 3
        assert f"xingrin-frontend:{INCOMPLETE}" in done.stderr
        assert repository.files() == before


def test_an_update_that_reaches_no_host_puts_both_files_back(repository: Repository) -> None:
    assert repository.pin(OLD)[0] == 0
    before = repository.files()
    done = repository.stackpin("update", "--yes", "--version", NEW)
    assert done.returncode != 0
    assert f"{OLD} -> {NEW}" in done.stderr
    assert f"back to {OLD}" in done.stderr
    assert repository.files() == before
    shown = repository.stackpin("versions", "--json")
    told = json.loads(shown.stdout)["stacks"][0]
    assert (told["pinned"], told["newest"], told["behind"]) == (OLD, NEW, 1)
    assert told["age_days"] is not None


def test_a_moved_tag_is_refused(repository: Repository) -> None:
    one = repository.lab.registry
    assert repository.pin(NEW)[0] == 0
    before = repository.files()
    moved = one.move_tag("xingrin-agent", NEW)
    try:
        code, told = repository.pin(NEW)
        assert code == 3
        assert moved in told
        assert "pushed again" in told
        assert repository.files() == before
    finally:
        one.push([NEW])
    assert repository.pin(NEW)[0] == 0


def test_a_registry_that_is_down_or_false(repository: Repository) -> None:
    lab = repository.lab
    before = repository.files()
    for fault, named in (
        (lambda: faults.down(lab), "refused"),
        (lambda: faults.wrong_certificate(lab), "certificate"),
        (lambda: faults.refuse_login(lab), "401"),
    ):
        fault()
        code, told = repository.pin(NEW)
        assert code == 3, told
        assert named in told.lower()
        assert lab.registry.address in told
        assert lab.registry.password not in told
        assert repository.files() == before
        faults.heal(lab)
    assert repository.pin(NEW)[0] == 0


def test_a_slow_registry_is_given_up_in_time(repository: Repository) -> None:
    one = repository.lab.registry
    impatient = Registry(
        one.address, one.username, one.password, ca=str(one.ca), timeout=1, attempts=2, deadline=8
    )
    repository_of = f"{one.namespace}/xingrin-agent"
    assert impatient.resolve(repository_of, NEW).digest
    faults.slow(repository.lab, 30)
    began = time.monotonic()
    with pytest.raises(RegistryUnreachable, match="no answer") as caught:
        impatient.resolve(repository_of, NEW)
    assert time.monotonic() - began < 15
    assert one.address in str(caught.value)


def test_a_wrong_password(repository: Repository) -> None:
    code, told = repository.pin(NEW, PINS_PASSWORD="wrong-wrong-wrong")
    assert code == 3
    assert "registry_password" in told
    assert "wrong-wrong" not in told
