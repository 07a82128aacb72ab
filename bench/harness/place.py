"""Where things are, and the inputs that every target shares: certificate, keys, request bodies."""

import glob
import os
import random
import re
import resource
import shutil
import socket
import subprocess

BENCH = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
REPOSITORY = os.path.dirname(BENCH)
WORK = os.path.join(BENCH, ".work")
LOGS = os.path.join(WORK, "logs")
INPUTS = os.path.join(WORK, "inputs")
RESULTS = os.path.join(BENCH, "results")
TOOLS = os.path.join(BENCH, "target", "release")

N_KEYS = 100_000
GRPC_PATH = "/bench.Echo/Call"
GRPC_HEADERS = ("content-type: application/grpc", "te: trailers")
# Under 1.5 GB of access logs a run can fill a small disk: each is cut when it passes this size.
LOG_BYTES_MAX = 256 * 1024 * 1024

os.environ["PATH"] += ":/usr/sbin:/sbin"


class Trouble(Exception):
    """Something a person has to know or do; its text is shown alone, without a traceback."""


def program(name, hint="run bench/setup"):
    """Absolute path of a program, or Trouble that says how to get it."""
    found = shutil.which(name)
    if not found:
        raise Trouble(f"{name} is not installed; {hint}")
    return found


def installed(name):
    """Absolute path of a program, or None."""
    return shutil.which(name)


def absent(peer):
    """Why a peer is not there: as bench/setup wrote it down, or that bench/setup has not been run."""
    try:
        with open(os.path.join(WORK, "absent", peer), encoding="utf-8") as file:
            return file.read().strip()
    except OSError:
        return "it is not installed, and bench/setup was not run"


def tool(name):
    """Path of one of our own generators."""
    path = os.path.join(TOOLS, name)
    if not os.access(path, os.X_OK):
        raise Trouble(f"the tool {name} is not built; run bench/setup")
    return path


def packaged(pattern):
    """Path of a program in the private virtual environment, or None."""
    found = [path for path in glob.glob(os.path.join(WORK, "venv", pattern)) if os.access(path, os.X_OK)]
    return found[0] if found else None


def raise_descriptors(wanted):
    """Allows this process and its children as many open files as they may have; Trouble when that is under `wanted`."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    if hard != resource.RLIM_INFINITY and hard < wanted:
        raise Trouble(f"{wanted} open files are needed and {hard} allowed (ulimit -Hn); raise that, or use --idle with less")


def postgres(name):
    """Path of a PostgreSQL server binary (Debian keeps them out of PATH)."""
    found = sorted(glob.glob(f"/usr/lib/postgresql/*/bin/{name}"), key=lambda path: int(path.split("/")[4]))
    if not found:
        return program(name)
    return found[-1]


def version(*argv):
    """First x.y or x.y.z that a program prints about itself."""
    done = subprocess.run(argv, capture_output=True, text=True, timeout=10)
    match = re.search(r"\d+\.\d+(\.\d+)?", (done.stdout + done.stderr).replace(argv[0], ""))
    return match.group(0) if match else "?"


def free_port():
    """A port of 127.0.0.1 that nothing listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def write(path, text):
    with open(path, "w", encoding="utf-8") as file:
        file.write(text)
    return path


class Inputs:
    """The certificate (ECDSA P-256), the keys and the bodies; made once and kept in bench/.work/inputs."""

    def __init__(self):
        for folder in (WORK, LOGS, INPUTS):
            os.makedirs(folder, exist_ok=True)
        self.certificate = os.path.join(INPUTS, "cert.pem")
        self.private_key = os.path.join(INPUTS, "key.pem")
        self.both = os.path.join(INPUTS, "both.pem")
        self.body_16k = os.path.join(INPUTS, "body-16k")
        self.body_grpc = os.path.join(INPUTS, "body-grpc")
        self.key_list = os.path.join(INPUTS, "keys.txt")
        if not os.path.exists(self.both):
            self._certificate()
        if not os.path.exists(self.body_16k):
            write(self.body_16k, "a" * 16384)
        # A gRPC message: not compressed, 64 bytes long.
        write(self.body_grpc, "\0\0\0\0\x40" + "g" * 64)
        # The peers' keys: 32 hex digits from a fixed seed, so that every run looks up the same map.
        numbers = random.Random(7)
        self.keys = [f"{numbers.getrandbits(128):032x}" for _ in range(N_KEYS)]
        self.key = self.keys[0]
        write(self.key_list, "".join(f"{key}\n" for key in self.keys))

    def _certificate(self):
        openssl = program("openssl")
        make = [
            [openssl, "genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256", "-out", self.private_key],
            [openssl, "req", "-x509", "-new", "-key", self.private_key, "-days", "365", "-subj", "/CN=localhost",
             "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1", "-out", self.certificate],
        ]
        for argv in make:
            done = subprocess.run(argv, capture_output=True, text=True)
            if done.returncode:
                raise Trouble(f"openssl failed: {done.stderr.strip()}")
        with open(self.both, "w", encoding="ascii") as both:
            for path in (self.certificate, self.private_key):
                with open(path, encoding="ascii") as part:
                    both.write(part.read())


def cut_logs():
    """Empties access logs that have grown large; their writers append, so they go on at the start."""
    for path in glob.glob(os.path.join(LOGS, "*.log")):
        if os.path.getsize(path) > LOG_BYTES_MAX:
            os.truncate(path, 0)
