"""The images on this host: pulled by digest, checked, and named by their tag as well."""

from __future__ import annotations

import re
import shutil
import time
from collections.abc import Sequence
from typing import Any

from stackpin.host.drivers.docker import CONFIG, digest_of, docker, image, plain
from stackpin.host.errors import HostError, refused
from stackpin.host.progress import say
from stackpin.host.stack import Stack

__all__ = ["COMMANDS", "ensure", "forget", "present", "repository"]

PULL_SECONDS = 900.0  # of one image; a registry that is only slow gets this long
ATTEMPTS = 3
PAUSE = 3.0
ROOT = "/var/lib/docker"
MIB = 1024 * 1024
_DIGEST = re.compile(r"\b[0-9a-f]{12,}\b")
# What a failed pull's message says, what that means, and what to do.
_MEANING = (
    (
        ("no space left on device", "disk quota exceeded"),
        "the disk of /var/lib/docker is full",
        "make room (`docker system df`), then run again",
        False,
    ),
    (
        ("x509", "certificate", "http response to https client", "tls: "),
        "TLS: the registry's certificate is not trusted by this host",
        "give its CA (xingrin_registry_ca), or put it into /etc/docker/certs.d/REGISTRY/ca.crt",
        False,
    ),
    (
        ("toomanyrequests", "429", "rate limit"),
        "429: the registry limits how much may be pulled",
        "wait, log in, or use a mirror",
        False,
    ),
    (
        ("unauthorized", "no basic auth", "authentication required", "access denied", "denied:"),
        "401: the registry does not let us in",
        "check xingrin_registry_username and xingrin_registry_password",
        False,
    ),
    (
        ("manifest unknown", "not found", "404", "repository does not exist"),
        "404: the registry has no such image",
        "push it, or pin a version that is there",
        False,
    ),
    (
        ("timeout", "deadline exceeded", "connection refused", "no route to host", "no such host"),
        "the registry does not answer",
        "see that it runs and that this host reaches it",
        True,
    ),
    (("eof", "connection reset", "no answer within"), "the transfer was cut", "run again", True),
)


def present(reference: str) -> str | None:
    """Return the id of the local image with exactly this digest, None when it is not here."""
    found = image(by_digest(reference))
    return None if found is None else str(found["id"])


def repository(reference: str) -> str:
    """Return a reference without tag and digest."""
    name = plain(reference)
    head, colon, tag = name.rpartition(":")
    return head if colon and "/" not in tag else name


def by_digest(reference: str) -> str:
    """Return repo@sha256:...; the tag has no say in what is pulled."""
    digest = digest_of(reference)
    if digest is None or not digest.startswith("sha256:"):
        raise refused(
            f"image {reference!r}: expected repo:tag@sha256:...; pin it (`stackpin pin`) so that "
            "its digest is known"
        )
    return f"{repository(reference)}@{digest}"


def ensure(references: Sequence[str], config: str = CONFIG) -> dict[str, Any]:
    """Have each image, "repo:tag@sha256:...", here and named repo:tag too.

    config: DOCKER_CONFIG with credentials. Returns {pulled: [ref], present: [ref], seconds}.
    Raises HostError(refused) naming image, what the registry said and what to do.
    """
    started = time.monotonic()
    pulled: list[str] = []
    there: list[str] = []
    wanted = list(dict.fromkeys(references))
    for number, reference in enumerate(wanted, 1):
        if present(reference) is None:
            say(f"pulling {number} of {len(wanted)}: {reference}")
            began = time.monotonic()
            _pull(reference, config)
            say(f"pulled {plain(reference)} in {time.monotonic() - began:.1f} s")
            pulled.append(reference)
        else:
            there.append(reference)
        _name(reference)
    seconds = round(time.monotonic() - started, 3)
    return {"pulled": pulled, "present": there, "seconds": seconds}


def _pull(reference: str, config: str) -> None:
    for attempt in range(1, ATTEMPTS + 1):
        try:
            answer = docker(
                "pull", "--quiet", by_digest(reference),
                timeout=PULL_SECONDS, check=False, config=config,
            )  # fmt: skip
            told = "" if answer.ok else answer.err.strip() or answer.out.strip()
        except HostError as error:
            if "no answer within" not in error.message:
                raise
            told = error.message
        if not told and present(reference) is not None:
            return
        told = told or "pulled, but the image with this digest is not here"
        problem, again = _problem(reference, told)
        if not again or attempt == ATTEMPTS:
            raise problem
        say(f"{problem.message}; trying again")
        time.sleep(PAUSE * attempt)


def _problem(reference: str, told: str) -> tuple[HostError, bool]:
    # Without digests: a 404 or a 429 among their digits says nothing.
    lower = _DIGEST.sub("", told.lower())
    line = told.splitlines()[-1][:400] if told else ""
    for signs, meaning, remedy, again in _MEANING:
        if any(sign in lower for sign in signs):
            text = f"image {reference}: {meaning}; {remedy}; docker said: {line}"
            return refused(text, image=reference, reason=meaning), again
    text = f"image {reference}: could not be pulled: {line}; see `journalctl -u docker`"
    return refused(text, image=reference, reason=line), False


def _name(reference: str) -> None:
    """Give the image its tag: the product itself runs `docker run --pull=missing repo:tag`."""
    name = plain(reference)
    if ":" not in name.rpartition("/")[2]:
        return
    wanted, named = image(by_digest(reference)), image(name)
    if wanted is not None and (named is None or named["id"] != wanted["id"]):
        if named is not None:
            say(f"{name} meant another image on this host; it names the pinned one now")
        docker("tag", by_digest(reference), name)


def forget(references: Sequence[str]) -> list[str]:
    """Remove images nobody needs; one that a container still uses stays. Returns those gone."""
    gone = []
    for reference in references:
        wanted, named = image(by_digest(reference)), image(plain(reference))
        if wanted is None:
            continue
        names = [by_digest(reference)]
        if named is not None and named["id"] == wanted["id"]:
            names.insert(0, plain(reference))  # else the tag means somebody else's image
        for name in names:
            if docker("image", "rm", name, check=False, timeout=120).ok:
                gone.append(name)
    return gone


def images_command(stack: Stack, payload: dict[str, Any]) -> dict[str, Any]:  # noqa: ARG001
    """List what is here: images {} -> {images: [{ref, digest, id}], disk_free_mb}.

    ref: repo:tag, or null for an image known by digest only. digest: as its registry named it,
    null for one made here. disk_free_mb: MiB free where docker keeps images.
    """
    rows: list[dict[str, Any]] = []
    answer = docker(
        "image", "ls", "--no-trunc", "--digests",
        "--format", "{{.Repository}}\t{{.Tag}}\t{{.Digest}}\t{{.ID}}",
    )  # fmt: skip
    for line in answer.out.splitlines():
        name, tag, digest, number = (*line.split("\t"), "", "", "", "")[:4]
        ref = None if "<none>" in (name, tag) else f"{name}:{tag}"
        rows.append({
            "ref": ref,
            "repository": None if name == "<none>" else name,
            "digest": None if digest in ("", "<none>") else digest,
            "id": number,
        })  # fmt: skip
    return {"images": rows, "disk_free_mb": free_mb()}


def free_mb() -> int:
    """MiB free where docker keeps images."""
    root = docker("info", "--format", "{{.DockerRootDir}}", check=False).out.strip() or ROOT
    return shutil.disk_usage(root).free // MIB


COMMANDS = {"images": images_command}
