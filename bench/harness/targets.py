"""What every target has, and the upstream alone. The peers are in peers/, Causeway is in causeway.py.

Each listens on 127.0.0.1 with TLS 1.3 and the shared certificate, requires a key, limits per key at a rate that is never
reached, writes a JSON access log, and forwards to the same upstream over kept-alive connections. One worker thread or
process each, because each gets one core. What a target has not of this, it says in `lacks`."""

import os
import subprocess

from . import place, process
from .place import Trouble

PROXY_CORE = 0
LOAD_CORE = 1
# Requests per second and key: one that no load reaches, and one that the proof of the limit passes at once.
LIMIT_NEVER_REACHED = 1_000_000
LIMIT_TIGHT = 5


class Target:
    """A gateway under measurement. Subclasses set `name`, `title` and say how to start it."""

    name = ""
    title = ""
    # What it has not of the features above; a sentence for the report.
    lacks = ""
    # What it can beyond plain requests: "grpc" (an upstream over HTTP/2), "reload", "idle".
    can = frozenset({"idle"})
    # Why it cannot do one of these; a sentence for the report.
    cannot = {}
    # How it answers without a key or with a wrong one.
    refusals = ("401", "403")
    has_limit = True

    def __init__(self, inputs, upstream_port):
        self.inputs = inputs
        self.upstream_port = upstream_port
        self.port = place.free_port()
        self.headers = [f"x-api-key: {inputs.key}"]
        self.limit = LIMIT_NEVER_REACHED
        self.child = None
        # Put in front of the command by bench/callgrind.
        self.wrapper = []

    @classmethod
    def program(cls):
        """Path of a peer's program; None when it is not there."""
        raise NotImplementedError

    @classmethod
    def missing(cls):
        """Why a peer cannot be measured on this machine, or nothing."""
        return "" if cls.program() else place.absent(cls.name)

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

    def restart(self, processes):
        """Ends it and starts it again, with the memory of a new process; waits until it answers."""
        self.stop(processes)
        self.start(processes)
        self.wait()

    def wait(self, patience=60):
        """Waits until a request with the key is answered, be it by the limit."""
        process.wait_until(lambda: self.status() in ("200", "429"), patience,
                           f"{self.title} (its output is in bench/.work/logs/{self.name}.out)", self.child)

    def prove_limit(self, processes):
        """Sees that the limit per key is charged: under a tight one, some of many requests are refused."""
        self.limit = LIMIT_TIGHT
        self.restart(processes)
        answers = self.burst()
        self.limit = LIMIT_NEVER_REACHED
        self.restart(processes)
        self.expect_refused(answers)

    def expect_refused(self, answers):
        if set(answers) != {"200", "429"}:
            raise Trouble(f"{self.title} with a limit of {LIMIT_TIGHT} a second answered {len(answers)} requests with "
                          f"{sorted(set(answers))}, not some with 200 and some with 429: the limit is not charged")

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

    def access_log(self):
        """Where the target writes its access log; cut when it has grown large."""
        return os.path.join(place.LOGS, f"{self.name}-access.log")

    def output(self):
        """The file that collects what the target prints."""
        return open(os.path.join(place.LOGS, f"{self.name}.out"), "a", encoding="utf-8")

    def curl(self, *options, path="/api/v1/items/42", headers=None, scheme="https"):
        """What curl prints for one request, which carries the target's credentials unless other headers are given."""
        given = [part for header in (self.headers if headers is None else headers) for part in ("-H", header)]
        done = subprocess.run(["curl", "-sk", "-m", "5", *options, *given, f"{scheme}://127.0.0.1:{self.port}{path}"],
                              capture_output=True, text=True)
        return done.stdout

    def status(self, headers=None, scheme="https"):
        """HTTP status of one request, '000' when nothing answers."""
        return self.curl("--http1.1", "-o", os.devnull, "-w", "%{http_code}", headers=headers, scheme=scheme)

    def burst(self, count=60):
        """The statuses of many requests, one after another over one connection."""
        return self.curl("--http1.1", "-m", "20", "-o", os.devnull, "-w", "%{http_code} ", path=f"/burst/[1-{count}]").split()

    def grpc(self):
        """Head, trailers and body of one small gRPC call."""
        return self.curl("--http2", "-D", "-", "--data-binary", f"@{self.inputs.body_grpc}", path=place.GRPC_PATH,
                         headers=[*self.headers, *place.GRPC_HEADERS])


class Direct(Target):
    """The upstream itself, without TLS and without a proxy: the base line of the latency workloads."""

    name = "direct"
    title = "upstream alone"

    def version(self):
        return ""

    def start(self, processes):
        self.port = self.upstream_port
        self.child = processes.start([place.tool("upstream"), str(self.port)], LOAD_CORE)
