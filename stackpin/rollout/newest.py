"""The newest version there is of a stack: in its registry, among files, or in a Git repository."""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import cmp_to_key
from pathlib import Path
from typing import Any, cast

from stackpin.config.sources import FileSource, GitSource, UrlSource
from stackpin.config.types import compare_tags, is_prerelease, is_release_tag
from stackpin.errors import Refused
from stackpin.lockfile import uses_images
from stackpin.registry.matrix import Sourced, newest
from stackpin.rollout.wanted import git_newest

__all__ = ["file_versions", "newest_of"]


def newest_of(stack: str, settings: Sequence[object], root: Path) -> str:
    """Return the newest final release that `settings` (of all hosts and parts) can be given.

    Images are looked for in their registry, files beside the pinned one, a build's tags in its
    repository. Raises Refused where there is none, or where nobody can tell.
    """
    for one in settings:
        if uses_images(one):
            return newest(cast(Sourced, one), root)
    for one in settings:
        source = getattr(one, "artifact", None)
        if isinstance(source, GitSource) and "{version}" in source.ref:
            return git_newest(source.repo)
        versions = file_versions(source, root)
        if versions:
            return versions[0]
    raise Refused(
        f"--latest: found nothing that lists the versions of stack {stack}: no registry, no tag of "
        "a repository, no file whose name has {version}; expected --version, --from-git or "
        "--from-version-file"
    )


def file_versions(source: Any, root: Path) -> list[str]:  # noqa: ANN401 - one of config.sources
    """List the final releases there are files of, or digests for, newest first.

    `source` is a path with {version} in its last part, or a source of config.sources.
    """
    if isinstance(source, UrlSource):
        return _sorted(source.sha256 if isinstance(source.sha256, dict) else ())
    if not isinstance(source, str | FileSource):
        return []
    path = root / (source.path if isinstance(source, FileSource) else source)
    before, mark, after = path.name.partition("{version}")
    if not mark or not path.parent.is_dir():
        return []
    form = re.compile(re.escape(before) + "(.+?)" + re.escape(after))
    matches = [form.fullmatch(entry.name) for entry in path.parent.iterdir()]
    return _sorted({match[1] for match in matches if match})


def _sorted(names: Any) -> list[str]:  # noqa: ANN401 - texts, in any collection
    finals = [name for name in names if is_release_tag(name) and not is_prerelease(name)]
    return sorted(finals, key=cmp_to_key(compare_tags), reverse=True)
