"""Kernel settings are raised for labs and put back after the last one."""

import pytest

from stackpin.lab import kernel


@pytest.fixture
def places(tmp_path):
    sysctl = tmp_path / "sys"
    for name, value in (("net/ipv4/ip_forward", "0"), ("fs/inotify/max_user_instances", "128")):
        (sysctl / name).parent.mkdir(parents=True)
        (sysctl / name).write_text(f"{value}\n")
    return {"sysctl": sysctl, "notes": tmp_path / "run" / "kernel"}


def values(places):
    return [(places["sysctl"] / name).read_text().strip() for name in kernel.SETTINGS]


def test_the_last_lab_puts_everything_back(places):
    kernel.want("aaaa", **places)
    kernel.want("bbbb", **places)
    assert values(places) == ["1", "4096"]
    kernel.release("aaaa", **places)
    assert values(places) == ["1", "4096"]
    kernel.release("bbbb", **places)
    assert values(places) == ["0", "128"]
    assert not places["notes"].exists()


def test_what_is_high_enough_is_left_alone(places):
    (places["sysctl"] / "fs/inotify/max_user_instances").write_text("9000\n")
    kernel.want("aaaa", **places)
    assert values(places) == ["1", "9000"]
    kernel.release("aaaa", **places)
    assert values(places) == ["0", "9000"]


def test_releasing_without_a_lab_does_nothing(places):
    kernel.release("aaaa", **places)
    assert values(places) == ["0", "128"]
