"""The parts of the lab that need no host: names, plans, state, refusals."""

import os
from ipaddress import IPv4Network
from pathlib import Path

import pytest

from stackpin.errors import Refused, StackpinError
from stackpin.lab import requirements
from stackpin.lab.commands import run, stream
from stackpin.lab.disks import mounts_below
from stackpin.lab.hosts import Lab
from stackpin.lab.image import ensure_layer, image_key, purge_cache
from stackpin.lab.network import choose_subnet
from stackpin.lab.paths import LabPaths
from stackpin.lab.processes import cgroup_root, start_time
from stackpin.lab.sources import Mirrors
from stackpin.lab.ssh import LabHost, ssh_command
from stackpin.lab.state import LabState, add_hosts, add_named, read_state, write_state

SUBNET = IPv4Network("10.87.0.0/24")


def paths(tmp_path: Path) -> LabPaths:
    return LabPaths(tmp_path / "lab", tmp_path / "cache")


def state() -> LabState:
    return LabState(subnet=SUBNET, release="trixie")


def test_interface_names_fit_and_differ_per_lab(tmp_path: Path) -> None:
    one, other = LabPaths(tmp_path / "a", tmp_path), LabPaths(tmp_path / "b", tmp_path)
    assert one.bridge != other.bridge
    for lab in (one, other):
        assert len(lab.bridge) <= 15
        assert len(lab.machine("a-rather-long-name1", 254).port) <= 15


def test_the_environment_names_the_directories(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("STACKPIN_LAB_DIR", str(tmp_path))
    monkeypatch.setenv("STACKPIN_LAB_CACHE", "")
    found = LabPaths.from_env()
    assert (found.home, found.cache) == (tmp_path, Path("/var/cache/stackpin-lab"))


def test_hosts_are_added_without_reusing_a_name_or_address() -> None:
    lab = state()
    add_hosts(lab, 3, "lab")
    assert [(host.name, host.address) for host in lab.hosts] == [
        ("lab1", "10.87.0.11"),
        ("lab2", "10.87.0.12"),
        ("lab3", "10.87.0.13"),
    ]
    del lab.hosts[1]
    add_hosts(lab, 3, "web")
    assert [(host.name, host.number) for host in lab.hosts[2:]] == [("web1", 12)]
    add_hosts(lab, 1, "lab")
    assert len(lab.hosts) == 3


def test_a_lab_has_an_end() -> None:
    lab = state()
    with pytest.raises(Refused, match="244"):
        add_hosts(lab, 245, "lab")


def test_a_second_release_stands_beside_the_first() -> None:
    lab = state()
    add_hosts(lab, 2, "lab")
    add_hosts(lab, 1, "lab", release="bookworm")
    add_hosts(lab, 1, "lab", release="bookworm")  # it is there, and counts
    add_hosts(lab, 3, "lab")
    add_named(lab, ["lab3"], release="bookworm")
    assert [(host.name, host.release) for host in lab.hosts] == [
        ("lab1", "trixie"), ("lab2", "trixie"), ("lab3", "bookworm"),
    ]  # fmt: skip
    with pytest.raises(Refused, match=r"lab1 was started without bookworm.* lab down lab1"):
        add_named(lab, ["lab1"], release="bookworm")


def test_each_host_has_the_layers_of_its_release(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr("stackpin.lab.hosts.ensure_image", lambda name, *_: Path("/", name))
    monkeypatch.setattr("stackpin.lab.hosts.ensure_layer", lambda _k, name, base, *_: base / "d")
    lab = state()
    add_hosts(lab, 1, "lab")
    add_hosts(lab, 1, "lab", release="bookworm")
    add_hosts(lab, 1, "lab", docker=True)
    one = Lab(paths(tmp_path))
    assert [one._layers(host, Mirrors("m")) for host in lab.hosts] == [
        [Path("/trixie")], [Path("/bookworm")], [Path("/trixie"), Path("/trixie/d")],
    ]  # fmt: skip
    monkeypatch.undo()
    with pytest.raises(Refused, match="bookworm lacks docker"):
        ensure_layer("docker", "bookworm", tmp_path, Mirrors("m"), tmp_path, print)


def test_state_survives_writing_and_is_private(tmp_path: Path) -> None:
    lab = state()
    add_hosts(lab, 2, "lab")
    file = tmp_path / "lab.json"
    write_state(file, lab)
    assert read_state(file) == lab
    assert file.stat().st_mode & 0o777 == 0o600
    assert [entry.name for entry in tmp_path.iterdir()] == ["lab.json"]


@pytest.mark.parametrize("text", ["", "{", "[]", '{"version": 1}', '{"subnet": "x", "release": 1}'])
def test_damaged_state_names_the_remedy(tmp_path: Path, text: str) -> None:
    file = tmp_path / "lab.json"
    file.write_text(text)
    with pytest.raises(StackpinError, match="stackpin lab down"):
        read_state(file)


def test_no_state_is_no_lab(tmp_path: Path) -> None:
    assert read_state(tmp_path / "lab.json") is None


def test_a_free_subnet_is_chosen() -> None:
    assert choose_subnet([]) == SUBNET
    assert choose_subnet([IPv4Network("10.87.0.128/25")]) == IPv4Network("10.87.1.0/24")
    assert choose_subnet([], "10.90.0.0/24") == IPv4Network("10.90.0.0/24")


@pytest.mark.parametrize(
    ("used", "wanted"),
    [
        (["10.0.0.0/8"], None),
        (["10.90.0.7/32"], "10.90.0.0/24"),
        ([], "fish"),
        ([], "10.90.0.1/24"),
    ],
)
def test_a_subnet_in_use_or_misspelt_is_refused(used: list[str], wanted: str | None) -> None:
    with pytest.raises(Refused, match=r"10\.\d+\.0\.0"):
        choose_subnet([IPv4Network(text) for text in used], wanted)


def test_the_image_key_follows_what_is_in_the_image() -> None:
    key = image_key("trixie", ["a", "b"])
    assert key == image_key("trixie", ["b", "a"])
    assert len({key, image_key("bookworm", ["a", "b"]), image_key("trixie", ["a"])}) == 3
    assert key != image_key("trixie", ["a", "b"], recipe=99)


def test_purging_the_cache_leaves_other_files(tmp_path: Path) -> None:
    (tmp_path / "trixie-0123456789ab" / "etc").mkdir(parents=True)
    (tmp_path / "trixie-0123456789ab.part").mkdir()
    (tmp_path / "holiday-photos").mkdir()
    assert purge_cache(tmp_path)
    assert [entry.name for entry in tmp_path.iterdir()] == ["holiday-photos"]


def test_mounts_are_found_deepest_first(tmp_path: Path) -> None:
    table = tmp_path / "mounts"
    table.write_text(
        "x /a overlay rw 0 0\nx /a/b/c proc rw 0 0\n"
        "x /ab tmpfs rw 0 0\nx /a/with\\040space t rw 0 0\n"
    )
    found = mounts_below(Path("/a"), table)
    assert found == [Path("/a/b/c"), Path("/a/with space"), Path("/a")]


def test_cgroup2_is_found_beside_version_1(tmp_path: Path) -> None:
    table = tmp_path / "mounts"
    table.write_text(
        "c /sys/fs/cgroup/pids cgroup rw 0 0\nc /sys/fs/cgroup/unified cgroup2 rw 0 0\n"
    )
    assert cgroup_root(table) == Path("/sys/fs/cgroup/unified")
    table.write_text("c /sys/fs/cgroup/pids cgroup rw 0 0\n")
    with pytest.raises(StackpinError, match="cgroup2"):
        cgroup_root(table)


def test_a_process_is_known_by_its_start_time() -> None:
    assert start_time(os.getpid()) is not None
    assert start_time(2**22 + 1) is None


def test_missing_programs_are_named_as_packages(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(requirements, "check_root", lambda: None)
    present = {"ip", "ssh", "ssh-keygen", "unshare", "mount", "chroot", "iptables"}
    monkeypatch.setattr(
        requirements.shutil, "which", lambda name: name if name in present else None
    )
    with pytest.raises(Refused, match=r"apt-get install .* debootstrap systemd-container"):
        requirements.check_machine(paths(tmp_path), install=False, report=print)
    assert not list(tmp_path.iterdir())


def test_a_kernel_without_overlay_or_cgroup2_is_refused(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(requirements.shutil, "which", lambda _name: None)
    kinds, mounts = tmp_path / "filesystems", tmp_path / "mounts"
    kinds.write_text("nodev\tproc\n\text4\n")
    mounts.write_text("proc /proc proc rw 0 0\n")
    with pytest.raises(Refused, match="modprobe overlay"):
        requirements.check_kernel(kinds, mounts)
    kinds.write_text("nodev\toverlay\n")
    with pytest.raises(Refused, match="mount -t cgroup2"):
        requirements.check_kernel(kinds, mounts)


def test_a_full_disk_is_refused_before_the_directory_exists(tmp_path: Path) -> None:
    with pytest.raises(Refused, match="make room"):
        requirements.check_disk(tmp_path / "not" / "yet", needed=2**63)
    requirements.check_disk(tmp_path / "not" / "yet", needed=1)


def test_another_user_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(requirements.os, "geteuid", lambda: 1000)
    with pytest.raises(Refused, match="root"):
        requirements.check_root()


def test_ssh_uses_nothing_of_the_user(tmp_path: Path) -> None:
    argv = ssh_command(paths(tmp_path), LabHost("lab1", "10.87.0.11"))
    assert argv[:3] == ["ssh", "-F", "/dev/null"]
    assert "StrictHostKeyChecking=yes" in argv
    assert argv[-1] == "10.87.0.11"


def test_a_failing_program_is_quoted_with_its_last_words(tmp_path: Path) -> None:
    with pytest.raises(StackpinError, match=r"exit code 3: two"):
        run("sh", "-c", "echo two >&2; exit 3")
    with pytest.raises(StackpinError, match="no such program"):
        run("no-such-program-here")
    with pytest.raises(StackpinError, match=r"no end after 0.1 s"):
        run("sleep", "5", timeout=0.1)
    log, heard = tmp_path / "log", list[str]()
    with pytest.raises(StackpinError, match=r"(?s)two.*All output"):
        stream(["sh", "-c", "echo one; echo two >&2; exit 1"], log, heard.append)
    assert heard == ["one", "two"]
    assert log.read_text() == "one\ntwo\n"
