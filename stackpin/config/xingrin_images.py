"""Which images XingRin runs, computed from its variables."""

from __future__ import annotations

from stackpin.config.xingrin_types import DOCKER_HUB

__all__ = ["NODE_ROLES", "ROLES", "XingrinImages"]

ROLES = ("server", "frontend", "nginx", "worker", "agent")  # the five images on one tag
NODE_ROLES = ("agent", "worker")


class XingrinImages:
    """Methods over the image variables; the fields are in xingrin_fields."""

    version: str
    registry: str
    namespace: str
    dev: bool
    redis_image: str
    postgres_image: str

    @property
    def image_tag(self) -> str:
        """The tag of the five images: the pin, with -dev behind it in dev mode."""
        return f"{self.version}-dev" if self.dev else self.version

    @property
    def docker_user(self) -> str:
        """What the product puts before its image names (DOCKER_USER)."""
        if self.registry == DOCKER_HUB:
            return self.namespace
        return f"{self.registry}/{self.namespace}"

    def repository(self, role: str) -> str:
        """Repository of one of the five images, without a tag."""
        return f"{self.docker_user}/xingrin-{role}"

    def images(self) -> dict[str, str]:
        """Role -> "repository:tag" of every image the fleet runs; what the lock file locks."""
        own = {role: f"{self.repository(role)}:{self.image_tag}" for role in ROLES}
        return {**own, "redis": self.redis_image, "postgres": self.postgres_image}
