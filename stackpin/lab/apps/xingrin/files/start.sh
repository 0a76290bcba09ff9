#!/bin/bash
# What the real server does at each start: the database first, then the web server.
set -e
cd /app/backend
python3 manage.py makemigrations
python3 manage.py migrate --noinput
python3 manage.py init_default_engine
python3 manage.py init_wordlists
# In place of this shell, so that SIGTERM reaches it and requests are finished.
exec python3 -m xingrin
