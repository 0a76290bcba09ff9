"""Staging: the pins, and what differs from the defaults. `stackpin update` bumps the pins."""

# ruff: noqa: S105 - what looks like a password is a reference to one

# The release every CRM host runs.
crm_version = "v1.0.0"
crm_artifact = "artifacts/crm/crm-{version}.pyz"
crm_admin_token = "env:CRM_STAGING_ADMIN_TOKEN"
crm_repo_create = True
crm_public_url = "https://relay-staging.example.net"
crm_public_ca = "host"

portal_server_name = "relay-staging.example.net"

# XingRin and its nodes: one release for the whole fleet, locked by digest.
# xingrin_version = "v1.2.0"
# xingrin_lock_file = "inventories/staging.lock.toml"
# xingrin_public_host = "10.0.0.10"
# xingrin_registry = "registry.example.net:5000"
# xingrin_registry_username = "deploy"
# xingrin_registry_password = "env:XINGRIN_REGISTRY_PASSWORD"
# xingrin_registry_ca = "tls/registry-ca.crt"
# xingrin_allow = ["192.0.2.0/24"]
# xingrin_admin_password = "env:XINGRIN_ADMIN_PASSWORD"

# InfraCore: five services and their files, on the hosts of the group infracore.
# See docs/how-to/infracore.md.
# infracore_version = "v1.0.0"
# infracore_artifact = git(  # from stackpin.config.sources import git
#     "https://git.example.net/infra-core",
#     "{version}",
#     build=["make release"],
#     outputs=["bin", "ui/dist"],
# )
# infracore_server_name = "infra-staging.example.net"
# infracore_tls = {"certificate": "tls/infra.crt", "key": "file:~/.secrets/infra.key"}
# infracore_jwt_secret = "env:INFRACORE_JWT_SECRET"
# infracore_config = {"console": {"cors": {"enabled": True, "origins": ["https://infra-staging.example.net"]}}}
# infracore_expose = ["console"]
