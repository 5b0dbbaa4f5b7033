#!/usr/bin/env bash
# Builds the fuzz targets and runs each for a while; fails when one finds something, and says how to see it again.
#
#   scripts/fuzz.sh                      all targets, 30 seconds each
#   scripts/fuzz.sh head rules           only these
#   scripts/fuzz.sh --seconds 600 --seed 0 head   longer, and on another way through inputs each time
#   scripts/fuzz.sh head FILE            what the target makes of one input, and nothing else
#
# cargo-fuzz is installed to the folder `judges` of cargo's home, where it outlives the target folder. What the targets
# have found worth keeping stays in target/fuzz/corpus, so that the next run goes on where this one ends.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

cargo_fuzz=0.13.2
# Longer inputs find little more and are slow.
max_length=4096
# A stalled machine must not look like a loop without end.
timeout=60
memory_mb=1024

target="${CARGO_TARGET_DIR:-$PWD/target}/fuzz"
tools="${CARGO_HOME:-$HOME/.cargo}/judges"
all=()
for file in fuzz/fuzz_targets/*.rs; do
  all+=("$(basename "$file" .rs)")
done

seconds=30
# The same way through inputs with each run, as far as time allows: what fails here fails for everybody.
seed=1
chosen=()
inputs=()
while [ $# -gt 0 ]; do
  case "$1" in
    --seconds)
      seconds=${2:?--seconds needs a number}
      shift
      ;;
    --seconds=*) seconds=${1#--seconds=} ;;
    --seed)
      seed=${2:?--seed needs a number}
      shift
      ;;
    *)
      if [[ " ${all[*]} " == *" $1 "* ]]; then
        chosen+=("$1")
      elif [ -f "$1" ]; then
        inputs+=("$1")
      else
        echo "fuzz: there is no target or file $1; targets: ${all[*]}" >&2
        exit 2
      fi
      ;;
  esac
  shift
done
if ! [[ "$seconds" =~ ^[1-9][0-9]*$ ]]; then
  echo "fuzz: --seconds takes a whole number, not $seconds" >&2
  exit 2
fi
if [ ${#inputs[@]} -gt 0 ] && [ ${#chosen[@]} -ne 1 ]; then
  echo "fuzz: name the one target that the input is for" >&2
  exit 2
fi
if [ ${#chosen[@]} -eq 0 ]; then
  chosen=("${all[@]}")
fi

install() {
  # The engine is C++.
  scripts/debian.sh c++:g++
  if ! "$tools/bin/cargo-fuzz" --version 2>/dev/null | grep -qF "$cargo_fuzz"; then
    # Without optimisation: it only calls cargo.
    CARGO_TARGET_DIR="$target/install" cargo install --quiet --locked --debug --root "$tools" --version "$cargo_fuzz" cargo-fuzz
    rm -rf "$target/install"
  fi
}

# Without a sanitizer: all code of ours is safe Rust, and what is looked for are panics and broken promises. Address
# sanitizer would make the build longer and the targets slower, and find nothing that these do not.
build() {
  CARGO_INCREMENTAL=0 RUSTC_BOOTSTRAP=1 PATH="$tools/bin:$PATH" \
    cargo fuzz build --release --debug-assertions --sanitizer none --codegen-units 16 --target-dir "$target"
}

# Runs one target, with its output in a file.
run() {
  local name=$1 corpus="$target/corpus/$1" found="$target/found/$1" log="$target/$1.log"
  mkdir -p "$corpus" "$found"
  "$binaries/$name" "$corpus" "fuzz/seeds/$name" \
    -dict="fuzz/$name.dict" -artifact_prefix="$found/" -seed="$seed" -max_total_time="$seconds" -max_len="$max_length" \
    -timeout="$timeout" -rss_limit_mb="$memory_mb" -print_final_stats=1 >"$log" 2>&1
}

report() {
  local name=$1 code=$2 log="$target/$1.log" input
  local units rate
  units=$(sed -n 's/^stat::number_of_executed_units: *//p' "$log")
  rate=$(sed -n 's/^stat::average_exec_per_sec: *//p' "$log")
  if [ "$code" -eq 0 ]; then
    printf '  %-8s %9s inputs, %6s a second\n' "$name" "$units" "$rate"
    return
  fi
  failed=1
  input=$(sed -n 's/^.*Test unit written to //p' "$log" | tail -1)
  {
    echo "-- $name found something (exit $code); the end of $log:"
    grep -av '^ *[0-9]*: \|^ *at \|^#' "$log" | tail -n 25
    if [ -n "$input" ]; then
      echo "-- the input: $input"
      echo "-- see it again: scripts/fuzz.sh $name $input"
    fi
  } >&2
}

begun=$SECONDS
echo "-- build"
install
build
binaries=$(echo "$target"/*/release)
echo "-- build: $((SECONDS - begun))s"

if [ ${#inputs[@]} -gt 0 ]; then
  exec "$binaries/${chosen[0]}" -timeout="$timeout" -rss_limit_mb="$memory_mb" "${inputs[@]}"
fi

# As many at a time as there are processors.
lanes=$(nproc)
failed=0
begun=$SECONDS
echo "-- ${chosen[*]}, ${seconds}s each, $lanes at a time"
trap 'kill $(jobs -p) 2>/dev/null || true' EXIT
declare -A running=()
finish_one() {
  local pid code=0
  wait -n -p pid "${!running[@]}" || code=$?
  report "${running[$pid]}" "$code"
  unset "running[$pid]"
}
for name in "${chosen[@]}"; do
  if [ "${#running[@]}" -ge "$lanes" ]; then
    finish_one
  fi
  run "$name" &
  running[$!]=$name
done
while [ ${#running[@]} -gt 0 ]; do
  finish_one
done
echo "-- fuzz: $((SECONDS - begun))s"
exit "$failed"
