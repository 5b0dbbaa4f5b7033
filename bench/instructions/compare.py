"""Compares counts of instructions with the committed ones, or writes them down.

    compare.py [--update] COMMITTED COUNTED...

COMMITTED is `bench/instructions.toml`; COUNTED has what gungraun printed with `--output-format=json`. Of several files
the lowest count of each bench holds. The exit status is 3 when all that is wrong is that a bench needs more.
"""

import argparse
import json
import pathlib
import subprocess
import sys
import tomllib

# Per cent by which a count may differ without anybody having to say so.
TOLERANCE = 3.0

HEADER = """\
# Instructions of what every request passes through, counted by callgrind. `scripts/instructions.sh` compares with
# these counts and fails when one has grown by more than 3 %; a change that means to cost more runs it with `--update`
# and says why in its commit. Counts hold for this compiler only.
"""


def counted(paths):
    """Counts by name, in the order of the benches."""
    counts = {}
    for line in "".join(path.read_text() for path in paths).splitlines():
        bench = json.loads(line)
        # instructions::GROUP::FUNCTION
        name = bench["module_path"].split("::", 1)[1] + "::" + bench["id"]
        count = bench["profiles"][0]["data"]["total"]["metrics"]["Ir"]["values"]["new"]
        counts[name] = min(count, counts.get(name, count))
    if not counts:
        sys.exit("instructions: nothing was counted")
    return counts


def compiler():
    """The version of rustc, as `1.95.0`."""
    return subprocess.run(["rustc", "--version"], check=True, capture_output=True, text=True).stdout.split()[1]


def write(path, rustc, counts):
    lines = [f'"{name}" = {count}\n' for name, count in counts.items()]
    path.write_text(f'{HEADER}rustc = "{rustc}"\n\n[counts]\n{"".join(lines)}')


def percent(before, now):
    return (now - before) / before * 100


def table(committed, counts):
    """Rows of name, committed, now and change."""
    width = max(map(len, committed | counts))
    yield f"{'':{width}} {'committed':>10} {'now':>10}   change"
    for name in committed | counts:
        before, now = committed.get(name), counts.get(name)
        change = f"{percent(before, now):+.2f} %" if before and now else ""
        yield f"{name:{width}} {before or '-':>10} {now or '-':>10}  {change:>9}"


def compare(committed, counts):
    """Benches that need more, that are on one side only, and that need less, each as a sentence."""
    changes = {name: percent(committed[name], counts[name]) for name in committed if name in counts}
    more = [f"{name} needs {change:.1f} % more" for name, change in changes.items() if change > TOLERANCE]
    odd = [f"{name} is not committed" for name in counts if name not in committed]
    odd += [f"{name} is committed, but there is no such bench" for name in committed if name not in counts]
    less = [f"{name} needs {-change:.1f} % less" for name, change in changes.items() if change < -TOLERANCE]
    return more, odd, less


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--update", action="store_true")
    parser.add_argument("committed", type=pathlib.Path)
    parser.add_argument("counted", type=pathlib.Path, nargs="+")
    arguments = parser.parse_args()

    path = arguments.committed
    counts = counted(arguments.counted)
    rustc = compiler()
    document = tomllib.loads(path.read_text()) if path.exists() else {"rustc": "none", "counts": {}}
    committed = document["counts"]
    print("\n".join(table(committed, counts)))
    if arguments.update:
        write(path, rustc, counts)
        print(f"instructions: {len(counts)} counts written to {path}")
        return
    update = "scripts/instructions.sh --update"
    if document["rustc"] != rustc:
        sys.exit(
            f"instructions: {path} was counted with rustc {document['rustc']}, this is {rustc}: the counts cannot be"
            f" compared. Run `{update}` on a state that is known to be good, and commit the file with the new compiler."
        )
    more, odd, less = compare(committed, counts)
    if more or odd:
        print(*more, *odd, f"instructions: if that is meant, run `{update}` and say why in the commit", sep="\n")
        sys.exit(1 if odd else 3)
    if less:
        print(*less, f"instructions: please run `{update}`, so that it stays so", sep="\n")
    print(f"instructions: {len(counts)} counts within {TOLERANCE:.0f} % of {path}")


if __name__ == "__main__":
    main()
