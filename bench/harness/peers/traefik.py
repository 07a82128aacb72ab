"""Traefik. It knows no API keys; a rule that wants the header with one value comes nearest."""

import json
import subprocess

from .. import place
from ..targets import PROXY_CORE, Target


class Traefik(Target):
    name = "traefik"
    title = "Traefik"
    lacks = "one key in the routing rule instead of a map; a request without it finds no route (404)"
    can = frozenset({"idle", "grpc"})
    refusals = ("404",)

    @classmethod
    def program(cls):
        return place.packaged("bin/traefik")

    def version(self):
        return place.version(self.program(), "version")

    def start(self, processes):
        # YAML holds JSON.
        dynamic = place.write(self.path("dynamic.yaml"), json.dumps(self.dynamic()))
        static = place.write(self.path("traefik.yaml"), json.dumps(self.static(dynamic)))
        self.child = processes.start([*self.wrapper, self.program(), f"--configFile={static}"], PROXY_CORE,
                                     stdout=self.output(), stderr=subprocess.STDOUT,
                                     env={"HOME": self.path(), "PATH": "/usr/bin:/bin"})

    def static(self, dynamic):
        return {
            "global": {"checkNewVersion": False, "sendAnonymousUsage": False},
            "log": {"level": "ERROR"},
            "entryPoints": {"front": {
                "address": f"127.0.0.1:{self.port}", "http2": {"maxConcurrentStreams": 256},
                "transport": {"respondingTimeouts": {"readTimeout": "0s", "idleTimeout": "300s"}}}},
            "serversTransport": {"maxIdleConnsPerHost": 4096},
            "providers": {"file": {"filename": dynamic, "watch": False}},
            "accessLog": {"filePath": self.access_log(), "format": "json", "bufferingSize": 1000}}

    def dynamic(self):
        has_key = f"Header(`X-Api-Key`, `{self.inputs.key}`)"
        router = {"entryPoints": ["front"], "middlewares": ["limit", "forget"], "tls": {}}
        return {
            "http": {
                "routers": {
                    "all": {**router, "rule": has_key, "service": "service"},
                    "grpc": {**router, "rule": f"{has_key} && Path(`{place.GRPC_PATH}`)", "service": "service-h2"}},
                "middlewares": {
                    "limit": {"rateLimit": {"average": self.limit, "burst": self.limit, "period": "1s",
                                            "sourceCriterion": {"requestHeaderName": "X-Api-Key"}}},
                    "forget": {"headers": {"customRequestHeaders": {"X-Api-Key": ""}}}},
                "services": {
                    "service": self.service("http"),
                    "service-h2": self.service("h2c")}},
            "tls": {"stores": {"default": {"defaultCertificate": {
                "certFile": self.inputs.certificate, "keyFile": self.inputs.private_key}}}}}

    def service(self, scheme):
        return {"loadBalancer": {"servers": [{"url": f"{scheme}://127.0.0.1:{self.upstream_port}"}]}}
