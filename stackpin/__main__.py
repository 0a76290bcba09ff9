"""`python -m stackpin`, the same as the `stackpin` command."""

from stackpin.cli import main

main(prog_name="stackpin")
