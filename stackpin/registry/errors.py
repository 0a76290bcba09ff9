"""What a registry refuses or fails at, each with what to do next. None carries a password."""

from __future__ import annotations

from stackpin.errors import Refused

__all__ = [
    "BadAnswer",
    "RateLimited",
    "RegistryProblem",
    "RegistryUnreachable",
    "TagMissing",
    "TlsProblem",
    "Unauthorized",
]


class RegistryProblem(Refused):
    """A question to a registry that got no good answer: nothing was touched, exit code 3."""

    remedy = "Ask the registry by hand: docker buildx imagetools inspect IMAGE"
    expected = "an answer"

    def __init__(self, registry: str, image: str, found: str, remedy: str = "") -> None:
        """`registry` is its address, `image` what was asked for, `found` what came instead."""
        self.registry, self.image, self.found, self.told = registry, image, found, remedy
        text = f"registry {registry}: {image}: found {found}, expected {self.expected}. "
        super().__init__(text + (remedy or self.remedy))


class TagMissing(RegistryProblem):
    """The registry has no such tag, or no such image at all."""

    remedy = "Push that image, or choose a version that has every image (`stackpin versions`)."
    expected = "the image"


class Unauthorized(RegistryProblem):
    """The registry wants other credentials, or the account may not read this image."""

    remedy = (
        "Set the stack's registry_username and registry_password to an account that may pull "
        "it; several registries answer so for an image that does not exist, too."
    )
    expected = "leave to read it"


class RateLimited(RegistryProblem):
    """The registry answers 429 and asks to wait longer than a command may."""

    remedy = "Wait and run it again, log in with an account, or use a mirror."
    expected = "an answer within the registry's limits"


class TlsProblem(RegistryProblem):
    """No TLS connection that could be trusted. Never tried again, and never asked of a mirror."""

    remedy = "Set the stack's registry_ca to the certificate that signed the registry's own."
    expected = "a certificate that a known authority signed for this name"


class RegistryUnreachable(RegistryProblem):
    """No connection, no answer in time, or errors of the server itself, again and again."""

    remedy = "See that it runs and can be reached from here (curl -v https://REGISTRY/v2/)."
    expected = "an answer in time"


class BadAnswer(RegistryProblem):
    """Something answered that is not what the registry protocol says."""

    remedy = "See that this address is a registry, and that no proxy answers in its place."
    expected = "an answer of the registry protocol"
