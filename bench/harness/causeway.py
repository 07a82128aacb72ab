"""The Causeway target: a node as an operator would run it, from the product's own commands.

Everything that depends on the product's files and commands is here: NODE and GATEWAY (its two documents), and `start`
(migrate, admin init, apply, keys create, serve)."""

import json
import os
import re
import shutil
import subprocess

from . import place
from .database import Database
from .place import Trouble
from .targets import PROXY_CORE, Target

DEFAULT_BINARY = os.path.join(place.REPOSITORY, "target", "release", "causeway")

NODE = """\
version: 1
region: bench
node: bench-1
listeners:
  data:
    address: 127.0.0.1:{port}
    tls: {{ certificate: {certificate}, key: {private_key} }}
  control:
    address: 127.0.0.1:{control_port}
database:
  servers:
  - {{ address: "{database}", region: bench }}
audit:
  spool: {spool}
secrets:
  pepper: file:{pepper}
"""

GATEWAY = """\
version: 1
regions:
- name: bench
tenants:
- name: bench
  hosts: [localhost, 127.0.0.1]
consumers:
- name: bench
  tenant: bench
applications:
- name: bench
  consumer: bench
upstreams:
- name: service
  regions:
    bench: {{ targets: [ "http://127.0.0.1:{upstream_port}" ] }}
routes:
- name: all
  match: {{ path: /** }}
  auth: api_key
  limits: [ {{ name: burst, rate: 1000000/s, burst: 1000000 }} ]
  audit: durable
  upstream: service
"""


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

    def version(self):
        return place.version(self.binary, "--version")

    def start(self, processes):
        self._documents()
        self.database.start(processes)
        node = self.path("node.yaml")
        self.command("migrate", "--config", node)
        self.command("admin", "init", "--config", node)
        self.command("apply", "--config", node, "-f", self.path("gateway.yaml"))
        created = self.command("keys", "create", "--config", node, "--application", "bench", "--json")
        self.headers = [f"x-api-key: {secret_of(created)}"]
        # One runtime on the one core that the node is pinned to, as the peers have one worker.
        self.child = processes.start([*self.wrapper, self.binary, "serve", "--config", node], PROXY_CORE,
                                     stdout=self.output(), stderr=subprocess.STDOUT)

    def _documents(self):
        """Writes both documents and the secrets, into an empty folder: no state of an earlier run may answer."""
        shutil.rmtree(self.path(), ignore_errors=True)
        pepper = self.path("pepper")
        place.write(pepper, os.urandom(32).hex())
        os.chmod(pepper, 0o600)
        place.write(self.path("node.yaml"), NODE.format(
            port=self.port, control_port=self.control_port, certificate=self.inputs.certificate,
            private_key=self.inputs.private_key, database=self.database.url(), spool=self.path("spool"), pepper=pepper))
        place.write(self.path("gateway.yaml"), GATEWAY.format(upstream_port=self.upstream_port))

    def command(self, *arguments):
        """Runs one command of the product and returns its standard output."""
        done = subprocess.run([self.binary, *arguments], capture_output=True, text=True, timeout=60, cwd=self.path())
        if done.returncode:
            raise Trouble(f"causeway {arguments[0]} failed ({done.returncode}): "
                          f"{(done.stderr or done.stdout).strip()[-600:]}")
        return done.stdout

    def side_sids(self):
        return self.database.sids()

    def stop(self, processes):
        super().stop(processes)
        self.database.stop(processes)


def secret_of(output):
    """The key's secret in what `keys create --json` printed."""
    try:
        return json.loads(output)["secret"]
    except (ValueError, KeyError, TypeError):
        match = re.search(r"cw_(?:live|test)_[0-9A-Za-z]+_[0-9A-Za-z]+", output)
        if match:
            return match.group(0)
        raise Trouble("`causeway keys create` printed no secret") from None
