"""The reference frontend: one page on port 3000 that names its version."""

import os
import signal
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

VERSION = Path("/app/VERSION").read_text().strip()
PAGE = f"""<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>XingRin</title></head>
<body><h1>XingRin</h1><p id="version">{VERSION}</p></body></html>
""".encode()


class Handler(BaseHTTPRequestHandler):
    """Every path is the same page, as in a single-page application."""

    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        """Send the page."""
        self.send_response(200)
        self.send_header("Content-Type", "text/html; charset=utf-8")
        self.send_header("Content-Length", str(len(PAGE)))
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(PAGE)

    do_HEAD = do_GET  # noqa: N815 - the name is given

    def log_message(self, *_args: object) -> None:
        """Keep quiet: nginx in front could log."""


signal.signal(signal.SIGTERM, lambda *_: os._exit(0))
sys.stdout.write(f"frontend {VERSION} on port 3000\n")
ThreadingHTTPServer(("", 3000), Handler).serve_forever()
