"""JSON Web Tokens with HS256, as far as the console needs them: sign, and tell a good signature."""

import base64
import hashlib
import hmac
import json

__all__ = ["sign", "signed"]

_HEADER = {"alg": "HS256", "typ": "JWT"}


def sign(claims: dict[str, object], secret: str) -> str:
    """Return a token with these claims."""
    body = ".".join(_encode(json.dumps(part).encode()) for part in (_HEADER, claims))
    return f"{body}.{_encode(_digest(body, secret))}"


def signed(token: str, secret: str) -> bool:
    """Tell whether this is a HS256 token that was signed with `secret`."""
    body, dot, signature = token.rpartition(".")
    if not dot or not token.isascii() or body.count(".") != 1:
        return False
    try:
        header = json.loads(_decode(body.partition(".")[0]))
    except ValueError:
        return False
    algorithm = header.get("alg") if isinstance(header, dict) else None
    return algorithm == "HS256" and hmac.compare_digest(signature, _encode(_digest(body, secret)))


def _digest(body: str, secret: str) -> bytes:
    return hmac.new(secret.encode(), body.encode(), hashlib.sha256).digest()


def _encode(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def _decode(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
