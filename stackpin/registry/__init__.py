"""A client of OCI and Docker registries: which tags there are, and which content they name."""
