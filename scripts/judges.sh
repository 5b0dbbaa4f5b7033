#!/usr/bin/env bash
# Lets programs that the project did not write judge the running gateway: WebSocket, HTTP/1 and HTTP/2 abuse, slow
# clients, TLS, metrics, and the same bytes sent to other proxies. Installs what it needs first. Arguments name
# judges (tests/judges/__init__.py), `--update` writes what the judges found to the files that hold expectations.
#
# Apart from Debian packages everything goes to target/judges-venv (PyPI) and to the folder `judges` of cargo's home
# (crates.io), where it outlives the target folder.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
. scripts/stage.sh

target="${CARGO_TARGET_DIR:-$PWD/target}"
export PORTCULLIS_JUDGES_VENV="$target/judges-venv"
export PORTCULLIS_JUDGES_TOOLS="${CARGO_HOME:-$HOME/.cargo}/judges"

debian() {
  local packages=(nginx:nginx-light haproxy:haproxy slowhttptest:slowhttptest promtool:prometheus openssl:openssl)
  python3 -c 'import venv, ensurepip' 2>/dev/null || packages+=(python3-venv:python3-venv)
  scripts/debian.sh "${packages[@]}"
}

python() {
  local requirements=tests/judges/requirements.txt stamp="$PORTCULLIS_JUDGES_VENV/.requirements"
  if ! cmp -s "$requirements" "$stamp"; then
    mkdir -p "$target"
    # An environment whose interpreter is gone or other is made anew.
    "$PORTCULLIS_JUDGES_VENV/bin/python" -c '' 2>/dev/null || python3 -m venv --clear "$PORTCULLIS_JUDGES_VENV"
    "$PORTCULLIS_JUDGES_VENV/bin/python" -m pip install --quiet --disable-pip-version-check --requirement "$requirements"
    cp "$requirements" "$stamp"
  fi
}

# Kept until its version changes: building it takes minutes.
smugglex() {
  local version=0.4.0 root="$PORTCULLIS_JUDGES_TOOLS"
  if ! "$root/bin/smugglex" --version 2>/dev/null | grep -qF "$version"; then
    # Without optimisation: it waits for answers most of the time.
    CARGO_TARGET_DIR="$target/judges-build" cargo install --quiet --locked --debug --root "$root" --version "$version" smugglex
    rm -rf "$target/judges-build"
  fi
}

binary() {
  cargo build --locked --workspace --bins
}

stage debian debian
stage python python
stage smugglex smugglex
if [ -z "${PORTCULLIS_BINARY:-}" ]; then
  stage binary binary
  export PORTCULLIS_BINARY="$target/debug/portcullis"
fi
export PYTHONDONTWRITEBYTECODE=1
begun=$SECONDS
echo "-- judges"
PYTHONPATH=tests "$PORTCULLIS_JUDGES_VENV/bin/python" -m judges "$@"
printf '%s  %-8s %5ds\n' "$times" judges $((SECONDS - begun))
