#!/bin/sh
# Builds every example and lets each check itself: it starts on a free port, sends requests through
# itself, and fails on a wrong answer. Arguments go to cargo, for example --release.
set -eu
cd "$(dirname "$0")/.."

profile=debug
for argument in "$@"; do
    [ "$argument" != --release ] || profile=release
done
binaries="${CARGO_TARGET_DIR:-target}/$profile"

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
    # Not by `cargo run`: for one package alone cargo may choose other features, and build again.
    if timeout 60 "$binaries/$example" --check; then
        echo "ok      $example"
    else
        echo "FAILED  $example"
        failed="$failed $example"
    fi
done

[ -z "$failed" ] || { echo "examples that failed their check:$failed" >&2; exit 1; }
