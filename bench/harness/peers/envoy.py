"""Envoy, once with API keys and once with JWT (ES256, verified for each request)."""

import json
import subprocess

from .. import jwt, place
from ..targets import PROXY_CORE, Target

HTTP = "type.googleapis.com/envoy.extensions.filters.http"
MANAGER = "type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager"
UPSTREAM_OPTIONS = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions"
ACCESS_LOG = "type.googleapis.com/envoy.extensions.access_loggers.file.v3.FileAccessLog"
TLS_CONTEXT = "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.DownstreamTlsContext"


class Envoy(Target):
    name = "envoy"
    title = "Envoy"
    lacks = "its limit is per listener, not per key"
    can = frozenset({"idle", "grpc"})

    @classmethod
    def program(cls):
        return place.packaged("lib/python3*/site-packages/envoy/_bin/envoy")

    def version(self):
        done = subprocess.run([self.program(), "--version"], capture_output=True, text=True, timeout=10)
        parts = done.stdout.split("version:")[-1].split("/")
        return parts[1] if len(parts) > 1 else "?"

    def start(self, processes):
        config = place.write(self.path("envoy.json"), json.dumps(self.config()))
        self.child = processes.start([*self.wrapper, self.program(), "-c", config, "--concurrency", "1", "-l", "error",
                                      "--disable-hot-restart"], PROXY_CORE,
                                     stdout=self.output(), stderr=subprocess.STDOUT)

    def authentication(self):
        return {"name": "envoy.filters.http.api_key_auth", "typed_config": {
            "@type": f"{HTTP}.api_key_auth.v3.ApiKeyAuth",
            "credentials": [{"key": key, "client": f"client-{n}"} for n, key in enumerate(self.inputs.keys, 1)],
            "key_sources": [{"header": "x-api-key"}]}}

    def filters(self):
        always = {"default_value": {"numerator": 100, "denominator": "HUNDRED"}}
        return [
            self.authentication(),
            {"name": "envoy.filters.http.local_ratelimit", "typed_config": {
                "@type": f"{HTTP}.local_ratelimit.v3.LocalRateLimit", "stat_prefix": "limit",
                "token_bucket": {"max_tokens": self.limit, "tokens_per_fill": self.limit, "fill_interval": "1s"},
                "filter_enabled": always, "filter_enforced": always}},
            {"name": "envoy.filters.http.router", "typed_config": {"@type": f"{HTTP}.router.v3.Router"}}]

    def access_log_filter(self):
        return {"name": "file", "typed_config": {
            "@type": ACCESS_LOG, "path": self.access_log(),
            "log_format": {"json_format": {
                "ts": "%START_TIME%", "ms": "%DURATION%", "status": "%RESPONSE_CODE%", "bytes": "%BYTES_SENT%",
                "method": "%REQ(:METHOD)%", "path": "%REQ(:PATH)%",
                "address": "%DOWNSTREAM_REMOTE_ADDRESS_WITHOUT_PORT%"}}}}

    def manager(self):
        return {
            "@type": MANAGER, "stat_prefix": "front", "codec_type": "AUTO",
            "http2_protocol_options": {"max_concurrent_streams": 256, "initial_stream_window_size": 1 << 20,
                                       "initial_connection_window_size": 1 << 24},
            "route_config": {"virtual_hosts": [{
                "name": "all", "domains": ["*"], "request_headers_to_remove": ["x-api-key"],
                "routes": [{"match": {"path": place.GRPC_PATH}, "route": {"cluster": "service_h2", "timeout": "0s"}},
                           {"match": {"prefix": "/"}, "route": {"cluster": "service", "timeout": "0s"}}]}]},
            "http_filters": self.filters(), "access_log": [self.access_log_filter()]}

    def tls(self):
        return {"@type": TLS_CONTEXT, "common_tls_context": {
            "alpn_protocols": ["h2", "http/1.1"],
            "tls_params": {"tls_minimum_protocol_version": "TLSv1_3", "tls_maximum_protocol_version": "TLSv1_3"},
            "tls_certificates": [{"certificate_chain": {"filename": self.inputs.certificate},
                                  "private_key": {"filename": self.inputs.private_key}}]}}

    def cluster(self, name):
        return {
            "name": name, "type": "STATIC", "connect_timeout": "2s",
            "circuit_breakers": {"thresholds": [{"max_connections": 10_000, "max_pending_requests": 100_000,
                                                 "max_requests": 100_000}]},
            "load_assignment": {"cluster_name": name, "endpoints": [{"lb_endpoints": [
                {"endpoint": {"address": address(self.upstream_port)}}]}]}}

    def config(self):
        h2 = {"typed_extension_protocol_options": {UPSTREAM_OPTIONS: {
            "@type": f"type.googleapis.com/{UPSTREAM_OPTIONS}", "explicit_http_config": {"http2_protocol_options": {}}}}}
        return {"static_resources": {
            "listeners": [{
                "name": "front", "enable_reuse_port": True, "address": address(self.port),
                "filter_chains": [{
                    "transport_socket": {"name": "tls", "typed_config": self.tls()},
                    "filters": [{"name": "http", "typed_config": self.manager()}]}]}],
            "clusters": [self.cluster("service"), {**self.cluster("service_h2"), **h2}]}}


class EnvoyJwt(Envoy):
    name = "envoy-jwt"
    title = "Envoy with JWT"
    lacks = "a token (ES256) instead of a key, one signer; its limit is per listener"

    def __init__(self, inputs, upstream_port):
        super().__init__(inputs, upstream_port)
        self.headers = [f"authorization: Bearer {jwt.token(inputs.private_key)}"]

    def authentication(self):
        return {"name": "envoy.filters.http.jwt_authn", "typed_config": {
            "@type": f"{HTTP}.jwt_authn.v3.JwtAuthentication",
            "providers": {"own": {"issuer": jwt.ISSUER, "local_jwks": {"inline_string": jwt.key_set(self.inputs.private_key)}}},
            "rules": [{"match": {"prefix": "/"}, "requires": {"provider_name": "own"}}]}}


def address(port):
    """Envoy's form of a loopback address."""
    return {"socket_address": {"address": "127.0.0.1", "port_value": port}}
