#!/usr/bin/env bash
# Installs the real peers that the tests talk to: nginx, HAProxy, Redis, PostgreSQL, curl, openssl, promtool, and a Python environment
# with implementations of gRPC, WebSocket and DNS. Safe to run again: it does only what is missing.
#
# Apart from Debian packages everything goes to target/test-venv.
set -euo pipefail
cd "$(dirname "$0")/.."

packages=(nginx:nginx-light haproxy:haproxy curl:curl openssl:openssl promtool:prometheus)
packages+=(redis-server:redis-server redis-cli:redis-tools psql:postgresql-client)
# The programs of the server are in a folder of their own, not in the PATH.
ls /usr/lib/postgresql/*/bin/initdb >/dev/null 2>&1 || packages+=(initdb:postgresql)
python3 -c 'import venv, ensurepip' 2>/dev/null || packages+=(python3-venv:python3-venv)
scripts/debian.sh "${packages[@]}"

venv=target/test-venv
requirements=gateway-cli/tests/peers/requirements.txt
stamp="$venv/.requirements"
if ! cmp -s "$requirements" "$stamp"; then
    mkdir -p target
    # An environment whose interpreter is gone or other is made anew.
    "$venv/bin/python" -c '' 2>/dev/null || python3 -m venv --clear "$venv"
    "$venv/bin/python" -m pip install --quiet --disable-pip-version-check --requirement "$requirements"
    cp "$requirements" "$stamp"
fi
