#!/bin/sh
# Started as root, it gives the data directory to redis and goes on as that user.
set -e
[ "${1#-}" != "$1" ] && set -- redis-server "$@"
if [ "$1" = redis-server ]; then
  # Other containers reach it by the network, without a password.
  set -- "$@" --protected-mode no
  if [ "$(id -u)" = 0 ]; then
    mkdir -p /data
    chown redis:redis /data
    cd /data
    exec setpriv --reuid=redis --regid=redis --clear-groups -- "$@"
  fi
fi
exec "$@"
