"""The things `operations.files.tree` puts on a host, as plain values."""

from __future__ import annotations

import base64
import hashlib
from dataclasses import dataclass, field

__all__ = ["Directory", "File", "Link"]


@dataclass(frozen=True)
class File:
    """A regular file. `mode` is octal text such as "0644".

    `content` never shows in a repr, and a `secret` file's content never shows in a diff either.
    """

    path: str
    content: str = field(repr=False)
    mode: str = "0644"
    user: str = "root"
    group: str = "root"
    secret: bool = False

    @property
    def sha256(self) -> str:
        """Hex digest of the content."""
        return hashlib.sha256(self.content.encode()).hexdigest()

    def payload(self) -> dict[str, str]:
        """Return the entry as the host program's `write` command takes it."""
        return {
            "path": self.path,
            "mode": self.mode,
            "user": self.user,
            "group": self.group,
            "content_b64": base64.b64encode(self.content.encode()).decode(),
        }


@dataclass(frozen=True)
class Directory:
    """A directory; its contents are not managed."""

    path: str
    mode: str = "0755"
    user: str = "root"
    group: str = "root"

    def payload(self) -> dict[str, str]:
        """Return the entry as the host program's `write` command takes it."""
        return {"path": self.path, "mode": self.mode, "user": self.user, "group": self.group}


@dataclass(frozen=True)
class Link:
    """A symbolic link; `target` may be relative to the link's folder."""

    path: str
    target: str

    def payload(self) -> dict[str, str]:
        """Return the entry as the host program's `write` command takes it."""
        return {"path": self.path, "target": self.target}
