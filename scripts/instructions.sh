#!/usr/bin/env bash
# Counts the instructions of what every request passes through and compares them with bench/instructions.toml:
# a count more than 3 % above the committed one fails. Installs what it needs first.
#
#   scripts/instructions.sh            compare
#   scripts/instructions.sh --update   write the counts to bench/instructions.toml
#
# valgrind comes from Debian; the program that runs it (gungraun-runner, crates.io) goes to the folder `judges` of
# cargo's home, where it outlives the target folder.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
. scripts/stage.sh

target="${CARGO_TARGET_DIR:-$PWD/target}"
tools="${CARGO_HOME:-$HOME/.cargo}/judges"
counts="$target/instructions.jsonl"

case "${1:-}" in
  '' | --update) ;;
  *) echo "instructions: unknown argument $1; known: --update" >&2; exit 2 ;;
esac

# Of the version that the benches are built with, and kept until that changes: building it takes minutes.
runner() {
  local version
  version=$(awk '/^name = "gungraun-runner"$/ { getline; gsub(/version = |"/, ""); print }' Cargo.lock)
  if ! "$tools/bin/gungraun-runner" --version 2>/dev/null | grep -qF "$version"; then
    # Without optimisation: it waits for valgrind most of the time.
    CARGO_TARGET_DIR="$target/judges-build" cargo install --quiet --locked --debug --root "$tools" --version "$version" gungraun-runner
    rm -rf "$target/judges-build"
  fi
}

build() {
  cargo bench --quiet --locked --package bench-instructions --no-run
}

# `count FILE` writes one JSON document for each bench.
count() {
  cargo bench --quiet --locked --package bench-instructions -- \
    --output-format=json --parallel=auto >"$1" 2>"$1.log" || { cat "$1.log" >&2; return 1; }
}

compare() {
  python3 bench/instructions/compare.py "$@"
}

stage debian scripts/debian.sh valgrind:valgrind
stage runner runner
export PATH="$tools/bin:$PATH"
stage build build
stage count count "$counts"
printf '%s' "$times"
status=0
compare "$@" bench/instructions.toml "$counts" || status=$?
# What hashes or looks at the clock differs a little between runs: nothing fails for that.
if [ "$status" -eq 3 ]; then
  times=
  stage again count "$counts.again"
  printf '%s' "$times"
  status=0
  compare bench/instructions.toml "$counts" "$counts.again" || status=$?
fi
exit "$status"
