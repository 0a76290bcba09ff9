"""Passwords and the session cookie, which is only as good as SECRET_KEY."""

import base64
import hashlib
import hmac
import os
import time
from http.cookies import CookieError, SimpleCookie

__all__ = ["COOKIE", "check_password", "hash_password", "open_session", "user_of"]

COOKIE = "sessionid"
ROUNDS = 20_000
SESSION_SECONDS = 14 * 24 * 3600


def hash_password(password: str) -> str:
    """Return what is stored in auth_user."""
    salt = os.urandom(12).hex()
    return f"pbkdf2_sha256${ROUNDS}${salt}${_derive(password, salt, ROUNDS)}"


def check_password(password: str, stored: str) -> bool:
    """Compare with a stored password."""
    _kind, rounds, salt, wanted = stored.split("$")
    return hmac.compare_digest(_derive(password, salt, int(rounds)), wanted)


def open_session(user: str, key: str, now: float | None = None) -> str:
    """Return a cookie value for `user`, signed with `key`."""
    end = int((time.time() if now is None else now) + SESSION_SECONDS)
    text = f"{base64.urlsafe_b64encode(user.encode()).decode()}:{end}"
    return f"{text}:{_sign(text, key)}"


def user_of(cookies: str, key: str, now: float | None = None) -> str | None:
    """Return the user a Cookie header belongs to; None when unsigned, foreign or expired."""
    try:
        morsel = SimpleCookie(cookies).get(COOKIE)
    except CookieError:
        return None
    text, _, signature = (morsel.value if morsel else "").rpartition(":")
    if not text or not hmac.compare_digest(_sign(text, key), signature):
        return None
    user, _, end = text.partition(":")
    if int(end) < (time.time() if now is None else now):
        return None
    return base64.urlsafe_b64decode(user).decode()


def _derive(password: str, salt: str, rounds: int) -> str:
    return hashlib.pbkdf2_hmac("sha256", password.encode(), salt.encode(), rounds).hex()


def _sign(text: str, key: str) -> str:
    return hmac.new(key.encode(), text.encode(), hashlib.sha256).hexdigest()
