"""Which images there are, and in which versions."""

__all__ = ["POSTGRES", "REDIS", "VERSIONS", "XINGRIN", "missing"]

XINGRIN = (
    "xingrin-server",
    "xingrin-frontend",
    "xingrin-nginx",
    "xingrin-worker",
    "xingrin-agent",
)
"""The images that share one tag."""

VERSIONS = {
    "v1.1.0": "good",
    "v1.2.0": "good",
    "v1.3.0": "the server never becomes healthy: /api/ answers 500",
    "v1.4.0": "the agent ends with exit code 1 after three seconds",
    "v1.5.0": "the frontend image is missing",
    "v1.6.0": "the models need a table and columns that an older database lacks",
    "v1.1.0-dev": "good, as a development build",
    "v1.2.0-dev": "good, as a development build",
}
"""Tag -> what is special about it. The programs read the tag from /app/VERSION."""

POSTGRES = ("postgres", "17")
REDIS = ("redis", "8")


def missing(name: str, tag: str) -> bool:
    """Tell whether this image was never published in this version."""
    return (name, tag) == ("xingrin-frontend", "v1.5.0")
