"""Starts a proxy, checks that it does its work, loads it, and reads what that cost."""

import contextlib
import dataclasses
import http.client
import json
import os
import pathlib
import shutil
import subprocess
import threading
import time

from . import system
from .loads import BODY, Tools
from .peers.base import Peer, Setup
from .system import Failed

# Seconds until a proxy must answer; 100,000 routes take a while.
STARTING = 90
# What TLS must agree on, by protocol: the cost of a handshake depends on it.
TLS_AGREED = {"version": "TLSv1_3", "suite": "TLS13_AES_128_GCM_SHA256", "group": "X25519"}
ALPN = {"tls": "http/1.1", "h2": "h2"}


class Backend:
    """The server behind all proxies."""

    def __init__(self, processes, program):
        self._process = processes.start([str(program)], stdout=subprocess.PIPE, text=True)
        first = self._process.stdout.readline().split()
        if len(first) != 2 or first[0] != "listening":
            raise Failed(f"{program} does not start")
        self.address = first[1]
        # One connection for all questions, so that asking does not add to what is counted.
        self._client = http.client.HTTPConnection(self.address, timeout=10)

    def counts(self):
        self._client.request("GET", "/?stats")
        return json.loads(self._client.getresponse().read())


@dataclasses.dataclass
class Running:
    """A proxy that serves."""

    peer: Peer
    setup: Setup
    process: subprocess.Popen
    tls: dict | None = None

    def pids(self):
        return system.family(self.process.pid)

    def last_words(self):
        log = (self.setup.folder / "output.log").read_text(encoding="utf-8", errors="replace").strip()
        return f": {log[-500:]}" if log else ""


@dataclasses.dataclass
class Bench:
    """What stays the same for all measurements."""

    processes: system.Processes
    folder: pathlib.Path
    tools: Tools
    backend: Backend
    programs: dict[str, pathlib.Path]
    certificate: pathlib.Path
    key: pathlib.Path
    file_limit: int
    workers: int
    seconds: int

    def measure(self, peer, scenario, rate=None):
        """One row of results."""
        with self.serve(peer, scenario) as running:
            if scenario.load == "hold":
                row = self.hold(running)
            elif scenario.load == "open":
                row = self.open_loop(running, rate)
            else:
                row = self.closed_loop(running)
            self.verify_after(running, row)
        row["tls"] = running.tls
        return row

    @contextlib.contextmanager
    def serve(self, peer, scenario):
        """Starts a proxy and waits until it answers; tries again when somebody else took its port."""
        for attempt in range(3):
            running = self.start(peer, scenario)
            try:
                self.wait_until_right(running)
                break
            except Failed as problem:
                ended = system.exit_status(running.process) is not None
                self.processes.stop(running.process)
                if attempt == 2 or not ended:
                    raise Failed(f"{problem}{running.last_words()}") from None
        try:
            yield running
        finally:
            self.processes.stop(running.process)
            shutil.rmtree(running.setup.folder, ignore_errors=True)

    def start(self, peer, scenario):
        folder = self.folder / f"{peer.name}-{scenario.name}".replace(" ", "-")
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        setup = Setup(
            scenario=scenario,
            folder=folder,
            port=system.free_port(),
            admin_port=system.free_port(),
            upstream=self.backend.address,
            workers=self.workers,
            certificate=self.certificate,
            key=self.key,
            file_limit=self.file_limit,
        )
        config = peer.configure(setup)
        with open(folder / "output.log", "wb") as log:
            process = self.processes.start(
                peer.command(self.programs[peer.name], config, setup),
                cwd=folder,
                env={**os.environ, **peer.environment(setup)},
                stdout=log,
                stderr=subprocess.STDOUT,
            )
        return Running(peer, setup, process)

    # Checking that the work is done.

    def wait_until_right(self, running):
        routes = running.setup.scenario.routes
        # The last of many routes: some proxies serve before they know all.
        ask = self.place(routes.at(routes.count - 1) if routes else None)
        until = time.monotonic() + STARTING
        while True:
            status = system.exit_status(running.process)
            if status is not None:
                raise Failed(f"{running.peer.name} ended with {status}")
            try:
                reply = self.tools.get(running.setup, **ask)
                problem = f"status {reply['status']}"
            except Failed as failed:
                reply, problem = None, str(failed)
            if reply and reply["status"] == 200:
                break
            if time.monotonic() > until:
                raise Failed(f"{running.peer.name} does not answer: {problem}")
            time.sleep(0.1)
        self.verify_replies(running)

    @staticmethod
    def place(route):
        return {"host": route.host, "path": f"{route.prefix}item"} if route else {}

    def verify_replies(self, running):
        """Raises Failed unless the proxy forwards what it should, and only that."""
        peer, setup = running.peer, running.setup
        scenario = setup.scenario
        routes = scenario.routes
        numbers = sorted({0, routes.count // 2, routes.count - 1}) if routes else [None]
        for ask in [self.place(None if number is None else routes.at(number)) for number in numbers]:
            reply = self.tools.get(setup, **ask)
            if (reply["status"], reply["length"]) != (200, BODY):
                raise Failed(f"{peer.name} answers {ask} with {reply['status']} and {reply['length']} bytes")
            path = ask.get("path", "/") + "?echo"
            echo = self.tools.get(setup, **{**ask, "path": path})["body"]
            head = dict(line.lower().split(": ", 1) for line in echo.split("\r\n")[1:] if ": " in line)
            if not echo.startswith(f"GET {path} HTTP/1.1\r\n"):
                raise Failed(f"{peer.name} sends {echo.splitlines()[:1]} to the upstream")
            problem = peer.wrong_headers(head)
            if problem:
                raise Failed(f"{peer.name} sends wrong headers to the upstream: {problem}")
            running.tls = reply["tls"]
        if routes and self.tools.get(setup, host="elsewhere.example", path="/r0/item")["status"] == 200:
            raise Failed(f"{peer.name} forwards what no route says")
        if scenario.tls:
            expected = {**TLS_AGREED, "alpn": ALPN[scenario.protocol]}
            if running.tls != expected:
                raise Failed(f"{peer.name} agreed on {running.tls} instead of {expected}")

    def verify_after(self, running, row):
        """Counts as bad what only shows afterwards."""
        peer = running.peer
        problems = [row.pop("first_failure", None)]
        if system.exit_status(running.process) is not None or running.pids() != row.pop("pids"):
            problems.append("processes of the proxy have ended or begun under load")
        routes = running.setup.scenario.routes
        reply = self.tools.get(running.setup, **self.place(routes.at(0) if routes else None))
        if (reply["status"], reply["length"]) != (200, BODY):
            problems.append(f"afterwards it answers with {reply['status']}")
        if row["requests"] > row.get("arrived", row["requests"]):
            problems.append("the backend got fewer requests than were answered")
        problems.append(peer.wrong_after(running.setup, row["requests"]))
        if self.backend.counts()["malformed"]:
            problems.append("the backend got something that is no request")
        row["problems"] = [problem for problem in problems if problem]
        if row["problems"] and not row["bad"]:
            row["bad"] = 1

    # Loading and reading.

    def closed_loop(self, running):
        load = getattr(self.tools, running.setup.scenario.load)
        load(running.setup, 1)
        with Meter(self, running, self.seconds * 0.7) as meter:
            result = load(running.setup, self.seconds)
        row = {**result, **meter.row(result["requests"])}
        row["rps"] = result["requests"] / result["seconds"]
        return row

    def open_loop(self, running, rate):
        scenario = running.setup.scenario
        command = self.tools.loadgen_command(
            "open",
            running.setup,
            *("--rate", rate, "--seconds", self.seconds, "--warmup", 0.5),
            *("--connections", scenario.connections, "--streams", scenario.streams),
        )
        with self.tools.two_steps(command, self.seconds + 30) as load:
            with Meter(self, running, self.seconds * 0.7) as meter:
                result = load.go()
        # Requests of the warm-up cost as much as others, so all that arrived are counted.
        return {**result, **meter.row(meter.arrived)}

    def hold(self, running):
        """Idle connections: memory before and with them, and what they cost doing nothing."""
        wanted = min(running.setup.scenario.connections, self.file_limit - 1_000)
        time.sleep(1)
        before = system.memory_kib(running.pids())
        command = self.tools.loadgen_command("hold", running.setup, "--connections", wanted)
        with self.tools.two_steps(command, 120) as load:
            time.sleep(1.5)
            pids = running.pids()
            held = system.memory_kib(pids)
            used, started = sum(system.cpu_seconds(pids)), time.monotonic()
            time.sleep(max(2, self.seconds))
            idle = (sum(system.cpu_seconds(pids)) - used) / (time.monotonic() - started)
            result = load.go()
        if result["connections"] < wanted:
            result["first_failure"] = result["first_failure"] or f"{result['connections']} of {wanted} connections"
        return {
            "requests": result["requests"],
            "bad": result["bad"],
            "first_failure": result["first_failure"],
            "connections": result["connections"],
            "start_kib": before,
            "held_kib": held,
            "bytes_per_connection": (held - before) * 1024 / max(1, result["connections"]),
            "idle_cpu_percent": idle * 100,
            "pids": pids,
        }


class Meter:
    """What a proxy used while the body of the `with` ran; memory is read `memory_after` seconds into it."""

    def __init__(self, bench, running, memory_after):
        self._bench, self._running = bench, running
        self._memory = 0
        self._timer = threading.Timer(memory_after, self._read_memory)

    def _read_memory(self):
        self._memory = system.memory_kib(self._pids)

    def _read(self):
        backend = self._bench.backend
        own = system.own_seconds() + sum(system.cpu_seconds([backend._process.pid]))
        return system.cpu_seconds(self._pids), backend.counts(), system.machine_seconds(), own, time.monotonic()

    def __enter__(self):
        self._pids = self._running.pids()
        self._before = self._read()
        self._timer.start()
        return self

    def __exit__(self, *_):
        self._after = self._read()
        self._timer.cancel()
        self._timer.join()
        if not self._memory:
            self._read_memory()

    @property
    def arrived(self):
        """Requests that the backend got."""
        return self._after[1]["requests"] - self._before[1]["requests"]

    def row(self, requests):
        """The costs, by request."""
        (user0, system0), counts0, busy0, own0, time0 = self._before
        (user1, system1), counts1, busy1, own1, time1 = self._after
        requests = max(1, requests)
        user, kernel = user1 - user0, system1 - system0
        others = (busy1 - busy0) - (own1 - own0) - user - kernel
        return {
            "cpu_us": (user + kernel) / requests * 1e6,
            "user_us": user / requests * 1e6,
            "system_us": kernel / requests * 1e6,
            "memory_kib": self._memory,
            "arrived": self.arrived,
            "new_upstream_per_1000": (counts1["connections"] - counts0["connections"]) / requests * 1e3,
            # Time of all CPUs that was neither the proxy's nor the benchmark's, or that the host took.
            "others_percent": max(0.0, others / (time1 - time0) / (os.cpu_count() or 1) * 100),
            "pids": self._pids,
        }
