"""What holds for every host of every inventory; an inventory's own file overrides it."""

from stackpin.engine.transport import NoDelayTransport

# Log in as a user who may use sudo without a password; set False where you log in as root.
_sudo = True

# About 40 ms less per remote command; see NoDelayTransport.
ssh_paramiko_connect_kwargs = {"transport_factory": NoDelayTransport}

# The host key must be known already: `ssh HOST` once, or ssh-keyscan over a trusted line.
ssh_strict_host_key_checking = "yes"
