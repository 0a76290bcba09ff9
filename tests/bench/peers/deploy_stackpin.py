"""The state with Stackpin's operations; pyinfra's for what Stackpin has none: binary and sysctl.

`sources` in the inventory is the folder with the sources, `edition` the one value that changes.
"""

from pathlib import Path

from pyinfra.context import host
from pyinfra.operations import files as pyinfra_files
from pyinfra.operations import server

from operations import accounts, files, nginx, packages, program, units
from operations.entries import Directory, File, Link
from stackpin.engine.bundle import host_program
from tests.bench.peers import state
from tests.bench.peers.state import STATE, rendered

STACK = "warehouse"
edition = int(host.data.edition)


def entry(file: state.File) -> File:
    """Render a file as a value."""
    return File(file.path, rendered(file, edition), file.mode, file.user, file.group)


packages.installed(name="Packages", names=STATE.packages)
accounts.service_account(name="Account", user=STATE.user)
body, sha256 = host_program()
program.installed(name="Host program", body=body, sha256=sha256)
files.tree(
    name="Files and directories",
    stack=STACK,
    entries=[
        *(Directory(one.path, one.mode, one.user, one.group) for one in STATE.directories),
        *map(entry, (*STATE.templates, *STATE.files, *STATE.units)),
        *(Link(one.path, one.target) for one in STATE.links),
    ],
)
pyinfra_files.put(
    name="Binary",
    src=str(Path(host.data.sources, "bin/warehouse")),
    dest=STATE.binary,
    mode="0755",
    user="root",
    group="root",
)
units.enabled(name="Units", units=[file.source for file in STATE.units], running=True)
nginx.site(
    name="Site",
    stack=STACK,
    files=[entry(STATE.site)],
    links=[Link(STATE.site_link.path, STATE.site_link.target)],
    ports=[8064],
)
server.sysctl(
    name="Sysctl",
    key=STATE.sysctl[0],
    value=int(STATE.sysctl[1]),
    persist=True,
    persist_file=STATE.sysctl_file.path,
)
