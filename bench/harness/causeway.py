"""The Causeway target: a node as an operator would run it, made with the product's own commands and admin API.

Everything that depends on the product's files, commands and tables is here: `NODE` and `gateway` (its two documents) and
`start`: migrate, admin init, serve, apply, create a key, fill the key table, serve again."""

import json
import os
import re
import shutil
import ssl
import subprocess
import urllib.error
import urllib.request

from . import place, process
from .database import Database
from .place import Trouble
from .targets import PROXY_CORE, Target

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
limits: {{ handshakes_per_address: 1000000 }}
"""

# As many keys as the peers have; nobody knows their secrets, so the digests may be anything.
FILL = """
insert into api_key (key_id, digest, pepper_version, application_id, name, prefix, last_four, state, expires_at, created_by)
select lpad(n::text, 12, '0'), sha256(('bench ' || n)::bytea), 1, application_id, 'filler', 'cw_live_', '0000', 'active',
  now() + interval '1 year', 'bench'
from application, generate_series(1, {count}) as n where application.name = 'bench'
"""


def gateway(upstream_port):
    """The gateway document: everything is durable and limited per key, at a rate that is never reached."""
    return {
        "version": 1,
        "regions": [{"name": "bench"}],
        "tenants": [{"name": "bench", "hosts": ["localhost", "127.0.0.1"]}],
        "consumers": [{"name": "bench", "tenant": "bench"}],
        "applications": [{"name": "bench", "consumer": "bench"}],
        "upstreams": [{"name": "service",
                       "regions": {"bench": {"targets": [f"http://127.0.0.1:{upstream_port}"], "role": "writer"}}}],
        "routes": [{"name": "all", "match": {"path": "/**"}, "auth": "api_key", "audit": "durable", "upstream": "service",
                    "limits": [{"name": "per-key", "rate": "1000000/s", "burst": 1000000}]}],
    }


class Causeway(Target):
    name = "causeway"
    title = "Causeway"

    def __init__(self, inputs, upstream_port, binary):
        super().__init__(inputs, upstream_port)
        self.binary = os.path.abspath(binary)
        if not os.access(self.binary, os.X_OK):
            raise Trouble("there is no Causeway binary; build it with `cargo build --release`, or name one with --causeway, "
                          "or measure the peers alone with --no-target")
        self.control_port = place.free_port()
        self.database = Database()
        self.token = None

    def version(self):
        return place.version(self.binary, "--version")

    def start(self, processes):
        shutil.rmtree(self.path(), ignore_errors=True)  # no state of an earlier run may answer
        self.database.start(processes)
        node = self._node_file()
        self.command("migrate", "--config", node)
        self.token = found(r"cw_op_[0-9A-Za-z]+_[0-9A-Za-z]+", self.command("admin", "init", "--config", node), "admin init")
        self._serve(processes, node, wrapper=[])
        self.api("/v1/apply", gateway(self.upstream_port))
        key = self.api("/v1/keys", {"name": "bench", "application": "bench"})
        self.headers = [f"x-api-key: {key['secret']}"]
        self.database.sql(FILL.format(count=place.N_KEYS - 1))
        # The node reads the whole key table when it starts.
        processes.stop(self.child, seconds=10)
        shutil.rmtree(self.path("state"), ignore_errors=True)
        self._serve(processes, node, self.wrapper)

    def _serve(self, processes, node, wrapper):
        self.child = processes.start([*wrapper, self.binary, "serve", "--config", node], PROXY_CORE,
                                     stdout=self.output(), stderr=subprocess.STDOUT)
        process.wait_until(self._is_ready, 180 if wrapper else 30,
                           "Causeway (its output is in bench/.work/logs/causeway.out)", self.child)

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
            spool=self.path("spool"), state=self.path("state")))

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
            with urllib.request.urlopen(request, timeout=10, context=trusted) as answer:
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
