"""Real Debian hosts on this machine, for trying things out and for tests."""

from stackpin.lab.hosts import Lab
from stackpin.lab.ssh import LabHost

__all__ = ["Lab", "LabHost"]
