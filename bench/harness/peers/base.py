"""What the benchmark asks of every proxy."""

import dataclasses
import os
import pathlib

from ..scenarios import Scenario


@dataclasses.dataclass
class Setup:
    """All that a configuration is made from."""

    scenario: Scenario
    folder: pathlib.Path
    port: int
    upstream: str
    workers: int
    certificate: pathlib.Path
    key: pathlib.Path
    file_limit: int
    # A second port, for those that have pages for operators.
    admin_port: int = 0

    @property
    def address(self):
        return f"127.0.0.1:{self.port}"

    def write(self, name, text):
        """A file in the folder of this run; returns its path."""
        path = self.folder / name
        path.write_text(text, encoding="utf-8")
        return str(path)


class Peer:
    """A proxy.

    All of them: `workers` workers or threads, no access log, HTTP/1.1 to the upstream over connections that are used
    again, `x-forwarded-for` added, idle clients kept for five minutes.
    """

    name = ""
    # The program, as it is called in a folder of programs.
    program = ""
    # What installs it, for people.
    package = ""

    def find(self, folders):
        """The program in one of the folders, or None."""
        for folder in folders:
            for place in (folder, folder / "bin", folder / "release", folder / "sbin"):
                path = place / self.program
                if path.is_file() and os.access(path, os.X_OK):
                    return path
        return None

    def version_command(self, program):
        return [str(program), "--version"]

    def version(self, output):
        """The version in the output of that command."""
        return output.strip().splitlines()[0] if output.strip() else "?"

    def cannot(self, scenario):
        """Why it cannot take part in a scenario; None if it can."""
        return None

    def configure(self, setup):
        """Writes the configuration; returns the path of the main file, None if there is only a command line."""
        raise NotImplementedError

    def command(self, program, config, setup):
        """The command line that serves in the foreground."""
        raise NotImplementedError

    def environment(self, setup):
        """Environment variables besides those of this process."""
        return {}

    def check_command(self, program, config, setup):
        """A command that fails if the configuration is wrong; None if there is none."""
        return None

    def wrong_headers(self, head):
        """What is wrong with the head of a request that it sent to the upstream; None if all is right.

        `head` maps lower-case names to values.
        """
        if head.get("x-forwarded-for") != "127.0.0.1":
            return f"x-forwarded-for is {head.get('x-forwarded-for')!r}"
        return None

    def wrong_after(self, setup, answered):
        """What is wrong after a load of `answered` requests; None if nothing is."""
        return None
