# To be sourced: runs the parts of a script by name and keeps their times.
times=

# `stage NAME COMMAND…`
stage() {
  local name=$1 begun=$SECONDS took
  shift
  echo "-- $name"
  "$@"
  took=$((SECONDS - begun))
  times+="$(printf '  %-8s %5ds' "$name" "$took")"$'\n'
}
