"""The gateways that Causeway is compared with."""

from .caddy import Caddy
from .envoy import Envoy, EnvoyJwt
from .haproxy import Haproxy
from .nginx import Nginx
from .pingora import Pingora
from .traefik import Traefik

PEERS = {peer.name: peer for peer in (Nginx, Haproxy, Pingora, Envoy, EnvoyJwt, Caddy, Traefik)}
