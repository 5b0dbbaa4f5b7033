"""Tables of results: medians, spans, and ratios within rounds."""

import collections
import dataclasses
import statistics
from collections.abc import Callable

from .peers import BASELINE, OURS
from .scenarios import CONTESTS


@dataclasses.dataclass(frozen=True)
class Column:
    title: str
    # The number of a row of results.
    value: Callable
    digits: int = 1
    span: bool = False
    # How the numbers of all rounds become one.
    together: Callable = statistics.median


def field(name, divisor=1):
    return lambda row: row[name] / divisor


BAD = Column("bad", field("bad"), 0, together=sum)
OTHERS = Column("others %", field("others_percent"), 0)
CPU = Column("CPU µs/request", field("cpu_us"), 1, span=True)
MEMORY = Column("RSS MiB", field("memory_kib", 1024))

CLOSED = [
    CPU,
    Column("user", field("user_us")),
    Column("system", field("system_us")),
    Column("requests/s", field("rps"), 0, span=True),
    Column("p50 ms", field("p50_us", 1000), 2),
    Column("p99 ms", field("p99_us", 1000), 2, span=True),
    MEMORY,
    Column("new upstream connections/1000", field("new_upstream_per_1000"), 2),
    OTHERS,
    BAD,
]
OPEN = [
    Column("p99 ms", field("p99_us", 1000), 2, span=True),
    Column("p50 ms", field("p50_us", 1000), 2),
    Column("p99.9 ms", field("p999_us", 1000), 2),
    Column("unfinished", field("unfinished"), 0, together=sum),
    Column("sent late ms, p99", field("late_p99_us", 1000), 2),
    CPU,
    MEMORY,
    OTHERS,
    BAD,
]
HOLD = [
    Column("bytes/connection", field("bytes_per_connection"), 0, span=True),
    Column("start MiB", field("start_kib", 1024)),
    Column("loaded MiB", field("held_kib", 1024)),
    Column("connections", field("connections"), 0),
    Column("idle CPU %", field("idle_cpu_percent"), 2),
    BAD,
]
# The columns by load; ratios are those of the first one.
COLUMNS = {"open": OPEN, "hold": HOLD}


def columns_of(contest):
    return COLUMNS.get(contest.variants[0].load, CLOSED)


def ratios(rounds, value, label, base):
    """The ratio of one to another in each round that both have."""
    pairs = [(rows[label], rows[base]) for rows in rounds if label in rows and base in rows]
    return [value(mine) / value(other) for mine, other in pairs if value(other)]


def number(values, column):
    text = f"{column.together(values):,.{column.digits}f}"
    if column.span and len(values) > 1:
        text += f" ({min(values):,.{column.digits}f}–{max(values):,.{column.digits}f})"
    return text


def ratio(values):
    if not values:
        return "–"
    text = f"{statistics.median(values):.2f}"
    return f"{text} ({min(values):.2f}–{max(values):.2f})" if len(values) > 1 else text


def table(contest, rows):
    """A Markdown table of one contest, the best first."""
    columns = columns_of(contest)
    key = columns[0].value
    by_label, by_round = collections.defaultdict(list), collections.defaultdict(dict)
    for row in rows:
        by_label[row["label"]].append(row)
        by_round[row["round"]][row["label"]] = row
    rounds = list(by_round.values())
    # Several variants are all ours; the first is what the others are compared with.
    ours = OURS.name if len(contest.variants) == 1 else None
    base = BASELINE.name if ours else contest.variants[0].name
    titles = [f"{columns[0].title} (min–max)", f"of {base}, same round"]
    titles += [f"{ours} of it, same round"] if ours else []
    titles += [column.title + (" (min–max)" if column.span else "") for column in columns[1:]] + ["rounds"]
    lines = ["| | " + " | ".join(titles) + " |", "|---" * (len(titles) + 1) + "|"]
    order = sorted(by_label, key=lambda label: statistics.median(map(key, by_label[label])))
    for label in order:
        mine = by_label[label]
        cells = [number([column.value(row) for row in mine], column) for column in columns]
        compared = [ratio(ratios(rounds, key, label, base))]
        compared += [ratio(ratios(rounds, key, ours, label))] if ours else []
        cells = [cells[0], *compared, *cells[1:], str(len(mine))]
        name = f"**{label}**" if label == ours else label
        lines.append(f"| {name} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def document(records):
    """The whole report in Markdown, from the lines of a results file."""
    about = next((record for record in records if record["kind"] == "about"), None)
    rows = [record for record in records if record["kind"] == "row"]
    failures = [record for record in records if record["kind"] in ("failure", "absent")]
    parts = ["# Benchmark\n"]
    if about:
        machine, options = about["machine"], about["options"]
        versions = ", ".join(f"{name} {version}" for name, version in about["versions"].items())
        parts.append(
            f"- {machine['cpus']} × {machine['cpu']}, {machine['memory_gib']} GiB, Linux {machine['kernel']}; "
            f"load tool, proxy and backend share it\n"
            f"- {versions}\n"
            f"- {about['started']}, {options['seconds']} s per measurement, {options['workers']} workers, "
            f"commit {about['commit']}\n"
        )
    for contest in CONTESTS:
        mine = [row for row in rows if row["contest"] == contest.name]
        if not mine:
            continue
        title = f"## {contest.name}: {contest.what}\n"
        rates = {row["rate"] for row in mine if "rate" in row}
        if rates:
            title += f"\n{min(rates):,.0f} requests per second.\n"
        fewest = min(collections.Counter(row["label"] for row in mine).values())
        if fewest < contest.least_rounds:
            title += f"\nRounds: {fewest}, fewer than the {contest.least_rounds} that make a result.\n"
        parts.append(f"{title}\n{table(contest, mine)}\n")
    if failures:
        lines = [f"- {failure['contest']}, {failure['label']}: {failure['text']}" for failure in failures]
        parts.append("## Not measured, or not to be trusted\n\n" + "\n".join(lines) + "\n")
    return "\n".join(parts)
