"""The application's list of workers over HTTP: the few calls that registration needs.

The API takes requests without a login and answers in camelCase. Only the standard library is used.
"""

from __future__ import annotations

import json
import ssl
import urllib.error
import urllib.request
from collections.abc import Iterator
from typing import Any

from stackpin.host.errors import failed, refused

__all__ = ["UnreachableError", "WorkerApi"]

TIMEOUT = 10.0  # seconds for one answer
PAGE_SIZE = 500
BODY_LIMIT = 8 * 1024 * 1024  # bytes; 200 workers are about 60 KB


class UnreachableError(Exception):
    """Nothing that speaks this API answered; the text says what was found."""


class WorkerApi:
    """One server, e.g. WorkerApi("https://203.0.113.5:8083"). Times out after 10 s a call."""

    def __init__(self, url: str, *, verify: bool = True, ca: str | None = None) -> None:
        """verify: check the certificate, against `ca` (PEM text) when given."""
        self.url = url.rstrip("/")
        if not self.url.startswith(("http://", "https://")):
            raise refused(f"server_url {url!r}: expected http:// or https://")
        self._context: ssl.SSLContext | None = None
        if self.url.startswith("https://"):
            try:
                self._context = ssl.create_default_context(cadata=ca or None)
            except ssl.SSLError as problem:
                raise refused(f"the CA given for {url}: not a PEM certificate: {problem}") from None
            if not verify:
                self._context.check_hostname = False
                self._context.verify_mode = ssl.CERT_NONE

    def workers(self) -> Iterator[dict[str, Any]]:
        """Yield every worker of every page: {id, name, ipAddress, isLocal, status, ...}."""
        page, seen = 1, set()
        while True:
            what = f"/api/workers/?page={page}&pageSize={PAGE_SIZE}"
            status, answer = self._ask("GET", what)
            if status == 404 and page > 1:
                return  # there were more rows when the first page was read
            answer = self._expect(status, answer, f"GET {what}")
            rows = answer.get("results")
            if not isinstance(rows, list):
                raise UnreachableError(f"{self.url}/api/workers/: no list of results in the answer")
            for row in rows:
                # A row added meanwhile pushes others to the next page.
                if row.get("id") not in seen:
                    seen.add(row.get("id"))
                    yield row
            if page >= int(answer.get("totalPages") or 1) or not rows:
                return
            page += 1

    def get(self, worker: int) -> dict[str, Any] | None:
        """Return one worker, None when the server does not know it."""
        status, answer = self._ask("GET", f"/api/workers/{worker}/")
        if status == 404:
            return None
        return self._expect(status, answer, f"GET /api/workers/{worker}/")

    def create(self, name: str, address: str, ssh_port: int, username: str) -> dict[str, Any]:
        """Add a remote worker and return it. No password: the server's own updates stay off."""
        body = {"name": name, "ipAddress": address, "sshPort": ssh_port, "username": username}
        status, answer = self._ask("POST", "/api/workers/", {**body, "password": ""})
        if status == 400 and "password" in json.dumps(answer):
            status, answer = self._ask("POST", "/api/workers/", body)
        return self._expect(status, answer, "POST /api/workers/")

    def delete(self, worker: int) -> bool:
        """Remove a worker; False when the server did not know it."""
        status, answer = self._ask("DELETE", f"/api/workers/{worker}/")
        if status == 404:
            return False
        self._expect(status, answer, f"DELETE /api/workers/{worker}/")
        return True

    def _expect(self, status: int, answer: dict[str, Any], what: str) -> dict[str, Any]:
        if 200 <= status < 300:
            return answer
        raise failed(
            f"{self.url}: {what}: expected 200, got {status}: {json.dumps(answer)[:300]}; "
            "look at the server's log",
            status=status,
        )

    def _ask(
        self, method: str, path: str, body: dict[str, Any] | None = None
    ) -> tuple[int, dict[str, Any]]:
        request = urllib.request.Request(  # noqa: S310 (the scheme was checked)
            self.url + path,
            method=method,
            data=None if body is None else json.dumps(body).encode(),
            headers={"Content-Type": "application/json", "Accept": "application/json"},
        )
        handlers: list[urllib.request.BaseHandler] = [urllib.request.ProxyHandler({})]
        if self._context is not None:
            handlers.append(urllib.request.HTTPSHandler(context=self._context))
        try:
            with urllib.request.build_opener(*handlers).open(request, timeout=TIMEOUT) as got:
                return got.status, _document(got.read(BODY_LIMIT))
        except urllib.error.HTTPError as error:
            with error:
                return error.code, _document(error.read(BODY_LIMIT))
        except (OSError, ValueError) as error:
            reason = getattr(error, "reason", None) or error
            raise UnreachableError(f"{self.url}: {method} {path}: {reason}") from error


def _document(raw: bytes) -> dict[str, Any]:
    if not raw.strip():
        return {}
    try:
        value = json.loads(raw)
    except ValueError:
        return {"text": raw.decode("utf-8", "replace")[:300]}
    return value if isinstance(value, dict) else {"value": value}
