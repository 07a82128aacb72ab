"""The Causeway target: a node as an operator would run it, made with the product's own commands and admin API.

Everything that depends on the product's files, commands and tables is here: `NODE` and `gateway` (its two documents) and
`start`: migrate, admin init, serve, apply, create a key, fill the key table, serve again."""

import contextlib
import dataclasses
import json
import os
import re
import shutil
import ssl
import subprocess
import threading
import time
import urllib.error
import urllib.request

from . import place, process
from .database import Database
from .place import Trouble
from .targets import LIMIT_NEVER_REACHED, LIMIT_TIGHT, PROXY_CORE, Target

DEFAULT_BINARY = os.path.join(place.REPOSITORY, "target", "release", "causeway")

# One core, as the peers have one worker. Limits that would refuse the load itself are out of the way (the peers have no
# limit of handshakes), but they are charged. The spool holds what the loader has not yet taken to the database.
NODE = """\
version: 1
node: bench-1
region: bench
cores: 1
data:
  listen: 127.0.0.1:{port}
  certificate: {certificate}
  key: file:{private_key}
control:
  listen: 127.0.0.1:{control_port}
  certificate: {certificate}
  key: file:{private_key}
database:
  name: causeway
  user: causeway
  password: file:{secrets}/password
  servers:
  - {{ address: "127.0.0.1:{database_port}", region: bench }}
spool: {{ dir: {spool}, max: 16GiB }}
state: {state}
secrets:
  peppers:
  - {{ version: 1, key: "file:{secrets}/pepper" }}
  snapshot_key: file:{secrets}/snapshot-key
limits: {{ handshakes_per_address: 1000000, audit_timeout: {audit_timeout} }}
"""

# As many keys as the peers have; nobody knows their secrets, so the digests may be anything.
FILL = """
insert into api_key (key_id, digest, pepper_version, application_id, name, prefix, last_four, state, expires_at, created_by)
select lpad(n::text, 12, '0'), sha256(('bench ' || n)::bytea), 1, application_id, 'filler', 'cw_live_', '0000', 'active',
  now() + interval '1 year', 'bench'
from application, generate_series(1, {count}) as n where application.name = 'bench'
"""


# How long a response waits for its record to be on disk: the product's default, and what a smoke test on a busy machine needs.
AUDIT_TIMEOUT, AUDIT_TIMEOUT_PATIENT = "250ms", "10s"

# What an upstream of the gateway document says besides its targets to be spoken to over HTTP/2.
# None leaves Causeway out of the workload `grpc`.
H2_UPSTREAM = {"protocol": "http2"}


@dataclasses.dataclass(frozen=True)
class Size:
    """How much a node has to know: keys in its table, and routes beside those that are asked for."""

    keys: int = place.N_KEYS
    routes: int = 0


def gateway(upstream_port, limit, routes=0, changed=0):
    """The gateway document: everything is durable and limited per key.

    `routes` more routes share the first segments of the path that is asked for, so that looking it up passes them.
    `changed` makes documents that differ."""
    regions = {"bench": {"targets": [f"http://127.0.0.1:{upstream_port}"], "role": "writer"}}
    upstreams = [{"name": "service", "regions": regions}]
    route = {"auth": "api_key", "audit": "durable", "upstream": "service",
             "limits": [{"name": "per-key", "rate": f"{limit}/s", "burst": limit}]}
    served = [{"name": "all", "match": {"path": "/**"}, **route}]
    served += [{"name": f"route-{n}", "match": {"path": f"/api/v1/service-{n}/**"}, **route} for n in range(routes)]
    if changed:
        served.append({"name": "changed", "match": {"path": f"/changed/{changed}"}, **route})
    if H2_UPSTREAM is not None:
        upstreams.append({"name": "service-h2", "regions": regions, **H2_UPSTREAM})
        served.append({"name": "grpc", "match": {"path": place.GRPC_PATH}, **route, "upstream": "service-h2"})
    return {
        "version": 1,
        "regions": [{"name": "bench"}],
        "tenants": [{"name": "bench", "hosts": ["localhost", "127.0.0.1"]}],
        "consumers": [{"name": "bench", "tenant": "bench"}],
        "applications": [{"name": "bench", "consumer": "bench"}],
        "upstreams": upstreams,
        "routes": served,
    }


class Causeway(Target):
    name = "causeway"
    title = "Causeway"
    can = frozenset({"idle", "reload", *(() if H2_UPSTREAM is None else ("grpc",))})
    cannot = {"grpc": "Causeway has no upstream over HTTP/2 yet (H2_UPSTREAM in harness/causeway.py)"}

    def __init__(self, inputs, upstream_port, binary, size=None, audit_timeout=AUDIT_TIMEOUT):
        super().__init__(inputs, upstream_port)
        if size is not None:
            self.name = "causeway-large"
            self.title = f"Causeway, {size.keys:,} keys, {size.routes:,} more routes"
        self.size = size or Size()
        self.audit_timeout = audit_timeout
        self.binary = os.path.abspath(binary)
        if not os.access(self.binary, os.X_OK):
            raise Trouble("there is no Causeway binary; build it with `cargo build --release`, or name one with --causeway, "
                          "or measure the peers alone with --no-target")
        self.control_port = place.free_port()
        self.database = Database(self.name)
        self.node = None
        self.token = None
        self.n_changes = 0

    def version(self):
        return place.version(self.binary, "--version")

    def start(self, processes):
        shutil.rmtree(self.path(), ignore_errors=True)  # no state of an earlier run may answer
        self.database.start(processes)
        self.node = self._node_file()
        self.command("migrate", "--config", self.node)
        self.token = found(r"cw_op_[0-9A-Za-z]+_[0-9A-Za-z]+", self.command("admin", "init", "--config", self.node),
                           "admin init")
        self._serve(processes, wrapper=[])
        self.apply()
        key = self.api("/v1/keys", {"name": "bench", "application": "bench"})
        self.headers = [f"x-api-key: {key['secret']}"]
        self.database.sql(FILL.format(count=self.size.keys - 1))
        self.restart(processes)

    def restart(self, processes):
        """Ends the node and starts it again, on the same database: it reads the whole key table."""
        processes.stop(self.child, seconds=10)
        shutil.rmtree(self.path("state"), ignore_errors=True)
        self._serve(processes, self.wrapper)
        self.wait(patience=240)

    def apply(self, change=False):
        """Applies the gateway document, with `change` one that differs from all before."""
        self.n_changes += change
        self.api("/v1/apply", gateway(self.upstream_port, self.limit, self.size.routes, self.n_changes))

    @contextlib.contextmanager
    def reloading(self):
        """Applies a changed document each second; yields a list that collects how long each took, in seconds."""
        took, over, failed = [], threading.Event(), []

        def work():
            try:
                while not over.is_set():
                    began = time.monotonic()
                    self.apply(change=True)
                    took.append(time.monotonic() - began)
                    over.wait(max(0, 1 - took[-1]))
            except (OSError, Trouble) as failure:
                failed.append(failure)

        worker = threading.Thread(target=work)
        worker.start()
        try:
            yield took
        finally:
            over.set()
            worker.join()
        if failed:
            raise Trouble(f"{self.title}: a changed document was not applied: {failed[0]}")

    def prove_limit(self, processes):
        """As for the peers, but by a hot reload each way."""
        answers = []
        self.limit = LIMIT_TIGHT
        self.apply()
        process.wait_until(lambda: "429" in answers or answers.extend(self.burst()), 20, f"{self.title} with a tight limit")
        self.limit = LIMIT_NEVER_REACHED
        self.apply()
        process.wait_until(lambda: set(self.burst()) == {"200"}, 20, f"{self.title} with its limit back")
        self.expect_refused(answers)

    def _serve(self, processes, wrapper):
        self.child = processes.start([*wrapper, self.binary, "serve", "--config", self.node], PROXY_CORE,
                                     stdout=self.output(), stderr=subprocess.STDOUT)
        process.wait_until(self._is_ready, 180 if wrapper else 60,
                           f"{self.title} (its output is in bench/.work/logs/{self.name}.out)", self.child)

    def _is_ready(self):
        try:
            self._request("/livez")
            return True
        except (OSError, Trouble):
            return False

    def _node_file(self):
        secrets = self.path("secrets")
        os.makedirs(secrets, mode=0o700)
        for name in ("pepper", "snapshot-key", "password"):
            place.write(os.path.join(secrets, name), os.urandom(32).hex())
            os.chmod(os.path.join(secrets, name), 0o600)
        return place.write(self.path("node.yaml"), NODE.format(
            port=self.port, control_port=self.control_port, certificate=self.inputs.certificate,
            private_key=self.inputs.private_key, database_port=self.database.port, secrets=secrets,
            spool=self.path("spool"), state=self.path("state"), audit_timeout=self.audit_timeout))

    def command(self, *arguments):
        """Runs one command of the product and returns its standard output."""
        done = subprocess.run([self.binary, *arguments], capture_output=True, text=True, timeout=60, cwd=self.path())
        if done.returncode:
            raise Trouble(f"`causeway {' '.join(arguments[:2])}` failed ({done.returncode}): "
                          f"{(done.stderr or done.stdout).strip()[-600:]}")
        return done.stdout

    def api(self, path, body):
        """One POST to the admin API; waits while the node has not yet found its database."""
        answers = []

        def accepted():
            try:
                answers.append(self._request(path, body))
            except Trouble as trouble:
                if " 503 " not in str(trouble):
                    raise
            return bool(answers)

        process.wait_until(accepted, 30, f"POST {path}", self.child)
        return answers[0]

    def _request(self, path, body=None):
        headers = {"content-type": "application/json", "authorization": f"Bearer {self.token}"} if body is not None else {}
        request = urllib.request.Request(f"https://127.0.0.1:{self.control_port}{path}", headers=headers,
                                         data=None if body is None else json.dumps(body).encode())
        trusted = ssl.create_default_context(cafile=self.inputs.certificate)
        try:
            with urllib.request.urlopen(request, timeout=120, context=trusted) as answer:
                text = answer.read().decode()
        except urllib.error.HTTPError as refusal:
            raise Trouble(f"Causeway answered {refusal.code} to {path}: {refusal.read().decode()[:600]}") from None
        return json.loads(text) if body is not None else text

    def side_sids(self):
        return self.database.sids()

    def stop(self, processes):
        super().stop(processes)
        self.database.stop(processes)


def found(pattern, text, what):
    match = re.search(pattern, text)
    if not match:
        raise Trouble(f"`causeway {what}` printed nothing like {pattern}")
    return match.group(0)
