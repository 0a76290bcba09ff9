"""What the environment says. The names are those of the real server."""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

__all__ = ["INSECURE_KEY", "Settings", "released"]

INSECURE_KEY = "django-insecure-default-key"
"""Used when SECRET_KEY is not set. DJANGO_SECRET_KEY is not read: a trap of the real server."""

LOCAL_DATABASES = {"postgres", "localhost", "127.0.0.1"}


def released(path: Path = Path("/app/VERSION")) -> str:
    """Return the version this image was built as; empty outside an image."""
    return path.read_text().strip() if path.exists() else ""


@dataclass(frozen=True)
class Settings:
    """All that the server is told from outside."""

    image_tag: str = ""
    release: str = ""
    secret_key: str = INSECURE_KEY
    admin_password: str = "admin"  # noqa: S105 - the real default
    debug: bool = False
    db_host: str = "postgres"
    db_port: int = 5432
    db_name: str = "xingrin"
    db_user: str = "postgres"
    db_password: str = ""
    redis_host: str = "redis"
    redis_port: int = 6379
    redis_db: int = 0
    public_host: str = ""
    log_level: str = "INFO"
    log_dir: str = ""
    command_logging: bool = True

    @classmethod
    def read(cls, env: Mapping[str, str] = os.environ) -> "Settings":
        """Take the settings from `env`; an empty variable counts as missing."""
        given = {name: value for name, value in env.items() if value}
        return cls(
            image_tag=given.get("IMAGE_TAG", ""),
            release=released(),
            secret_key=given.get("SECRET_KEY", INSECURE_KEY),
            admin_password=given.get("ADMIN_PASSWORD", "admin"),
            debug=given.get("DEBUG", "False").lower() == "true",
            db_host=given.get("DB_HOST", "postgres"),
            db_port=int(given.get("DB_PORT", "5432")),
            db_name=given.get("DB_NAME", "xingrin"),
            db_user=given.get("DB_USER", "postgres"),
            db_password=given.get("DB_PASSWORD", ""),
            redis_host=given.get("REDIS_HOST", "redis"),
            redis_port=int(given.get("REDIS_PORT", "6379")),
            redis_db=int(given.get("REDIS_DB", "0")),
            public_host=given.get("PUBLIC_HOST", ""),
            log_level=given.get("LOG_LEVEL", "INFO"),
            log_dir=given.get("LOG_DIR", ""),
            command_logging=given.get("ENABLE_COMMAND_LOGGING", "true").lower() == "true",
        )

    def worker_database(self, local: bool) -> str:
        """Return the database host a task container is told: remote ones come in from outside."""
        if local or self.db_host not in LOCAL_DATABASES:
            return self.db_host
        return self.public_host

    def worker_redis(self, local: bool) -> str:
        """Return the Redis address a task container is told."""
        host = "redis" if local else self.public_host
        return f"redis://{host}:{self.redis_port}/{self.redis_db}"
