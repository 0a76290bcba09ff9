"""A stack of several services on one host, for tests of the commands that look after it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import pytest

from stackpin.config import stacks

SERVICES = ("snap", "probe", "orchestrator", "console", "gate")


@pytest.fixture
def infracore(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Declare infracore: files that keep the backups, and five services, in rollout order."""
    names = ("infracore-files", *(f"infracore-{name}" for name in SERVICES))
    parent = stacks.Stack(
        "infracore", (), names, version_variable="infracore_version", on_failure="rollback"
    )
    files = replace(
        parent,
        name=names[0],
        parts=(),
        settings_class="crm:CrmSettings",
        prefix="infracore_",
        group="infracore",
    )
    monkeypatch.setitem(stacks.STACKS, "infracore", parent)
    monkeypatch.setitem(stacks.STACKS, names[0], files)
    for name in names[1:]:
        monkeypatch.setitem(stacks.STACKS, name, replace(files, name=name, keeper=names[0]))
    yield
