"""The reference InfraCore: five services that are one executable file each, and a web UI.

`app/` is the program and lands on a host; `ui/` is built with npm; `build.py` makes a bundle of
both, once per release that `app/releases.py` describes, good ones and ones with a fault on purpose.
"""
