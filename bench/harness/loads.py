"""The load tools. Each load returns what the tool saw, as a dict with at least:

    requests  good replies
    bad       replies with another status or length, and errors of connections
    seconds   how long it took
    p50_us, p99_us
"""

import dataclasses
import json
import os
import pathlib
import re
import select
import subprocess

from .system import Failed

# Bytes of every reply's body.
BODY = 1024
# How long all connections of a load may take to open, in seconds.
CONNECTING = 120

# Every proxy gets the same offer, so that none does more work than another because of its preferences.
TLS_OFFER = """openssl_conf = settings
[settings]
ssl_conf = tls
[tls]
system_default = offer
[offer]
MinProtocol = TLSv1.3
Ciphersuites = TLS_AES_128_GCM_SHA256
Groups = X25519
"""

# wrk gives numbers for people; this gives them for programs.
WRK_RESULT = """
function done(summary, latency, requests)
  local errors = summary.errors
  io.stdout:write(string.format(
    '\\nresult {"requests": %d, "bytes": %.0f, "seconds": %.6f, "bad": %d, "p50_us": %d, "p99_us": %d}\\n',
    summary.requests, summary.bytes, summary.duration / 1e6,
    errors.connect + errors.read + errors.write + errors.status + errors.timeout,
    latency:percentile(50.0), latency:percentile(99.0)))
end
"""

# Draws a route for each request, uniformly from all. The text is put together here rather than by wrk.format, which
# costs more than all the rest.
WRK_ROUTES = """
local count, per_host = %d, %d
local random, floor = math.random, math.floor
local seeds = 0
function setup(thread)
  seeds = seeds + 1
  thread:set("seed", seeds)
end
function init(args)
  math.randomseed(seed)
end
function request()
  local route = random(0, count - 1)
  return "GET /r" .. route .. "/item HTTP/1.1\\r\\nHost: h" .. floor(route / per_host) .. ".example\\r\\n\\r\\n"
end
"""


@dataclasses.dataclass
class Tools:
    """The load tools and the folder for their files."""

    processes: object
    folder: pathlib.Path
    loadgen: pathlib.Path
    certificate: pathlib.Path

    def environment(self):
        offer = self.folder / "openssl.cnf"
        if not offer.exists():
            offer.write_text(TLS_OFFER, encoding="ascii")
        return {**os.environ, "OPENSSL_CONF": str(offer)}

    def wrk(self, setup, seconds):
        scenario = setup.scenario
        script = WRK_RESULT
        if scenario.routes:
            script += WRK_ROUTES % (scenario.routes.count, scenario.routes.per_host)
        path = setup.write("wrk.lua", script)
        scheme = "https" if scenario.tls else "http"
        command = ["wrk", "-t2", f"-c{scenario.connections}", f"-d{seconds}s", "--timeout", "5s", "-s", path]
        output = self.processes.run([*command, f"{scheme}://{setup.address}/"], seconds + 30, self.environment())
        found = re.search(r"^result (.*)$", output, re.MULTILINE)
        if not found:
            raise Failed(f"wrk said nothing: {output.strip()[-300:]}")
        result = json.loads(found[1])
        if result.pop("bytes") < result["requests"] * BODY:
            raise Failed("replies to wrk were too short")
        return result

    def h2load(self, setup, seconds):
        scenario = setup.scenario
        log = setup.folder / "h2load.log"
        command = [
            *("h2load", "-t1", f"-c{scenario.connections}", f"-m{scenario.streams}", f"--duration={seconds}"),
            *("--tls13-ciphers=TLS_AES_128_GCM_SHA256", "--groups=X25519", f"--log-file={log}"),
            *(f"--connect-to={setup.address}", f"https://localhost:{setup.port}/"),
        ]
        try:
            output = self.processes.run(command, seconds + 30, self.environment())
            with open(log, encoding="ascii") as lines:
                latencies = sorted(int(line.split("\t")[2]) for line in lines)
        finally:
            log.unlink(missing_ok=True)
        counts = re.search(r"requests: .* (\d+) succeeded, (\d+) failed, (\d+) errored, (\d+) timeout", output)
        traffic = re.search(r"\((\d+)\) data", output)
        if not counts or not traffic or not latencies:
            raise Failed(f"h2load made no requests: {output.strip()[-300:]}")
        good, failed, errored, late = map(int, counts.groups())
        if int(traffic[1]) < good * BODY:
            raise Failed("replies to h2load were too short")
        return {
            "requests": good,
            "bad": failed + errored + late,
            "seconds": float(seconds),
            "p50_us": latencies[len(latencies) // 2],
            "p99_us": latencies[len(latencies) * 99 // 100],
        }

    def loadgen_command(self, command, setup, *options, host="localhost", path="/"):
        options = [*options, "--host", host, "--path", path, "--protocol", setup.scenario.protocol]
        if setup.scenario.tls:
            options += ["--ca", self.certificate]
        return [str(word) for word in (self.loadgen, command, setup.address, *options)]

    def get(self, setup, host="localhost", path="/"):
        """One request: status, length and body of the reply, and what TLS agreed on."""
        return json.loads(self.processes.run(self.loadgen_command("get", setup, host=host, path=path), 30))

    def handshakes(self, setup, seconds):
        options = ["--connections", setup.scenario.connections, "--seconds", seconds]
        return json.loads(self.processes.run(self.loadgen_command("handshakes", setup, *options), seconds + 30))

    def two_steps(self, command, timeout):
        return TwoSteps(self.processes, command, timeout)


class TwoSteps:
    """A load that first connects and then waits for a word to go on. The body of the `with` runs between the two."""

    def __init__(self, processes, command, timeout):
        self._processes, self._command, self._timeout = processes, command, timeout

    def __enter__(self):
        pipe = subprocess.PIPE
        self._process = self._processes.start(self._command, stdin=pipe, stdout=pipe, stderr=pipe, text=True)
        told, _, _ = select.select([self._process.stdout], [], [], CONNECTING)
        if not told or self._process.stdout.readline().strip() != "ready":
            problem = self._process.stderr.read().strip() if told else f"not connected after {CONNECTING} s"
            self._processes.stop(self._process)
            raise Failed(f"{self._command[1]}: {problem or 'ended early'}")
        return self

    def go(self):
        """Says go on, and returns the result."""
        try:
            output, errors = self._process.communicate("go\n", timeout=self._timeout)
        except subprocess.TimeoutExpired:
            raise Failed(f"{self._command[1]} took longer than {self._timeout:.0f} s") from None
        if self._process.returncode:
            raise Failed(f"{self._command[1]}: {errors.strip()}")
        return json.loads(output)

    def __exit__(self, *_):
        self._processes.stop(self._process)
