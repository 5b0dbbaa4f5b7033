"""What is measured."""

import dataclasses


@dataclasses.dataclass(frozen=True)
class Route:
    """A host and the beginning of a path, which ends at a slash."""

    host: str
    prefix: str


@dataclasses.dataclass(frozen=True)
class Routes:
    """`count` routes, `per_host` of them on each host; the form is shared with the load tool, which draws from them."""

    count: int
    per_host: int

    def at(self, number):
        return Route(f"h{number // self.per_host}.example", f"/r{number}/")

    def __iter__(self):
        return map(self.at, range(self.count))

    def by_host(self):
        """Pairs of a host and its routes."""
        for first in range(0, self.count, self.per_host):
            numbers = range(first, min(first + self.per_host, self.count))
            yield self.at(first).host, [self.at(number) for number in numbers]


@dataclasses.dataclass(frozen=True)
class Scenario:
    """One kind of load.

    `load` is the tool: `wrk`, `h2load`, `handshakes` (closed loops), `open` (fixed rate), `hold` (idle connections).
    `protocol` is what clients speak: `h1`, `tls` (HTTP/1.1 over TLS 1.3) or `h2` (over TLS 1.3).
    """

    name: str
    what: str
    load: str
    protocol: str = "h1"
    connections: int = 64
    streams: int = 1
    routes: Routes | None = None
    # Another scenario whose throughput sets the rate of an open loop.
    rate_of: str | None = None

    @property
    def tls(self):
        return self.protocol != "h1"


@dataclasses.dataclass(frozen=True)
class Contest:
    """Scenarios that take turns in rounds. All peers run the only one; of several, our gateway runs each."""

    name: str
    what: str
    variants: tuple[Scenario, ...]
    least_rounds: int = 5

    def peers(self, chosen, ours):
        """Who takes part of those that were chosen."""
        return chosen if len(self.variants) == 1 else [ours]


def contest(scenario, least_rounds=5):
    return Contest(scenario.name, scenario.what, (scenario,), least_rounds)


S1 = Scenario("S1", "HTTP/1.1, one route, 1 KiB, 64 connections", "wrk")
S2 = Scenario("S2", "TLS termination, HTTP/1.1 kept alive, 1 KiB, 64 connections", "wrk", "tls")
S2B = Scenario("S2b", "a full TLS 1.3 handshake for every request, 32 at a time", "handshakes", "tls", 32)
S3 = Scenario("S3", "HTTP/2 over TLS to HTTP/1.1, 1 KiB, 32 connections with 10 streams each", "h2load", "h2", 32, 10)
S5 = Scenario("S5", "1,000 routes by host and path, 1 KiB, 64 connections", "wrk", routes=Routes(1_000, 10))
S5X = Scenario("S5x", "10,000 routes by host and path, 1 KiB, 64 connections", "wrk", routes=Routes(10_000, 10))
S7 = Scenario("S7", "idle connections that made one request each", "hold", connections=9_000)
S7T = Scenario("S7t", "idle TLS connections that made one request each", "hold", "tls", 9_000)
R10 = Scenario("10 routes", "", "wrk", routes=Routes(10, 100))
R100K = Scenario("100,000 routes", "", "wrk", routes=Routes(100_000, 100))


def fixed_rate(base):
    what = f"latency at a fixed rate, half of what nginx manages at most: {base.what}"
    return dataclasses.replace(base, name=f"P99-{base.name}", what=what, load="open", rate_of=base.name)


CONTESTS = [contest(scenario) for scenario in (S1, S2, S2B, S3, S5, S5X, S7, S7T)]
CONTESTS.append(Contest("R", "10 against 100,000 routes of our gateway, otherwise as S1", (R10, R100K)))
CONTESTS += [contest(fixed_rate(base), 9) for base in (S1, S2, S3)]

# Other ways to name contests.
ALIASES = {
    "P99": ["P99-S1", "P99-S2", "P99-S3"],
    "R10": ["R"],
    "R100k": ["R"],
    "R10/R100k": ["R"],
}


def choose(names):
    """The contests of these names, in the order in which they are listed; all of them for no names.

    Raises ValueError for a name that is none.
    """
    wanted = set()
    for name in names:
        wanted.update(ALIASES.get(name, [name]))
    unknown = wanted - {entry.name for entry in CONTESTS}
    if unknown:
        known = ", ".join([entry.name for entry in CONTESTS] + list(ALIASES))
        raise ValueError(f"no scenario {', '.join(sorted(unknown))}; there are {known}")
    return [entry for entry in CONTESTS if not wanted or entry.name in wanted]
