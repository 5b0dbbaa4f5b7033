"""Runs the judges named on the command line, or all of them, and says in one line each what they found."""
import importlib
import os
import pathlib
import signal
import sys
import time
import traceback

from . import JUDGES
from .gateway import Failed


def judge(name):
    """Runs one judge. Returns whether the gateway passed."""
    began = time.monotonic()
    try:
        verdict = importlib.import_module(f".{name}", __package__).run()
        passed = True
    except Failed as failure:
        verdict, passed = str(failure), False
    except Exception:  # noqa: BLE001 - a judge that breaks is a failure like any other
        verdict, passed = traceback.format_exc(), False
    word = "ok    " if passed else "FAILED"
    print(f"{word} {name:<13} {time.monotonic() - began:6.1f}s  {verdict}", flush=True)
    return passed


def main():
    names = sys.argv[1:]
    if "--update" in names:
        names.remove("--update")
        os.environ["PORTCULLIS_JUDGES_UPDATE"] = "1"
    names = names or list(JUDGES)
    unknown = [name for name in names if name not in JUDGES]
    if unknown:
        print(f"judges: there is no {', '.join(unknown)}; known: {' '.join(JUDGES)}", file=sys.stderr)
        return 2
    binary = pathlib.Path(os.environ["PORTCULLIS_BINARY"])
    if not binary.is_file():
        print(f"judges: {binary} is missing", file=sys.stderr)
        return 2
    # So that whoever is waiting cleans up behind itself.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    passed = sum([judge(name) for name in names])
    print(f"{passed} passed, {len(names) - passed} failed")
    return 0 if passed == len(names) else 1


sys.exit(main())
