"""The part of the CRM's variables that others read: nginx its ports, the portal its address."""

from __future__ import annotations

from pydantic import Field

from stackpin.config.hoststack import SlotPorts
from stackpin.config.types import HostName, HttpsUrl, LocalPath, Model


class CrmUpstream(Model):
    """What others need to know of the CRM: nginx its ports, the portal its public address."""

    ports: SlotPorts = Field(
        default_factory=SlotPorts,
        description="Loopback ports of both slots and of the rehearsal.",
        examples=[{"blue": 18190, "green": 18191, "rehearsal": 18192}],
    )
    public_url: HttpsUrl | None = Field(
        default=None,
        description="Where the world reaches the portal. None: no public checks.",
        examples=["https://sub.example.org"],
    )
    public_address: HostName | None = Field(
        default=None,
        description="Connect to this address for public checks instead of what DNS says.",
        examples=["192.0.2.10"],
    )
    public_ca: LocalPath = Field(
        default="system",
        description='What public checks trust: "system", "host" (exactly the certificate found on '
        "the host through SSH), or a file of certificates.",
        examples=["host"],
    )

    @property
    def slot_file(self) -> str:
        """The file whose presence means that green is live."""
        return "/var/lib/stackpin/crm/live.green"

    @property
    def maintenance_file(self) -> str:
        """The file whose presence makes nginx answer 503."""
        return "/var/lib/stackpin/crm/maintenance"
