"""Mirrors of what builds and docker download, declared by name or one by one."""

from __future__ import annotations

from typing import Annotated, Literal
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field

from stackpin.config.problems import invalid
from stackpin.config.types import Model

__all__ = ["PROFILES", "MirrorChoice", "Mirrors", "mirrors"]


def _base_url(value: str) -> str:
    try:
        parts = urlsplit(value)
        sound = parts.scheme in {"http", "https"} and bool(parts.hostname) and parts.port != 0
    except ValueError:
        parts, sound = urlsplit(""), False
    plain = all(c.isprintable() and not c.isspace() and c not in "'\"\\$,|" for c in value)
    if not sound or not plain or "@" in parts.netloc or parts.query or parts.fragment:
        raise invalid(
            "an http:// or https:// URL without user, query and fragment",
            "Write it as https://mirror.example.org/path.",
        )
    return value.rstrip("/")


BaseUrl = Annotated[str, AfterValidator(_base_url)]


class Mirrors(Model):
    """One URL for each thing that can be mirrored. None: from its usual place."""

    goproxy: BaseUrl | None = Field(default=None, description="Go modules, before `,direct`")
    npm: BaseUrl | None = Field(default=None, description="npm packages")
    debian: BaseUrl | None = Field(default=None, description="Debian and Ubuntu packages")
    docker: BaseUrl | None = Field(default=None, description="images of docker.io")
    alpine: BaseUrl | None = Field(default=None, description="Alpine packages")

    def build_env(self) -> dict[str, str]:
        """Environment that makes builds use these mirrors: Go and npm read it, scripts the rest.

        ALPINE_MIRROR, DEBIAN_MIRROR, GO_PROXY and NPM_REGISTRY are what InfraCore's Dockerfile
        takes as build arguments.
        """
        go = self.goproxy and f"{self.goproxy},direct"
        named = {
            "GOPROXY": go,
            "GO_PROXY": go,
            "npm_config_registry": self.npm,
            "NPM_REGISTRY": self.npm,
            "ALPINE_MIRROR": self.alpine,
            "DEBIAN_MIRROR": self.debian,
        }
        return {name: value for name, value in named.items() if value}

    def npmrc(self) -> str:
        """Text of an .npmrc, for what starts npm without the environment."""
        return f"registry={self.npm}\n" if self.npm else ""


MirrorChoice = Literal["none", "cn"] | Mirrors
PROFILES: dict[str, Mirrors] = {
    "none": Mirrors(),
    # Public mirrors inside mainland China.
    "cn": Mirrors(
        goproxy="https://goproxy.cn",
        npm="https://registry.npmmirror.com",
        debian="https://mirrors.tuna.tsinghua.edu.cn/debian",
        docker="https://docker.m.daocloud.io",
        alpine="https://mirrors.tuna.tsinghua.edu.cn/alpine",
    ),
}


def mirrors(choice: MirrorChoice) -> Mirrors:
    """Return the mirrors a variable chose."""
    return PROFILES[choice] if isinstance(choice, str) else choice
