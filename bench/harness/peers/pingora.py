"""A proxy made with pingora: bench/pingora, a Cargo workspace of its own that bench/setup builds."""

import os
import re
import subprocess

from .. import place
from ..targets import PROXY_CORE, Target


class Pingora(Target):
    name = "pingora"
    title = "pingora"
    can = frozenset({"idle", "grpc"})

    @classmethod
    def program(cls):
        path = os.path.join(place.BENCH, "target", "pingora", "release", "bench-pingora")
        return path if os.access(path, os.X_OK) else None

    def version(self):
        """The library's version: the proxy around it is ours."""
        with open(os.path.join(place.BENCH, "pingora", "Cargo.lock"), encoding="utf-8") as file:
            return re.search(r'name = "pingora"\nversion = "([^"]+)"', file.read()).group(1)

    def start(self, processes):
        given = {"port": self.port, "upstream": self.upstream_port, "certificate": self.inputs.certificate,
                 "private-key": self.inputs.private_key, "keys": self.inputs.key_list, "log": self.access_log(),
                 "rate": self.limit, "h2-prefix": place.GRPC_PATH}
        options = [part for name, value in given.items() for part in (f"--{name}", str(value))]
        self.child = processes.start([*self.wrapper, self.program(), *options], PROXY_CORE,
                                     stdout=self.output(), stderr=subprocess.STDOUT)
