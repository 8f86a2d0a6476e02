#
# cluster.py
#		What nemesis torments: a PostgreSQL server with one stream, a broker, a
#		registry, and relays between them that can misbehave.
#
# The stream reaches Kafka and the registry through relays (proxy.py) alone.
# Readers reach the broker directly, by a listener of its own, so that a fault
# of the stream's network is none of theirs.

import json
import os
import resource
import signal
import subprocess
import tempfile
import threading
import time
import urllib.request

import psycopg2

HERE = os.path.dirname(os.path.abspath(__file__))
TESTBED = os.path.join(HERE, "..", "testbed", "testbed.sh")
STREAM = "shop/cdc"
UNLIMITED = resource.RLIM_INFINITY


class Timeline:
    """What happened when, in seconds since the start: a JSON object a line"""

    def __init__(self, path):
        self.began = time.monotonic()
        self.file = open(path, "w")
        self.lock = threading.Lock()
        self.faults = {}

    def now(self):
        return round(time.monotonic() - self.began, 3)

    def note(self, what, **more):
        with self.lock:
            if not self.file.closed:
                self.file.write(json.dumps({"at": self.now(), "what": what, **more}) + "\n")
                self.file.flush()

    def fault(self, name, **more):
        with self.lock:
            self.faults[name] = self.faults.get(name, 0) + 1
        self.note("fault", name=name, **more)


def wait_until(what, condition, seconds=60):
    deadline = time.monotonic() + seconds
    while True:
        result = condition()
        if result:
            return result
        if time.monotonic() > deadline:
            raise TimeoutError("timed out waiting until " + what)
        time.sleep(0.05)


def alive(pid):
    try:
        with open("/proc/%d/stat" % pid) as file:
            return file.read().rsplit(")", 1)[1].split()[0] not in "ZX"
    except OSError:
        return False


def send_signal(pid, number):
    try:
        os.kill(pid, number)
        return True
    except ProcessLookupError:
        return False


class Daemon:
    """A broker or registry by testbed.sh"""

    def __init__(self, kind, directory, ports, timeline, properties=""):
        self.kind = kind
        self.directory = directory
        self.ports = [str(port) for port in ports]
        self.timeline = timeline
        self.properties = properties

    def command(self, verb, *arguments):
        env = dict(os.environ, KAFKA_PROPERTIES=self.properties)
        subprocess.run([TESTBED, "%s_%s" % (self.kind, verb), self.directory, *arguments],
                       env=env, check=True, stdout=subprocess.DEVNULL)

    def start(self):
        # the port of one that was just killed may still be taken
        for attempt in range(3):
            try:
                self.command("start", *self.ports)
                return
            except subprocess.CalledProcessError:
                if attempt == 2 or self.pid():
                    raise
                time.sleep(1)

    def stop(self):
        self.command("stop")

    def kill(self):
        self.command("kill")

    def pid(self):
        try:
            with open("%s/%s.pid" % (self.directory, self.kind)) as file:
                pid = int(file.read())
            return pid if alive(pid) else None
        except (OSError, ValueError):
            return None

    def freeze(self):
        if self.pid():
            send_signal(self.pid(), signal.SIGSTOP)

    def thaw(self):
        if self.pid():
            send_signal(self.pid(), signal.SIGCONT)


class Relay:
    def __init__(self, port, target):
        self.port = port
        self.lock = threading.Lock()
        self.process = subprocess.Popen(
            ["/usr/bin/python3", os.path.join(HERE, "proxy.py"), str(port), str(target)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        if self.process.stdout.readline().strip() != "ready":
            raise RuntimeError("port %d is in use" % port)

    def set(self, mode, value=None):
        with self.lock:
            self.process.stdin.write(mode + ("" if value is None else " %s" % value) + "\n")
            self.process.stdin.flush()
            self.process.stdout.readline()

    def end(self):
        self.process.stdin.close()
        self.process.wait()


class Registry(Daemon):
    """Schemas are in memory: a registry that was killed comes back empty, and
    gives the same ids to other schemas.  Before that what it had is saved."""

    def __init__(self, directory, port, relay_port, timeline, fake):
        super().__init__("registry", directory, [port], timeline)
        self.fake = fake
        self.process = None
        self.url = "http://127.0.0.1:%d/apis/ccompat/v7" % port
        self.stream_url = "http://127.0.0.1:%d/apis/ccompat/v7" % relay_port
        self.generations = []

    # The fake one starts in a fraction of a second, so that more can go wrong
    # in the same time.

    def start(self):
        if not self.fake:
            super().start()
            return
        os.makedirs(self.directory, exist_ok=True)
        with open(os.path.join(self.directory, "registry.log"), "a") as log:
            self.process = subprocess.Popen(
                ["/usr/bin/python3", os.path.join(HERE, "..", "lib", "fake_registry.py"),
                 "--port", self.ports[0], "--prefix", "/apis/ccompat/v7"],
                stdout=subprocess.PIPE, stderr=log, text=True)
        if not self.process.stdout.readline().startswith("ready"):
            raise RuntimeError("the registry does not start")

    def kill(self):
        if not self.fake:
            super().kill()
        elif self.process:
            self.process.kill()
            self.process.wait()

    def pid(self):
        return self.process.pid if self.fake else super().pid()

    def save(self):
        schemas, number, missing = {}, 0, 0
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        while missing < 20:
            number += 1
            try:
                with opener.open("%s/schemas/ids/%d" % (self.url, number), timeout=20) as reply:
                    schemas[number] = json.load(reply)["schema"]
                missing = 0
            except urllib.error.HTTPError as error:
                if error.code != 404:
                    raise
                missing += 1
        self.generations.append(schemas)


class Server:
    port = 5432     # the name of its socket; it does not listen at a port

    def __init__(self, bindir, directory, timeline):
        self.bindir = bindir
        self.data = os.path.join(directory, "data")
        self.log = os.path.join(directory, "server.log")
        self.socket = tempfile.mkdtemp(prefix="nemesis-")    # a short name
        self.timeline = timeline
        self.lock = threading.RLock()   # faults of the server and the medic

    def program(self, name, *arguments, **more):
        return subprocess.run([os.path.join(self.bindir, name), *arguments],
                              stdout=subprocess.DEVNULL, stderr=subprocess.STDOUT, **more)

    def create(self, settings):
        self.program("initdb", "-D", self.data, "-A", "trust", "-U", "postgres", "-N",
                     "-E", "UTF8", "--locale=C", check=True)
        with open(os.path.join(self.data, "postgresql.conf"), "a") as conf:
            conf.write("listen_addresses = ''\nport = %d\nunix_socket_directories = '%s'\n"
                       % (self.port, self.socket))
            for name, value in settings.items():
                conf.write("%s = '%s'\n" % (name, str(value).replace("'", "''")))

    def start(self):
        """Until it takes connections; the rests of a killed one may be in the way"""
        with self.lock:
            for _ in range(60):
                if self.postmaster():
                    # it may be on its way up, or down
                    if self.ready():
                        return
                    time.sleep(0.5)
                    continue
                code = self.program("pg_ctl", "-D", self.data, "-l", self.log, "-w", "-t", "60",
                                    "start").returncode
                if code == 0:
                    return
                time.sleep(0.5)
            raise RuntimeError("the server does not start, see " + self.log)

    def ready(self):
        return self.program("pg_isready", "-h", self.socket, "-p", str(self.port)).returncode == 0

    def stop(self, mode):
        # a writer's frozen backend must not keep a fast stop waiting for ever
        self.program("pg_ctl", "-D", self.data, "-m", mode, "-w", "-t", "30", "stop")
        if self.postmaster():
            self.program("pg_ctl", "-D", self.data, "-m", "immediate", "-w", "-t", "30", "stop")

    def postmaster(self):
        try:
            with open(os.path.join(self.data, "postmaster.pid")) as file:
                pid = int(file.readline())
            return pid if alive(pid) else None
        except (OSError, ValueError):
            return None

    def processes(self):
        """The postmaster's pid and those of its children"""
        postmaster = self.postmaster()
        if postmaster is None:
            return []
        pids = [postmaster]
        for name in os.listdir("/proc"):
            if name.isdigit():
                try:
                    with open("/proc/%s/stat" % name) as file:
                        if int(file.read().rsplit(")", 1)[1].split()[1]) == postmaster:
                            pids.append(int(name))
                except OSError:
                    pass
        return pids

    def limit_files(self, pids, size):
        """No file may grow beyond: what a full disk is for those processes"""
        for pid in pids:
            try:
                hard = resource.prlimit(pid, resource.RLIMIT_FSIZE)[1]
                resource.prlimit(pid, resource.RLIMIT_FSIZE, (size, hard))
            except (ProcessLookupError, PermissionError):
                pass

    def connect(self, database="postgres", timeout=5, options=""):
        connection = psycopg2.connect(
            host=self.socket, port=self.port, user="postgres", dbname=database,
            connect_timeout=timeout, application_name="nemesis", options=options)
        connection.autocommit = True
        return connection

    def query(self, sql, parameters=None, database="postgres"):
        """Rows of one statement, by a connection of its own; psycopg2.Error"""
        connection = self.connect(database)
        try:
            with connection.cursor() as cursor:
                cursor.execute(sql, parameters)
                return cursor.fetchall() if cursor.description else []
        finally:
            connection.close()

    def try_query(self, sql, parameters=None, database="postgres"):
        try:
            return self.query(sql, parameters, database)
        except psycopg2.Error:
            return None

    def insist(self, sql, parameters=None, database="postgres", seconds=90):
        """The same; goes on trying while the server is away"""
        deadline = time.monotonic() + seconds
        while True:
            try:
                return self.query(sql, parameters, database)
            except psycopg2.OperationalError:
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.1)

    def set(self, settings):
        """ALTER SYSTEM and reload"""
        connection = self.connect()
        try:
            with connection.cursor() as cursor:
                for name, value in settings.items():
                    cursor.execute("ALTER SYSTEM SET %s = %%s" % name, (str(value),))
                cursor.execute("SELECT pg_reload_conf()")
        finally:
            connection.close()

    # ---------- the stream

    def stat(self, columns):
        rows = self.try_query("SELECT %s FROM wal2kafka.stat_streams WHERE stream = %%s" % columns,
                              (STREAM,))
        return rows[0] if rows else None

    def worker(self):
        row = self.stat("pid")
        return row[0] if row and row[0] else None
