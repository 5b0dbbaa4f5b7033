"""nginx, from Debian."""

import re

from .base import Peer


class Nginx(Peer):
    name = "nginx"
    program = "nginx"
    package = "nginx"

    def version_command(self, program):
        return [str(program), "-v"]

    def version(self, output):
        found = re.search(r"nginx/(\S+)", output)
        return found[1] if found else super().version(output)

    def configure(self, setup):
        scenario = setup.scenario
        forward = "proxy_pass http://app;"
        if scenario.routes:
            servers = [f"server {{ listen {setup.address} default_server reuseport; return 404; }}"]
            for host, routes in scenario.routes.by_host():
                locations = " ".join(f"location {route.prefix} {{ {forward} }}" for route in routes)
                servers.append(f"server {{ listen {setup.address}; server_name {host}; {locations} }}")
        else:
            flavour = {"h1": "", "tls": " ssl", "h2": " ssl http2"}[scenario.protocol]
            tls = f"ssl_certificate {setup.certificate}; ssl_certificate_key {setup.key};" if scenario.tls else ""
            servers = [
                f"server {{ listen {setup.address}{flavour} reuseport; {tls}\n"
                f"    ssl_protocols TLSv1.2 TLSv1.3; location / {{ {forward} }} }}"
            ]
        # Every idle client may be on one worker, and each has a connection to the upstream for a moment.
        connections = min(20_000, setup.file_limit - 500)
        temporary = "\n".join(
            f"    {kind}_temp_path {setup.folder}/{kind};"
            for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
        )
        return setup.write(
            "nginx.conf",
            f"""daemon off;
worker_processes {setup.workers};
worker_rlimit_nofile {setup.file_limit};
pid {setup.folder}/nginx.pid;
error_log {setup.folder}/error.log warn;
events {{ worker_connections {connections}; }}
http {{
    access_log off;
    keepalive_timeout 300s;
    keepalive_requests 1000000000;
    server_names_hash_max_size 65536;
    server_names_hash_bucket_size 128;
    proxy_http_version 1.1;
    proxy_set_header Connection "";
    proxy_set_header Host $host;
    proxy_set_header X-Forwarded-For $remote_addr;
{temporary}
    upstream app {{
        server {setup.upstream};
        keepalive 512;
        keepalive_requests 1000000000;
        keepalive_timeout 300s;
    }}
    {"    ".join(server + chr(10) for server in servers)}}}
""",
        )

    def command(self, program, config, setup):
        return [str(program), "-p", str(setup.folder), "-e", f"{setup.folder}/error.log", "-c", config]

    def check_command(self, program, config, setup):
        return [*self.command(program, config, setup), "-t", "-q"]
