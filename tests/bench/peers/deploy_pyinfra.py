"""The state with pyinfra's own operations, as a pyinfra user writes it.

    pyinfra INVENTORY tests/bench/peers/deploy_pyinfra.py

The inventory's `sources` is the folder with the sources, `edition` the one value that changes.
"""

from pathlib import Path

from pyinfra.context import host
from pyinfra.operations import apt, files, server, systemd
from pyinfra.operations.util import any_changed

from tests.bench.peers.state import STATE, values

sources = Path(host.data.sources)

apt.packages(name="Packages", packages=list(STATE.packages))
server.user(
    name="Account",
    user=STATE.user,
    system=True,
    home=STATE.home,
    shell=STATE.shell,
    ensure_home=False,
)
for directory in STATE.directories:
    files.directory(
        name=directory.path,
        path=directory.path,
        mode=directory.mode,
        user=directory.user,
        group=directory.group,
    )
for file in STATE.templates:
    files.template(
        name=file.path,
        src=str(sources / "templates" / file.source),
        dest=file.path,
        mode=file.mode,
        user=file.user,
        group=file.group,
        **values(int(host.data.edition)),
    )
for file in STATE.files:
    files.put(
        name=file.path,
        src=str(sources / "files" / file.source),
        dest=file.path,
        mode=file.mode,
        user=file.user,
        group=file.group,
    )
files.put(
    name=STATE.binary,
    src=str(sources / "bin/warehouse"),
    dest=STATE.binary,
    mode="0755",
    user="root",
    group="root",
)
for link in STATE.links:
    files.link(name=link.path, path=link.path, target=link.target)
units = [
    files.put(
        name=file.path,
        src=str(sources / "files" / file.source),
        dest=file.path,
        mode=file.mode,
        user=file.user,
        group=file.group,
    )
    for file in STATE.units
]
systemd.daemon_reload(name="Read units", _if=any_changed(*units))
for file in STATE.units:
    systemd.service(name=file.source, service=file.source, running=True, enabled=True)
site = files.put(
    name=STATE.site.path,
    src=str(sources / "files" / STATE.site.source),
    dest=STATE.site.path,
    mode=STATE.site.mode,
    user="root",
    group="root",
)
enabled = files.link(
    name=STATE.site_link.path, path=STATE.site_link.path, target=STATE.site_link.target
)
server.shell(
    name="Reload nginx",
    commands=["nginx -t && systemctl reload nginx"],
    _if=any_changed(site, enabled),
)
server.sysctl(
    name="Sysctl",
    key=STATE.sysctl[0],
    value=int(STATE.sysctl[1]),
    persist=True,
    persist_file=STATE.sysctl_file.path,
)
