"""The environment of XingRin's server, and which variables an inventory may add to it."""

from __future__ import annotations

__all__ = ["FIXED", "GENERATED", "OWN"]

# What the server's container is told whatever the inventory says. The port of the database and
# that of Redis are those inside the network: the product uses one variable for both sides.
FIXED = {
    "REDIS_HOST": "redis",
    "REDIS_PORT": "6379",
    "REDIS_DB": "0",
    "SERVER_PORT": "8888",
    "SCAN_RESULTS_DIR": "/app/backend/results",
    "LOG_DIR": "/app/backend/logs",
    "ENABLE_COMMAND_LOGGING": "true",
}
# Made on the host once, unless given. Django reads SECRET_KEY; the product's own files only ever
# set DJANGO_SECRET_KEY, which nobody reads, so that installs share a public constant.
GENERATED = {"DB_PASSWORD": 32, "SECRET_KEY": 64, "DJANGO_SECRET_KEY": 64}
OWN = {
    "DB_HOST": "xingrin_db_host",
    "DB_PORT": "xingrin_db_port",
    "DB_NAME": "xingrin_db_name",
    "DB_USER": "xingrin_db_user",
    "DB_PASSWORD": "xingrin_db_password",
    "SECRET_KEY": "xingrin_secret_key",
    "DJANGO_SECRET_KEY": "xingrin_secret_key",
    "ADMIN_PASSWORD": "xingrin_admin_password",
    "PUBLIC_HOST": "xingrin_public_host",
    "PUBLIC_PORT": "xingrin_public_port",
    "DOCKER_USER": "xingrin_registry and xingrin_namespace",
    "IMAGE_TAG": "xingrin_version",
    "TASK_EXECUTOR_IMAGE": "xingrin_dev",
    "DEBUG": "xingrin_dev",
    **{name: "nothing: it is fixed" for name in FIXED if name not in {"ENABLE_COMMAND_LOGGING"}},
}
