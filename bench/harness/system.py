"""Processes and what the kernel knows about them. Everything that is started here ends with this program."""

import contextlib
import ctypes
import os
import resource
import signal
import socket
import subprocess
import time

TICKS = os.sysconf("SC_CLK_TCK")
PR_SET_PDEATHSIG = 1
_libc = ctypes.CDLL(None)


class Failed(Exception):
    """Something did not work; the text says what."""


def raise_file_limit():
    """As many open files as allowed, for this process and all it starts. Returns the limit."""
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return hard


def _in_child():
    # Not SIGKILL: a master has to take its workers along.
    _libc.prctl(PR_SET_PDEATHSIG, signal.SIGTERM)


class Processes:
    """Starts processes, and stops those that are left at the end."""

    def __init__(self):
        self._running = {}

    def __enter__(self):
        return self

    def __exit__(self, *_):
        # Somebody who presses ctrl-c again must not keep this from being finished; it takes seconds.
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, signal.SIG_IGN)
        for process in list(self._running.values()):
            self.stop(process)

    def start(self, argv, **options):
        """A subprocess.Popen in a process group of its own; `options` are those of Popen."""
        options.setdefault("stdin", subprocess.DEVNULL)
        process = subprocess.Popen(argv, preexec_fn=_in_child, start_new_session=True, **options)
        self._running[process.pid] = process
        return process

    def stop(self, process, patience=3.0):
        """Ends it and what it started: first asking, then not."""
        if process.pid not in self._running:
            return
        with contextlib.suppress(ProcessLookupError):
            process.terminate()
        # Not reaped yet, so that its number and that of its group cannot be anyone else's.
        ask_until = time.monotonic() + patience
        while exit_status(process) is None and time.monotonic() < ask_until:
            time.sleep(0.01)
        if process.returncode is None:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
        # Not earlier: what is interrupted here, is done again at the end.
        self._running.pop(process.pid, None)
        for pipe in (process.stdin, process.stdout, process.stderr):
            if pipe:
                with contextlib.suppress(BrokenPipeError):
                    pipe.close()

    def run(self, argv, timeout, env=None):
        """Runs a tool to its end and returns its output; raises Failed when it fails or takes too long."""
        process = self.start(argv, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=env)
        try:
            output, errors = process.communicate(timeout=timeout)
        except subprocess.TimeoutExpired:
            raise Failed(f"{argv[0]} took longer than {timeout:.0f} s") from None
        finally:
            self.stop(process)
        if process.returncode:
            raise Failed(f"{argv[0]} failed with {process.returncode}: {(errors or output).strip()[-600:]}")
        return output


def exit_status(process):
    """None while it runs. Unlike `poll` it does not reap, so that what is left of its group can still be ended."""
    if process.returncode is not None:
        return process.returncode
    ended = os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT | os.WNOHANG)
    return ended.si_status if ended else None


_ports_given = set()


def free_port():
    """A port of the loopback interface that nobody listens on, another one each time."""
    while True:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        if port not in _ports_given:
            _ports_given.add(port)
            return port


def family(pid):
    """A process and all its descendants."""
    found, ask = [], [pid]
    while ask:
        parent = ask.pop()
        found.append(parent)
        with contextlib.suppress(OSError):
            for thread in os.listdir(f"/proc/{parent}/task"):
                with open(f"/proc/{parent}/task/{thread}/children", encoding="ascii") as children:
                    ask += map(int, children.read().split())
    return sorted(found)


def cpu_seconds(pids):
    """User and system time that these processes have used."""
    user = system = 0
    for pid in pids:
        with contextlib.suppress(OSError):
            with open(f"/proc/{pid}/stat", encoding="utf-8", errors="replace") as stat:
                # The name, in parentheses, may hold anything; numbers follow the last of them.
                fields = stat.read().rpartition(")")[2].split()
            user += int(fields[11])
            system += int(fields[12])
    return user / TICKS, system / TICKS


def memory_kib(pids):
    """Resident memory; what several of the processes share is counted once."""
    total = 0
    for pid in pids:
        with contextlib.suppress(OSError), open(f"/proc/{pid}/smaps_rollup", encoding="ascii") as rollup:
            total += sum(int(line.split()[1]) for line in rollup if line.startswith("Pss:"))
    return total


def machine_seconds():
    """Time that all CPUs have been busy or stolen, without interrupts."""
    with open("/proc/stat", encoding="ascii") as stat:
        user, nice, system, _, _, _, _, steal = map(int, stat.readline().split()[1:9])
    return (user + nice + system + steal) / TICKS


def own_seconds():
    """Time that this process and its ended children have used."""
    usages = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return sum(usage.ru_utime + usage.ru_stime for usage in usages)


def describe():
    """This machine, for reports."""
    model = "unknown CPU"
    with open("/proc/cpuinfo", encoding="utf-8", errors="replace") as cpuinfo:
        for line in cpuinfo:
            if line.startswith("model name"):
                model = line.split(":", 1)[1].strip()
                break
    return {
        "cpu": model,
        "cpus": len(os.sched_getaffinity(0)),
        "memory_gib": round(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / 2**30),
        "kernel": os.uname().release,
    }
