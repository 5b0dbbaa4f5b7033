#!/usr/bin/env bash
# Installs the real peers that the tests talk to: nginx, curl, openssl, promtool, and a Python environment
# with a gRPC and a WebSocket implementation. Safe to run again: it does only what is missing.
#
# Apart from Debian packages everything goes to target/test-venv.
set -euo pipefail
cd "$(dirname "$0")/.."

packages=(nginx:nginx-light curl:curl openssl:openssl promtool:prometheus)
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
