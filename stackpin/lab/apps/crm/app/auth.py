"""Who is asking: the admin token as a Bearer, or a signed session cookie from a login."""

import base64
import binascii
import hashlib
import hmac
import json
import os
import secrets
import time
from dataclasses import dataclass
from http.cookies import CookieError, SimpleCookie
from urllib.parse import urlsplit

from ...serving.http import HttpError, Request
from .settings import Settings
from .store import Database, now

COOKIE = "crm_admin_session"
_SAFE_METHODS = frozenset({"GET", "HEAD"})


@dataclass(frozen=True)
class Identity:
    """An authenticated caller; `session` is empty when it came with the token."""

    username: str
    expires_at: float = 0.0
    session: str = ""


class Authenticator:
    """Checks credentials. Sessions are signed, so either slot accepts the other's."""

    def __init__(self, settings: Settings, database: Database) -> None:
        self._settings = settings
        self._database = database
        self._token = os.fsencode(settings.token)

    def identify(self, request: Request) -> Identity:
        """Return the caller of an API request, or 401 (403 for a write sent by another site)."""
        scheme, _, credential = request.headers.get("authorization", "").partition(" ")
        if scheme.lower() == "bearer":
            if hmac.compare_digest(credential.strip(" ").encode("latin-1"), self._token):
                return Identity(self._settings.username)
            raise unauthorized()
        identity = self._from_cookie(request)
        if identity is None:
            raise unauthorized()
        if request.method not in _SAFE_METHODS:
            refuse_cross_site(request)
        return identity

    def login(self, username: str, password: str) -> tuple[Identity, str]:
        """Return a new session and its cookie value, or 401."""
        # Both are compared in every case, so the time taken tells nothing about either.
        name_fits = _equal(username, self._settings.username)
        password_fits = _equal(password, self._settings.password)
        if not (name_fits and password_fits):
            raise unauthorized("the user name or the password is wrong")
        expires_at = time.time() + self._settings.session_ttl
        identity = Identity(self._settings.username, expires_at, secrets.token_urlsafe(16))
        with self._database.write() as db:
            db.execute("DELETE FROM admin_sessions WHERE expires_at < ?", (time.time(),))
            db.execute(
                "INSERT INTO admin_sessions (id, username, created_at, expires_at) "
                "VALUES (?, ?, ?, ?)",
                (identity.session, identity.username, now(), expires_at),
            )
        return identity, self._sign(identity)

    def logout(self, identity: Identity) -> None:
        """End a session for good: its cookie is worthless even if somebody kept it."""
        with self._database.write() as db:
            db.execute(
                "UPDATE admin_sessions SET revoked_at = ? WHERE id = ?", (now(), identity.session)
            )

    def cookie(self, request: Request, value: str, max_age: int) -> str:
        """Return the Set-Cookie header; Secure whenever the browser came over TLS."""
        parts = [f"{COOKIE}={value}", "Path=/", f"Max-Age={max_age}", "HttpOnly", "SameSite=Strict"]
        if request.headers.get("x-forwarded-proto", "").lower() == "https":
            parts.append("Secure")
        return "; ".join(parts)

    def _sign(self, identity: Identity) -> str:
        claims = {"u": identity.username, "e": identity.expires_at, "s": identity.session}
        payload = base64.urlsafe_b64encode(json.dumps(claims).encode())
        return f"{payload.decode()}.{self._signature(payload)}"

    def _signature(self, payload: bytes) -> str:
        return hmac.new(self._token, b"crm admin session\0" + payload, hashlib.sha256).hexdigest()

    def _from_cookie(self, request: Request) -> Identity | None:
        try:
            morsel = SimpleCookie(request.headers.get("cookie", "")).get(COOKIE)
        except CookieError:
            return None
        payload, _, signature = (morsel.value if morsel else "").partition(".")
        if not _equal(signature, self._signature(payload.encode("latin-1", "replace"))):
            return None
        try:
            claims = json.loads(base64.urlsafe_b64decode(payload))
            identity = Identity(claims["u"], float(claims["e"]), claims["s"])
        except (binascii.Error, ValueError, KeyError, TypeError):
            return None
        if identity.expires_at <= time.time() or self._revoked(identity):
            return None
        return identity

    def _revoked(self, identity: Identity) -> bool:
        with self._database.read() as db:
            row = db.execute(
                "SELECT revoked_at FROM admin_sessions WHERE id = ?", (identity.session,)
            ).fetchone()
        return row is not None and row["revoked_at"] is not None


def unauthorized(message: str = "authentication is required") -> HttpError:
    """Return the 401 answer."""
    return HttpError(401, message, WWW_Authenticate='Bearer realm="crm"')


def refuse_cross_site(request: Request) -> None:
    """403 when a browser says that another site's page sent this request."""
    origin = request.headers.get("origin")
    if origin is None:
        return
    try:
        there, here = urlsplit(origin), urlsplit("//" + request.headers.get("host", ""))
        # A proxy may pass the host name without its port; then only the names are compared.
        same = there.hostname is not None and there.hostname == here.hostname
        if here.port is not None:
            same = (
                same and (there.port or {"http": 80, "https": 443}.get(there.scheme)) == here.port
            )
    except ValueError:
        same = False
    if not same:
        raise HttpError(403, "this request came from another site")


def _equal(left: str, right: str) -> bool:
    return hmac.compare_digest(_as_bytes(left), _as_bytes(right))


def _as_bytes(text: str) -> bytes:
    return text.encode("utf-8", "surrogateescape")
