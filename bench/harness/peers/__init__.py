"""The proxies. Each module says how its proxy is found, configured and checked."""

from .caddy import Caddy
from .envoy import Envoy
from .haproxy import HAProxy
from .nginx import Nginx
from .pingora import Pingora
from .portcullis import Portcullis
from .traefik import Traefik

OURS = Portcullis()
BASELINE = Nginx()
PEERS = {peer.name: peer for peer in (OURS, BASELINE, HAProxy(), Envoy(), Traefik(), Caddy(), Pingora())}
