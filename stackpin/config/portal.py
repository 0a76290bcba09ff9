"""The portal's variables (portal_*): nginx in front of the CRM, its certificate, its pages."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import Field, field_validator, model_validator

from stackpin.config.checks import (
    BaseCheck,
    CertificateCheck,
    Check,
    HttpCheck,
    Where,
    distinct_names,
)
from stackpin.config.common import Also, PublicEdge, Resolve, SecretUse, Shared, StackSettings
from stackpin.config.crm import CrmSettings
from stackpin.config.crm_checks import public
from stackpin.config.hoststack import HostStack, Listeners, Static
from stackpin.config.needs import VERSIONS
from stackpin.config.problems import invalid
from stackpin.config.types import HostName, LocalPath, Model, SecretRef
from stackpin.config.upstream import CrmUpstream


class TlsFiles(Model):
    """A certificate of your own: its chain as a local file, its key as a secret."""

    certificate: LocalPath
    key: SecretRef


class PortalSettings(StackSettings, PublicEdge):
    """Settings of the portal. Get one from `load(PortalSettings, "portal_", data, host)`.

    `upstream` holds what nginx must know of the CRM, read from the crm_* variables.
    """

    also: ClassVar[dict[str, Also]] = {
        "shared": Also("stackpin_", Shared, frozenset()),
        "upstream": Also("crm_", CrmUpstream, frozenset(CrmSettings.model_fields)),
    }

    upstream: CrmUpstream = CrmUpstream()

    server_name: HostName = Field(
        description="Name the portal is served under, also in its certificate.",
        examples=["sub.example.org"],
    )
    assets: LocalPath = Field(
        default="portal", description="Folder of the pages, relative to the repository."
    )
    tls: Literal["self-signed"] | TlsFiles = Field(
        default="self-signed",
        description="The certificate: made once on the host, or your own files.",
        examples=[{"certificate": "tls/fullchain.pem", "key": "file:~/.secrets/portal.key"}],
    )
    nginx_snippet: LocalPath | None = Field(
        default=None,
        description="File whose text goes into the server block; `nginx -t` judges it first.",
        examples=["snippets/portal.conf"],
    )
    keep_releases: Annotated[int, Field(ge=2, le=100)] = Field(
        default=5, description="Releases of the pages kept on the host."
    )
    extra_checks: list[Check] = Field(
        default_factory=list,
        description="Health checks beside those built in (see the page on checks).",
        examples=[[{"kind": "certificate", "name": "certificate-30", "days": 30}]],
    )

    @field_validator("extra_checks")
    @classmethod
    def _differ(cls, value: list[Check]) -> list[Check]:
        for check in value:
            if check.where == "slot":
                raise invalid(
                    f"no check of a slot ({check.name}): the portal has none",
                    'Give it "where": "host" or "public".',
                )
        distinct_names([*_host_checks("name", 443), *public("https://name"), *value])
        return value

    @model_validator(mode="after")
    def _two_ports(self) -> Self:
        if self.http_port == self.https_port:
            raise invalid("portal_http_port and portal_https_port to differ", "Change one.")
        return self

    def checks(self, where: Where | None = None) -> list[BaseCheck]:
        """List checks of nginx on the host, of the public portal, and the extra ones."""
        outside = public(self.upstream.public_url)[:1] if self.upstream.public_url else []
        every: list[BaseCheck] = [
            *_host_checks(self.server_name, self.https_port),
            *outside,
            *self.extra_checks,
        ]
        return [check for check in every if where in (None, check.where)]

    def host_stack(self, resolve: Resolve | None = None) -> HostStack:  # noqa: ARG002
        """Say what the host is told; no part of it is secret."""
        return HostStack(
            stack="portal",
            kind="static",
            user="root",
            opt="/opt/portal",
            data="/var/lib/portal",
            overlap=True,
            rehearsal=False,
            keep_releases=self.keep_releases,
            checks=[c.as_json() for c in self.checks() if c.where != "public"],
            listeners=Listeners(allowed=self.allowed()),
            static=Static(root="/srv/portal", link="current"),
        )

    def needs(self, artifact_bytes: int = 0) -> dict[str, Any]:
        """Say what the host must offer, as the host's `preflight` reads it."""
        return {
            "disk_mb": 64,
            "memory_mb": 32,
            "ports": [self.http_port, self.https_port],
            "paths": ["/srv", "/etc"],
            "repo_root": None,
            "repo_create": False,
            "database": None,
            "web_user": "www-data",
            "artifact_bytes": artifact_bytes,
            "commands": ["python3", "systemctl", "ss"],
            "versions": {"nginx": VERSIONS["nginx"]},
        }

    def secrets(self) -> list[SecretUse]:
        """List the certificate's key, when it is not made on the host."""
        if isinstance(self.tls, TlsFiles):
            return [SecretUse("portal_tls['key']", self.tls.key, multiline=True)]
        return []


def _host_checks(name: str, port: int) -> list[BaseCheck]:
    return [
        HttpCheck(
            name="portal",
            where="host",
            url=f"https://127.0.0.1:{port}/portal/",
            headers={"Host": name},
        ),
        CertificateCheck(name="certificate", port=port, days=7, required=False),
    ]
