"""Production: the pins, and what differs from the defaults. `stackpin update` bumps the pins."""

# ruff: noqa: S105 - what looks like a password is a reference to one

stackpin_production = True

# The release every CRM host runs.
crm_version = "v1.0.0"
crm_artifact = "artifacts/crm/crm-{version}.pyz"
crm_admin_token = "env:CRM_ADMIN_TOKEN"
crm_repo_root = "/srv/crm/repo"
crm_public_url = "https://relay.example.net"

portal_server_name = "relay.example.net"
# portal_tls = {"certificate": "tls/relay.crt", "key": "file:~/.secrets/relay.key"}
