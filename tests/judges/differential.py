"""The same odd bytes sent to the gateway and to other proxies, in front of the same recording upstream.

What the gateway does differently has to be explained in differences.yaml; docs/security.md is made from both.
"""
import collections
import os
import pathlib
import queue
import threading
import time

import yaml

from . import client, h2raw, proxies
from .cases import HTTP1, HTTP2, SHOWN
from .gateway import Failed, check, together
from .recorder import Recorder, shown
from .table import render, row

LANES = 10
HERE = pathlib.Path(__file__).parent
EXPLANATIONS = HERE / "differences.yaml"
PAGE = HERE.parents[1] / "docs" / "security.md"

# What became of a request: what the client got, whether its connection was closed, what the upstream got.
Outcome = collections.namedtuple("Outcome", "reply closed seen")


def describe(seen):
    """A request as the upstream saw it, with the fields that matter."""
    text = str(seen)
    if len(text) > 160:
        text = f"{text[:100]} ... ({len(text)} bytes)"
    fields = [(name, value) for name, value in seen.fields if name.lower() in SHOWN]
    hosts = seen.values(b"host")
    if hosts != [b"judge"]:
        fields += [(b"host", value) for value in hosts] or [(b"no host", b"")]
    if len(fields) > 3:
        return f"{text} with {len(fields)} odd fields"
    return text + "".join(f" [{name.decode('latin-1').lower()}: {shown(value, 40)[1:-1]}]" for name, value in fields)


def h1(lane, payload, patience):
    answer = client.send(lane.h1, payload, first=1.5 * patience, quiet=0.25 * patience)
    return answer.statuses(), answer.closed


def h2(lane, message, patience):
    fields, body, trailers = message
    with h2raw.Connection(lane.h2) as connection:
        payload = h2raw.headers(1, fields, end=body is None and trailers is None)
        if len(payload) > 16384:
            payload = split(fields)
        if body is not None:
            payload += h2raw.data(1, body, end=trailers is None)
        if trailers is not None:
            payload += h2raw.headers(1, trailers)
        connection.send(payload)
        done = lambda: 1 in connection.ended or 1 in connection.resets or connection.farewells  # noqa: E731
        connection.read(done, quiet=1.5 * patience)
        # A reset may follow a reply, and GOAWAY a reset.
        connection.read(quiet=0.1 * patience)
        return connection.outcome(), False


def split(fields):
    """A header block in frames of a size that every server takes."""
    whole = h2raw.block(fields)
    parts = [whole[at : at + 16000] for at in range(0, len(whole), 16000)]
    text = h2raw.frame(0x1, 0x1, 1, parts[0])
    for part in parts[1:-1]:
        text += h2raw.frame(0x9, 0, 1, part)
    return text + h2raw.frame(0x9, 0x4, 1, parts[-1])


def ask(lane, recorder, case, patience):
    """Sends one case through one lane."""
    recorder.take()
    payload = case[1]
    reply, closed = h1(lane, payload, patience) if isinstance(payload, bytes) else h2(lane, payload, patience)
    # What was forwarded has arrived long ago, unless the client was answered before.
    time.sleep(0.05 * patience)
    seen = recorder.take()
    if not reply.endswith(("-", "200", "502", "503", "504")):
        # Whether the beginning of what was refused reaches the upstream is a matter of time, and does no harm.
        seen = [request for request in seen if request.whole]
    return Outcome(reply, closed, tuple(describe(request) for request in seen))


def outcomes(name, cases, patience=1.0):
    """What one proxy does with all cases."""
    todo, found = queue.SimpleQueue(), {}
    for case in cases:
        todo.put(case)
    recorders = [Recorder() for _ in range(LANES)]
    try:
        with proxies.start(name, [recorder.port for recorder in recorders]) as (lanes, alive):

            def work(lane, recorder):
                while True:
                    try:
                        case = todo.get_nowait()
                    except queue.Empty:
                        return
                    try:
                        found[case] = ask(lane, recorder, cases[case], patience)
                    except OSError as problem:
                        alive()
                        raise Failed(f"cannot ask {name} about {case}: {problem}") from problem
                    alive()

            together(*[lambda pair=pair: work(*pair) for pair in zip(lanes, recorders)])
            alive()
    finally:
        for recorder in recorders:
            recorder.__exit__()
    return found


def all_outcomes(cases, names, patience=1.0):
    """What all proxies do: name of the proxy, then of the case."""
    found, lock = {}, threading.Lock()

    def one(name):
        result = outcomes(name, cases, patience)
        with lock:
            found[name] = result

    together(*[lambda name=name: one(name) for name in names])
    return found


def load():
    """Explanations: texts by id, and by case and peer the id."""
    document = yaml.safe_load(EXPLANATIONS.read_text())
    return document["reasons"], document["cases"] or {}


def problems(found, groups, reasons, explained):
    """What is not explained, and explanations of what is not so."""
    wrong, used = [], set()
    for case in (case for group in groups.values() for case in group):
        ours = found["portcullis"][case]
        given = explained.get(case, {})
        for peer in proxies.PEERS:
            if peer == "portcullis":
                continue
            theirs, reason = found[peer][case], given.get(peer)
            if theirs != ours and reason is None:
                wrong.append(f"{case}: {peer} differs, unexplained: ours {ours}, theirs {theirs}")
            elif theirs == ours and reason is not None:
                wrong.append(f"{case}: {peer} does not differ, yet that is explained: {ours}")
            elif reason is not None and reason not in reasons:
                wrong.append(f"{case}: no reason is called {reason}")
            used.add(reason)
        wrong += [f"{case}: {peer} is no peer" for peer in given if peer not in proxies.PEERS]
    known = {case for group in groups.values() for case in group}
    wrong += [f"{case}: explained, but there is no such case" for case in explained if case not in known]
    wrong += [f"reason {reason} explains nothing" for reason in reasons if reason not in used]
    return wrong


def run():
    groups = {**HTTP1, **HTTP2}
    cases = {name: case for group in groups.values() for name, case in group.items()}
    check(len(cases) == sum(map(len, groups.values())), "two cases have the same name")
    reasons, explained = load()
    found = all_outcomes(cases, proxies.PEERS)
    before = PAGE.read_text() if PAGE.exists() else ""
    doubtful = {
        case: cases[case]
        for group in groups.values()
        for case, (what, _) in group.items()
        if row(case, what, found, explained) not in before
    }
    if doubtful:
        # Perhaps the machine was busy: once more, with more patience.
        for name, again in all_outcomes(doubtful, proxies.PEERS, patience=4.0).items():
            found[name].update(again)
    page = render(found, groups, reasons, explained)
    wrong = problems(found, groups, reasons, explained)
    if os.environ.get("PORTCULLIS_JUDGES_UPDATE"):
        PAGE.write_text(page)
        before = page
    if wrong:
        raise Failed("\n  ".join([f"{len(wrong)} of {len(cases)} cases:", *wrong]))
    check(page == before, "docs/security.md is out of date: scripts/judges.sh --update differential")
    return f"{len(cases)} odd requests, all differences to 3 peers explained"
