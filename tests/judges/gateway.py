"""The gateway under judgement: the real binary, with a written configuration, on ports of the system's choice."""
import contextlib
import json
import os
import pathlib
import signal
import subprocess
import tempfile
import threading
import time
import urllib.request

# How long anything may take that is expected to happen at once; generous, for machines that are busy.
PATIENCE = 30.0


class Failed(Exception):
    """A verdict against the gateway, or a judge that could not do its work."""


def check(condition, message):
    """Fails with `message` unless `condition`."""
    if not condition:
        raise Failed(message)


def eventually(what, attempt, within=PATIENCE):
    """Tries until `attempt` returns something true; fails after `within` seconds."""
    end = time.monotonic() + within
    while True:
        found = attempt()
        if found:
            return found
        if time.monotonic() > end:
            raise Failed(f"waited {within:g} s for {what}")
        time.sleep(0.01)


def tool(name):
    """Path of an installed program; a missing one is a failure, never a skip."""
    venv = pathlib.Path(os.environ["PORTCULLIS_JUDGES_VENV"]) / "bin"
    tools = pathlib.Path(os.environ["PORTCULLIS_JUDGES_TOOLS"]) / "bin"
    places = [str(venv), str(tools), *os.environ.get("PATH", "").split(":"), "/usr/sbin", "/sbin"]
    for place in places:
        path = pathlib.Path(place) / name
        if path.is_file() and os.access(path, os.X_OK):
            return str(path)
    raise Failed(f"{name} is not installed; scripts/judges.sh installs it")


class Gateway:
    """A running gateway; used as a context manager."""

    def __init__(self, configuration, *, binary=None, workers=2, environment=None):
        self.folder = tempfile.TemporaryDirectory(prefix="judges-")
        folder = pathlib.Path(self.folder.name)
        (folder / "gateway.yaml").write_text(configuration)
        ready = folder / "ready.json"
        self._log = open(folder / "stdout", "w+", encoding="utf-8")
        self._errors = open(folder / "stderr", "w+", encoding="utf-8")
        arguments = [binary or os.environ["PORTCULLIS_BINARY"], "run", "-c", str(folder / "gateway.yaml")]
        arguments += ["--ready-file", str(ready), "--admin", "127.0.0.1:0", "--workers", str(workers)]
        self.process = subprocess.Popen(
            arguments,
            cwd=folder,
            stdin=subprocess.DEVNULL,
            stdout=self._log,
            stderr=self._errors,
            env={**os.environ, "NO_COLOR": "1", **(environment or {})},
        )
        facts = eventually("the gateway to be ready", lambda: self._ready(ready))
        self.admin = facts["admin"]
        self._listeners = facts["listeners"]

    def _ready(self, ready):
        if self.process.poll() is not None:
            raise Failed(f"the gateway ended with {self.process.returncode}:\n{self.errors()}")
        return json.loads(ready.read_text()) if ready.exists() else None

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.stop()

    def stop(self):
        """Ends it at once."""
        self.process.kill()
        self.process.wait()
        self._log.close()
        self._errors.close()
        self.folder.cleanup()

    def address(self, listener="web"):
        """Host and port of a listener."""
        host, port = self._listeners[listener].rsplit(":", 1)
        return host, int(port)

    def port(self, listener="web"):
        return self.address(listener)[1]

    def errors(self):
        """What it said on stderr."""
        return pathlib.Path(self._errors.name).read_text(errors="replace")

    def log(self):
        """Lines of the access log."""
        text = pathlib.Path(self._log.name).read_text(errors="replace")
        # What stands behind the last line end is still being written.
        whole = text[: text.rfind("\n") + 1]
        return [json.loads(line) for line in whole.splitlines() if line.startswith("{")]

    def page(self, path):
        """A page of the admin listener."""
        with urllib.request.urlopen(f"http://{self.admin}{path}", timeout=PATIENCE) as page:
            return page.read().decode()

    def alive(self):
        check(self.process.poll() is None, f"the gateway ended with {self.process.returncode}:\n{self.errors()[-2000:]}")
        check("panicked" not in self.errors(), f"the gateway panicked:\n{self.errors()[-2000:]}")

    def cpu(self):
        """Seconds of processor time used so far."""
        fields = pathlib.Path(f"/proc/{self.process.pid}/stat").read_text().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def rss(self):
        """Bytes of resident memory."""
        pages = int(pathlib.Path(f"/proc/{self.process.pid}/statm").read_text().split()[1])
        return pages * os.sysconf("SC_PAGE_SIZE")


class Child:
    """A peer that runs beside the gateway; used as a context manager. Its output goes to a file."""

    def __init__(self, arguments, folder=None):
        self.output = tempfile.TemporaryFile("w+")
        self.name = pathlib.Path(arguments[0]).name
        # A group of its own, because some peers have workers that outlive a master that is killed.
        self.process = subprocess.Popen(
            arguments,
            cwd=folder,
            stdin=subprocess.DEVNULL,
            stdout=self.output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )

    def __enter__(self):
        return self

    def __exit__(self, *_):
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()
        self.output.close()

    def said(self):
        """What it printed so far."""
        self.output.flush()
        self.output.seek(0)
        return self.output.read()

    def alive(self):
        check(self.process.poll() is None, f"{self.name} ended with {self.process.returncode}:\n{self.said()[-2000:]}")


def together(*functions):
    """Runs functions at the same time; fails with the first failure."""
    failures = []

    def guarded(function):
        try:
            function()
        except Exception as error:  # noqa: BLE001 - handed to the caller
            failures.append(error)

    threads = [threading.Thread(target=guarded, args=(function,), daemon=True) for function in functions]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if failures:
        raise failures[0]
