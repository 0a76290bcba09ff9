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
