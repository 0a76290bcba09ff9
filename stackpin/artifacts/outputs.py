"""Which files of a build are its outputs, and how they are taken."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Iterable, Sequence
from pathlib import Path, PurePosixPath

from stackpin.errors import Refused

__all__ = ["chosen", "copy", "is_plain", "listed"]


def is_plain(name: str) -> bool:
    """Whether a relative path stays below where it is put, on every file system."""
    path = PurePosixPath(name)
    return (
        name == str(path)
        and not path.is_absolute()
        and path.parts != ()
        and ".." not in path.parts
        and all(character.isprintable() for character in name)
    )


def chosen(patterns: Sequence[str], names: Iterable[str], what: str) -> list[str]:
    """Return those of `names` (relative paths of files) that a pattern means, sorted.

    A pattern is a file, a directory (all below it), or has `*`, `?` (not over a slash) or `**`
    (any number of directories). Raises Refused for a pattern that means nothing.
    """
    known = [name for name in names if name.split("/", 1)[0] != ".git"]
    found: set[str] = set()
    for pattern in patterns:
        expression = re.compile(_translate(pattern))
        matched = [name for name in known if expression.fullmatch(name)]
        if not matched:
            raise Refused(
                f"{what}: output {pattern}: found nothing there after the build, expected a file "
                "or a directory with files. Correct outputs or build."
            )
        found.update(matched)
    return sorted(found)


def _translate(pattern: str) -> str:
    parts = []
    for part in pattern.strip("/").split("/"):
        if part == "**":
            parts.append("(?:[^/]+/)*")
            continue
        inner = re.escape(part).replace(r"\*", "[^/]*").replace(r"\?", "[^/]")
        parts.append(inner + "/")
    expression = "".join(parts)
    # What a pattern names may be a directory: then all below it is meant.
    return expression + "[^/]+" if expression.endswith("*") else expression[:-1] + "(?:/.*)?"


def listed(source: Path) -> dict[str, bool]:
    """Return every file below `source` outside .git; True for those that are links."""
    found = {}
    for parent, folders, names in os.walk(source):
        if Path(parent) == source and ".git" in folders:
            folders.remove(".git")
        links = [name for name in folders if Path(parent, name).is_symlink()]
        for name in [*names, *links]:
            path = Path(parent, name)
            found[path.relative_to(source).as_posix()] = not path.is_file() or path.is_symlink()
    return found


def copy(source: Path, patterns: Sequence[str], into: Path, what: str) -> None:
    """Copy the outputs of a build; of their modes only the executable bit counts."""
    files = listed(source)
    for name in chosen(patterns, files, what):
        require_file(name, files[name], what)
        target = into / name
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(source / name, target)
        target.chmod(0o755 if (source / name).stat().st_mode & 0o100 else 0o644)


def require_file(name: str, special: bool, what: str) -> None:
    """Raise Refused for an output that is a link, a device, or has an unusable name."""
    if special or not is_plain(name):
        found = "a link or no regular file" if special else "a name with odd characters"
        raise Refused(
            f"{what}: output {name!r}: found {found}, expected a file. "
            "Let the build make a copy of it (cp -L)."
        )
