"""Builds, installs and finds programs."""

import contextlib
import os
import pathlib
import shutil
import subprocess
import sys

from .peers import OURS
from .system import Failed

ROOT = pathlib.Path(__file__).parents[2]
BENCH = ROOT / "bench"
TARGET = pathlib.Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target")).absolute()
WORK = TARGET / "bench"

# Program and Debian package.
TOOLS = {"wrk": "wrk", "h2load": "nghttp2-client", "openssl": "openssl"}
DEBIAN_PEERS = {"nginx": "nginx", "haproxy": "haproxy"}
WHEEL_PEERS = ("envoy", "traefik", "caddy")
# What building the TLS library of Pingora needs.
PINGORA_NEEDS = {"cmake": "cmake", "clang": "clang", "g++": "g++", "pkg-config": "pkg-config"}


def which(program):
    """The program in PATH or where system programs are, or None."""
    found = shutil.which(program) or shutil.which(program, path="/usr/local/sbin:/usr/sbin:/sbin")
    return pathlib.Path(found) if found else None


def find_peer(peer, folders):
    return peer.find([*folders, WORK / "venv", WORK / "pingora"]) or which(peer.program)


def say(text):
    print(text, file=sys.stderr, flush=True)


def call(argv, **options):
    """Runs a command of the installation; its output is for the person who waits."""
    say("$ " + " ".join(map(str, argv)))
    try:
        subprocess.run(argv, check=True, stdin=subprocess.DEVNULL, stdout=sys.stderr, **options)
    except (OSError, subprocess.CalledProcessError) as problem:
        raise Failed(f"{argv[0]}: {problem}") from None


def build_ours():
    """The release binary as users get it, and the tools of the benchmark apart from it, so that neither changes the
    features of the other's libraries."""
    call(["cargo", "build", "--release", "--locked", "-p", "portcullis-cli"], cwd=ROOT)
    call(["cargo", "build", "--release", "--locked", "-p", "bench-backend", "-p", "bench-loadgen"], cwd=ROOT)


def install_debian(packages):
    if not packages:
        return
    if not shutil.which("apt-get"):
        raise Failed(f"please install {', '.join(packages)}: this is not a Debian system")
    root = [] if os.geteuid() == 0 else ["sudo", "-n"]
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    command = [*root, "apt-get", "install", "-y", "-qq", "--no-install-recommends", *packages]
    with no_services(root):
        try:
            call(command, env=environment)
        except Failed:
            # Its lists of packages may be missing or old.
            call([*root, "apt-get", "update", "-qq"], env=environment)
            call(command, env=environment)


@contextlib.contextmanager
def no_services(root):
    """Keeps packages from starting services on the ports everybody uses."""
    policy = "/usr/sbin/policy-rc.d"
    if os.path.exists(policy):
        yield
        return
    script = f"printf '#!/bin/sh\\nexit 101\\n' > {policy} && chmod 755 {policy}"
    call([*root, "sh", "-c", script])
    try:
        yield
    finally:
        call([*root, "rm", "-f", policy])


def install_wheels():
    venv = WORK / "venv"
    if not (venv / "bin/pip").exists():
        WORK.mkdir(parents=True, exist_ok=True)
        try:
            call([sys.executable, "-m", "venv", "--clear", venv])
        except Failed:
            install_debian(["python3-venv"])
            call([sys.executable, "-m", "venv", "--clear", venv])
    quiet = ["--quiet", "--disable-pip-version-check"]
    call([venv / "bin/pip", "install", *quiet, "--requirement", BENCH / "requirements.txt"])


def build_pingora():
    install_debian([package for program, package in PINGORA_NEEDS.items() if not which(program)])
    if not list(pathlib.Path("/usr/lib").glob("llvm-*/lib/libclang*.so*")):
        install_debian(["libclang-dev"])
    environment = {**os.environ, "CARGO_TARGET_DIR": str(WORK / "pingora")}
    call(["cargo", "build", "--release", "--locked"], cwd=BENCH / "pingora", env=environment)


def install_all(peers, folders):
    """Everything that is missing. Returns peers that cannot be had, with the reason; without tools it raises Failed."""
    build_ours()
    install_debian([package for program, package in TOOLS.items() if not which(program)])
    missing = {peer.name for peer in peers if peer is not OURS and not find_peer(peer, folders)}
    problems = {}

    def attempt(names, action):
        names = missing.intersection(names)
        if names:
            try:
                action()
            except Failed as problem:
                problems.update(dict.fromkeys(names, str(problem)))

    attempt(DEBIAN_PEERS, lambda: install_debian([DEBIAN_PEERS[name] for name in sorted(missing & set(DEBIAN_PEERS))]))
    attempt(WHEEL_PEERS, install_wheels)
    attempt(["pingora"], build_pingora)
    return problems


def make_certificate(folder):
    """One ECDSA certificate for all peers, trusted as it is; the paths of it and of its key."""
    openssl = which("openssl")
    if not openssl:
        raise Failed("openssl is missing; it makes the certificate")
    certificate, key = folder / "certificate.pem", folder / "key.pem"
    command = [
        *(openssl, "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-sha256"),
        *("-days", "30", "-subj", "/CN=localhost", "-keyout", key, "-out", certificate),
        *("-addext", "basicConstraints=critical,CA:FALSE"),
        *("-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1"),
    ]
    made = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
    if made.returncode:
        raise Failed(f"openssl: {made.stderr.strip()}")
    # Workers of nginx may be another user.
    key.chmod(0o644)
    return certificate, key
