"""Artifacts out of a container image, with the docker of this machine; nothing of it is run."""

from __future__ import annotations

import json
import subprocess
import tempfile
from pathlib import Path
from typing import IO, Any

from stackpin.artifacts.cache import Cache
from stackpin.artifacts.model import Resolved, Say
from stackpin.artifacts.unpacking import unpack_stream
from stackpin.config.sources import ImageSource
from stackpin.errors import Refused

__all__ = ["from_image"]

PULL_SECONDS = 1800.0


def from_image(source: ImageSource, cache: Cache, say: Say) -> Resolved:
    """Return `source.outputs` out of the image, from the cache where it is there.

    With a digest nothing is asked when the cache has it; a tag alone is pulled to learn which
    content it names. Raises Refused.
    """
    repository = source.image.rpartition(":")[0]
    if isinstance(source.sha256, str):
        image = f"{repository}@sha256:{source.sha256}"
    else:
        image = _digest(source.image, repository, say)

    def make(files: Path, _work: Path) -> dict[str, Any]:
        say(f"taking files out of {image}")
        _docker("pull", "--quiet", image)
        # The command is not run; images without one of their own need it named.
        container = _docker("create", image, "none").strip()
        try:
            for output in source.outputs:
                _copy(
                    container, f"{source.root.rstrip('/')}/{output}", (files / output).parent, image
                )
        finally:
            _docker("rm", "--force", container)
        return {"kind": "image", "image": image, "root": source.root}

    inputs = {"kind": "image", "image": image, "root": source.root, "outputs": source.outputs}
    return cache.keep(inputs, make, source.image, say)


def _digest(image: str, repository: str, say: Say) -> str:
    say(f"pulling {image}")
    _docker("pull", "--quiet", image)
    digests = json.loads(_docker("image", "inspect", "--format", "{{json .RepoDigests}}", image))
    for found in digests or []:
        if str(found).rpartition("@")[0].endswith(repository):
            return f"{repository}@{str(found).rpartition('@')[2]}"
    raise Refused(f"{image}: found no digest of {repository} for it, expected one. Push it first.")


def _copy(container: str, path: str, into: Path, what: str) -> None:
    """Copy a file or directory of a container into the directory `into`, under its own name."""
    into.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryFile() as archive:
        # Whole before it is read: what docker says of a missing path comes on its other stream.
        _docker("cp", f"{container}:{path}", "-", into=archive)
        archive.seek(0)
        unpack_stream(archive, into, f"{what} {path}")


def _docker(*words: str, into: IO[bytes] | None = None) -> str:
    out = subprocess.PIPE if into is None else into
    try:
        done = subprocess.run(
            ["docker", *words],
            stdout=out,
            stderr=subprocess.PIPE,
            timeout=PULL_SECONDS,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise Refused(f"docker {words[0]}: {error}. Sources image(...) need docker here.") from None
    if done.returncode != 0:
        said = " ".join(done.stderr.decode("utf-8", "replace").split())[-300:]
        raise Refused(f"docker {words[0]}: found {said or done.returncode}, expected it to work.")
    return (done.stdout or b"").decode("utf-8", "replace")
