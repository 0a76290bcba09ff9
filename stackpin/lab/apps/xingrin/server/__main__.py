"""Serve: `python3 -m xingrin`."""

import sys

from .httpd import main

sys.exit(main())
