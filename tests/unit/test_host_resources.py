"""What the host program says of the machine: real figures, and nothing it could fail over."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from stackpin.host import resources


def test_it_reads_this_machine(tmp_path: Path) -> None:
    found = resources.machine(tmp_path / "not" / "there")
    assert found["cpus"] == os.cpu_count()
    assert len(found["load"]) == 3
    for key in ("memory_mb", "disk_mb"):
        assert 0 < found[key]["used"] < found[key]["total"]


def test_sizes_are_mebibytes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "meminfo").write_text(
        "MemTotal:        2048000 kB\nMemFree:  1 kB\nMemAvailable:    1024000 kB\n"
        "SwapTotal:             0 kB\nSwapFree:              0 kB\nHugePages_Total:       0\n"
    )
    monkeypatch.setattr(resources, "PROC", tmp_path)
    found = resources.machine(Path("/"))
    assert found["memory_mb"] == {"total": 2000, "used": 1000}
    assert found["swap_mb"] == {"total": 0, "used": 0}


def test_what_cannot_be_read_is_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(*_: object) -> object:
        raise OSError("no")

    monkeypatch.setattr(resources, "PROC", tmp_path)
    monkeypatch.setattr(os, "getloadavg", refused)
    monkeypatch.setattr(os, "statvfs", refused)
    found = resources.machine(tmp_path)
    assert [found[key] for key in ("load", "memory_mb", "swap_mb", "disk_mb")] == [None] * 4
