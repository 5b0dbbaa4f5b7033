"""The command line."""

import argparse
import contextlib
import datetime
import json
import pathlib
import signal
import statistics
import subprocess
import sys
import tempfile

from . import install, report, system
from .check import check
from .loads import Tools
from .measure import Backend, Bench
from .peers import BASELINE, OURS, PEERS
from .scenarios import ALIASES, CONTESTS, choose
from .system import Failed

ABOUT = """\
Measures our gateway beside other proxies, on this machine and over the loopback interface only.

Builds the release binary, installs what is missing (Debian packages, wheels, one small Cargo project), lets all peers
take turns in rounds, and writes a table and the raw results below target/bench/results. See bench/README.md.
"""


def words(text):
    return [word for word in text.split(",") if word]


def parse(arguments):
    names = ", ".join([contest.name for contest in CONTESTS] + list(ALIASES))
    parser = argparse.ArgumentParser(
        prog="bench/run", description=ABOUT, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--quick", action="store_true", help="one round of one second: does everything work?")
    add("--rounds", type=int, metavar="N", help="rounds of each scenario (default: 5, of P99: 9)")
    add("--seconds", type=int, metavar="S", help="length of one measurement (default: 3)")
    add("--only", type=words, default=[], metavar="S1,S2", help=f"scenarios: {names}")
    add("--peers", type=words, metavar="A,B", help=f"peers beside ours: {', '.join(list(PEERS)[1:])}")
    add("--workers", type=int, default=2, metavar="N", help="workers of each proxy (default: 2)")
    add("--rate", type=int, metavar="N", help="requests per second of P99 (default: half of what nginx manages)")
    add("--no-install", action="store_true", help="build and install nothing; leave out what is missing")
    add("--binary", type=pathlib.Path, metavar="FILE", help="our gateway, instead of target/release/portcullis")
    add("--peer-dir", type=pathlib.Path, action="append", default=[], metavar="DIR", help="look for peers here first")
    add("--out", type=pathlib.Path, metavar="DIR", help="where results go (default: target/bench/results)")
    add("--check", action="store_true", help="only write all configurations, and let the peers at hand validate them")
    add("--list", action="store_true", help="only list the scenarios")
    add("--report", type=pathlib.Path, metavar="FILE", help="only print the table of an earlier results file")
    options = parser.parse_args(arguments)
    try:
        options.contests = choose(options.only)
    except ValueError as problem:
        parser.error(str(problem))
    unknown = set(options.peers or []) - set(PEERS)
    if unknown:
        parser.error(f"no peer {', '.join(sorted(unknown))}; there are {', '.join(PEERS)}")
    wanted = {OURS.name, *(options.peers if options.peers is not None else PEERS)}
    options.peers = [peer for name, peer in PEERS.items() if name in wanted]
    for name in ("rounds", "seconds", "workers", "rate"):
        if getattr(options, name) is not None and getattr(options, name) < 1:
            parser.error(f"--{name} must be at least 1")
    options.seconds = options.seconds or (1 if options.quick else 3)
    return options


class Campaign:
    """One run of the benchmark: measures, writes and prints."""

    def __init__(self, bench, options, results):
        self.bench, self.options, self.results = bench, options, results
        self.records = []

    def write(self, kind, **record):
        record = {"kind": kind, **record}
        self.records.append(record)
        self.results.write(json.dumps(record) + "\n")
        self.results.flush()

    def fail(self, contest, label, text):
        install.say(f"{contest}, {label}: {text}")
        self.write("failure", contest=contest, label=label, text=text)

    def rounds(self, contest):
        return self.options.rounds or (1 if self.options.quick else contest.least_rounds)

    def run(self, contest):
        """All rounds of one contest. Who fails is left out of its further rounds."""
        rate = self.rate(contest)
        if contest.variants[0].rate_of and not rate:
            self.fail(contest.name, "all", "nginx sets the rate and is missing; --rate does too")
            return
        entries = []
        for variant in contest.variants:
            for peer in contest.peers(self.options.peers, OURS):
                label = peer.name if len(contest.variants) == 1 else variant.name
                why = peer.cannot(variant)
                if why:
                    self.write("absent", contest=contest.name, label=label, text=why)
                elif peer.name in self.bench.programs:
                    entries.append((label, peer, variant))
        rounds = self.rounds(contest)
        for number in range(rounds):
            # Who comes first changes, so that nobody always follows the same neighbour's load.
            first = number % len(entries) if entries else 0
            for entry in entries[first:] + entries[:first]:
                if not self.one(contest, entry, number, rounds, rate):
                    entries.remove(entry)

    def one(self, contest, entry, number, rounds, rate):
        label, peer, variant = entry
        try:
            row = self.bench.measure(peer, variant, rate)
        except Failed as problem:
            self.fail(contest.name, label, str(problem))
            return False
        self.write("row", contest=contest.name, label=label, peer=peer.name, round=number, **row)
        for problem in row["problems"]:
            self.fail(contest.name, label, problem)
        columns = report.columns_of(contest)
        shown = [*columns[:5], columns[-1]]
        told = ", ".join(f"{column.title} {column.value(row):,.{column.digits}f}" for column in shown)
        install.say(f"{contest.name} {number + 1}/{rounds} {label}: {told}")
        return True

    def rate(self, contest):
        """Requests per second of an open loop: half of what nginx did in the closed one, here or in a trial."""
        base = contest.variants[0].rate_of
        if not base or self.options.rate:
            return self.options.rate
        seen = [
            record["rps"]
            for record in self.records
            if record["kind"] == "row" and (record["contest"], record["label"]) == (base, BASELINE.name)
        ]
        if not seen and BASELINE.name in self.bench.programs:
            scenario = next(entry for entry in CONTESTS if entry.name == base).variants[0]
            try:
                trials = [self.bench.measure(BASELINE, scenario) for _ in range(1 if self.options.quick else 3)]
            except Failed as problem:
                self.fail(contest.name, BASELINE.name, str(problem))
                return None
            seen = [trial["rps"] for trial in trials]
        return round(statistics.median(seen) / 2) if seen else None


def programs(options, problems):
    """Where everything is: peers by name, and the tools of the benchmark."""
    found = {}
    release = install.TARGET / "release"
    for peer in options.peers:
        if peer is OURS:
            path = options.binary or release / OURS.program
            path = path if path.is_file() else None
        else:
            path = install.find_peer(peer, options.peer_dir)
        if path:
            found[peer.name] = path.absolute()
        else:
            install.say(f"{peer.name} is missing: {problems.get(peer.name, peer.package)}")
    if OURS.name not in found:
        raise Failed("our gateway is missing: build it, or say --binary")
    tools = {name: release / name for name in ("bench-backend", "bench-loadgen")}
    missing = [str(path) for path in tools.values() if not path.is_file()]
    missing += [name for name in install.TOOLS if not install.which(name)]
    if missing:
        raise Failed(f"missing: {', '.join(missing)}")
    return found, tools


def output_of(argv):
    """What a command says, on either of its outputs."""
    done = subprocess.run(argv, capture_output=True, text=True, stdin=subprocess.DEVNULL, timeout=30, check=False)
    return done.stdout + done.stderr


def about(options, found):
    versions = {name: PEERS[name].version_command(path) for name, path in found.items()}
    commit = output_of(["git", "-C", str(install.ROOT), "describe", "--always", "--dirty"]).strip()
    now = datetime.datetime.now(datetime.timezone.utc)
    return {
        "started": f"{now:%Y-%m-%d %H:%M} UTC",
        "commit": commit,
        "machine": system.describe(),
        "versions": {name: PEERS[name].version(output_of(command)) for name, command in versions.items()},
        "options": {"seconds": options.seconds, "workers": options.workers, "quick": options.quick},
    }


def measure_all(options):
    file_limit = system.raise_file_limit()
    problems = {} if options.no_install else install.install_all(options.peers, options.peer_dir)
    found, tools = programs(options, problems)
    results_folder = (options.out or install.WORK / "results").absolute()
    results_folder.mkdir(parents=True, exist_ok=True)
    name = f"{datetime.datetime.now():%Y%m%d-%H%M%S}"
    with contextlib.ExitStack() as stack:
        install.WORK.mkdir(parents=True, exist_ok=True)
        folder = pathlib.Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="run-", dir=install.WORK)))
        # Workers of nginx may be another user.
        folder.chmod(0o755)
        processes = stack.enter_context(system.Processes())
        results = stack.enter_context(open(results_folder / f"{name}.jsonl", "x", encoding="utf-8"))
        certificate, key = install.make_certificate(folder)
        bench = Bench(
            processes=processes,
            folder=folder,
            tools=Tools(processes, folder, tools["bench-loadgen"], certificate),
            backend=Backend(processes, tools["bench-backend"]),
            programs=found,
            certificate=certificate,
            key=key,
            file_limit=file_limit,
            workers=options.workers,
            seconds=options.seconds,
        )
        campaign = Campaign(bench, options, results)
        campaign.write("about", **about(options, found))
        for peer, problem in problems.items():
            campaign.fail("all", peer, problem)
        try:
            for contest in options.contests:
                campaign.run(contest)
        finally:
            # What was measured before an interruption is worth something too.
            text = report.document(campaign.records)
            (results_folder / f"{name}.md").write_text(text, encoding="utf-8")
            print(text)
            install.say(f"results: {results_folder / name}.jsonl and .md")
    return 1 if any(record["kind"] == "failure" or record.get("bad") for record in campaign.records) else 0


def main(arguments):
    # All ends by exceptions, which stop what was started. A shell may have told us to ignore the first of them.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda number, _: sys.exit(128 + number))
    options = parse(arguments)
    try:
        if options.list:
            for contest in options.contests:
                print(f"{contest.name:8} {contest.what}")
            return 0
        if options.report:
            with open(options.report, encoding="utf-8") as lines:
                print(report.document([json.loads(line) for line in lines]))
            return 0
        if options.check:
            return check(options)
        return measure_all(options)
    except (Failed, OSError) as problem:
        install.say(f"bench: {problem}")
        return 1
    except KeyboardInterrupt:
        install.say("bench: interrupted")
        return 130
