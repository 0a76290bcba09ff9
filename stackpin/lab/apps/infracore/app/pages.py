"""The web UI's files, where the product looks for them: below /app/ui/dist, in every mode."""

from pathlib import Path

from ...serving.http import Response

__all__ = ["Pages"]

DIST = Path("/app/ui/dist")
_TYPES = {
    ".html": "text/html; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".svg": "image/svg+xml",
    ".json": "application/json",
}
HEADERS = {
    "Content-Security-Policy": "default-src 'self'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "same-origin",
}


class Pages:
    """The files of one build of the UI, as they are at the moment of each request."""

    def __init__(self, folder: Path = DIST) -> None:
        self._folder = folder

    def __bool__(self) -> bool:
        """Whether there is a UI."""
        return (self._folder / "index.html").is_file()

    def page(self, path: str) -> Response:
        """Give the asset of this path, and the index for every other path."""
        name = path.strip("/")
        asset = self._folder / name
        if not name.startswith("assets/") or ".." in name.split("/") or not asset.is_file():
            return self._of(self._folder / "index.html", "no-cache")
        # The name of an asset has a hash of its content in it.
        return self._of(asset, "public, max-age=31536000, immutable")

    def _of(self, path: Path, cache: str) -> Response:
        kind = _TYPES.get(path.suffix, "application/octet-stream")
        headers = {**HEADERS, "Cache-Control": cache}
        return Response(body=path.read_bytes(), content_type=kind, headers=headers)
