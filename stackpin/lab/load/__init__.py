"""A strict load client: it counts what a user would notice while a lab host is being changed.

    python -m stackpin.lab.load --url https://10.77.0.11 --server-name crm.lab --ca crm.pem \
        --token-file token --seconds 20 --json result.json

It speaks HTTP over plain asyncio streams on purpose. HTTP libraries keep pools and quietly repeat
a request whose connection died; that is kind to users and useless for measuring. Here nothing is
ever repeated: every reset, wrong status, wrong body and missing answer is one failure. The only
forgiveness is the one HTTP itself gives: after an answer with `Connection: close` the connection
may go, and the next request opens another.
"""

from stackpin.lab.load.clients import percentiles, run
from stackpin.lab.load.plan import Plan, RefusedTargetError, Result, check_target
from stackpin.lab.load.process import Load

__all__ = ["Load", "Plan", "RefusedTargetError", "Result", "check_target", "percentiles", "run"]
