"""From a source, as group data declares it, to files on this machine and where they came from."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path

from stackpin.artifacts.cache import Cache
from stackpin.artifacts.files import local
from stackpin.artifacts.model import Resolved, Say, quiet
from stackpin.config.sources import FileSource, GitSource, Source, UrlSource

__all__ = ["resolve"]


def resolve(
    source: Source,
    version: str,
    root: Path,
    *,
    cache: Cache | None = None,
    progress: Say = quiet,
    production: Collection[str] = (),
) -> Resolved:
    """Return the files of `source` for `version`: found, fetched or built, and proven.

    `root` is the repository, which paths are relative to; `progress` takes a line now and then;
    `production` are names and addresses of the hosts it is for, on which nothing is built. Work is
    done once: a second call finds it in `cache`. Raises Refused with what to do.
    """
    chosen = source.at(version)
    kept = cache or Cache()
    if isinstance(chosen, FileSource):
        return local(chosen, root, kept, progress)
    if isinstance(chosen, UrlSource):
        # requests must come after gevent where a command uses that.
        from stackpin.artifacts.downloads import download  # noqa: PLC0415

        return download(chosen, kept, progress)
    if isinstance(chosen, GitSource):
        from stackpin.artifacts.builds import build  # noqa: PLC0415 - most artifacts are files

        return build(chosen, root, kept, progress, production)
    from stackpin.artifacts.images import from_image  # noqa: PLC0415

    return from_image(chosen, kept, progress)
