"""The program in `bench/pingora`: Pingora is a library, so somebody has to write the proxy."""

import pathlib
import re

from .base import Peer

PROJECT = pathlib.Path(__file__).parents[2] / "pingora"


class Pingora(Peer):
    name = "pingora"
    program = "bench-pingora"
    package = "bench/pingora (cargo)"

    def version_command(self, program):
        return ["cat", str(PROJECT / "Cargo.lock")]

    def version(self, output):
        found = re.search(r'name = "pingora-proxy"\nversion = "([^"]+)"', output)
        return found[1] if found else "?"

    def cannot(self, scenario):
        return "it has no router" if scenario.routes else None

    def configure(self, setup):
        return None

    def command(self, program, config, setup):
        pair = [str(setup.certificate), str(setup.key)] if setup.scenario.tls else []
        return [str(program), setup.address, setup.upstream, str(setup.workers), *pair]
