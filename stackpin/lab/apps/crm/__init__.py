"""The reference CRM control plane: one executable file per release, standard library only.

`app/` is the program itself and is what lands on a host; `build.py` packs it, once per release
that `app/releases.py` describes, good ones and ones with a fault on purpose.
"""
