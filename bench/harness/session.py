"""What bench/run, bench/profile and bench/callgrind have in common: signals, the lock, the upstream, starting targets."""

import contextlib
import fcntl
import os
import signal
import sys

from . import place, process, targets
from .causeway import Causeway
from .place import Trouble

SIGNALS = {signal.SIGINT: "interrupted", signal.SIGTERM: "terminated", signal.SIGHUP: "the terminal is gone",
           signal.SIGALRM: "the time limit is over"}
NAMES = ("causeway", *targets.PEERS)


def say(text):
    """Progress, for people: standard error, so that standard output stays clean."""
    print(text, file=sys.stderr, flush=True)


def interrupt(number, _):
    raise Trouble(SIGNALS[signal.Signals(number)])


@contextlib.contextmanager
def opened(names, binary, time_limit, wrapper=(), patience=60):
    """Starts the upstream and the named targets, yields (processes, upstream, targets), and ends everything.

    Ends it on an error, a signal and the time limit too; whatever survives that, the keeper process ends."""
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
            process.wait_until(lambda: direct.status(secure=False) == "200", 5, "the upstream", direct.child)
            for name in names:
                if name == "causeway":
                    found.append(Causeway(inputs, direct.port, binary))
                else:
                    found.append(targets.PEERS[name](inputs, direct.port))
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


def prove(target, patience):
    """Waits until a target forwards with a key, and sees that it refuses without one."""
    process.wait_until(lambda: target.status() == "200", patience,
                       f"{target.title} (its output is in bench/.work/logs/{target.name}.out)", target.child)
    refused = target.without_key()
    if refused not in ("401", "403"):
        raise Trouble(f"{target.title} answered {refused} to a request without a key: not comparable")
    say(f"{target.title} {target.version()} is ready")
