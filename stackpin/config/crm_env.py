"""Which environment variables an inventory may hand to the CRM besides those with a setting."""

from __future__ import annotations

ENV = "SUB2API_CRM_"
OWN = {  # variables with a setting of their own
    f"{ENV}ADMIN_TOKEN": "crm_admin_token",
    f"{ENV}ADMIN_USERNAME": "crm_admin_username",
    f"{ENV}ADMIN_PASSWORD": "crm_admin_password",
    f"{ENV}ADMIN_SESSION_TTL": "crm_admin_session_ttl",
    f"{ENV}LISTEN_ADDR": "crm_ports",
    f"{ENV}REPO_ROOT": "crm_repo_root",
    f"{ENV}SQLITE_DSN": "nothing: the database is at a fixed place",
}
