"""Our gateway, with everything that it does unasked, metrics and admin pages included, and the filter `request-id`."""

import json
import re
import urllib.error
import urllib.request

from .base import Peer

FILE_OF_ROUTES = 20_000


class Portcullis(Peer):
    name = "portcullis"
    program = "portcullis"
    package = "this repository"

    def configure(self, setup):
        scenario = setup.scenario
        listener = {
            "name": "web",
            "bind": setup.address,
            "filters": [{"type": "request-id"}],
            "timeouts": {"idle": "300s"},
        }
        if scenario.tls:
            listener["tls"] = {"certificates": [{"cert": str(setup.certificate), "key": str(setup.key)}]}
        backends = [{"upstream": "app"}]
        if scenario.routes:
            routes = [
                {
                    "name": f"r{number}",
                    "match": {"hosts": [route.host], "path": route.prefix.rstrip("/")},
                    "backends": backends,
                }
                for number, route in enumerate(scenario.routes)
            ]
        else:
            routes = [{"name": "all", "backends": backends}]
        config = {
            "listeners": [listener],
            "upstreams": [{"name": "app", "endpoints": [setup.upstream]}],
            "admin": {"bind": f"127.0.0.1:{setup.admin_port}"},
        }
        folder = setup.folder / "configuration"
        folder.mkdir()
        lines = (f"{key}: {json.dumps(value)}\n" for key, value in config.items())
        setup.write("configuration/gateway.yaml", "".join(lines))
        # A file is at most 8 MiB.
        for first in range(0, len(routes), FILE_OF_ROUTES):
            lines = (f"  - {json.dumps(route)}\n" for route in routes[first : first + FILE_OF_ROUTES])
            setup.write(f"configuration/routes-{first}.yaml", "routes:\n" + "".join(lines))
        return str(folder)

    def command(self, program, config, setup):
        return [str(program), "-c", config, "--workers", str(setup.workers)]

    def check_command(self, program, config, setup):
        return [str(program), "check", "-c", config]

    def version(self, output):
        return super().version(output).removeprefix("portcullis ")

    def wrong_headers(self, head):
        if not head.get("x-request-id"):
            return "x-request-id is missing"
        return super().wrong_headers(head)

    def wrong_after(self, setup, answered):
        """Metrics must have counted what the load tool saw: they are part of the work."""
        try:
            page = f"http://127.0.0.1:{setup.admin_port}/metrics"
            with urllib.request.urlopen(page, timeout=30) as reply:
                text = reply.read().decode()
        except (OSError, urllib.error.URLError) as problem:
            return f"reading the metrics: {problem}"
        # Beyond 10,000 series, routes share one whose labels say `other`.
        counts = re.findall(r'^portcullis_requests_total\{[^}]*class="(?:2xx|other)"[^}]*\} (\d+)', text, re.MULTILINE)
        counted = sum(map(int, counts))
        if counted < answered:
            return f"the metrics know of {counted} of {answered} requests"
        return None
