#!/bin/bash
# The reference agent: one heartbeat, a pause, for ever. Its traps are those of the real one:
# it forces IS_LOCAL in a container, waits for a key that the server never sends (need_update),
# and has no trap for SIGTERM, so as process 1 it only ends by SIGKILL.

say() { echo "[$(date -u +%FT%TZ)] [agent] $*"; }

if [ "${AGENT_DISABLED:-false}" = true ]; then
  say "disabled"
  exit 0
fi

url="${HEARTBEAT_API_URL:-${SERVER_URL:-}}"
interval="${AGENT_INTERVAL:-3}"
version="${IMAGE_TAG:-unknown}"
local_node="${IS_LOCAL:-false}"
[ -f /.dockerenv ] && local_node=true
proc=/proc
[ -d /host/proc ] && proc=/host/proc

if [ -z "$url" ]; then
  say "error: neither HEARTBEAT_API_URL nor SERVER_URL is set"
  exit 1
fi
say "version $version, server $url, every ${interval}s"

post() { # path body -> answer, then the status on a line of its own
  curl -k -s -m 10 -X POST -H 'Content-Type: application/json' -d "$2" \
    -w '\n%{http_code}' "$url$1" 2>/dev/null
}

register() {
  local name="${WORKER_NAME:-Worker-$HOSTNAME}" answer
  answer=$(post /api/workers/register/ "{\"name\": \"$name\", \"is_local\": $local_node}")
  WORKER_ID=$(printf '%s' "$answer" | grep -oE '"workerId": *[0-9]+' | grep -oE '[0-9]+')
  [ -n "$WORKER_ID" ] && say "registered as $name, worker $WORKER_ID"
}

cpu_ticks() { # idle and all
  awk '/^cpu /{for (i = 2; i <= NF; i++) all += $i; print $5 + $6, all}' "$proc/stat"
}

cpu_percent() {
  local first second
  first=$(cpu_ticks)
  sleep 0.5
  second=$(cpu_ticks)
  echo "$first $second" | awk '{d = $4 - $2; printf "%.1f", (d > 0 ? 100 * (1 - ($3 - $1) / d) : 0)}'
}

memory_percent() {
  awk '/^MemTotal:/{all = $2} /^MemAvailable:/{free = $2}
    END {printf "%.1f", (all > 0 ? 100 * (1 - free / all) : 0)}' "$proc/meminfo"
}

if [ -z "$WORKER_ID" ]; then
  for attempt in $(seq 1 30); do
    curl -k -s -m 10 "$url/api/" >/dev/null 2>&1 && break
    say "the server does not answer yet ($attempt/30)"
    sleep 5
  done
  until register; do
    say "not registered; again in 5 s"
    sleep 5
  done
fi

baked=$(cat /app/VERSION 2>/dev/null)
while true; do
  cpu=$(cpu_percent)
  body="{\"cpu_percent\": $cpu, \"memory_percent\": $(memory_percent), \"version\": \"$version\"}"
  answer=$(post "/api/workers/$WORKER_ID/heartbeat/" "$body")
  status=${answer##*$'\n'}
  [ "$status" = 200 ] || say "heartbeat failed: HTTP ${status:-000}"
  if printf '%s' "$answer" | grep -qE '"need_update": *true'; then
    say "update wanted"
    exit 0
  fi
  if [ "$baked" = v1.4.0 ]; then
    sleep 2
    say "fatal: this version is broken"
    exit 1
  fi
  sleep "$interval"
done
