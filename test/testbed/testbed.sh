#!/bin/bash
#
# testbed.sh
#		The real parts that tests and the demo run against.
#
# Sourced, it gives functions; run, its first argument is one of them:
#
#	testbed.sh packages				install what is missing (as root)
#	testbed.sh fetch				Kafka and the schema registry, into the cache
#	testbed.sh fetch_scram_kafka	an older Kafka, where tests of SCRAM need it
#	testbed.sh fetch_debezium		Debezium on Kafka Connect, into the cache
#	testbed.sh server DIR			a private copy of the installed PostgreSQL
#	testbed.sh make_chroot SUITE		a chroot with that suite's PostgreSQL (root)
#	testbed.sh kafka_start DIR PORT [CONTROLLER_PORT]
#									a broker on 127.0.0.1 (controller: PORT + 1)
#	testbed.sh kafka_stop DIR		... stopped cleanly; data stays in DIR
#	testbed.sh kafka_kill DIR		... killed with -9
#	testbed.sh registry_start DIR PORT	schema registry; its store is memory
#	testbed.sh registry_stop DIR
#
# Starting again with the same DIR starts the same broker on its data.
#
# WAL2KAFKA_CACHE says where downloads are kept; by default it is
# /var/cache/wal2kafka for root (whose home nobody else can read) and
# ~/.cache/wal2kafka for others.

# librdkafka before 2.6.1 cannot do SCRAM with Kafka 4: the other version is
# for that.
: "${KAFKA_VERSION:=4.4.0}"
KAFKA_SCRAM_VERSION=3.9.1
REGISTRY_VERSION=3.0.9
REGISTRY_PATH=/apis/ccompat/v7

testbed_folder=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)

if [ "$(id -u)" = 0 ]; then
	: "${WAL2KAFKA_CACHE:=/var/cache/wal2kafka}"
else
	: "${WAL2KAFKA_CACHE:=${XDG_CACHE_HOME:-$HOME/.cache}/wal2kafka}"
fi
export WAL2KAFKA_CACHE

# The user that servers run as when root calls; made by Debian's packages.
: "${WAL2KAFKA_TEST_USER:=postgres}"

say() { echo "$*"; }
fail()
{
	echo "$(basename "$0"): $*" >&2
	exit 1
}

# wait_for SECONDS COMMAND...: until the command succeeds, or the time is over
wait_for()
{
	local deadline=$((SECONDS + $1))
	shift
	until "$@"; do
		[ $SECONDS -lt $deadline ] || return 1
		sleep 0.1
	done
}

port_open() { (exec 3<>"/dev/tcp/127.0.0.1/$1") 2>/dev/null; }
port_closed() { ! port_open "$1"; }

# need_ports PORT...: nobody listens there yet
need_ports()
{
	local port
	for port in "$@"; do
		port_open "$port" &&
			fail "port $port of 127.0.0.1 is in use; free it, or choose another"
	done
	return 0
}

need_java()
{
	command -v java >/dev/null ||
		fail "java is missing; install default-jre-headless (version 17 or newer)"
	local version
	version=$(java -version 2>&1 | sed -n 's/.*version "\([0-9]*\).*/\1/p' | head -n 1)
	[ "${version:-0}" -ge 17 ] ||
		fail "java is version ${version:-unknown}; Kafka and the registry need 17 or newer"
}

# ----------
# Packages
# ----------

# Major version of PostgreSQL that this machine has or that its suite offers.
pg_major()
{
	if [ -n "$PG_CONFIG" ]; then
		"$PG_CONFIG" --version | sed 's/[^0-9]*\([0-9]*\).*/\1/'
		return
	fi
	apt-cache depends postgresql 2>/dev/null |
		sed -n 's/.*Depends: postgresql-\([0-9]*\)$/\1/p' | head -n 1
}

# pg_config of that version; /usr/bin/pg_config may be of another one
pg_config_path()
{
	echo "${PG_CONFIG:-/usr/lib/postgresql/$(pg_major)/bin/pg_config}"
}

package_list()
{
	local major=$1
	echo "postgresql-$major postgresql-server-dev-$major" \
		librdkafka-dev libavro-dev libcurl4-openssl-dev libjansson-dev libpcre2-dev \
		gcc make pkg-config libipc-run-perl curl ca-certificates \
		default-jre-headless maven \
		python3-confluent-kafka python3-avro python3-requests python3-psycopg2
}

# clang with libFuzzer and the sanitizers; the runtime's package has a version
# in its name
fuzz_packages()
{
	local version
	version=$(apt-cache depends clang 2>/dev/null | sed -n 's/.*Depends: clang-\([0-9]*\)$/\1/p' | head -n 1)
	echo "clang libclang-rt-${version:-14}-dev"
}

missing_packages()
{
	local package
	for package in "$@"; do
		[ "$(dpkg-query -W -f '${db:Status-Status}' "$package" 2>/dev/null)" = installed ] ||
			echo "$package"
	done
}

packages()
{
	local major missing folder

	command -v apt-get >/dev/null ||
		fail "this is not Debian or Ubuntu (no apt-get): install the packages of 'package_list' in $testbed_folder/testbed.sh by their names there"
	if [ "$(id -u)" = 0 ] && [ -z "$(pg_major)" ]; then
		apt-get update -q >/dev/null || fail "apt-get update failed; is the network there?"
	fi
	major=$(pg_major)
	[ -n "$major" ] ||
		fail "no package 'postgresql' is known; run 'apt-get update' as root"
	{ [ "$major" -ge 15 ] && [ "$major" -le 18 ]; } ||
		fail "this suite has PostgreSQL $major; wal2kafka is for 15 to 18 (Debian 12 and 13, Ubuntu 24.04 and later)"

	missing=$(missing_packages $(package_list "$major"))
	[ -n "$missing" ] || return 0
	[ "$(id -u)" = 0 ] ||
		fail "packages are missing; as root: apt-get install" $missing

	# Installing a server must not create and start a cluster.
	if [ -z "$(ls /etc/postgresql 2>/dev/null)" ]; then
		folder=/etc/postgresql-common
		mkdir -p $folder
		[ -e $folder/createcluster.conf ] ||
			echo 'create_main_cluster = false' > $folder/createcluster.conf
	fi
	say "installing" $missing
	apt-get update -q >/dev/null || say "apt-get update failed; trying with the old lists"
	DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-install-recommends \
		-o Dpkg::Use-Pty=0 -o Dpkg::Options::=--force-confold $missing \
		> "${TMPDIR:-/tmp}/wal2kafka-packages.$$" 2>&1 || {
		tail -n 20 "${TMPDIR:-/tmp}/wal2kafka-packages.$$" >&2
		rm -f "${TMPDIR:-/tmp}/wal2kafka-packages.$$"
		fail "apt-get could not install" $missing
	}
	rm -f "${TMPDIR:-/tmp}/wal2kafka-packages.$$"
}

# ----------
# Unprivileged copies
# ----------

# work_copy NAME: a fresh copy of the checkout at <cache>/NAME/src, which the
# user that servers run as may write.  What else is below <cache>/NAME goes
# away.  Prints <cache>/NAME.
work_copy()
{
	local root work="$WAL2KAFKA_CACHE/$1"
	root=$(cd "$testbed_folder/../.." && pwd)
	rm -rf "$work"
	mkdir -p "$work/src"
	tar -C "$root" --exclude=./.git --exclude='*.o' --exclude='*.so' --exclude=./tmp_check \
		-cf - . | tar -C "$work/src" --no-same-owner -xf -
	if [ "$(id -u)" = 0 ]; then
		chown -R "$WAL2KAFKA_TEST_USER:" "$work"
		as_user test -w "$work/src" ||
			fail "user $WAL2KAFKA_TEST_USER cannot reach $WAL2KAFKA_CACHE; set WAL2KAFKA_CACHE to a folder that others may enter"
	fi
	echo "$work"
}

# as_user COMMAND...: as the user that servers run as
as_user()
{
	if [ "$(id -u)" = 0 ]; then
		setpriv --reuid="$WAL2KAFKA_TEST_USER" --regid="$WAL2KAFKA_TEST_USER" \
			--init-groups env HOME="$WAL2KAFKA_CACHE" "$@"
	else
		"$@"
	fi
}

# ----------
# Downloads
# ----------

# maven WHAT ARGUMENT...: offline if the cache has everything already
maven()
{
	local what=$1 log="$WAL2KAFKA_CACHE/maven.log"
	shift
	command -v mvn >/dev/null || fail "mvn is missing; install the package maven"
	say "fetching $what"
	if ! mvn -B "-Dmaven.repo.local=$WAL2KAFKA_CACHE/m2" "$@" > "$log" 2>&1; then
		grep -E 'Could not (find|transfer|resolve)|Unknown host|Connection|ERROR' "$log" |
			head -n 5 >&2
		fail "could not fetch $what from Maven's repository; no network, or the artifact that the lines above name is not there (whole log: $log)"
	fi
}

fetch_kafka()
{
	local target="$WAL2KAFKA_CACHE/kafka-$KAFKA_VERSION"

	[ -d "$target" ] && return 0
	need_java
	mkdir -p "$WAL2KAFKA_CACHE"
	rm -rf "$target.part"
	maven "org.apache.kafka:kafka_2.13:$KAFKA_VERSION and what it needs" \
		-f "$testbed_folder/kafka/pom.xml" "-Dkafka.version=$KAFKA_VERSION" \
		dependency:copy-dependencies -DincludeScope=runtime \
		"-DoutputDirectory=$target.part"
	chmod -R a+rX "$target.part"
	mv "$target.part" "$target"
}

fetch_registry()
{
	local target="$WAL2KAFKA_CACHE/registry-$REGISTRY_VERSION"
	local artifact=apicurio-registry-app

	[ -d "$target" ] && return 0
	need_java
	mkdir -p "$WAL2KAFKA_CACHE"
	rm -rf "$target.part"
	mkdir "$target.part"
	# this version of the plugin asks for no parent of a lone archive
	maven "io.apicurio:$artifact:$REGISTRY_VERSION" \
		org.apache.maven.plugins:maven-dependency-plugin:2.8:get \
		-Dtransitive=false "-Dartifact=io.apicurio:$artifact:$REGISTRY_VERSION:tar.gz:all"
	tar -xzf "$WAL2KAFKA_CACHE/m2/io/apicurio/$artifact/$REGISTRY_VERSION/$artifact-$REGISTRY_VERSION-all.tar.gz" \
		-C "$target.part" || fail "the archive of $artifact is damaged; remove $WAL2KAFKA_CACHE/m2"
	chmod -R a+rX "$target.part"
	mv "$target.part" "$target"
}

# version of a part of bench/connect/pom.xml
connect_version() { sed -n "s/.*<$1.version>\(.*\)<.*/\1/p" "$testbed_folder/../../bench/connect/pom.xml"; }
debezium_folder() { echo "$WAL2KAFKA_CACHE/debezium-$(connect_version debezium)"; }

# The connector, the converter and Connect itself, a folder each; one that is
# there is complete.  Connect brings some jars that a plugin must not have too.
fetch_debezium()
{
	local top part target
	top=$(debezium_folder)
	for part in runtime debezium converter; do
		target="$top/$part"
		[ ! -d "$target" ] || continue
		need_java
		rm -rf "$target.part"
		mkdir -p "$top"
		maven "$part of Debezium $(connect_version debezium)" \
			-f "$testbed_folder/../../bench/connect/pom.xml" "-P$part" \
			dependency:copy-dependencies -DincludeScope=runtime \
			"-DoutputDirectory=$target.part"
		[ "$part" = runtime ] ||
			rm -f "$target.part"/{connect-json,kafka-clients,connect-api,slf4j-api}-*.jar
		chmod -R a+rX "$target.part"
		mv "$target.part" "$target"
	done
	chmod a+rx "$top"
}

# The broker for SCRAM, where librdkafka cannot do that with the other one.
fetch_scram_kafka()
{
	local version
	version=$(pkg-config --modversion rdkafka 2>/dev/null)
	[ "$(printf '%s\n' "${version:-0}" 2.6.1 | sort -V | head -n 1)" = 2.6.1 ] ||
		(KAFKA_VERSION=$KAFKA_SCRAM_VERSION && fetch_kafka)
}

fetch()
{
	fetch_kafka
	fetch_registry
	chmod a+rx "$WAL2KAFKA_CACHE"
}

# ----------
# PostgreSQL
# ----------

# A private copy of the installed server under DIR, into which
# "make install DESTDIR=DIR" installs: no other server on this machine is
# touched, and no root is needed.  PostgreSQL finds its files from where its
# programs are.  Prints the folder of the programs.
server()
{
	local dir=$1 config path
	config=$(pg_config_path)
	[ -x "$config" ] || fail "no $config; run '$testbed_folder/testbed.sh packages' as root"
	for path in "$(dirname "$("$config" --bindir)")" "$("$config" --sharedir)"; do
		mkdir -p "$dir$path"
		tar -C "$path" --exclude=./lib/bitcode -cf - . | tar -C "$dir$path" -xf -
	done
	echo "$dir$("$config" --bindir)"
}

# A chroot with another suite's PostgreSQL, below the cache; prints its folder.
chroot_major()
{
	case $1 in
		bookworm) echo 15 ;;
		trixie) echo 17 ;;
		sid) echo 18 ;;
		*) fail "unknown suite $1" ;;
	esac
}

make_chroot()
{
	local suite=$1 dir major log packages
	major=$(chroot_major "$suite") || exit 1
	dir="$WAL2KAFKA_CACHE/chroot/$suite"
	log="$WAL2KAFKA_CACHE/chroot-$suite.log"
	packages="postgresql-$major postgresql-server-dev-$major librdkafka-dev
		libavro-dev libcurl4-openssl-dev libjansson-dev libpcre2-dev
		make gcc pkg-config libipc-run-perl curl
		python3-confluent-kafka python3-avro python3-requests"
	[ "$(id -u)" = 0 ] || fail "a chroot needs root"
	# one of an earlier tree may lack what this one builds with
	if [ "$(cat "$dir/.complete" 2>/dev/null)" != "$packages" ]; then
		command -v debootstrap >/dev/null ||
			fail "debootstrap is missing; install the package"
		[ ! -d "$dir/proc/1" ] || umount "$dir/proc" ||
			fail "cannot unmount proc in $dir"
		rm -rf "$dir"
		mkdir -p "$dir"
		{
			debootstrap --variant=minbase --include=ca-certificates "$suite" "$dir" &&
			mount -t proc proc "$dir/proc" &&
			mkdir -p "$dir/etc/postgresql-common" &&
			echo 'create_main_cluster = false' > "$dir/etc/postgresql-common/createcluster.conf" &&
			chroot "$dir" apt-get -o Acquire::Check-Valid-Until=false update &&
			DEBIAN_FRONTEND=noninteractive chroot "$dir" apt-get install -y \
				--no-install-recommends $packages &&
			chroot "$dir" apt-get clean
		} > "$log" 2>&1 || {
			tail -n 10 "$log" >&2
			umount "$dir/proc" 2>/dev/null
			fail "could not make a chroot of $suite (whole log: $log)"
		}
		echo "$packages" > "$dir/.complete"
	fi
	[ -d "$dir/proc/1" ] || mount -t proc proc "$dir/proc" || fail "cannot mount proc in $dir"
	echo "$dir"
}

# ----------
# Broker and registry
# ----------

# pid_alive FILE: does the process that the file names run?
pid_alive()
{
	[ -s "$1" ] && kill -0 "$(cat "$1")" 2>/dev/null
}
pid_gone() { ! pid_alive "$1"; }

# stop_pid FILE SIGNAL
stop_pid()
{
	pid_alive "$1" || { rm -f "$1"; return 0; }
	kill -s "$2" "$(cat "$1")" 2>/dev/null
	kill -s CONT "$(cat "$1")" 2>/dev/null
	wait_for 20 pid_gone "$1" || kill -s KILL "$(cat "$1")"
	rm -f "$1"
}

# launch DIR NAME COMMAND...: detached, output to DIR/NAME.log
launch()
{
	local dir=$1 name=$2
	shift 2
	setsid "$@" >> "$dir/$name.log" 2>&1 < /dev/null &
	echo $! > "$dir/$name.pid"
	disown
}

kafka_ready()
{
	grep -q 'Kafka Server started' "$1/kafka.log" 2>/dev/null && port_open "$2"
}

# kafka_start DIR PORT: KAFKA_HEAP (256m) and KAFKA_PROPERTIES (lines for
# server.properties) may be set.
#
# Records are kept whatever their age: tests write some of long ago, and a
# broker deletes old ones for the first time half a minute after its start.
kafka_start()
{
	local dir=$1 port=$2 controller=${3:-$(($2 + 1))}
	local libs="$WAL2KAFKA_CACHE/kafka-$KAFKA_VERSION"
	local java

	need_java
	[ -d "$libs" ] || fail "Kafka is not there; run '$testbed_folder/testbed.sh fetch'"
	pid_alive "$dir/kafka.pid" && fail "the broker of $dir runs already"
	need_ports "$port" "$controller"
	mkdir -p "$dir"
	java="java -Xmx${KAFKA_HEAP:-256m} -XX:+UseSerialGC -XX:TieredStopAtLevel=${KAFKA_JIT:-1}
		-Dlog4j2.configurationFile=$testbed_folder/kafka/log4j2.properties"
	if [ ! -d "$dir/data" ]; then
		cat > "$dir/server.properties" <<-EOF
			process.roles=broker,controller
			node.id=1
			controller.quorum.voters=1@127.0.0.1:$controller
			listeners=PLAINTEXT://127.0.0.1:$port,CONTROLLER://127.0.0.1:$controller
			controller.listener.names=CONTROLLER
			log.dirs=$dir/data
			auto.create.topics.enable=false
			num.partitions=1
			log.retention.ms=-1
			offsets.topic.replication.factor=1
			offsets.topic.num.partitions=1
			transaction.state.log.replication.factor=1
			transaction.state.log.num.partitions=1
			transaction.state.log.min.isr=1
			group.initial.rebalance.delay.ms=0
			broker.heartbeat.interval.ms=500
			broker.session.timeout.ms=1500
		EOF
		[ -z "$KAFKA_PROPERTIES" ] || echo "$KAFKA_PROPERTIES" >> "$dir/server.properties"
		$java -cp "$libs/*" kafka.tools.StorageTool format -t AAAAAAAAQACAAAAAAAAAAQ \
			-c "$dir/server.properties" > "$dir/format.log" 2>&1 || {
			cat "$dir/format.log" >&2
			fail "Kafka could not format $dir/data"
		}
	fi
	: > "$dir/kafka.log"
	launch "$dir" kafka $java -cp "$libs/*" kafka.Kafka "$dir/server.properties"
	wait_for 60 kafka_ready_or_dead "$dir" "$port"
	kafka_ready "$dir" "$port" || {
		tail -n 20 "$dir/kafka.log" >&2
		stop_pid "$dir/kafka.pid" KILL
		fail "Kafka did not start within a minute (whole log: $dir/kafka.log)"
	}
}

kafka_ready_or_dead() { kafka_ready "$@" || pid_gone "$1/kafka.pid"; }
kafka_stop() { stop_pid "$1/kafka.pid" TERM; }
kafka_kill() { stop_pid "$1/kafka.pid" KILL; }

registry_url() { echo "http://127.0.0.1:$1$REGISTRY_PATH"; }
registry_ready()
{
	curl -sf -o /dev/null --max-time 5 "$(registry_url "$2")/subjects" || pid_gone "$1/registry.pid"
}

registry_start()
{
	local dir=$1 port=$2 app="$WAL2KAFKA_CACHE/registry-$REGISTRY_VERSION"

	need_java
	[ -d "$app" ] || fail "the registry is not there; run '$testbed_folder/testbed.sh fetch'"
	pid_alive "$dir/registry.pid" && fail "the registry of $dir runs already"
	need_ports "$port"
	mkdir -p "$dir"
	: > "$dir/registry.log"
	launch "$dir" registry java -Xmx256m -XX:+UseSerialGC -XX:TieredStopAtLevel=1 \
		-Djava.io.tmpdir="$dir" \
		-Dquarkus.http.host=127.0.0.1 "-Dquarkus.http.port=$port" \
		-Dapicurio.storage.kind=sql -Dapicurio.storage.sql.kind=h2 \
		"-Dapicurio.datasource.url=jdbc:h2:mem:registry;DB_CLOSE_DELAY=-1" \
		-jar "$app/apicurio-registry-app-$REGISTRY_VERSION-runner.jar"
	wait_for 60 registry_ready "$dir" "$port"
	pid_alive "$dir/registry.pid" || {
		tail -n 20 "$dir/registry.log" >&2
		fail "the registry did not start (whole log: $dir/registry.log)"
	}
}

registry_stop() { stop_pid "$1/registry.pid" TERM; }
registry_kill() { stop_pid "$1/registry.pid" KILL; }

if [ "${BASH_SOURCE[0]}" = "$0" ]; then
	case $1 in
		packages | fetch | fetch_scram_kafka | fetch_debezium | debezium_folder | server | make_chroot | kafka_start | kafka_stop | kafka_kill | \
			registry_start | registry_stop | registry_kill | pg_major | pg_config_path)
			"$@"
			;;
		*)
			sed -n 's/^# \{0,1\}//; 3,25p' "$0"
			exit 2
			;;
	esac
fi
