"""nginx, HAProxy and Envoy as other proxies in front of the same upstreams, one listener for each."""
import contextlib
import json
import pathlib
import re
import socket
import subprocess
import sys
import tempfile

from .gateway import Child, Gateway, eventually, tool


class Lane:
    """Addresses of one lane: HTTP/1.1 and HTTP/2 without TLS, in front of an upstream of its own."""

    def __init__(self, h1, h2):
        self.h1, self.h2 = ("127.0.0.1", h1), ("127.0.0.1", h2)


class Ports:
    """Free ports that nobody else is given by the system until they are let go.

    A socket that is bound but does not listen keeps its port from every search for a free one, while a server that
    asks for this port, and sets SO_REUSEADDR as all of them do, gets it.
    """

    def __init__(self):
        self._held = []

    def take(self, count):
        held = [socket.socket() for _ in range(count)]
        self._held += held
        for holder in held:
            holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            holder.bind(("127.0.0.1", 0))
        return [holder.getsockname()[1] for holder in held]

    def lanes(self, upstreams):
        found = self.take(2 * len(upstreams))
        return [Lane(h1, h2) for h1, h2 in zip(found[::2], found[1::2])]

    def __enter__(self):
        return self

    def __exit__(self, *_):
        for holder in self._held:
            holder.close()


def listening(child, lane):
    child.alive()
    for address in (lane.h1, lane.h2):
        try:
            socket.create_connection(address, timeout=1).close()
        except OSError:
            return False
    return True


def portcullis(upstreams, *_):
    """The gateway as it comes."""
    names = range(len(upstreams))
    configuration = {
        "listeners": [{"name": f"l{name}", "bind": "127.0.0.1:0"} for name in names],
        "routes": [{"name": f"r{name}", "listeners": [f"l{name}"], "backends": [{"upstream": f"u{name}"}]} for name in names],
        "upstreams": [{"name": f"u{name}", "endpoints": [f"127.0.0.1:{port}"]} for name, port in enumerate(upstreams)],
    }
    gateway = Gateway(json.dumps(configuration))
    found = [gateway.port(f"l{name}") for name in names]
    return gateway, [Lane(port, port) for port in found]


def nginx(upstreams, folder, ports):
    """As it comes, but with HTTP/1.1 and kept connections to upstreams, and bodies passed on as they arrive."""
    found = ports.lanes(upstreams)
    servers = ""
    for at, (lane, upstream) in enumerate(zip(found, upstreams)):
        servers += f"""
            upstream u{at} {{ server 127.0.0.1:{upstream}; keepalive 4; }}
            server {{
                listen 127.0.0.1:{lane.h1[1]};
                listen 127.0.0.1:{lane.h2[1]} http2;
                location / {{ proxy_pass http://u{at}; }}
            }}"""
    paths = " ".join(f"{kind}_temp_path {folder}/{kind};" for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi"))
    (folder / "nginx.conf").write_text(f"""
        daemon off; worker_processes 1; pid {folder}/pid; error_log stderr crit;
        events {{ worker_connections 512; }}
        http {{
            access_log off; {paths}
            proxy_http_version 1.1; proxy_set_header Connection ""; proxy_set_header Host $host;
            proxy_request_buffering off;
            {servers}
        }}""")
    child = Child([tool("nginx"), "-p", str(folder), "-e", "stderr", "-c", str(folder / "nginx.conf")], folder)
    return child, found


def haproxy(upstreams, folder, ports):
    """As it comes."""
    found = ports.lanes(upstreams)
    text = "global\n  nbthread 1\ndefaults\n  mode http\n  timeout connect 5s\n  timeout client 30s\n  timeout server 30s\n"
    for at, (lane, upstream) in enumerate(zip(found, upstreams)):
        text += f"frontend f{at}\n  bind 127.0.0.1:{lane.h1[1]}\n  bind 127.0.0.1:{lane.h2[1]} proto h2\n  default_backend b{at}\n"
        text += f"backend b{at}\n  server s 127.0.0.1:{upstream}\n"
    (folder / "haproxy.cfg").write_text(text)
    return Child([tool("haproxy"), "-db", "-q", "-f", str(folder / "haproxy.cfg")], folder), found


def envoy(upstreams, folder, ports):
    """As it comes, with one route."""
    found = ports.lanes(upstreams)

    def listener(port, codec, at):
        manager = {
            "@type": "type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager",
            "stat_prefix": "judges",
            "codec_type": codec,
            "route_config": {"virtual_hosts": [{"name": "all", "domains": ["*"], "routes": [{"match": {"prefix": "/"}, "route": {"cluster": f"u{at}"}}]}]},
            "http_filters": [
                {"name": "router", "typed_config": {"@type": "type.googleapis.com/envoy.extensions.filters.http.router.v3.Router"}}
            ],
        }
        return {
            "address": {"socket_address": {"address": "127.0.0.1", "port_value": port}},
            "filter_chains": [{"filters": [{"name": "http", "typed_config": manager}]}],
        }

    def cluster(at, port):
        endpoint = {"endpoint": {"address": {"socket_address": {"address": "127.0.0.1", "port_value": port}}}}
        return {"name": f"u{at}", "type": "STATIC", "load_assignment": {"cluster_name": f"u{at}", "endpoints": [{"lb_endpoints": [endpoint]}]}}

    listeners = [listener(lane.h1[1], "HTTP1", at) for at, lane in enumerate(found)]
    listeners += [listener(lane.h2[1], "HTTP2", at) for at, lane in enumerate(found)]
    clusters = [cluster(at, port) for at, port in enumerate(upstreams)]
    (folder / "envoy.json").write_text(json.dumps({"static_resources": {"listeners": listeners, "clusters": clusters}}))
    arguments = [tool("envoy"), "-c", str(folder / "envoy.json"), "--concurrency", "1", "--log-level", "error", "--use-dynamic-base-id"]
    return Child(arguments, folder), found


PEERS = {"portcullis": portcullis, "nginx": nginx, "haproxy": haproxy, "envoy": envoy}
NAMES = {"portcullis": "Portcullis", "nginx": "nginx", "haproxy": "HAProxy", "envoy": "Envoy"}


@contextlib.contextmanager
def start(name, upstreams):
    """Runs a proxy in front of upstreams (ports). Yields its lanes and a check that it is still alive."""
    with tempfile.TemporaryDirectory(prefix="judges-") as folder, Ports() as ports:
        child, found = PEERS[name](upstreams, pathlib.Path(folder), ports)
        with child:
            if isinstance(child, Child):
                eventually(f"{name} to listen", lambda: all(listening(child, lane) for lane in found))
            yield found, child.alive


def versions():
    """Versions of the peers, by name."""
    said = {
        "nginx": subprocess.run([tool("nginx"), "-v"], capture_output=True, text=True).stderr,
        "haproxy": subprocess.run([tool("haproxy"), "-v"], capture_output=True, text=True).stdout,
        "envoy": subprocess.run([tool("envoy"), "--version"], capture_output=True, text=True).stdout,
    }
    found = {}
    for name, text in said.items():
        match = re.search(r"\d+\.\d+", text)
        if not match:
            print(f"judges: cannot read the version of {name} in {text!r}", file=sys.stderr)
        found[name] = match[0] if match else "?"
    return found
