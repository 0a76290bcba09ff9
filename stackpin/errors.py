"""Errors the user is meant to read: the fact, the culprit and what to type next."""

__all__ = ["GateFailed", "Refused", "RollbackFailed", "StackpinError"]


class StackpinError(Exception):
    """Something went wrong while working; the command ends with exit code 1."""

    exit_code = 1


class Refused(StackpinError):  # noqa: N818 - reads as what happened
    """Stackpin declined before anything was touched; exit code 3."""

    exit_code = 3


class GateFailed(StackpinError):  # noqa: N818 - reads as what happened
    """A health gate failed and the previous release is proven serving; exit code 4."""

    exit_code = 4


class RollbackFailed(StackpinError):  # noqa: N818 - reads as what happened
    """A health gate failed and what serves now is unknown or wrong; exit code 5."""

    exit_code = 5
