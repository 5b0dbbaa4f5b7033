#!/usr/bin/env bash
# Checks which way the crates of the workspace depend on each other, and that one crypto library is used:
#
#   core <- {plugins, ingress, mesh} <- facade <- {cli, examples, tests, bench}
#
# plugins, ingress and mesh never see each other; everything above the facade sees nothing below it.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

# The packages of the workspace that a package names, dependencies for tests and builds included.
depends_on() {
  cargo tree --quiet -p "$1" --all-features --edges all,no-proc-macro --depth 1 --prefix none --format '{p}' |
    sed 1d | awk '{print $1}' | { grep -x 'portcullis\(-[a-z]*\)\?' || true; } | sort -u
}

allowed() {
  case "$1" in
    portcullis-core) ;;
    portcullis-plugins | portcullis-ingress | portcullis-mesh) echo portcullis-core ;;
    portcullis) printf '%s\n' portcullis-core portcullis-plugins portcullis-ingress portcullis-mesh ;;
    *) echo portcullis ;;
  esac
}

members=$(cargo tree --quiet --workspace --depth 0 --prefix none --format '{p}' | awk 'NF {print $1}' | sort -u)
bad=0
count=0
for member in $members; do
  count=$((count + 1))
  for found in $(depends_on "$member"); do
    if ! allowed "$member" | grep -qx "$found"; then
      echo "$member depends on $found; it may depend on: $(allowed "$member" | paste -sd ' ')" >&2
      bad=1
    fi
  done
done
# A second crypto library would double what has to be reviewed, and reqwest-like crates pull one in unnoticed.
for crate in ring openssl openssl-sys native-tls; do
  if cargo tree --quiet --workspace --edges all --prefix none --format '{p}' | grep -q "^$crate v"; then
    echo "$crate is among the dependencies:" >&2
    cargo tree --quiet --workspace --edges all --invert "$crate" --depth 4 >&2 || true
    bad=1
  fi
done
[ "$bad" -eq 0 ] || exit 1
echo "dependencies: $count packages point the right way, one crypto library"
