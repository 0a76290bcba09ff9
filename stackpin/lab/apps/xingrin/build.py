"""Build the reference images; optionally save some as files that `docker load` reads.

python -m stackpin.lab.apps.xingrin.build --out DIR [--save NAME:TAG ...]
"""

import argparse
import io
import json
import sys
import tarfile
import time
from collections.abc import Sequence
from pathlib import Path

from stackpin.errors import StackpinError
from stackpin.lab.apps.xingrin.images import build
from stackpin.lab.paths import LabPaths
from stackpin.lab.registry.model import BuiltImage, digest_of

__all__ = ["main", "save"]


def save(images: Sequence[BuiltImage], out: Path, namespace: str = "") -> Path:
    """Write `images` into the tar file `out`, in the form of `docker save`.

    An image is named `namespace/name:tag` (without namespace: `name:tag`). Layers that images share
    are in the file once.
    """
    prefix = f"{namespace}/" if namespace else ""
    index, written = [], set()
    with tarfile.open(out, "w") as bundle:
        for image in images:
            config = f"{digest_of(image.config).removeprefix('sha256:')}.json"
            _bytes(bundle, config, image.config)
            names = []
            for layer in image.layers:
                name = f"{layer.digest.removeprefix('sha256:')}.tar.gz"
                names.append(name)
                if name not in written:
                    bundle.add(layer.path, name)
                    written.add(name)
            tag = f"{prefix}{image.name}:{image.tag}"
            index.append({"Config": config, "RepoTags": [tag], "Layers": names})
        _bytes(bundle, "manifest.json", json.dumps(index).encode())
    return out


def _bytes(bundle: tarfile.TarFile, name: str, content: bytes) -> None:
    entry = tarfile.TarInfo(name)
    entry.size = len(content)
    bundle.addfile(entry, io.BytesIO(content))


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; 0, or the error's exit code."""
    parser = argparse.ArgumentParser(
        prog="xingrin.build", description="Build the reference XingRin's images."
    )
    parser.add_argument("--out", type=Path, help="where --save writes (default: nothing is saved)")
    parser.add_argument("--save", action="append", default=[], metavar="NAME:TAG")
    parser.add_argument("--namespace", default="yyhuni", help="before the name of a saved image")
    parser.add_argument("--cache", type=Path, default=LabPaths.from_env().cache)
    options = parser.parse_args(arguments)
    started = time.monotonic()
    try:
        images = build(options.cache, lambda line: _say(sys.stderr, line))
    except StackpinError as error:
        _say(sys.stderr, str(error))
        return error.exit_code
    by_name = {f"{name}:{tag}": image for (name, tag), image in images.items()}
    if unknown := [name for name in options.save if name not in by_name]:
        parser.error(f"no image {unknown[0]}; there are {', '.join(sorted(by_name))}")
    for name, image in by_name.items():
        size = sum(layer.size for layer in image.layers)
        _say(sys.stdout, f"{name} {image.digest} {size / 1e6:.0f} MB")
    if options.save:
        out = (options.out or Path()) / "images.tar"
        out.parent.mkdir(parents=True, exist_ok=True)
        _say(sys.stdout, str(save([by_name[one] for one in options.save], out, options.namespace)))
    _say(sys.stderr, f"{len(images)} images in {time.monotonic() - started:.1f} s")
    return 0


def _say(stream: object, line: str) -> None:
    print(line, file=stream, flush=True)  # type: ignore[call-overload]


if __name__ == "__main__":
    sys.exit(main())
