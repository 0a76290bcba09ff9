#!/bin/sh
# The task image: it says what it would do, and with what.
echo "xingrin-worker $(cat /app/VERSION) server=${SERVER_URL:-} local=${IS_LOCAL:-false} task=$*"
