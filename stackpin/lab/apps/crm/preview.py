"""Look at the portal without a lab: serve its pages and pass its API calls on to a running CRM.

    python -m stackpin.lab.apps.crm.preview --crm 127.0.0.1:18081 --portal portal --port 8080

It does what nginx does on a host: it strips `/portal-admin-api` and sends the same strict
Content-Security-Policy, so a page that works here works there.
"""

import argparse
import http.client
import mimetypes
import ssl
import sys
from collections.abc import Sequence
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import unquote

API = "/portal-admin-api"
POLICY = "default-src 'self'; frame-ancestors 'none'; base-uri 'none'; form-action 'self'"
_PASSED_ON = ("Authorization", "Content-Type", "Cookie", "Origin", "Host")
_PASSED_BACK = ("Content-Type", "Set-Cookie", "X-App-Version", "Allow", "WWW-Authenticate")


class Preview(ThreadingHTTPServer):
    """The server. It listens on loopback only and stops with `shutdown()`."""

    daemon_threads = True
    request_queue_size = 256

    def __init__(
        self, crm: str, portal: Path, port: int = 0, tls: ssl.SSLContext | None = None
    ) -> None:
        self.crm = crm
        self.portal = portal.resolve()
        self._tls = tls
        super().__init__(("127.0.0.1", port), _Handler)

    @property
    def url(self) -> str:
        """Return the address it serves, without a path."""
        return f"{'https' if self._tls else 'http'}://127.0.0.1:{self.server_port}"

    def finish_request(self, request: object, client_address: object) -> None:
        """Speak TLS in the thread of the connection, so one slow handshake stops nobody."""
        if self._tls:
            request = self._tls.wrap_socket(request, server_side=True)  # type: ignore[arg-type]
        super().finish_request(request, client_address)  # type: ignore[arg-type]

    def handle_error(self, request: object, client_address: object) -> None:
        """Keep quiet about clients that went away."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Preview
    disable_nagle_algorithm = True
    wbufsize = -1

    def do_GET(self) -> None:
        if self.path.startswith(f"{API}/"):
            self._pass_on()
        else:
            self._page()

    def do_HEAD(self) -> None:
        self.do_GET()

    def do_POST(self) -> None:
        self._pass_on()

    def do_PUT(self) -> None:
        self._pass_on()

    def do_DELETE(self) -> None:
        self._pass_on()

    def _page(self) -> None:
        path = unquote(self.path.partition("?")[0])
        if path in ("/", "/kimi-portal/"):
            self._reply(302, b"", {"Location": "/portal/"})
            return
        target = (self.server.portal / path.removeprefix("/portal/")).resolve()
        if target.is_dir():
            target /= "index.html"
        inside = path.startswith("/portal/") and target.is_relative_to(self.server.portal)
        if not inside or not target.is_file():
            self._reply(404, b"not found", {})
        else:
            kind = mimetypes.guess_type(target.name)[0] or "application/octet-stream"
            headers = {"Content-Type": kind, "Content-Security-Policy": POLICY}
            self._reply(200, target.read_bytes(), headers)

    def _pass_on(self) -> None:
        if not self.path.startswith(f"{API}/"):
            self._reply(404, b"not found", {})
            return
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        upstream = http.client.HTTPConnection(self.server.crm, timeout=30)
        try:
            headers = {name: self.headers[name] for name in _PASSED_ON if name in self.headers}
            upstream.request(self.command, self.path.removeprefix(API), body or None, headers)
            answer = upstream.getresponse()
            back = {n: str(answer.headers[n]) for n in _PASSED_BACK if n in answer.headers}
            self._reply(answer.status, answer.read(), back)
        except OSError:
            self._reply(502, b"the CRM does not answer", {})
        finally:
            upstream.close()

    def _reply(self, status: int, body: bytes, headers: dict[str, str]) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        if status != 204:
            self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 (the name is given)
        pass


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line."""
    parser = argparse.ArgumentParser(prog="crm.preview", description="Serve the portal locally.")
    parser.add_argument("--crm", default="127.0.0.1:18081", help="host:port of a running CRM")
    parser.add_argument("--portal", type=Path, default=Path("portal"), help="folder of the pages")
    parser.add_argument("--port", type=int, default=8080)
    options = parser.parse_args(arguments)
    server = Preview(options.crm, options.portal, options.port)
    sys.stdout.write(f"{server.url}/portal/\n")
    try:
        server.serve_forever()
    except KeyboardInterrupt:
        server.server_close()
    return 0


if __name__ == "__main__":
    sys.exit(main())
