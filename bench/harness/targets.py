"""The targets: what every one of them has, the upstream, and the peers nginx, HAProxy and Envoy.

Each listens on 127.0.0.1 with TLS 1.3 and the shared certificate, requires a key from a map of 100,000, limits per key
(Envoy: per listener) at a rate that is never reached, writes a JSON access log, and forwards to the same upstream over
kept-alive HTTP/1.1. One worker thread or process each, because each gets one core."""

import json
import os
import subprocess

from . import place

PROXY_CORE = 0
LOAD_CORE = 1


class Target:
    """A gateway under measurement. Subclasses set `name`, `title` and say how to start it."""

    name = ""
    title = ""

    def __init__(self, inputs, upstream_port):
        self.inputs = inputs
        self.upstream_port = upstream_port
        self.port = place.free_port()
        self.headers = [f"x-api-key: {inputs.key}"]
        self.child = None
        # Put in front of the command by bench/callgrind.
        self.wrapper = []

    def version(self):
        """Text for the report."""
        raise NotImplementedError

    def start(self, processes):
        """Starts the target; sets `self.child`. Does not wait until it answers."""
        raise NotImplementedError

    def stop(self, processes):
        """Ends the target."""
        if self.child is not None:
            processes.stop(self.child)
            self.child = None

    def sids(self):
        """Sessions whose CPU and memory are the target's."""
        return [self.child.pid]

    def side_sids(self):
        """Sessions that work for the target outside the request path (a database); reported on their own."""
        return []

    def path(self, *parts):
        """A path in the target's folder of the work directory."""
        folder = os.path.join(place.WORK, self.name)
        os.makedirs(folder, exist_ok=True)
        return os.path.join(folder, *parts)

    def output(self):
        """The file that collects what the target prints."""
        return open(os.path.join(place.LOGS, f"{self.name}.out"), "a", encoding="utf-8")

    def status(self, secure=True):
        """HTTP status of one request, '000' when nothing answers."""
        headers = [part for header in self.headers for part in ("-H", header)]
        scheme = "https" if secure else "http"
        done = subprocess.run(
            ["curl", "-sk", "-m", "2", "--http1.1", "-o", os.devnull, "-w", "%{http_code}", *headers,
             f"{scheme}://127.0.0.1:{self.port}/api/v1/items/42"], capture_output=True, text=True)
        return done.stdout

    def without_key(self):
        """HTTP status of a request without credentials: proof that the key is really checked."""
        kept, self.headers = self.headers, []
        try:
            return self.status()
        finally:
            self.headers = kept


class Direct(Target):
    """The upstream itself, without TLS and without a proxy: the base line of the latency workloads."""

    name = "direct"
    title = "upstream alone"

    def version(self):
        return ""

    def start(self, processes):
        self.port = self.upstream_port
        self.child = processes.start([place.tool("upstream"), str(self.port)], LOAD_CORE)


class Nginx(Target):
    name = "nginx"
    title = "nginx"

    def version(self):
        return place.version(place.program("nginx"), "-v")

    def start(self, processes):
        map_path = self.path("keys.map")
        place.write(map_path, "".join(f'"{key}" {n};\n' for n, key in enumerate(self.inputs.keys, 1)))
        config = place.write(self.path("nginx.conf"), self.config(map_path))
        self.child = processes.start([*self.wrapper, place.program("nginx"), "-p", self.path(), "-c", config], PROXY_CORE,
                                     stdout=self.output(), stderr=subprocess.STDOUT)

    def config(self, map_path):
        user = "user root;" if os.geteuid() == 0 else ""
        return f"""{user}
worker_processes 1; daemon off; pid {self.path("pid")}; error_log {self.path("error.log")} error;
events {{ worker_connections 8192; }}
http {{
  server_tokens off; tcp_nodelay on; keepalive_requests 100000000; keepalive_timeout 300s;
  client_body_buffer_size 64k; client_max_body_size 10m;
  proxy_buffer_size 8k; proxy_buffers 16 64k; proxy_busy_buffers_size 128k;
  client_body_temp_path {self.path("body")}; proxy_temp_path {self.path("proxy")};
  fastcgi_temp_path {self.path("fastcgi")}; scgi_temp_path {self.path("scgi")}; uwsgi_temp_path {self.path("uwsgi")};
  upstream service {{
    server 127.0.0.1:{self.upstream_port}; keepalive 1024; keepalive_requests 100000000; keepalive_timeout 300s;
  }}
  ssl_certificate {self.inputs.certificate}; ssl_certificate_key {self.inputs.private_key};
  ssl_protocols TLSv1.3; ssl_session_cache shared:tls:10m; ssl_session_tickets on;
  map_hash_max_size 400000; map_hash_bucket_size 128;
  map $http_x_api_key $client {{ default 0; include {map_path}; }}
  limit_req_zone $http_x_api_key zone=per_key:32m rate=1000000r/s;
  log_format line escape=json '{{"ts":"$msec","seconds":"$request_time","status":$status,"client":"$client",'
    '"bytes":$body_bytes_sent,"method":"$request_method","path":"$request_uri","address":"$remote_addr"}}';
  server {{
    listen 127.0.0.1:{self.port} ssl http2 reuseport backlog=4096; http2_max_concurrent_streams 256;
    access_log {os.path.join(place.LOGS, "nginx-access.log")} line buffer=64k flush=1s;
    location / {{
      if ($client = 0) {{ return 401; }}
      limit_req zone=per_key burst=30000 nodelay;
      proxy_set_header X-Api-Key ""; proxy_set_header X-Forwarded-For $remote_addr;
      proxy_set_header Connection ""; proxy_set_header Host $host;
      proxy_http_version 1.1; proxy_pass http://service;
    }}
  }}
}}
"""


class Haproxy(Target):
    name = "haproxy"
    title = "HAProxy"

    def version(self):
        return place.version(place.program("haproxy"), "-v")

    def start(self, processes):
        map_path = self.path("keys.map")
        place.write(map_path, "".join(f"{key} {n}\n" for n, key in enumerate(self.inputs.keys, 1)))
        config = place.write(self.path("haproxy.cfg"), self.config(map_path))
        log = open(os.path.join(place.LOGS, "haproxy-access.log"), "a", encoding="utf-8")
        self.child = processes.start([*self.wrapper, place.program("haproxy"), "-db", "-f", config], PROXY_CORE,
                                     stdout=log, stderr=self.output())

    def config(self, map_path):
        return f"""global
  nbthread 1
  maxconn 6000
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
  http-request deny deny_status 429 if {{ sc0_http_req_rate gt 100000000 }}
  http-request del-header x-api-key
  option forwardfor
  default_backend service
backend service
  server upstream 127.0.0.1:{self.upstream_port} pool-max-conn 4096
"""


class Envoy(Target):
    name = "envoy"
    title = "Envoy"

    def version(self):
        done = subprocess.run([place.envoy(), "--version"], capture_output=True, text=True, timeout=10)
        parts = done.stdout.split("version:")[-1].split("/")
        return parts[1] if len(parts) > 1 else "?"

    def start(self, processes):
        config = place.write(self.path("envoy.json"), json.dumps(self.config()))
        self.child = processes.start([*self.wrapper, place.envoy(), "-c", config, "--concurrency", "1", "-l", "error",
                                      "--disable-hot-restart"], PROXY_CORE,
                                     stdout=self.output(), stderr=subprocess.STDOUT)

    def config(self):
        http = "type.googleapis.com/envoy.extensions.filters.http"
        always = {"default_value": {"numerator": 100, "denominator": "HUNDRED"}}
        filters = [
            {"name": "envoy.filters.http.api_key_auth", "typed_config": {
                "@type": f"{http}.api_key_auth.v3.ApiKeyAuth",
                "credentials": [{"key": key, "client": f"client-{n}"} for n, key in enumerate(self.inputs.keys, 1)],
                "key_sources": [{"header": "x-api-key"}]}},
            {"name": "envoy.filters.http.local_ratelimit", "typed_config": {
                "@type": f"{http}.local_ratelimit.v3.LocalRateLimit", "stat_prefix": "limit",
                "token_bucket": {"max_tokens": 10**8, "tokens_per_fill": 10**8, "fill_interval": "1s"},
                "filter_enabled": always, "filter_enforced": always}},
            {"name": "envoy.filters.http.router", "typed_config": {"@type": f"{http}.router.v3.Router"}},
        ]
        access_log = {"name": "file", "typed_config": {
            "@type": "type.googleapis.com/envoy.extensions.access_loggers.file.v3.FileAccessLog",
            "path": os.path.join(place.LOGS, "envoy-access.log"),
            "log_format": {"json_format": {
                "ts": "%START_TIME%", "ms": "%DURATION%", "status": "%RESPONSE_CODE%", "bytes": "%BYTES_SENT%",
                "method": "%REQ(:METHOD)%", "path": "%REQ(:PATH)%",
                "address": "%DOWNSTREAM_REMOTE_ADDRESS_WITHOUT_PORT%"}}}}
        manager = {
            "@type": "type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3"
                     ".HttpConnectionManager",
            "stat_prefix": "front", "codec_type": "AUTO",
            "http2_protocol_options": {"max_concurrent_streams": 256, "initial_stream_window_size": 1 << 20,
                                       "initial_connection_window_size": 1 << 24},
            "route_config": {"virtual_hosts": [{
                "name": "all", "domains": ["*"], "request_headers_to_remove": ["x-api-key"],
                "routes": [{"match": {"prefix": "/"}, "route": {"cluster": "service", "timeout": "0s"}}]}]},
            "http_filters": filters, "access_log": [access_log]}
        tls = {"@type": "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.DownstreamTlsContext",
               "common_tls_context": {
                   "alpn_protocols": ["h2", "http/1.1"],
                   "tls_params": {"tls_minimum_protocol_version": "TLSv1_3",
                                  "tls_maximum_protocol_version": "TLSv1_3"},
                   "tls_certificates": [{"certificate_chain": {"filename": self.inputs.certificate},
                                         "private_key": {"filename": self.inputs.private_key}}]}}
        return {"static_resources": {
            "listeners": [{
                "name": "front", "enable_reuse_port": True, "address": address(self.port),
                "filter_chains": [{
                    "transport_socket": {"name": "tls", "typed_config": tls},
                    "filters": [{"name": "http", "typed_config": manager}]}]}],
            "clusters": [{
                "name": "service", "type": "STATIC", "connect_timeout": "2s",
                "circuit_breakers": {"thresholds": [{"max_connections": 10_000, "max_pending_requests": 100_000,
                                                     "max_requests": 100_000}]},
                "load_assignment": {"cluster_name": "service", "endpoints": [{"lb_endpoints": [
                    {"endpoint": {"address": address(self.upstream_port)}}]}]}}]}}


def address(port):
    """Envoy's form of a loopback address."""
    return {"socket_address": {"address": "127.0.0.1", "port_value": port}}


PEERS = {peer.name: peer for peer in (Nginx, Haproxy, Envoy)}
