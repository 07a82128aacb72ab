"""The workloads: how each load generator is called, and how its answer is read."""

import json
import os
import re
import statistics

from . import place
from .place import Trouble

CIPHER = "TLS_AES_128_GCM_SHA256"
GROUP = "X25519"
WARMUP_SECONDS = 0.4
SMALL = "/api/v1/items/42"
LARGE = "/1m"
# Where h2load writes a line per request: in memory, so that the generator does not wait for a disk.
REQUEST_LOG = f"/dev/shm/causeway-bench-{os.getpid()}.log"


class Workload:
    """One kind of load. `row` is its row in the table of ratios to reach; `needs` is what a target must be able to do."""

    is_paced = False
    needs = None
    # A paced workload runs at half of what this workload reached.
    saturated_by = None
    # False: a target that cannot do it is no gap in the comparison.
    is_for_all = True
    # Runs shorter than this say nothing.
    seconds_min = 0

    def __init__(self, name, row, title):
        self.name, self.row, self.title = name, row, title

    def reason_against(self, target):
        """Why the target cannot be measured under this load, or nothing."""
        if self.needs is None or self.needs in target.can:
            return ""
        return target.cannot.get(self.needs, f"it has no {self.needs}")

    def argv(self, target, seconds, log=None, rate=None):
        """The generator's command line."""
        raise NotImplementedError

    def read(self, output, target, seconds, log=None):
        """A dict with rps, errors and, where they are known, p50_us and p99_us."""
        raise NotImplementedError


class H2load(Workload):
    """h2load over HTTP/1.1 (`streams` is None) or HTTP/2."""

    headers = ()

    def __init__(self, name, row, title, connections, streams=None, path=SMALL, has_body=False, saturated_by=None):
        super().__init__(name, row, title)
        self.connections, self.streams, self.path, self.has_body = connections, streams, path, has_body
        self.saturated_by, self.is_paced = saturated_by, saturated_by is not None

    def body(self, inputs):
        """File with the request's body, or None."""
        return inputs.body_16k if self.has_body else None

    def argv(self, target, seconds, log=None, rate=None):
        argv = [place.program("h2load"), f"--tls13-ciphers={CIPHER}", f"--groups={GROUP}",
                f"--warm-up-time={int(WARMUP_SECONDS * 1000)}ms", "-D", f"{int(seconds * 1000)}ms",
                f"-c{self.connections}"]
        argv += ["--h1"] if self.streams is None else [f"-m{self.streams}"]
        if body := self.body(target.inputs):
            argv += ["-d", body]
        if log:
            argv.append(f"--log-file={log}")
        if rate:
            argv.append(f"--rps={max(1, round(rate / self.connections))}")
        for header in (*target.headers, *self.headers):
            argv += ["-H", header]
        return argv + [f"https://127.0.0.1:{target.port}{self.path}"]

    def read(self, output, target, seconds, log=None):
        requests = re.search(r"(\d+) done, (\d+) succeeded, (\d+) failed, (\d+) errored, (\d+) timeout", output)
        statuses = re.search(r"status codes: (\d+) 2xx, (\d+) 3xx, (\d+) 4xx, (\d+) 5xx", output)
        if not requests or not statuses:
            raise Trouble(f"{target.title}, {self.name}: h2load said: {output.strip()[-300:]}")
        secured = re.search(r"Cipher: (\S+)", output), re.search(r"Server Temp Key: (\S+)", output)
        found = " / ".join(match.group(1) if match else "?" for match in secured)
        if found != f"{CIPHER} / {GROUP}":
            raise Trouble(f"{target.title}, {self.name}: TLS is {found}, not {CIPHER} / {GROUP}: not comparable")
        refused = sum(int(statuses.group(n)) for n in (2, 3, 4))
        result = {"rps": int(statuses.group(1)) / seconds, "errors": int(requests.group(3)) + refused,
                  "first_error": f"{statuses.group(3)} 4xx, {statuses.group(4)} 5xx, {requests.group(3)} failed"}
        if log:
            result.update(quantiles_of(log))
        return result


def quantiles_of(log):
    """p50 and p99 of h2load's request log: start (us since the epoch), status, time (us)."""
    entries = []
    with open(log, encoding="ascii") as file:
        for line in file:
            fields = line.split()
            if len(fields) == 3:
                entries.append((int(fields[0]), int(fields[2])))
    os.remove(log)
    if not entries:
        return {}
    counted_from = min(start for start, _ in entries) + WARMUP_SECONDS * 1e6
    times = [time for start, time in entries if start >= counted_from] or [time for _, time in entries]
    times.sort()
    return {"p50_us": times[len(times) // 2], "p99_us": times[int(len(times) * 0.99)]}


class Grpc(H2load):
    """Small unary calls. h2load counts the status of the head; that the trailers arrive is proved before (session.prove)."""

    needs = "grpc"
    headers = place.GRPC_HEADERS

    def body(self, inputs):
        return inputs.body_grpc


class Own(Workload):
    """One of our own generators (bench/src/bin): full handshakes, or HTTP/1.1 at a fixed rate."""

    def __init__(self, name, row, title, program, connections, saturated_by=None):
        super().__init__(name, row, title)
        self.program, self.connections = program, connections
        self.saturated_by, self.is_paced = saturated_by, saturated_by is not None

    def argv(self, target, seconds, log=None, rate=None):
        # The handshake generator has no warm-up of its own: it runs longer, and the window lies inside.
        length = seconds if self.is_paced else seconds + WARMUP_SECONDS
        argv = [place.tool(self.program), "--port", str(target.port), "--connections", str(self.connections),
                "--seconds", str(length), "--path", SMALL]
        if rate:
            argv += ["--rate", f"{rate:.0f}", "--warmup", str(WARMUP_SECONDS)]
        if target.name == "direct":
            argv += ["--plain", "true"]
        for header in target.headers:
            argv += ["--header", header]
        return argv

    def read(self, output, target, seconds, log=None):
        try:
            result = json.loads(output.strip().splitlines()[-1])
        except (ValueError, IndexError):
            raise Trouble(f"{target.title}, {self.name}: {self.program} said: {output.strip()[-300:]}") from None
        return {"rps": result["rps"], "errors": result["errors"], "p50_us": result["p50_us"],
                "p99_us": result["p99_us"], "first_error": result["first_error"]}


class Reload(Own):
    """Paced load while the target takes a changed configuration each second."""

    needs = "reload"
    is_for_all = False
    seconds_min = 5


class Idle(Workload):
    """Connections on which nothing happens: what each costs in memory."""

    needs = "idle"
    # How long they are left alone before the memory is read.
    seconds_min = 2

    def argv(self, target, seconds, log=None, rate=None, connections=0):
        argv = [place.tool("idle"), "--port", str(target.port), "--connections", str(connections),
                "--seconds", str(seconds + 2), "--path", SMALL]
        for header in target.headers:
            argv += ["--header", header]
        return argv

    def read(self, output, target, seconds, log=None):
        """How many were open at the end, and how many failed."""
        try:
            return json.loads(output.strip().splitlines()[-1])
        except (ValueError, IndexError):
            raise Trouble(f"{target.title}, {self.name}: idle said: {output.strip()[-300:]}") from None


WORKLOADS = {load.name: load for load in (
    H2load("h1", "h1 GET", "HTTP/1.1 keep-alive GET 512 B, 64 connections", 64),
    H2load("h2", "h2 GET", "HTTP/2 GET 512 B, 16 connections x 16 streams", 16, streams=16),
    Own("handshake", "full handshake", "full TLS 1.3 handshake per request, 16 parallel", "handshakes", 16),
    H2load("post16k", "POST 16 KiB", "HTTP/1.1 POST 16 KiB, 32 connections", 32, has_body=True),
    H2load("h1-1m", "1 MiB", "HTTP/1.1 GET 1 MiB, 8 connections", 8, path=LARGE),
    H2load("h2-1m", "1 MiB", "HTTP/2 GET 1 MiB, 4 connections x 2 streams", 4, streams=2, path=LARGE),
    Grpc("grpc", "gRPC small", "small gRPC call over HTTP/2, to the upstream too, 16 connections x 16 streams", 16,
         streams=16, path=place.GRPC_PATH),
    Own("h1-paced", None, "HTTP/1.1 GET 512 B open loop at half of saturation, 32 connections", "paced", 32,
        saturated_by="h1"),
    Reload("h1-reload", None, "the same while a changed document is applied each second", "paced", 32, saturated_by="h1"),
    H2load("h2-paced", None, "HTTP/2 GET 512 B paced at half of saturation, 16 connections x 16 streams", 16,
           streams=16, saturated_by="h2"),
    Idle("idle", None, "idle TLS connections, one request each"),
)}


def half_of_saturation(runs, target_name, load):
    """Half of the median rate that the target reached in the saturating workload, or None when it was not run."""
    rates = [run["rps"] for run in runs
             if run["target"] == target_name and run["workload"] == load.saturated_by
             and not run["is_latency_round"]]
    return statistics.median(rates) / 2 if rates else None
