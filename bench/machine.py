"""What the benchmark runs on: processes and their figures, a private
PostgreSQL, and the testbed's broker and registry.

All of it lives in one work folder below the temporary folder and is gone
when Bench.close() returns.  Called by root, servers run as an ordinary user.
"""

import os
import re
import shutil
import signal
import subprocess
import tempfile
import threading
import time

TICKS = os.sysconf('SC_CLK_TCK')
TREE = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))


class BenchError(Exception):
    """Something that the reader of the message can put right."""


# ----------
# Processes
# ----------

def stat_fields(pid):
    """Fields of /proc/PID/stat, counted from 1 as proc(5) does."""
    with open(f'/proc/{pid}/stat') as f:
        text = f.read()
    rest = text[text.rindex(')') + 2:].split()
    return [None, str(pid), text[text.index('('):text.rindex(')') + 1]] + rest


def cpu_seconds(pid):
    """CPU of a process so far, all its threads."""
    fields = stat_fields(pid)
    return (int(fields[14]) + int(fields[15])) / TICKS


def reaped_cpu_seconds(pid):
    """CPU of all children of a process that have ended."""
    fields = stat_fields(pid)
    return (int(fields[16]) + int(fields[17])) / TICKS


def start_seconds(pid):
    """When a process started, by the clock that boot_seconds() reads."""
    return int(stat_fields(pid)[22]) / TICKS


def boot_seconds():
    return time.clock_gettime(time.CLOCK_BOOTTIME)


def is_alive(pid):
    try:
        return stat_fields(pid)[3] != 'Z'
    except OSError:
        return False


def children(pid):
    """Pids of the children of a process, with their command lines."""
    found = []
    for entry in os.listdir('/proc'):
        if not entry.isdigit():
            continue
        try:
            if int(stat_fields(entry)[4]) != pid:
                continue
            with open(f'/proc/{entry}/cmdline') as f:
                found.append((int(entry), f.read().replace('\0', ' ')))
        except (OSError, ValueError, IndexError):
            continue
    return found


def memory_kb(pid):
    """RssAnon and VmHWM of a process."""
    with open(f'/proc/{pid}/status') as f:
        text = f.read()
    return (int(re.search(r'RssAnon:\s*(\d+)', text).group(1)),
            int(re.search(r'VmHWM:\s*(\d+)', text).group(1)))


class MemoryWatch(threading.Thread):
    """Peak memory of one process, sampled until stop()."""

    def __init__(self, pid):
        super().__init__(daemon=True)
        self.pid = pid
        self.anon_kb = 0
        self.hwm_kb = 0
        self.done = threading.Event()
        self.start()

    def run(self):
        while not self.done.is_set():
            try:
                anon, hwm = memory_kb(self.pid)
            except (OSError, AttributeError):
                return
            self.anon_kb = max(self.anon_kb, anon)
            self.hwm_kb = max(self.hwm_kb, hwm)
            self.done.wait(0.02)

    def stop(self):
        self.done.set()
        self.join()


def wait_until(what, condition, seconds=60, step=0.02):
    """The condition's first true value."""
    deadline = time.monotonic() + seconds
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > deadline:
            raise BenchError(f'waited {seconds} s in vain for {what}')
        time.sleep(step)


def machine_load():
    with open('/proc/loadavg') as f:
        return ' '.join(f.read().split()[:3])


def cpu_busy():
    """Busy and all CPU seconds of the machine so far."""
    with open('/proc/stat') as f:
        ticks = [int(x) for x in f.readline().split()[1:9]]
    return (sum(ticks) - ticks[3] - ticks[4]) / TICKS, sum(ticks) / TICKS


# ----------
# SQL
# ----------

class Session:
    """A psql that stays connected: a query costs well under a millisecond."""

    END = '<<end of answer>>'

    def __init__(self, command):
        self.psql = subprocess.Popen(
            command + ['-XAtq', '-F', '\t', '-v', 'ON_ERROR_STOP=1'],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT, text=True)

    def rows(self, sql):
        self.psql.stdin.write(f'{sql}\n;\n\\echo {self.END}\n')
        self.psql.stdin.flush()
        lines = []
        for line in self.psql.stdout:
            line = line.rstrip('\n')
            if line == self.END:
                return [line.split('\t') for line in lines]
            lines.append(line)
        raise BenchError(f'{sql}\n' + '\n'.join(lines[-5:]))

    def one(self, sql):
        rows = self.rows(sql)
        return rows[0][0] if rows else None

    def close(self):
        if self.psql.poll() is None:
            self.psql.stdin.close()
            self.psql.wait()


def lsn(text):
    """A pg_lsn as a number."""
    high, low = text.split('/')
    return (int(high, 16) << 32) + int(low, 16)


# ----------
# The whole bench
# ----------

class Bench:
    SETTINGS = """\
listen_addresses = '127.0.0.1'
wal_level = logical
max_wal_size = 16GB
checkpoint_timeout = 1h
shared_buffers = 512MB
autovacuum = off
max_replication_slots = 20
max_wal_senders = 20
max_worker_processes = 16
fsync = {fsync}
synchronous_commit = on
log_checkpoints = off
"""

    # By default a broker reads 100 kB at a time, which on few cores makes a
    # request of 1 MB a dozen switches between processes.
    BROKER = os.environ.get('KAFKA_PROPERTIES', 'socket.receive.buffer.bytes=-1')

    def __init__(self, port, kafka_port, registry_port, with_kafka, keep):
        self.port = port
        self.kafka_port = kafka_port
        self.registry_port = registry_port
        self.with_kafka = with_kafka
        self.keep = keep
        self.postmaster = None
        self.brokers = []
        self.started = []
        self.sessions = []
        self.user = self.server_user()
        self.work = tempfile.mkdtemp(prefix='wal2kafka-bench-')
        os.chmod(self.work, 0o755)
        self.log = os.path.join(self.work, 'bench.log')
        self.cache = self.run(['bash', '-c', '. "$0/test/testbed/testbed.sh" && echo "$WAL2KAFKA_CACHE"',
                               TREE]).strip()
        self.has_wal2kafka = False

    @staticmethod
    def server_user():
        """Whom servers run as; None is the caller."""
        if os.getuid() != 0:
            return None
        user = os.environ.get('WAL2KAFKA_TEST_USER', 'postgres')
        if subprocess.run(['id', user], capture_output=True).returncode:
            raise BenchError(f'there is no user {user}; install postgresql, or '
                             'name another one in WAL2KAFKA_TEST_USER')
        return user

    def as_user(self, command):
        if self.user is None:
            return command
        return ['runuser', '-u', self.user, '--'] + command

    def run(self, command, user=False, **more):
        """Output of a command; its error text is the error's message."""
        if user:
            command = self.as_user(command)
        done = subprocess.run(command, stdout=subprocess.PIPE,
                              stderr=subprocess.STDOUT, text=True, **more)
        if done.returncode:
            raise BenchError(' '.join(command[:6]) + ':\n' + done.stdout[-3000:])
        return done.stdout

    def testbed(self, *arguments, **environment):
        return self.run(['env', f'WAL2KAFKA_CACHE={self.cache}']
                        + [f'{k}={v}' for k, v in environment.items()]
                        + [self.path('src/test/testbed/testbed.sh')]
                        + [str(a) for a in arguments], user=True)

    def path(self, *parts):
        return os.path.join(self.work, *parts)

    # ---------- building

    def build(self, need_wal2kafka):
        """A private server with the extension and the bench module in it."""
        os.mkdir(self.path('src'))
        self.run(['bash', '-c', 'tar -C "$0" --exclude=./.git -cf - . | tar -C "$1" -xf -'
                  ' && chmod -R a+rX "$1"', TREE, self.path('src')])
        if self.user:
            self.run(['chown', '-R', self.user, self.path('src')])
            shutil.chown(self.work, self.user)
        self.bin = self.testbed('server', self.path('pg')).split()[-1]
        config = self.run([self.path('src/test/testbed/testbed.sh'), 'pg_config_path']).strip()
        self.server_version = self.run([config, '--version']).strip()
        folders = [self.path('src/bench/noop')]
        if need_wal2kafka:
            folders.append(self.path('src'))
        for folder in folders:
            for target in ('clean', 'all', 'install'):
                self.run(['make', '-s', '-C', folder, target, f'PG_CONFIG={config}',
                          f'DESTDIR={self.path("pg")}'], user=True)
        self.has_wal2kafka = need_wal2kafka

    def has_library(self, name):
        return any(f'{name}.so' in files for _, _, files in os.walk(self.path('pg')))

    # ---------- PostgreSQL

    def init_server(self, fsync='off'):
        self.run([self.bin + '/initdb', '-D', self.path('data'), '-U', 'postgres',
                  '-A', 'trust', '-E', 'UTF8', '--locale=C.UTF-8'], user=True)
        preload = ['wal2kafka_bench'] + (['wal2kafka'] if self.has_wal2kafka else [])
        lines = self.SETTINGS.format(fsync=fsync)
        lines += f"port = {self.port}\nunix_socket_directories = '{self.work}'\n"
        lines += f"shared_preload_libraries = '{', '.join(preload)}'\n"
        plugins = 'pgoutput, test_decoding, wal2json, wal2kafka, wal2kafka_bench'
        known = subprocess.run(self.as_user([self.bin + '/postgres', '-D', self.path('data'),
                                             '-C', 'output_plugin_libraries']),
                               capture_output=True)
        if known.returncode == 0:
            lines += f"output_plugin_libraries = '{plugins}'\n"
        with open(self.path('data/postgresql.conf'), 'a') as f:
            f.write(lines)

    def start_server(self):
        with open(self.log, 'a') as log:
            server = subprocess.Popen(
                self.as_user([self.bin + '/postgres', '-D', self.path('data')]),
                stdout=log, stderr=log, stdin=subprocess.DEVNULL, start_new_session=True)
        self.server_process = server
        pid_file = self.path('data/postmaster.pid')

        def ready():
            if server.poll() is not None:
                raise BenchError(f'PostgreSQL did not start (whole log: {self.log}):\n'
                                 + self.run(['tail', '-n', '10', self.log]))
            try:
                with open(pid_file) as f:
                    lines = f.read().split('\n')
            except OSError:
                return None
            return len(lines) > 7 and lines[7].strip() == 'ready' and int(lines[0])

        self.postmaster = wait_until('the server', ready)

    def stop_server(self):
        for session in self.sessions:
            session.close()
        self.sessions = []
        if self.postmaster and is_alive(self.postmaster):
            os.kill(self.postmaster, signal.SIGINT)
            deadline = time.monotonic() + 60
            while self.server_process.poll() is None and time.monotonic() < deadline:
                time.sleep(0.05)
            if self.server_process.poll() is None:
                os.kill(self.postmaster, signal.SIGQUIT)
                self.server_process.wait()
        self.postmaster = None

    def restart_server(self):
        self.stop_server()
        self.start_server()

    def connection(self, database='bench'):
        return ['-h', self.work, '-p', str(self.port), '-U', 'postgres', '-d', database]

    def session(self, database='bench'):
        session = Session([self.bin + '/psql'] + self.connection(database))
        self.sessions.append(session)
        return session

    # ---------- Kafka and the registry

    def start_kafka(self):
        self.run(['env', f'WAL2KAFKA_CACHE={self.cache}',
                  TREE + '/test/testbed/testbed.sh', 'fetch'])
        os.makedirs(self.path('run'), exist_ok=True)
        if self.user:
            shutil.chown(self.path('run'), self.user)
        self.testbed('kafka_start', self.path('run/kafka'), self.kafka_port,
                     KAFKA_HEAP='1g', KAFKA_JIT='4', KAFKA_PROPERTIES=self.BROKER)
        self.brokers.append('kafka')
        self.testbed('registry_start', self.path('run/registry'), self.registry_port)
        self.brokers.append('registry')

    def pid_of(self, name):
        with open(self.path('run', name, f'{name}.pid')) as f:
            return int(f.read())

    @property
    def bootstrap(self):
        return f'127.0.0.1:{self.kafka_port}'

    @property
    def registry_url(self):
        return f'http://127.0.0.1:{self.registry_port}/apis/ccompat/v7'

    def topic_end(self, topic):
        """Records of a topic of one partition; None without kcat."""
        if shutil.which('kcat') is None:
            return None
        done = subprocess.run(['kcat', '-b', self.bootstrap, '-Q', '-t', f'{topic}:0:-1'],
                              capture_output=True, text=True)
        found = re.search(r'offset (\d+)', done.stdout)
        return int(found.group(1)) if found else 0

    # ---------- the end

    def close(self):
        for process in self.started:
            if process.poll() is None:
                process.terminate()
                process.wait()
        try:
            self.stop_server()
        finally:
            for name in self.brokers:
                self.testbed(f'{name}_stop', self.path('run', name))
            if self.keep:
                print(f'left for a look: {self.work}')
            else:
                shutil.rmtree(self.work, ignore_errors=True)
