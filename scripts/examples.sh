#!/bin/sh
# Builds every example and lets each check itself: it starts on a free port, sends requests through
# itself, and fails on a wrong answer. Arguments go to cargo, for example --release.
set -eu
cd "$(dirname "$0")/.."

examples=''
packages=''
for manifest in examples/*/Cargo.toml; do
    example=$(basename "$(dirname "$manifest")")
    examples="$examples $example"
    packages="$packages -p $example"
done

# shellcheck disable=SC2086  # a list of words
cargo build --quiet --locked $packages "$@"

failed=''
for example in $examples; do
    # shellcheck disable=SC2086
    if timeout 60 cargo run --quiet --locked -p "$example" "$@" -- --check; then
        echo "ok      $example"
    else
        echo "FAILED  $example"
        failed="$failed $example"
    fi
done

[ -z "$failed" ] || { echo "examples that failed their check:$failed" >&2; exit 1; }
