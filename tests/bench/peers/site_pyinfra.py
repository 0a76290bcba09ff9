"""CRM and portal with pyinfra's own operations alone, as a pyinfra user writes them.

    pyinfra inventories/lab tests/bench/peers/site_pyinfra.py

Values, the unit's hardening and nginx's site are those of our own deploy files, so that both make
the same product. There is one service instead of two slots, and nothing of what stock pyinfra does
not have: rehearsal, gate, lease, backup, evidence. A second run changes nothing that is there;
where one operation does, there are not two.
"""

from io import StringIO
from pathlib import Path

from pyinfra.context import host
from pyinfra.operations import apt, files, server, systemd
from pyinfra.operations.util import any_changed

from operations import crm_content, portal_content
from operations.accounts import HOME, SHELL
from operations.refusals import variables
from operations.rendering import TEMPLATES
from stackpin.config.crm import CrmSettings
from stackpin.config.envfile import render_env
from stackpin.config.load import load
from stackpin.config.portal import PortalSettings
from stackpin.secrets import resolver

HERE = Path(__file__).parent
RELEASES, CURRENT = "/opt/crm/releases", "/opt/crm/current"
ENVIRONMENT = "/etc/crm/crm.env"
DATA = "/var/lib/crm/data"
TLS = "/etc/nginx/tls"
CERTIFICATE, KEY = f"{TLS}/portal.crt", f"{TLS}/portal.key"
SITE = "/etc/nginx/sites-available/portal.conf"

crm = load(CrmSettings, "crm_", variables(), host.name)
portal = load(PortalSettings, "portal_", variables(), host.name)
environment = crm.environment(resolver(crm, host.name)) | crm.slot_env("blue")
hardening = crm_content.unit(crm).split("\n\n# What it may write")[1]
names = portal_content.names(portal, host.data.ssh_hostname)

apt.packages(
    name="Packages",
    packages=sorted({*crm_content.PACKAGES, *portal_content.PACKAGES}),
    update=True,
    cache_time=86400,
    no_recommends=True,
)
server.user(
    name="Account",
    user=crm.user,
    system=True,
    home=HOME,
    shell=SHELL,
    ensure_home=False,
)
for path, mode, owner in (
    (DATA, "0700", crm.user),
    (crm.repo_root, "0755", crm.user),
    (TLS, "0700", "root"),
):
    files.directory(name=path, path=path, mode=mode, user=owner, group=owner)

server.shell(
    name="Publish repository",
    commands=[
        f"cd {crm.repo_root} && {{ test -d .git || runuser -u {crm.user} -- sh -c '"
        f"git init -q -b main && git config user.name {crm.user} && "
        f"git config user.email {crm.user}@localhost && "
        "git commit -q --allow-empty -m Start'; }"
    ],
)
program = files.put(
    name="Program",
    src=str(crm.artifact).format(version=crm.version),
    dest=f"{RELEASES}/{crm.version}/server",
    mode="0755",
)
current = files.link(name="Current", path=CURRENT, target=f"{RELEASES}/{crm.version}")
variables_file = files.put(
    name="Environment",
    src=StringIO(render_env(environment)),
    dest=ENVIRONMENT,
    mode="0600",
)
unit = files.template(
    name="Unit",
    src=str(HERE / "site_pyinfra.service.j2"),
    dest="/etc/systemd/system/crm.service",
    mode="0644",
    version=crm.version,
    account=crm.user,
    environment=ENVIRONMENT,
    program=f"{CURRENT}/server",
    hardening=hardening,
)
systemd.service(
    name="CRM",
    service="crm",
    running=True,
    restarted=True,
    enabled=True,
    daemon_reload=True,
    _if=any_changed(program, current, variables_file, unit),
)

files.sync(
    name="Pages", src=portal.assets, dest="/srv/portal/current", mode="0644", dir_mode="0755"
)
alternatives = ",".join(f"{'DNS' if name == portal.server_name else 'IP'}:{name}" for name in names)
server.shell(
    name="Certificate",
    commands=[
        f"test -e {CERTIFICATE} || openssl req -x509 -newkey ec -pkeyopt "
        f"ec_paramgen_curve:P-256 -nodes -sha256 -days 825 -subj /CN={portal.server_name} "
        f"-addext subjectAltName={alternatives} -keyout {KEY} -out {CERTIFICATE}"
    ],
)
site = files.template(
    name="nginx site",
    src=str(TEMPLATES / "portal/site.conf.j2"),
    dest=SITE,
    mode="0644",
    server_name=portal.server_name,
    http_port=portal.http_port,
    https_port=portal.https_port,
    ports=crm.ports,
    slot_file=crm.slot_file,
    maintenance_files=[],
    certificate=CERTIFICATE,
    key=KEY,
    certificate_sha256=None,
    root="/srv/portal",
    assets="/srv/portal/current",
    snippet=None,
)
enabled = files.link(name="Enable", path="/etc/nginx/sites-enabled/portal.conf", target=SITE)
default = files.link(name="No default site", path="/etc/nginx/sites-enabled/default", present=False)
systemd.service(name="nginx", service="nginx", running=True, enabled=True)
server.shell(
    name="Reload nginx",
    commands=["nginx -t && systemctl reload nginx"],
    _if=any_changed(site, enabled, default),
)
