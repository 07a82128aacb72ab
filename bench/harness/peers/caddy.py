"""Caddy, as its own build is: it has no limit of requests, and a list of keys is asked one by one, so it gets one key."""

import json
import subprocess

from .. import place
from ..targets import PROXY_CORE, Target


class Caddy(Target):
    name = "caddy"
    title = "Caddy"
    lacks = "no limit (its own build has none), and one key instead of a map"
    can = frozenset({"idle", "grpc"})
    has_limit = False

    @classmethod
    def program(cls):
        return place.packaged("bin/caddy")

    def version(self):
        return place.version(self.program(), "version")

    def start(self, processes):
        config = place.write(self.path("caddy.json"), json.dumps(self.config()))
        self.child = processes.start([*self.wrapper, self.program(), "run", "--config", config], PROXY_CORE,
                                     stdout=self.output(), stderr=subprocess.STDOUT,
                                     env={"HOME": self.path(), "PATH": "/usr/bin:/bin"})

    def config(self):
        return {
            "admin": {"disabled": True, "config": {"persist": False}},
            "logging": {"logs": {
                "default": {"level": "ERROR", "exclude": ["http.log.access"]},
                "access": {"include": ["http.log.access"], "encoder": {"format": "json"},
                           "writer": {"output": "file", "filename": self.access_log(), "roll": False}}}},
            "apps": {
                "tls": {"certificates": {"load_files": [
                    {"certificate": self.inputs.certificate, "key": self.inputs.private_key}]}},
                "http": {"servers": {"front": {
                    "listen": [f"127.0.0.1:{self.port}"], "protocols": ["h1", "h2"], "logs": {},
                    "automatic_https": {"disable": True},
                    "tls_connection_policies": [{"protocol_min": "tls1.3"}],
                    "routes": [
                        self.route(place.GRPC_PATH, {"protocol": "http", "versions": ["h2c"]}),
                        self.route("/*", {"protocol": "http", "compression": False, "keep_alive": {
                            "idle_timeout": "300s", "max_idle_conns": 4096, "max_idle_conns_per_host": 4096}}),
                        {"handle": [{"handler": "static_response", "status_code": 401}]}]}}}}}

    def route(self, path, transport):
        return {
            "match": [{"path": [path], "header": {"X-Api-Key": [self.inputs.key]}}],
            "handle": [{"handler": "reverse_proxy", "transport": transport,
                        "headers": {"request": {"delete": ["X-Api-Key"]}},
                        "upstreams": [{"dial": f"127.0.0.1:{self.upstream_port}"}]}],
            "terminal": True}
