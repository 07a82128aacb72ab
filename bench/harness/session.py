"""What bench/run, bench/profile and bench/callgrind have in common: signals, the lock, the upstream, starting targets."""

import contextlib
import fcntl
import os
import signal
import sys

from . import place, process, targets
from .causeway import AUDIT_TIMEOUT, Causeway
from .peers import PEERS
from .place import Trouble

SIGNALS = {signal.SIGINT: "interrupted", signal.SIGTERM: "terminated", signal.SIGHUP: "the terminal is gone",
           signal.SIGALRM: "the time limit is over"}
NAMES = ("causeway", *PEERS)


def say(text):
    """Progress, for people: standard error, so that standard output stays clean."""
    print(text, file=sys.stderr, flush=True)


def interrupt(number, _):
    raise Trouble(SIGNALS[signal.Signals(number)])


@contextlib.contextmanager
def opened(names, binary, time_limit, wrapper=(), patience=60, **node):
    """Starts the upstream and the named targets, yields (processes, upstream, targets), and ends everything.

    `node` is what `make` wants to know of Causeway. Everything is ended on an error, a signal and the time limit too;
    whatever survives that, the keeper process ends."""
    os.makedirs(place.WORK, exist_ok=True)
    lock = open(os.path.join(place.WORK, "lock"), "w", encoding="ascii")
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        raise Trouble("another measurement is at work; two at once would measure each other") from None
    if os.cpu_count() < 2:
        raise Trouble("two cores are needed: one for the proxy, one for the load")
    for number in SIGNALS:
        signal.signal(number, interrupt)
    signal.alarm(time_limit)
    inputs = place.Inputs()
    direct = targets.Direct(inputs, place.free_port())
    found = []
    with process.Processes() as processes:
        try:
            direct.start(processes)
            process.wait_until(lambda: direct.status(scheme="http") == "200", 5, "the upstream", direct.child)
            found += [make(name, inputs, direct.port, binary, **node) for name in names]
            for target in found:
                target.wrapper = list(wrapper)
                target.start(processes)
            for target in found:
                prove(target, patience)
            yield processes, direct, found
        finally:
            signal.alarm(0)
            for target in found:
                target.stop(processes)


def make(name, inputs, upstream_port, binary, size=None, audit_timeout=AUDIT_TIMEOUT):
    """The target of that name, not yet started. `size` is that of "causeway-large"."""
    if name in ("causeway", "causeway-large"):
        return Causeway(inputs, upstream_port, binary, size if name == "causeway-large" else None, audit_timeout)
    if reason := PEERS[name].missing():
        raise Trouble(f"{name}: {reason}")
    return PEERS[name](inputs, upstream_port)


def prove(target, patience):
    """Waits until a target forwards with its credentials, and sees that it refuses without them and with wrong ones, and
    that an answer's trailers come through where it takes part in gRPC."""
    target.wait(patience)
    wrong = [header[:-4] + "0000" for header in target.headers]
    for headers, words in (([], "without a key"), (wrong, "with a wrong key")):
        status = target.status(headers=headers)
        if status not in target.refusals:
            raise Trouble(f"{target.title} answered {status} to a request {words}: not comparable")
    if "grpc" in target.can:
        answer = target.grpc()
        if "grpc-status: 0" not in answer.lower() or "g" * 64 not in answer:
            raise Trouble(f"{target.title} does not forward gRPC whole; its answer was {answer[-300:]!r}")
    say(f"{target.title} {target.version()} is ready")


def prove_limits(processes, found):
    """Sees for each target that has a limit that it is charged."""
    for target in found:
        if target.has_limit:
            target.prove_limit(processes)
            say(f"{target.title}: the limit is charged")
        else:
            say(f"{target.title}: {target.lacks}")
