"""The CRM: one loopback service in two slots, its database, its publish repository.

    pyinfra inventories/prod deploys/crm.py

Refusals come first, while nothing has been changed. A second run changes nothing.
"""

from pathlib import Path

from pyinfra.context import host, state

from operations import (
    accounts,
    crm_content,
    files,
    packages,
    program,
    refusals,
    releases,
    repository,
    units,
)
from stackpin.config.crm import CrmSettings
from stackpin.config.load import load
from stackpin.engine.bundle import host_program
from stackpin.secrets import resolver

STACK = crm_content.STACK

with refusals.refusing():
    settings = load(CrmSettings, "crm_", refusals.variables(), host.name)
    resolve = resolver(settings, host.name)
    release, artifact = crm_content.release(
        settings, resolve, Path(state.cwd or "."), refusals.builds_nothing(state.inventory)
    )
refusals.require_service_account("crm_user", settings.user)
refusals.require_repository(
    "crm_repo_root", settings.repo_root, settings.user, settings.repo_create
)
refusals.require_no_other_deploy(STACK)
refusals.require_ports_of_live(settings.ports)

packages.installed(name="CRM: packages", names=[*crm_content.PACKAGES, *settings.shared.packages])
accounts.service_account(name="CRM: service account", user=settings.user)
body, sha256 = host_program()
program.installed(name="CRM: host program", body=body, sha256=sha256)
files.tree(
    name="CRM: files and directories",
    stack=STACK,
    entries=crm_content.entries(settings, resolve),
)
units.enabled(name="CRM: start at boot", units=[f"stackpin-boot@{STACK}.service"])
repository.work_tree(
    name="CRM: publish repository",
    path=settings.repo_root,
    user=settings.user,
    create=settings.repo_create,
)
releases.activate(name="CRM: release", stack=STACK, release=release, artifact=artifact)
