"""Files made smaller for the way to a host, each once however many hosts get it."""

from __future__ import annotations

import gzip
import io
import shutil
import tempfile
from functools import cache
from pathlib import Path
from typing import BinaryIO

__all__ = ["packed"]

# The fastest: a better one costs more than it saves on any line above 10 Mbit/s (decision 24).
LEVEL = 1
# Beyond this share of the size it is not worth the work at both ends.
WORTH = 0.8


@cache
def packed(artifact: Path | bytes, sha256: str) -> Path | None:
    """Return a gzip file of `artifact`, or None where that is hardly smaller, as of an archive.

    `sha256` is the content's: a path may get another. The file lives as long as this process.
    """
    made = Path(_folder().name) / sha256
    source: BinaryIO
    with io.BytesIO(artifact) if isinstance(artifact, bytes) else artifact.open("rb") as source:
        with gzip.open(made, "wb", LEVEL) as target:
            shutil.copyfileobj(source, target, 1 << 20)
        size = source.tell()
    if made.stat().st_size <= WORTH * size:
        return made
    made.unlink()
    return None


@cache
def _folder() -> tempfile.TemporaryDirectory[str]:
    return tempfile.TemporaryDirectory(prefix="stackpin-")
