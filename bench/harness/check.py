"""Whether scenarios and configurations are in order, without loading anybody."""

import os
import pathlib
import subprocess
import tempfile

from . import install, system
from .peers import OURS
from .peers.base import Setup
from .system import Failed

# Validation by the program itself is skipped above so many routes when it is a debug build, which takes minutes.
MANY_ROUTES = 20_000


def our_binary(options):
    """The gateway in whatever profile it was built, and whether that is a slow one."""
    if options.binary:
        return options.binary.absolute(), False
    for profile, slow in (("release", False), ("debug", True)):
        path = install.TARGET / profile / OURS.program
        if path.is_file():
            return path, slow
    return None, False


def check(options):
    """Writes every configuration, and lets the peers at hand validate theirs. Returns the exit status."""
    written, validated, problems = 0, 0, []
    absent = set()
    with tempfile.TemporaryDirectory(prefix="portcullis-bench-") as folder:
        folder = pathlib.Path(folder)
        try:
            certificate, key = install.make_certificate(folder)
            keys = True
        except Failed:
            certificate, key, keys = folder / "certificate.pem", folder / "key.pem", False
            for path in (certificate, key):
                path.write_text("", encoding="ascii")
        for contest, scenario in [(contest, variant) for contest in options.contests for variant in contest.variants]:
            for peer in contest.peers(options.peers, OURS):
                # A fixed rate needs no other configuration than the load it is half of.
                if peer.cannot(scenario) or scenario.rate_of:
                    continue
                place = folder / f"{peer.name}-{scenario.name}".replace(" ", "-")
                place.mkdir()
                setup = Setup(
                    scenario=scenario,
                    folder=place,
                    port=system.free_port(),
                    admin_port=system.free_port(),
                    upstream="127.0.0.1:9",
                    workers=options.workers,
                    certificate=certificate,
                    key=key,
                    file_limit=10_000,
                )
                config = peer.configure(setup)
                written += 1
                if peer is OURS:
                    program, slow = our_binary(options)
                else:
                    program, slow = install.find_peer(peer, options.peer_dir), False
                if not program:
                    absent.add(peer.name)
                    continue
                command = peer.check_command(program, config, setup)
                many = scenario.routes and scenario.routes.count > MANY_ROUTES
                if not command or (slow and many) or (scenario.tls and not keys):
                    continue
                environment = {**os.environ, **peer.environment(setup)}
                quiet = {"stdin": subprocess.DEVNULL, "capture_output": True, "text": True, "check": False}
                done = subprocess.run(command, cwd=place, env=environment, timeout=120, **quiet)
                validated += 1
                if done.returncode:
                    text = (done.stderr or done.stdout).strip()[-600:]
                    problems.append(f"{peer.name}, {scenario.name}: {text}")
    for problem in problems:
        install.say(problem)
    missing = f", not at hand: {', '.join(sorted(absent))}" if absent else ""
    print(f"bench: {written} configurations written, {validated} validated, {len(problems)} wrong{missing}")
    return 1 if problems else 0
