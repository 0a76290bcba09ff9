"""The lab's registry for real: Docker on a lab host pulls from it, or is told why not."""

from __future__ import annotations

import gzip
import io
import subprocess
import tarfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from stackpin.errors import StackpinError
from stackpin.lab import Lab
from stackpin.lab.paths import LabPaths
from stackpin.lab.registry import faults
from stackpin.lab.registry.model import BuiltImage, Layer, digest_of
from stackpin.lab.small_disk import enlarge, shrink

NODE = "node1"


@pytest.fixture(scope="module")
def fleet(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    """A registry and one node, in a lab of this module's own."""
    one = Lab(LabPaths(tmp_path_factory.mktemp("fleet"), LabPaths.from_env().cache))
    try:
        one.up(names=["registry", NODE], docker=True)
        one.registry.start()
        one.registry.trust(NODE)
    except StackpinError as error:
        pytest.fail(f"no lab: {error}")
    yield one
    one.down()
    assert str(one.paths.home) not in Path("/proc/mounts").read_text()
    assert not one.paths.home.exists() or not any(one.paths.home.iterdir())


@pytest.fixture
def image(fleet: Lab, tmp_path: Path) -> BuiltImage:
    """A program that says hello, pushed: the host's own shell in a layer."""
    registry = fleet.registry
    root = registry.root
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        libraries = ("lib/x86_64-linux-gnu/libc.so.6", "lib64/ld-linux-x86-64.so.2")
        for name in ("bin/dash", "bin/sleep", *libraries):
            data = (root / "usr" / name).read_bytes()
            info = tarfile.TarInfo(name)
            info.size, info.mode = len(data), 0o755
            tar.addfile(info, io.BytesIO(data))
    packed = gzip.compress(buffer.getvalue(), compresslevel=1, mtime=0)
    path = tmp_path / "layer.tar.gz"
    path.write_bytes(packed)
    layer = Layer(path, digest_of(packed), digest_of(buffer.getvalue()), len(packed))
    settings = {"Cmd": ["/bin/dash", "-c", "echo hello from $NAME"], "Env": ["NAME=v1"]}
    made = BuiltImage.make("hello", "v1", (layer,), settings)
    registry.pusher.push([made])
    return made


def docker(
    lab: Lab, *words: str, check: bool = True, timeout: float = 60
) -> subprocess.CompletedProcess[str]:
    command = ["env", "DOCKER_CONFIG=/etc/stackpin/docker", "docker", *words]
    return lab.run(NODE, command, check=check, timeout=timeout)


def reference(lab: Lab, image: BuiltImage) -> str:
    return lab.registry.pusher.reference(image.name, image.tag)


def forget(lab: Lab) -> None:
    lab.run(NODE, "docker image prune --all --force")


def test_docker_pulls_by_digest_and_runs(fleet: Lab, image: BuiltImage) -> None:
    pinned = f"{reference(fleet, image)}@{image.digest}"
    assert docker(fleet, "run", "--rm", pinned).stdout == "hello from v1\n"
    shown = docker(fleet, "image", "inspect", "-f", "{{index .RepoDigests 0}}", pinned).stdout
    assert shown.strip().endswith(image.digest)


def test_a_moved_tag_and_back(fleet: Lab, image: BuiltImage) -> None:
    moved = fleet.registry.move_tag("hello", "v1")
    assert moved in docker(fleet, "pull", reference(fleet, image)).stdout
    assert docker(fleet, "run", "--rm", reference(fleet, image)).stdout == "hello from v1\n"
    fleet.registry.pusher.push([image])
    assert image.digest in docker(fleet, "pull", reference(fleet, image)).stdout


def refused(lab: Lab, image: BuiltImage) -> str:
    forget(lab)
    done = docker(lab, "pull", reference(lab, image), check=False)
    assert done.returncode != 0
    return done.stderr


def test_a_stranger_is_refused(fleet: Lab, image: BuiltImage) -> None:
    ref = reference(fleet, image)
    forget(fleet)
    without_login = fleet.run(NODE, ["docker", "pull", ref], check=False)
    assert "no basic auth credentials" in without_login.stderr
    trusted = f"/etc/docker/certs.d/{fleet.registry.address}/ca.crt"
    fleet.run(NODE, ["mv", trusted, f"{trusted}.off"])
    try:
        assert "certificate signed by unknown authority" in refused(fleet, image)
    finally:
        fleet.run(NODE, ["mv", f"{trusted}.off", trusted])


def test_every_fault_is_what_it_says_and_heals(fleet: Lab, image: BuiltImage) -> None:
    try:
        faults.wrong_certificate(fleet)
        assert "certificate signed by unknown authority" in refused(fleet, image)
        faults.heal(fleet)
        faults.refuse_login(fleet)
        assert "unauthorized" in refused(fleet, image).lower()
        faults.down(fleet)
        assert "connection refused" in refused(fleet, image)
        faults.heal(fleet)
        forget(fleet)
        faults.slow(fleet, 0.5)
        began = time.monotonic()
        docker(fleet, "pull", reference(fleet, image))
        assert time.monotonic() - began > 2
    finally:
        faults.heal(fleet)
    forget(fleet)
    docker(fleet, "pull", reference(fleet, image))


def test_images_and_certificate_survive_a_power_cut(fleet: Lab, image: BuiltImage) -> None:
    before = fleet.registry.certificate()
    fleet.kill("registry")
    fleet.registry.start()
    assert fleet.registry.certificate() == before
    forget(fleet)
    docker(fleet, "pull", reference(fleet, image))


def test_docker_keeps_its_containers_over_reboot_and_power_cut(
    fleet: Lab, image: BuiltImage
) -> None:
    ref = reference(fleet, image)
    loop = "trap 'exit 0' TERM; /bin/sleep 1000 & wait"
    docker(
        fleet, "run", "-d", "--name", "kept", "--restart", "always", ref, "/bin/dash", "-c", loop
    )
    ask = "docker inspect -f '{{.State.Running}}' kept"
    fleet.reboot(NODE)
    assert _soon(fleet, ask) == "true"
    fleet.kill(NODE)
    fleet.start(NODE)
    assert _soon(fleet, ask) == "true"
    fleet.reset(NODE)
    assert fleet.run(NODE, "docker ps --all --quiet; docker images --quiet").stdout == ""
    fleet.registry.trust(NODE)


def _soon(lab: Lab, command: str) -> str:
    said = ""
    for _attempt in range(50):
        said = lab.run(NODE, command, check=False).stdout.strip()
        if said == "true":
            break
        time.sleep(0.1)
    return said


def test_compose_and_firewall_are_there(fleet: Lab) -> None:
    assert fleet.run(NODE, "docker compose version --short").stdout.startswith("2.")
    fleet.run(NODE, "nft add table inet trial && nft delete table inet trial")


def test_a_small_disk_runs_full_and_nothing_is_lost(fleet: Lab, image: BuiltImage) -> None:
    docker(fleet, "pull", reference(fleet, image))
    shrink(fleet, NODE, 20)
    try:
        assert "v1" in fleet.run(NODE, "docker images --format '{{.Tag}}'").stdout
        fleet.run(NODE, "docker volume create filled")
        fill = "dd if=/dev/zero of=/var/lib/docker/volumes/filled/_data/x bs=1M count=40"
        assert "No space left" in fleet.run(NODE, fill, check=False).stderr
        fleet.run(NODE, "docker volume rm filled")
    finally:
        enlarge(fleet, NODE)
    assert docker(fleet, "run", "--rm", reference(fleet, image)).stdout == "hello from v1\n"
