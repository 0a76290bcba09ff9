"""Users: registering and logging in. There is no first administrator."""

import hashlib
import hmac
import os
import re
import secrets
import sqlite3
import time
from datetime import UTC, datetime

from ...serving.http import HttpError, Request, Response
from .releases import LOGIN_HISTORY
from .service import Context, now
from .tokens import sign, signed

__all__ = ["Accounts"]

ROUNDS = 20_000
"""Few for the real world; a login here takes some 10 ms of a lab that has two cores."""
_NAME = re.compile(r"[A-Za-z0-9_.-]{3,50}")
_EMAIL = re.compile(r"[^@\s]+@[^@\s]+")


class Accounts:
    """The routes below /api/v1/auth/, and the answer to whoever brings a token."""

    def __init__(self, context: Context) -> None:
        self._settings = context.settings
        self._database = context.database
        self._remembers = LOGIN_HISTORY in context.release.features

    def register(self, request: Request) -> Response:
        """Create a user with the role `user`: 201; 409 when the name or address is taken."""
        name, email, password = _texts(request, "username", "email", "password")
        if not _NAME.fullmatch(name) or not _EMAIL.fullmatch(email) or len(password) < 6:
            raise HttpError(400, "Invalid username, email or password")
        hashed = _hash(password, os.urandom(16))
        try:
            with self._database.write() as connection:
                added = connection.execute(
                    "INSERT INTO users (username, email, password_hash, created_at) "
                    "VALUES (?, ?, ?, ?)",
                    (name, email, hashed, now()),
                )
        except sqlite3.IntegrityError as error:
            raise HttpError(409, "Username or email already exists") from error
        user = {"id": added.lastrowid, "username": name, "email": email, "role": "user"}
        return Response.of_json({"message": "User registered successfully", "user": user}, 201)

    def login(self, request: Request) -> Response:
        """Give a token for a name and a password: 200, else 401."""
        name, password = _texts(request, "username", "password")
        with self._database.read() as connection:
            user = connection.execute("SELECT * FROM users WHERE username = ?", (name,)).fetchone()
        stored = user["password_hash"] if user else _hash("", b"")
        salt = bytes.fromhex(stored.partition("$")[0])
        if not hmac.compare_digest(stored, _hash(password, salt)) or user is None:
            raise HttpError(401, "Invalid credentials")
        shown = {name: user[name] for name in ("id", "username", "email", "role")}
        ends = time.time() + self._settings.token_seconds
        with self._database.write() as connection:
            # Like the product: what is kept is not the hash of the token that is given out.
            connection.execute(
                "INSERT INTO sessions (user_id, token_hash, expires_at) VALUES (?, ?, ?)",
                (user["id"], secrets.token_hex(32), datetime.fromtimestamp(ends, UTC).isoformat()),
            )
            if self._remembers:
                shown |= _remember(connection, user["id"])
        claims = {"user_id": user["id"], "username": name, "role": user["role"], "exp": int(ends)}
        claims["jti"] = secrets.token_hex(8)
        token = sign(claims, self._settings.jwt_secret)
        return Response.of_json({"token": token, "expires_at": int(ends), "user": shown})

    def refuse(self, request: Request) -> Response:
        """Answer a call that needs a login: no session is ever found, as in the product."""
        kind, _, token = request.headers.get("authorization", "").partition(" ")
        if kind != "Bearer" or not token:
            raise HttpError(401, "Authorization header required")
        good = signed(token.strip(), self._settings.jwt_secret)
        raise HttpError(401, "Session expired" if good else "Invalid token")


def _remember(connection: sqlite3.Connection, user: int) -> dict[str, object]:
    """Keep this login; tell when the one before was, and how many there were."""
    (before,) = connection.execute(
        "SELECT last_login_at FROM users WHERE id = ?", (user,)
    ).fetchone()
    moment = now()
    connection.execute("UPDATE users SET last_login_at = ? WHERE id = ?", (moment, user))
    connection.execute(
        "INSERT INTO login_history (user_id, logged_in_at) VALUES (?, ?)", (user, moment)
    )
    (count,) = connection.execute(
        "SELECT count(*) FROM login_history WHERE user_id = ?", (user,)
    ).fetchone()
    return {"last_login_at": before, "logins": count}


def _texts(request: Request, *names: str) -> list[str]:
    body = request.json()
    values = [body.get(name) for name in names]
    if not all(isinstance(value, str) and value for value in values):
        raise HttpError(400, f"{', '.join(names)} are required")
    return [str(value) for value in values]


def _hash(password: str, salt: bytes) -> str:
    digest = hashlib.pbkdf2_hmac("sha256", password.encode(), salt, ROUNDS)
    return f"{salt.hex()}${digest.hex()}"
