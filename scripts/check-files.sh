#!/usr/bin/env bash
# Checks what no compiler looks at: length of files, unfinished code, lint settings, white space at line ends.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

# Lines of a Rust file that are neither blank nor tests.
limit=500
bad=0
complain() {
  echo "$*" >&2
  bad=1
}

sources=$(git ls-files '*.rs')
checked=0
while IFS= read -r file; do
  case "$file" in
    '' | tests.rs | *_tests.rs | */tests.rs | tests/* | */tests/*) continue ;;
  esac
  checked=$((checked + 1))
  # Counting ends where `#[cfg(test)] mod tests { .. }` begins; by convention it comes last.
  lines=$(awk '
    pending && /^mod [a-z_]+ \{/ { exit }
    { pending = (/^#\[cfg\(test\)\]$/ || (pending && /^#\[/)) }
    NF { count++ }
    END { print count + 0 }
  ' "$file")
  if [ "$lines" -gt "$limit" ]; then
    complain "$file: $lines lines without blank ones and tests; the limit is $limit. Split it by subject."
  fi
done <<<"$sources"

# Written so that this file does not find itself.
unfinished='\b(TO''DO|FIX''ME|XX''X)\b|\b(to''do|unimple''mented|d''bg)!\('
if hits=$(git grep -nE "$unfinished" -- '*.rs' '*.sh' '*.toml' '.ci/run'); then
  complain "unfinished code; finish it, or open an issue and say in the code what does not work:"$'\n'"$hits"
fi

if hits=$(git grep -nE '[[:blank:]]+$' -- '*.rs' '*.sh' '*.toml' '*.md' '*.yaml' '*.yml' '.ci/run'); then
  complain "white space at the end of a line:"$'\n'"$hits"
fi

while IFS= read -r manifest; do
  grep -q '^\[package\]' "$manifest" || continue
  if ! awk '/^\[lints\]$/ { found = 1; next } /^\[/ { found = 0 } found && /^workspace = true$/ { ok = 1 } END { exit !ok }' "$manifest"; then
    complain "$manifest: [lints] workspace = true is missing"
  fi
done < <(git ls-files 'Cargo.toml' '*/Cargo.toml')

[ "$bad" -eq 0 ] || exit 1
echo "files: $checked sources within $limit lines, nothing unfinished"
