"""slowhttptest: heads that do not end, bodies that trickle in, replies that are hardly read. Others are served all the
while, and those connections are closed when their time is over, with 408 where a reply is still possible."""
import collections
import pathlib
import re
import subprocess

from .gateway import Failed, Gateway, check, eventually, tool
from .http2_abuse import LARGE, Other
from .recorder import ANSWER, Recorder

CONNECTIONS = 200
# What the attack may cost beside the requests of the other client, which are served all the time.
CPU, MEMORY = 6.0, 128 << 20
WAIT = 5.0

# A reply that no socket buffer takes as a whole.
ENDLESS = LARGE.replace(b"1000000", b"40000000", 1) + b"x" * 39_000_000

Attack = collections.namedtuple("Attack", "options path status reason")
ATTACKS = {
    # Slower than `head`, which is counted from the first byte on however many more come.
    "slow heads": Attack(["-H", "-i", "1"], "x", 408, "request_timeout"),
    # Nothing for longer than `body_idle`.
    "bodies that stop": Attack(["-B", "-i", "3"], "x", 408, "request_timeout"),
    # A few bytes each second: only a limit of the whole ends that.
    "bodies that trickle": Attack(["-B", "-i", "1"], "total", 504, "upstream_timeout"),
    # The head of the reply has been sent: there is nothing but to break off.
    "slow reading": Attack(["-X", "-w", "1", "-y", "64", "-z", "5", "-n", "1"], "endless", 200, "client_write_timeout"),
}


def configuration(upstream):
    return f"""
        listeners:
          - name: web
            bind: "127.0.0.1:0"
            timeouts: {{ detect: 2s, head: 2s, idle: 3s, body_idle: 2s, write_idle: 2s }}
        routes:
          - {{ name: all, backends: [{{ upstream: up }}] }}
          - {{ name: total, match: {{ path: /total }}, timeouts: {{ total: 3s }}, backends: [{{ upstream: up }}] }}
        upstreams: [{{ name: up, endpoints: ["127.0.0.1:{upstream}"] }}]
        access_log: {{}}
    """


def attack(gateway, name):
    """Runs one attack. Returns what is wrong, and how many connections were closed for the right reason."""
    options, path, status, reason = ATTACKS[name]
    before = len(gateway.log())
    url = f"http://127.0.0.1:{gateway.port()}/{path}"
    command = [tool("slowhttptest"), *options, "-c", str(CONNECTIONS), "-r", "200", "-l", "7", "-p", "4", "-v", "1", "-u", url]
    run = subprocess.run(command, capture_output=True, text=True, stdin=subprocess.DEVNULL, timeout=60)
    said = re.sub(r"\x1b\[[\d;]*m", "", run.stdout)
    available = re.findall(r"service available: *(\w+)", said)
    wrong = []
    if run.returncode != 0 or not available:
        wrong.append(f"{name}: slowhttptest ended with {run.returncode}: {(said + run.stderr)[-500:]}")
    if "NO" in available:
        wrong.append(f"{name}: slowhttptest says that the service is not available")
    ended = collections.Counter((line["status"], line.get("reason")) for line in gateway.log()[before:])
    # The tool does not always open all of them before the first are closed.
    if ended[status, reason] < CONNECTIONS * 3 // 4:
        wrong.append(f"{name}: {ended[status, reason]} connections ended with {status} {reason}; all: {dict(ended)}")
    return wrong, ended[status, reason]


def established(port):
    """How many connections to a local port are established, by the kernel's account."""
    lines = pathlib.Path("/proc/net/tcp").read_text().splitlines()[1:]
    fields = (line.split() for line in lines)
    return sum(local == f"0100007F:{port:04X}" and state == "01" for _, local, _, state, *_ in fields)


def run():
    def answer(seen):
        return ENDLESS if b"/endless" in seen.line else ANSWER

    with Recorder(answer) as upstream, Gateway(configuration(upstream.port)) as gateway:
        wrong, ended = [], 0
        cpu, memory = gateway.cpu(), gateway.rss()
        with Other(gateway) as other:
            for name in ATTACKS:
                found, closed = attack(gateway, name)
                wrong, ended = wrong + found, ended + closed
                gateway.alive()
        cpu, memory = gateway.cpu() - cpu, gateway.rss() - memory

        try:
            eventually("all connections to be closed", lambda: not established(gateway.port()), within=10)
        except Failed as failure:
            wrong.append(str(failure))
        longest = max(other.waits)
        if other.problems:
            wrong.append(f"the other client got {collections.Counter(map(str, other.problems))}")
        if longest > WAIT:
            wrong.append(f"the other client waited {longest:.1f} s")
        if cpu > CPU or memory > MEMORY:
            wrong.append(f"{cpu:.1f} s of processor time, {memory >> 20} MiB")
        check(not wrong, "\n  ".join([f"{len(wrong)} problems:", *wrong]))
        return (
            f"{len(ATTACKS)} kinds of slowness with {CONNECTIONS} connections each, {ended} closed in time; {cpu:.1f} s of processor "
            f"time, {memory >> 20} MiB; {len(other.waits)} requests of another client, all within {longest * 1000:.0f} ms"
        )
