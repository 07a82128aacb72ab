"""A private PostgreSQL for the Causeway target: durable settings, loopback only, gone when the run ends."""

import os
import pwd
import shutil
import subprocess
import tempfile

from . import place, process
from .place import Trouble
from .targets import LOAD_CORE


class Database:
    """One server in a temporary directory. It works beside the request path, so it runs on the generator's core."""

    def __init__(self, owner):
        self.owner = owner
        self.port = place.free_port()
        self.child = None
        self.folder = None
        # PostgreSQL refuses root: as root it gets the postgres user, or nobody where there is none.
        self.uid = None
        if os.geteuid() == 0:
            users = {entry.pw_name: entry.pw_uid for entry in pwd.getpwall()}
            self.uid = users.get("postgres", users["nobody"])

    def url(self, name="causeway"):
        return f"postgres://causeway@127.0.0.1:{self.port}/{name}"

    def start(self, processes):
        # Not under the checkout: the other user may not be allowed to walk there.
        self.folder = tempfile.mkdtemp(prefix="causeway-bench-postgres-")
        if self.uid is not None:
            os.chown(self.folder, self.uid, self.uid)
        data = os.path.join(self.folder, "data")
        self._run([place.postgres("initdb"), "-D", data, "-U", "causeway", "-A", "trust", "-E", "UTF8", "--locale=C"])
        settings = {"listen_addresses": "127.0.0.1", "port": self.port, "unix_socket_directories": self.folder,
                    "shared_buffers": "256MB", "max_connections": 100, "max_wal_size": "4GB", "wal_level": "replica",
                    "fsync": "on", "synchronous_commit": "on"}
        argv = [place.postgres("postgres"), "-D", data]
        for name, value in settings.items():
            argv += ["-c", f"{name}={value}"]
        output = f"postgres-{self.owner}.out"
        log = open(os.path.join(place.LOGS, output), "a", encoding="utf-8")
        self.child = processes.start(argv, LOAD_CORE, stdout=log, stderr=subprocess.STDOUT, uid=self.uid, cwd=self.folder)
        process.wait_until(self._is_ready, 30, f"PostgreSQL (bench/.work/logs/{output})", self.child)
        self.sql("create database causeway", name="postgres")

    def _is_ready(self):
        return subprocess.run([place.postgres("pg_isready"), "-q", "-h", "127.0.0.1", "-p", str(self.port)]).returncode == 0

    def _run(self, argv):
        done = subprocess.run(process.prefix(LOAD_CORE, self.uid) + argv, capture_output=True, text=True, cwd=self.folder)
        if done.returncode:
            raise Trouble(f"{os.path.basename(argv[0])} failed: {done.stderr.strip()[-300:]}")

    def sql(self, statement, name="causeway"):
        """Runs one statement and returns what psql prints, without headings."""
        done = subprocess.run([place.postgres("psql"), "-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1", self.url(name),
                               "-c", statement], capture_output=True, text=True)
        if done.returncode:
            raise Trouble(f"SQL failed: {done.stderr.strip()[-300:]}")
        return done.stdout.strip()

    def sids(self):
        """The server's sessions: PostgreSQL gives each of its processes one of its own."""
        if self.child is None:
            return []
        return [self.child.pid, *process.children(self.child.pid)]

    def stop(self, processes):
        if self.child is not None:
            # SIGINT is PostgreSQL's fast shutdown. To the postmaster alone: it ends its own backends.
            self.child.send_signal(2)
            try:
                self.child.wait(timeout=5)
            except subprocess.TimeoutExpired:
                pass
            processes.stop(self.child)
            self.child = None
        if self.folder is not None:
            shutil.rmtree(self.folder, ignore_errors=True)
            self.folder = None
