"""HAProxy, from Debian."""

import re

from .base import Peer


class HAProxy(Peer):
    name = "haproxy"
    program = "haproxy"
    package = "haproxy"

    def version_command(self, program):
        return [str(program), "-v"]

    def version(self, output):
        found = re.search(r"version (\d[\w.]*)", output)
        return found[1] if found else super().version(output)

    def configure(self, setup):
        scenario = setup.scenario
        bind = f"bind {setup.address}"
        if scenario.tls:
            # It wants certificate and key in one file.
            both = setup.write("both.pem", setup.certificate.read_text() + setup.key.read_text())
            protocols = "h2,http/1.1" if scenario.protocol == "h2" else "http/1.1"
            bind += f" ssl crt {both} ssl-min-ver TLSv1.2 alpn {protocols}"
        if scenario.routes:
            entries = "".join(f"{route.host}{route.prefix} app\n" for route in scenario.routes)
            choose = f"use_backend %[base,map_beg({setup.write('routes.map', entries)})]"
        else:
            choose = "default_backend app"
        # Two files for each connection, and some of its own.
        connections = max(1_000, (setup.file_limit - 500) // 2)
        return setup.write(
            "haproxy.cfg",
            f"""global
    nbthread {setup.workers}
    maxconn {connections}
defaults
    mode http
    timeout connect 5s
    timeout client 300s
    timeout server 300s
    timeout http-keep-alive 300s
    http-reuse always
    option forwardfor
frontend web
    {bind}
    {choose}
backend app
    server app {setup.upstream}
""",
        )

    def command(self, program, config, setup):
        return [str(program), "-db", "-f", config]

    def check_command(self, program, config, setup):
        return [str(program), "-c", "-q", "-f", config]
