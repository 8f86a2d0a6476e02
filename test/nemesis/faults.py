#
# faults.py
#		What can go wrong, by name, and when it does.
#
# A fault is a function that makes it happen, waits as long as it lasts, and
# undoes it.  The schedule has two lanes, so that something beyond the server
# (broker, registry, network) and something of the server (its worker, its
# processes, its settings) can be wrong at once; each lane is one fault after
# another.  Names, times and arguments all come from the seed, before the run
# starts.

import signal
import threading
import time

import psycopg2

from cluster import STREAM, send_signal, wait_until

FAULTS = {}     # name -> (lane, weight, function, draws its arguments)


def fault(lane, weight, **draws):
    """draws: argument = (least, most)"""
    def add(function):
        FAULTS[function.__name__] = lane, weight, function, draws
        return function
    return add


# ---------- the stream's worker

def worker_signal(run, number):
    pid = run.server.worker()
    return pid if pid and send_signal(pid, number) else None


@fault("server", 2)
def worker_kill9(run):
    """The server restarts itself, with all its sessions"""
    if worker_signal(run, signal.SIGKILL):
        run.crashes += 1


@fault("server", 5)
def worker_terminate(run):
    run.server.try_query("SELECT pg_terminate_backend(pid) FROM wal2kafka.stat_streams")


@fault("server", 4, seconds=(2, 10))
def worker_freeze(run, seconds):
    pid = worker_signal(run, signal.SIGSTOP)
    run.sleep(seconds)
    if pid:
        send_signal(pid, signal.SIGCONT)


@fault("server", 3)
def worker_restart(run):
    run.server.try_query("SELECT wal2kafka.restart(%s)", (STREAM,))


@fault("server", 3, seconds=(1, 5))
def pause(run, seconds):
    run.server.try_query("SELECT wal2kafka.pause(%s)", (STREAM,))
    run.sleep(seconds)
    run.server.insist("SELECT wal2kafka.resume(%s)", (STREAM,))


# ---------- its server

@fault("server", 2, seconds=(0, 3))
def server_stop_fast(run, seconds):
    with run.server.lock:
        run.server.stop("fast")
        run.sleep(seconds)
        run.server.start()


@fault("server", 3, seconds=(0, 3))
def server_stop_immediate(run, seconds):
    with run.server.lock:
        run.server.stop("immediate")
        run.sleep(seconds)
        run.server.start()


@fault("server", 3, seconds=(0, 3))
def server_kill9(run, seconds):
    with run.server.lock:
        pid = run.server.postmaster()
        if pid:
            send_signal(pid, signal.SIGKILL)
            wait_until("the postmaster is gone", lambda: not run.server.postmaster())
        run.sleep(seconds)
        run.server.start()


@fault("server", 2, seconds=(2, 6))
def disk_full_worker(run, seconds):
    """The worker's files cannot grow: spilled transactions, the slot's state"""
    pid = run.server.worker()
    if pid:
        run.server.limit_files([pid], 0)
    run.sleep(seconds)
    if pid:
        run.server.limit_files([pid], -1)


@fault("server", 2, seconds=(1, 4))
def disk_full(run, seconds):
    """No process of the server can write: the WAL cannot be flushed"""
    with run.server.lock:
        postmaster = run.server.postmaster()
        run.server.limit_files(run.server.processes(), 0)
        run.sleep(seconds)
        # children that were started meanwhile have the postmaster's limit
        for _ in range(3):
            run.server.limit_files(run.server.processes(), -1)
            time.sleep(0.05)
        if not run.server.postmaster() or run.server.postmaster() != postmaster:
            run.timeline.note("the full disk ended the server")
        run.server.start()


@fault("server", 5)
def reload(run):
    """Other settings, all valid together"""
    settings = run.config.change()
    run.timeline.note("settings", **settings)
    try:
        run.server.set(settings)
    except psycopg2.OperationalError:
        pass


@fault("server", 4)
def snapshot(run):
    """No fault, but work on the side"""
    table = run.config.generator.choice(["hot", "cold", "parted", "keyless"])
    run.server.try_query("SELECT wal2kafka.snapshot(%s)", ("public." + table,), "shop")


@fault("server", 2)
def checkpoint(run):
    run.server.try_query("CHECKPOINT")


# ---------- the broker

def broker_returns(run):
    run.watch_return()


@fault("outside", 4, seconds=(0, 6))
def broker_kill9(run, seconds):
    run.broker.kill()
    run.sleep(seconds)
    run.broker.start()
    broker_returns(run)


@fault("outside", 3, seconds=(0, 6))
def broker_stop(run, seconds):
    run.broker.stop()
    run.sleep(seconds)
    run.broker.start()
    broker_returns(run)


@fault("outside", 4, seconds=(2, 10))
def broker_freeze(run, seconds):
    run.broker.freeze()
    run.sleep(seconds)
    run.broker.thaw()
    broker_returns(run)


def network(relay, mode, seconds, run, value=None):
    relay.set(mode, value)
    run.sleep(seconds)
    relay.set("pass")


@fault("outside", 3, seconds=(2, 8), delay=(0.02, 0.6))
def kafka_delay(run, seconds, delay):
    network(run.kafka_relay, "delay", seconds, run, delay)


@fault("outside", 2, seconds=(2, 8), rate=(20000, 500000))
def kafka_slow(run, seconds, rate):
    network(run.kafka_relay, "slow", seconds, run, rate)


@fault("outside", 4)
def kafka_reset(run):
    run.kafka_relay.set("reset")


@fault("outside", 3, seconds=(1, 6))
def kafka_refuse(run, seconds):
    network(run.kafka_relay, "refuse", seconds, run)


@fault("outside", 3, seconds=(2, 8))
def kafka_stall(run, seconds):
    network(run.kafka_relay, "stall", seconds, run)


@fault("outside", 3, seconds=(2, 8))
def kafka_hole(run, seconds):
    network(run.kafka_relay, "hole", seconds, run)


@fault("outside", 4, seconds=(1, 6))
def kafka_deaf(run, seconds):
    """What was sent is done, and nobody says so"""
    network(run.kafka_relay, "deaf", seconds, run)


# ---------- the registry

@fault("registry", 3, seconds=(0, 3))
def registry_kill9(run, seconds):
    """Comes back empty"""
    run.registry_relay.set("refuse")
    run.registry.save()
    run.registry.kill()
    run.sleep(seconds)
    run.registry.start()
    run.registry_relay.set("pass")


@fault("registry", 2, seconds=(2, 8))
def registry_freeze(run, seconds):
    run.registry.freeze()
    run.sleep(seconds)
    run.registry.thaw()


@fault("registry", 2, seconds=(2, 8))
def registry_refuse(run, seconds):
    network(run.registry_relay, "refuse", seconds, run)


@fault("registry", 2, seconds=(2, 8), delay=(0.1, 2))
def registry_slow(run, seconds, delay):
    network(run.registry_relay, "delay", seconds, run, delay)


def plan(generator, seconds, registry, only=None):
    """The schedule: {lane: [(when, name, arguments)]}"""
    lanes = {}
    for lane in ("outside", "server"):
        names = [name for name, (of, weight, _, _) in FAULTS.items()
                 if (of == lane or of == "registry" and registry and lane == "outside")
                 and (not only or name in only)]
        weights = [FAULTS[name][1] for name in names]
        steps, when = [], generator.uniform(2, 5)
        while names and when < seconds:
            name = generator.choices(names, weights)[0]
            arguments = {argument: round(generator.uniform(*limits), 3)
                         for argument, limits in FAULTS[name][3].items()}
            steps.append((round(when, 2), name, arguments))
            when += arguments.get("seconds", 0) + generator.uniform(0.3, 5)
        lanes[lane] = steps
    return lanes


class Lane(threading.Thread):
    def __init__(self, run, name, steps):
        super().__init__(daemon=True)
        self.run_ = run
        self.name_ = name
        self.steps = steps
        self.error = None

    def run(self):
        began = time.monotonic()
        for when, name, arguments in self.steps:
            if time.monotonic() - began > self.run_.seconds:
                break       # servers took longer to start than planned
            self.run_.sleep(max(0, when - (time.monotonic() - began)))
            if self.run_.over.is_set():
                break
            self.run_.timeline.fault(name, **arguments)
            lane = FAULTS[name][0]
            try:
                self.run_.busy[lane] = None
                FAULTS[name][2](self.run_, **arguments)
                self.run_.busy[lane] = time.monotonic()
            except Exception as error:
                self.error = "%s: %r" % (name, error)
                self.run_.timeline.note("harness", error=self.error)
                return
            self.run_.timeline.note("over", name=name)
