"""nginx."""

import os
import subprocess

from .. import place
from ..targets import PROXY_CORE, Target


class Nginx(Target):
    name = "nginx"
    title = "nginx"
    can = frozenset({"idle", "grpc"})

    @classmethod
    def program(cls):
        return place.installed("nginx")

    def version(self):
        return place.version(self.program(), "-v")

    def start(self, processes):
        map_path = self.path("keys.map")
        place.write(map_path, "".join(f'"{key}" {n};\n' for n, key in enumerate(self.inputs.keys, 1)))
        config = place.write(self.path("nginx.conf"), self.config(map_path))
        self.child = processes.start([*self.wrapper, self.program(), "-p", self.path(), "-c", config], PROXY_CORE,
                                     stdout=self.output(), stderr=subprocess.STDOUT)

    def config(self, map_path):
        user = "user root;" if os.geteuid() == 0 else ""
        return f"""{user}
worker_processes 1; daemon off; pid {self.path("pid")}; error_log {self.path("error.log")} error;
events {{ worker_connections 16384; }}
http {{
  server_tokens off; tcp_nodelay on; keepalive_requests 100000000; keepalive_timeout 300s;
  client_body_buffer_size 64k; client_max_body_size 10m;
  proxy_buffer_size 8k; proxy_buffers 16 64k; proxy_busy_buffers_size 128k;
  client_body_temp_path {self.path("body")}; proxy_temp_path {self.path("proxy")};
  fastcgi_temp_path {self.path("fastcgi")}; scgi_temp_path {self.path("scgi")}; uwsgi_temp_path {self.path("uwsgi")};
  upstream service {{
    server 127.0.0.1:{self.upstream_port}; keepalive 1024; keepalive_requests 100000000; keepalive_timeout 300s;
  }}
  upstream service_h2 {{
    server 127.0.0.1:{self.upstream_port}; keepalive 1024; keepalive_requests 100000000; keepalive_timeout 300s;
  }}
  ssl_certificate {self.inputs.certificate}; ssl_certificate_key {self.inputs.private_key};
  ssl_protocols TLSv1.3; ssl_session_cache shared:tls:10m; ssl_session_tickets on;
  map_hash_max_size 400000; map_hash_bucket_size 128;
  map $http_x_api_key $client {{ default 0; include {map_path}; }}
  limit_req_zone $http_x_api_key zone=per_key:32m rate={self.limit}r/s;
  limit_req zone=per_key burst={min(self.limit, 30_000)} nodelay; limit_req_status 429;
  log_format line escape=json '{{"ts":"$msec","seconds":"$request_time","status":$status,"client":"$client",'
    '"bytes":$body_bytes_sent,"method":"$request_method","path":"$request_uri","address":"$remote_addr"}}';
  server {{
    listen 127.0.0.1:{self.port} ssl http2 reuseport backlog=4096; http2_max_concurrent_streams 256;
    access_log {self.access_log()} line buffer=64k flush=1s;
    location / {{
      if ($client = 0) {{ return 401; }}
      proxy_set_header X-Api-Key ""; proxy_set_header X-Forwarded-For $remote_addr;
      proxy_set_header Connection ""; proxy_set_header Host $host;
      proxy_http_version 1.1; proxy_pass http://service;
    }}
    location {place.GRPC_PATH} {{
      if ($client = 0) {{ return 401; }}
      grpc_set_header X-Api-Key ""; grpc_set_header X-Forwarded-For $remote_addr; grpc_pass grpc://service_h2;
    }}
  }}
}}
"""
