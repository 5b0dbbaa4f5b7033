#!/usr/bin/env bash
# Installs Debian packages whose programs are missing. Each argument is PROGRAM:PACKAGE.
set -euo pipefail

need=()
for pair in "$@"; do
  program=${pair%%:*}
  command -v "$program" >/dev/null || [ -x "/usr/sbin/$program" ] || need+=("${pair#*:}")
done
[ ${#need[@]} -gt 0 ] || exit 0

if ! command -v apt-get >/dev/null; then
  echo "please install: ${need[*]} (this is not a Debian system)" >&2
  exit 1
fi
sudo=()
if [ "$(id -u)" != 0 ]; then
  command -v sudo >/dev/null || { echo "please run as root: apt-get install ${need[*]}" >&2; exit 1; }
  sudo=(sudo)
fi
# No services are wanted: the tests start what they need on ports of their own.
policy=/usr/sbin/policy-rc.d
if [ ! -e "$policy" ]; then
  trap '"${sudo[@]}" rm -f "$policy"' EXIT
  printf '#!/bin/sh\nexit 101\n' | "${sudo[@]}" tee "$policy" >/dev/null
  "${sudo[@]}" chmod +x "$policy"
fi
export DEBIAN_FRONTEND=noninteractive
install=(apt-get install -y -qq --no-install-recommends "${need[@]}")
"${sudo[@]}" "${install[@]}" >/dev/null 2>&1 ||
  { "${sudo[@]}" apt-get update -qq && "${sudo[@]}" "${install[@]}" >/dev/null; }
