"""InfraCore's services, their ports, and where things lie on its host."""

from __future__ import annotations

from typing import Literal, get_args

from pydantic import Field

from stackpin.config.hoststack import SlotPorts
from stackpin.config.types import Model, Port

__all__ = [
    "DATA",
    "ETC",
    "HOME",
    "LOGS",
    "METRICS",
    "REHEARSALS",
    "SECRETS",
    "SERVICES",
    "SITE",
    "SITE_LINK",
    "Overlap",
    "PublicPorts",
    "Service",
    "Slot",
    "Slots",
]

Service = Literal["snap", "probe", "orchestrator", "console", "gate"]
SERVICES: tuple[Service, ...] = get_args(Service)  # in the order of a rollout
Slot = Literal["blue", "green", "rehearsal"]

HOME = "/opt/infra-core"
ETC = "/etc/infra-core"
DATA = "/var/lib/infra-core"
LOGS = "/var/log/infra-core"
REHEARSALS = "/var/lib/infra-core-rehearsal"
SECRETS = f"{ETC}/secrets.env"  # made once on the host: the secret that signs tokens
SITE = "/etc/nginx/sites-available/stackpin-infracore.conf"
SITE_LINK = "/etc/nginx/sites-enabled/stackpin-infracore.conf"
METRICS = 1000  # gate serves its own health and metrics on its port plus this


class PublicPorts(Model):
    """The ports clients know."""

    gate: Port = Field(default=80, description="HTTP")
    gate_tls: Port = Field(default=443, description="HTTPS, ended by nginx")
    console: Port = Field(default=8082, description="console's API")
    orchestrator: Port = Field(default=9090, description="orchestrator")
    probe: Port = Field(default=8085, description="probe")
    snap: Port = Field(default=8086, description="snap")


class Slots(Model):
    """Loopback ports of each service's slots and rehearsal."""

    gate: SlotPorts = Field(
        default=SlotPorts(blue=18180, green=18181, rehearsal=18182),
        description="with each port, the one 1000 above it",
    )
    console: SlotPorts = SlotPorts(blue=18282, green=18283, rehearsal=18284)
    orchestrator: SlotPorts = SlotPorts(blue=18292, green=18293, rehearsal=18290)
    probe: SlotPorts = SlotPorts(blue=18285, green=18286, rehearsal=18287)
    snap: SlotPorts = SlotPorts(blue=18288, green=18289, rehearsal=18291)


class Overlap(Model):
    """Whether both slots of a service run during a switch. False: stopped, then started."""

    gate: bool = True
    console: bool = True
    orchestrator: bool = Field(default=False, description="two of them must not act at once")
    probe: bool = True
    snap: bool = True
