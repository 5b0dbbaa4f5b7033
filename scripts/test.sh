#!/usr/bin/env bash
# Runs all tests: with real sockets, and with real peers where a peer has its own idea of a protocol.
# Installs what they need first (scripts/test-deps.sh). Arguments choose tests, as for cargo test.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
. scripts/stage.sh

export PORTCULLIS_TEST_VENV="$PWD/target/test-venv"

stage peers scripts/test-deps.sh
if cargo nextest --version >/dev/null 2>&1; then
  stage build cargo nextest run --locked --workspace --no-run
  stage tests cargo nextest run --locked --workspace "$@"
else
  stage build cargo test --locked --workspace --lib --bins --tests --no-run
  stage tests cargo test --locked --workspace --lib --bins --tests "$@"
fi
# Runners of tests leave out the examples in documentation.
stage doc cargo test --locked --workspace --doc "$@"
printf '%s' "$times"
