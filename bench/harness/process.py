"""Starting, measuring and ending processes. Every process that we start leads a session of its own: the session id is the
handle by which a target's processes (masters, workers, helpers) are found, measured and ended."""

import glob
import os
import re
import signal
import subprocess
import sys
import time

from .place import Trouble

TICKS = os.sysconf("SC_CLK_TCK")

# Ends sessions when its standard input closes, that is, also when the harness itself was killed with -9.
KEEPER = """
import os, signal, sys, time
sessions = set()
for line in sys.stdin:
    verb, sid = line.split()
    sessions.add(int(sid)) if verb == 'add' else sessions.discard(int(sid))
def members():
    for name in os.listdir('/proc'):
        if name.isdigit():
            try:
                with open(f'/proc/{name}/stat') as file: fields = file.read().rpartition(')')[2].split()
                if int(fields[3]) in sessions and fields[0] != 'Z': yield int(name)
            except (OSError, ValueError, IndexError): pass
for sign in (signal.SIGTERM, signal.SIGKILL):
    for pid in list(members()):
        try: os.kill(pid, sign)
        except OSError: pass
    deadline = time.time() + 3
    while sessions and time.time() < deadline and list(members()): time.sleep(0.05)
"""


def sessions():
    """All live processes by session: sid -> [(pid, user seconds, system seconds)]."""
    found = {}
    for name in os.listdir("/proc"):
        if not name.isdigit():
            continue
        try:
            with open(f"/proc/{name}/stat", encoding="utf-8", errors="replace") as file:
                fields = file.read().rpartition(")")[2].split()
            if fields[0] != "Z":
                entry = (int(name), int(fields[11]) / TICKS, int(fields[12]) / TICKS)
                found.setdefault(int(fields[3]), []).append(entry)
        except (OSError, ValueError, IndexError):
            continue
    return found


def members(sid):
    """The live processes of one session."""
    return sessions().get(sid, [])


def children(parent):
    """Process ids of a process's direct children."""
    found = []
    for path in glob.glob(f"/proc/{parent}/task/*/children"):
        try:
            with open(path, encoding="ascii") as file:
                found += [int(pid) for pid in file.read().split()]
        except (OSError, ValueError):
            continue
    return found


def cpu_seconds(processes):
    """CPU time of all threads of these processes, from schedstat (nanoseconds, not ticks)."""
    total = 0
    for pid, _, _ in processes:
        for path in glob.glob(f"/proc/{pid}/task/*/schedstat"):
            try:
                with open(path, encoding="ascii") as file:
                    total += int(file.read().split()[0])
            except (OSError, ValueError, IndexError):
                continue
    return total / 1e9


def resident_mib(sids):
    """Resident memory in MiB; pages that several processes of a target share are counted once (PSS)."""
    total = 0
    for sid in sids:
        for pid, _, _ in members(sid):
            try:
                with open(f"/proc/{pid}/smaps_rollup", encoding="ascii") as file:
                    total += int(re.search(r"^Pss:\s+(\d+)", file.read(), re.M).group(1))
            except (OSError, AttributeError):
                continue
    return total / 1024


def machine_seconds():
    """(busy, stolen) CPU seconds of the whole machine since it started."""
    with open("/proc/stat", encoding="ascii") as file:
        field = [int(value) / TICKS for value in file.readline().split()[1:9]]
    return field[0] + field[1] + field[2] + field[5] + field[6], field[7]


def favor(pid):
    """Gives a session of ours weight over other work on the machine; needs root, and is not needed on a quiet one."""
    try:
        with open(f"/proc/{pid}/autogroup", "w", encoding="ascii") as file:
            file.write("-15")
    except OSError:
        pass


def prefix(core, uid=None):
    """The commands in front of a command: priority, core, and another user."""
    argv = ["nice", "-n", "-15"] if os.geteuid() == 0 else []
    argv += ["taskset", "-c", str(core)]
    if uid is not None:
        argv += ["setpriv", f"--reuid={uid}", f"--regid={uid}", "--clear-groups"]
    return argv


class Processes:
    """Everything that we started; as a context manager it ends all of it, however the block is left."""

    def __init__(self):
        self.running = {}
        self.keeper = subprocess.Popen([sys.executable, "-c", KEEPER], stdin=subprocess.PIPE, text=True,
                                       start_new_session=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        # The keeper ends what is left; an interrupt in here must not stop it.
        for sign in (signal.SIGINT, signal.SIGTERM, signal.SIGALRM):
            signal.signal(sign, signal.SIG_IGN)
        self.keeper.stdin.close()
        deadline = time.monotonic() + 8
        while self.keeper.poll() is None and time.monotonic() < deadline:
            for child in self.running.values():
                child.poll()
            time.sleep(0.05)

    def _tell(self, verb, sid):
        self.keeper.stdin.write(f"{verb} {sid}\n")
        self.keeper.stdin.flush()

    def start(self, argv, core, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, uid=None, env=None, cwd=None):
        """Starts a command in a session of its own, on one core; returns the Popen, whose pid is the session id."""
        child = subprocess.Popen(prefix(core, uid) + argv, stdin=subprocess.DEVNULL, stdout=stdout, stderr=stderr,
                                 start_new_session=True, text=True, env=env, cwd=cwd)
        self.running[child.pid] = child
        self._tell("add", child.pid)
        favor(child.pid)
        return child

    def finish(self, child, seconds):
        """Waits for a command that ends by itself and returns its output; kills it after `seconds`."""
        try:
            output, _ = child.communicate(timeout=seconds)
        except subprocess.TimeoutExpired:
            self.stop(child)
            raise Trouble(f"{os.path.basename(child.args[-1])}: the load generator did not end in time") from None
        self._forget(child)
        return output

    def stop(self, child, seconds=5, sign=signal.SIGTERM):
        """Ends a session: politely, then by force."""
        for current, patience in ((sign, seconds), (signal.SIGKILL, 2)):
            for pid, _, _ in members(child.pid):
                try:
                    os.kill(pid, current)
                except OSError:
                    pass
            deadline = time.monotonic() + patience
            while time.monotonic() < deadline:
                child.poll()
                if not members(child.pid):
                    break
                time.sleep(0.05)
        self._forget(child)

    def _forget(self, child):
        child.poll()
        if self.running.pop(child.pid, None) is not None:
            self._tell("del", child.pid)


def wait_until(condition, seconds, what, child=None):
    """Polls until `condition()` is true; Trouble when time is over or `child` has ended."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if condition():
            return
        if child is not None and child.poll() is not None:
            raise Trouble(f"{what}: the process ended with status {child.returncode}")
        time.sleep(0.1)
    raise Trouble(f"{what}: not ready after {seconds} seconds")
