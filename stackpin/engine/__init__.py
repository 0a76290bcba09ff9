"""The only place that works with pyinfra's API: sessions, plans, applies."""

# Patches the standard library for gevent: at once, while little of it is in use.
import pyinfra_cli  # noqa: F401
