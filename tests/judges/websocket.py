"""kosoku's WebSocket cases (those of the Autobahn suite) through the gateway, and past it for comparison."""
import json
import pathlib
import subprocess
import sys
import tempfile

from .gateway import Child, Failed, Gateway, check, eventually, tool

# Everything but messages of many megabytes (9) and compression (12, 13), which take minutes ...
CASES = ["-x", "9.*", "-x", "12.*", "-x", "13.*"]
EXPECTED = 247
# ... of which these stand for the rest.
HEAVY = ["-i", "9.1.1", "-i", "9.2.1", "-i", "12.1.1", "-i", "12.2.3", "-i", "13.1.1"]


def port_of(child):
    child.alive()
    line = child.said().partition("\n")[0]
    return json.loads(line)["port"] if line else None


def fuzz(port, cases):
    """Runs cases against a port, all of which must pass. Returns the verdict of each."""
    with tempfile.TemporaryDirectory() as folder:
        command = [tool("kosoku"), "-m", "fuzzingclient", "-p", "4", *cases, "-o", folder, f"127.0.0.1:{port}"]
        run = subprocess.run(command, capture_output=True, text=True, timeout=170)
        report = pathlib.Path(folder) / "index.json"
        if not report.exists():
            raise Failed(f"kosoku made no report: {(run.stdout + run.stderr)[-1000:]}")
        agents = json.loads(report.read_text())
        check(len(agents) == 1, f"kosoku met {len(agents)} servers")
        verdicts = {case: (found["behavior"], found["behaviorClose"]) for case, found in next(iter(agents.values())).items()}
        if run.returncode != 0:
            raise Failed(f"on port {port}: {run.stdout[-1500:]}")
        return verdicts


def run():
    server = str(pathlib.Path(__file__).parent / "echo_server.py")
    with Child([sys.executable, server]) as echo:
        upstream = eventually("the echo server", lambda: port_of(echo))
        configuration = f"""
            listeners: [{{ name: web, bind: "127.0.0.1:0" }}]
            routes: [{{ name: all, backends: [{{ upstream: echo }}] }}]
            upstreams: [{{ name: echo, endpoints: ["127.0.0.1:{upstream}"] }}]
        """
        with Gateway(configuration) as gateway:
            direct = fuzz(upstream, CASES)
            check(len(direct) == EXPECTED, f"{len(direct)} cases, not {EXPECTED}")
            through = fuzz(gateway.port(), CASES)
            heavy = fuzz(gateway.port(), HEAVY)
            gateway.alive()
        # Not more: whether the answer to a message before a broken one arrives is a matter of time in some
        # cases, which are then NON-STRICT instead of OK, with and without the gateway.
        check(set(through) == set(direct), "not the same cases")
        return f"{len(through)} cases and {len(heavy)} heavy ones pass, as they do without the gateway"
