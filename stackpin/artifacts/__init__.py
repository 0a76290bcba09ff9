"""Artifacts: found here, downloaded or built from source, and proven to be the ones meant."""

from stackpin.artifacts.cache import Cache
from stackpin.artifacts.model import Output, Resolved, Say, quiet
from stackpin.artifacts.pinned import Artifact, Pinned
from stackpin.artifacts.resolving import resolve

__all__ = ["Artifact", "Cache", "Output", "Pinned", "Resolved", "Say", "quiet", "resolve"]
