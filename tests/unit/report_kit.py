"""A record of a real run that was rolled back, to make pages from."""

from __future__ import annotations

import copy
import json
from datetime import datetime
from functools import cache
from pathlib import Path
from typing import Any

from stackpin.evidence.record import Record

FIXTURES = Path(__file__).parents[1] / "fixtures"


@cache
def _read(name: str) -> Any:
    return json.loads((FIXTURES / name).read_text())


def documents() -> dict[str, Any]:
    return copy.deepcopy(_read("rolled-back.json")["documents"])


def record(**changes: Any) -> Record:
    about = _read("rolled-back.json")["manifest"]
    names = ("inventory", "stack", "run", "outcome", "who", "git_head", "command", "exit_code")
    values = {
        **{name: about[name] for name in names},
        "version": about["release_version"],
        "created": datetime.fromisoformat(about["created"]),
        "reason": about["reason"],
        "hosts": about["hosts"],
        "documents": documents(),
    }
    return Record(**{**values, **changes})
