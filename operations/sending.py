"""Bringing one file to a host: it has its name when all of it has arrived, and not before."""

from __future__ import annotations

import io
from collections.abc import Generator
from dataclasses import dataclass
from pathlib import Path

from pyinfra.api.command import FileUploadCommand, PyinfraCommand, StringCommand
from pyinfra.context import host

from operations.packing import packed

__all__ = ["FileThenText", "sent"]

LIMIT = 600  # seconds that a host may take to do with a file what it came for


@dataclass(frozen=True)
class FileThenText:
    """The standard input of one command: all of a file, or of given bytes, and a text behind it."""

    source: Path | io.BytesIO
    text: str

    @property
    def size(self) -> int:
        """Bytes of the file."""
        if isinstance(self.source, Path):
            return self.source.stat().st_size
        return self.source.getbuffer().nbytes


def sent(
    artifact: Path | bytes, sha256: str, directory: str, then: StringCommand
) -> Generator[PyinfraCommand, None, None]:
    """Put `artifact` into `directory` on the host, under the name `sha256`, which it must have.

    `then` runs when it is there. One command where the connector takes a file as standard input
    (Stackpin's own does), four with stock pyinfra. A cut connection leaves only a .part, which
    counts for nothing.
    """
    arrived, part = f"{directory}/{sha256}", f"{directory}/.{sha256}.part"
    smaller = packed(artifact, sha256)
    source: Path | io.BytesIO
    if smaller is not None:
        source = smaller
    else:
        source = io.BytesIO(artifact) if isinstance(artifact, bytes) else artifact
    making = f"install -d -m 0700 {directory} && install -m 0600 /dev/null {part}"
    checking = (
        f"echo '{sha256}  {part}' | sha256sum -c --status"
        f" && sync {part} && mv -fT {part} {arrived}"
        f" || {{ echo 'the upload of {sha256[:12]} arrived damaged; run again' >&2; exit 1; }}"
    )
    if getattr(host.connector, "takes_files", False):
        given = FileThenText(source, str(then.connector_arguments["_stdin"]))
        # dd: it reads no byte too many, and leaves the rest to what comes after.
        reading = f"dd bs=64K iflag=fullblock,count_bytes count={given.size} status=none"
        unpacking = " | gzip -dc" if smaller else ""
        # No time limit counts for an upload; what comes after it has the usual one.
        text = f"{making} && {{ {reading}{unpacking} >{part} && {checking}; }} && timeout {LIMIT}"
        yield StringCommand(text, *then.bits, _stdin=given)  # type: ignore[arg-type] # it takes files
        return
    yield StringCommand(making)
    yield FileUploadCommand(
        str(source) if isinstance(source, Path) else source, f"{part}.gz" if smaller else part
    )
    unpacking = f"gzip -dc {part}.gz >{part} && rm -f {part}.gz && " if smaller else ""
    yield StringCommand(unpacking + checking)
    yield then
