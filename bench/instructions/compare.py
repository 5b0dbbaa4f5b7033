"""Compares counts of instructions with the committed ones, or writes them down.

    compare.py [--update] COMMITTED COUNTED

COMMITTED is `bench/instructions.toml`; COUNTED has what gungraun printed with `--output-format=json`.
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


def counted(path):
    """Counts by name, in the order of the benches."""
    counts = {}
    for line in path.read_text().splitlines():
        bench = json.loads(line)
        # instructions::GROUP::FUNCTION
        name = bench["module_path"].split("::", 1)[1] + "::" + bench["id"]
        counts[name] = bench["profiles"][0]["data"]["total"]["metrics"]["Ir"]["values"]["new"]
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
    """Rows of name, committed, now, change; and what is wrong."""
    width = max(map(len, committed | counts))
    yield f"{'':{width}} {'committed':>10} {'now':>10}  change"
    for name in committed | counts:
        before, now = committed.get(name), counts.get(name)
        if before is None:
            change = "is not committed"
        elif now is None:
            change = "is committed, but there is no such bench"
        else:
            change = f"{percent(before, now):+.2f} %"
        yield f"{name:{width}} {before or '-':>10} {now or '-':>10}  {change}"


def compare(committed, counts):
    """Complaints, which fail, and remarks, which do not."""
    both = committed.keys() & counts.keys()
    changes = {name: percent(committed[name], counts[name]) for name in both}
    complaints = [f"{name} needs {change:.1f} % more" for name, change in changes.items() if change > TOLERANCE]
    complaints += [f"{name} is not in the file, or is there in vain" for name in committed.keys() ^ counts.keys()]
    remarks = [f"{name} needs {-change:.1f} % less" for name, change in changes.items() if change < -TOLERANCE]
    return sorted(complaints), sorted(remarks)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--update", action="store_true")
    parser.add_argument("committed", type=pathlib.Path)
    parser.add_argument("counted", type=pathlib.Path)
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
    complaints, remarks = compare(committed, counts)
    if complaints:
        print(*complaints, sep="\n", file=sys.stderr)
        sys.exit(f"instructions: run `{update}` if that is meant, and say why in the commit")
    if remarks:
        print(*remarks, f"instructions: please run `{update}`, so that it stays so", sep="\n")
    print(f"instructions: {len(counts)} counts within {TOLERANCE:.0f} % of {path}")


if __name__ == "__main__":
    main()
