# instrumented.sh
#		A PostgreSQL server built to watch memory, and the tests that run on it;
#		sourced by sanitize.sh and valgrind.sh.
#
# The distribution's own source package is built: a sanitizer must be in the
# server's program itself, and valgrind learns of memory contexts only from a
# server built with its requests.  Sources, builds and logs stay below the
# cache folder; a build whose flags are those of last time is used again.

here=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
. "$here/test/testbed/testbed.sh"

passed=0
failed=0

# verdict NAME COMMAND...: the command's success is the test's
verdict()
{
	local name=$1
	shift
	if "$@"; then
		passed=$((passed + 1))
		say "ok - $name"
	else
		failed=$((failed + 1))
		say "not ok - $name"
	fi
}

# What building the server needs beside what testbed.sh installs.
install_packages()
{
	local missing
	missing=$(missing_packages dpkg-dev bison flex libxml2-dev zlib1g-dev liblz4-dev perl "$@")
	[ -n "$missing" ] || return 0
	[ "$(id -u)" = 0 ] ||
		fail "packages are missing; as root: apt-get install" $missing
	DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-install-recommends \
		-o Dpkg::Use-Pty=0 $missing > /dev/null ||
		fail "apt-get could not install" $missing
}

# ----------
# The source package
# ----------

# The machine's own lists, asked for sources as well, in a folder of our own.
source_lists()
{
	local file
	mkdir -p "$1/lists/partial" "$1/sources"
	for file in $(grep -lE 'debian\.org|ubuntu\.com|/debian|/ubuntu' /etc/apt/sources.list \
			/etc/apt/sources.list.d/*.list /etc/apt/sources.list.d/*.sources 2>/dev/null); do
		sed -e 's/^Types: *deb *$/Types: deb-src/' -e 's/^deb /deb-src /' "$file" \
			> "$1/sources/$(basename "$file")"
	done
}

# Versions that the lists name, the newest first: a mirror may lack one.
source_versions()
{
	apt-cache $1 showsrc "postgresql-$2" | sed -n 's/^Version: //p' | sort -rVu
}

# fetch_source OPTIONS MAJOR
fetch_source()
{
	local version
	apt-get $1 update || return 1
	for version in $(source_versions "$1" "$2"); do
		apt-get $1 source "postgresql-$2=$version" && return 0
	done
	return 1
}

# Debian's folders go past --prefix.
relocate()
{
	local patch
	cd "postgresql-$1"*/ || return 1
	for patch in debian/patches/*per-version-dirs*; do
		patch -R -p1 < "$patch" || return 1
	done
}

# Prints the folder of PostgreSQL's source.
postgres_source()
{
	local major=$1 top="$WAL2KAFKA_CACHE/postgresql-source-$1" options log
	log="$top.log"
	options="-o Dir::Etc::sourcelist=/dev/null -o Dir::Etc::sourceparts=$top/apt/sources
		-o Dir::State::lists=$top/apt/lists -o Dir::Cache=$top/apt/cache
		-o APT::Sandbox::User= -o APT::Get::Only-Source=1"
	if [ ! -e "$top/complete" ]; then
		rm -rf "$top"
		source_lists "$top/apt"
		mkdir -p "$top/source" "$top/apt/cache/archives/partial"
		(cd "$top/source" && fetch_source "$options" "$major" && relocate "$major" &&
			chmod -R a+rX "$top") \
			> "$log" 2>&1 || {
			tail -n 10 "$log" >&2
			fail "could not fetch the source of postgresql-$major (whole log: $log)"
		}
		touch "$top/complete"
	fi
	ls -d "$top/source/postgresql-$major"*/ | head -n 1
}

# ----------
# Server and extension
# ----------

# build_server NAME CFLAGS LDFLAGS OPTION...: at $work/server, unless a server
# of the same source and flags is there
build_server()
{
	local cflags=$2 ldflags=$3 source stamp log="$work/build-server.log"
	local options="--enable-cassert --enable-debug --enable-tap-tests --with-openssl
		--with-libxml --with-lz4 --without-readline --without-icu"
	shift 3
	source=$(postgres_source "$(pg_major)") || exit 1
	stamp=$(echo $source $cflags $ldflags $options "$@")
	[ "$(cat "$work/server/stamp" 2>/dev/null)" != "$stamp" ] || return 0

	say "building $(basename "$source")"
	rm -rf "$work/server" "$work/build"
	as_user mkdir -p "$work/build"
	{
		(cd "$work/build" &&
			as_user "$source/configure" "--prefix=$work/server" $options "$@" \
				"CFLAGS=$cflags" "LDFLAGS=$ldflags") &&
		as_user nice make -C "$work/build" -j "${JOBS:-2}" -s install &&
		(for part in hstore citext ltree isn cube test_decoding; do
			as_user nice make -C "$work/build/contrib/$part" -s install || exit 1
		done)
	} > "$log" 2>&1 || {
		tail -n 20 "$log"
		return 1
	}
	rm -rf "$work/build"
	echo "$stamp" | as_user tee "$work/server/stamp" > /dev/null
}

# The extension has the server's flags from pg_config.
build_extension()
{
	local log="$work/build-extension.log"
	as_user make -C "$work/src" "PG_CONFIG=$work/server/bin/pg_config" "W2K_CFLAGS=$1" \
		all install > "$log" 2>&1 || {
		tail -n 20 "$log"
		return 1
	}
}

# prepare NAME PACKAGE...: folders below the cache, everything but the server
# made anew; sets work
prepare()
{
	local name=$1 root="$WAL2KAFKA_CACHE/$1"
	shift
	packages || exit 1
	install_packages "$@"
	fetch || exit 1
	work=$root
	mkdir -p "$work"
	rm -rf "$work/src" "$work/reports" "$work/tmp"
	mkdir "$work/src" "$work/reports" "$work/tmp"
	tar -C "$here" --exclude=./.git --exclude='*.o' --exclude='*.so' --exclude='./tmp_check*' \
		--exclude='./test/*/bin' -cf - . | tar -C "$work/src" --no-same-owner -xf -
	[ "$(id -u)" != 0 ] || chown -R "$WAL2KAFKA_TEST_USER:" "$work"
}

# ----------
# Tests
# ----------

# in_server COMMAND...
in_server()
{
	local pgxs
	pgxs=$(dirname "$("$work/server/bin/pg_config" --pgxs)")
	as_user env "PATH=$work/server/bin:$PATH" "PG_REGRESS=$pgxs/../test/regress/pg_regress" \
		"PGXS_DIR=$pgxs" LC_ALL=C.UTF-8 "WAL2KAFKA_CACHE=$WAL2KAFKA_CACHE" \
		"TMPDIR=$work/tmp" "${instrument[@]}" "$@"
}

# SQL tests, those of $REGRESS or all, and isolation tests unless $REGRESS is
# set: each is a test here.
sql_tests()
{
	local log="$work/sql.log" ok not_ok only=()
	[ -z "$REGRESS" ] || only=("REGRESS=setup $REGRESS" ISOLATION=)
	in_server make -C "$work/src" -i "PG_CONFIG=$work/server/bin/pg_config" "${only[@]}" \
		installcheck > "$log" 2>&1
	ok=$(grep -cE '^(ok [0-9]+|(test|     ) [^ ]+ +\.\.\. ok)' "$log")
	not_ok=$(grep -cE '^(not ok [0-9]+|(test|     ) [^ ]+ +\.\.\. FAILED)' "$log")
	if [ "$ok" = 0 ] || [ "$not_ok" != 0 ]; then
		grep -E '^not ok|FAILED|^Bail out|could not' "$log" || tail -n 20 "$log"
		head -n 80 "$work/src/regression.diffs" "$work/src/output_iso/regression.diffs" 2>/dev/null
		[ "$not_ok" != 0 ] || not_ok=1
	fi
	passed=$((passed + ok))
	failed=$((failed + not_ok))
	say "SQL: $ok passed, $not_ok failed" | tr -d ,
}

# tap_test SCRIPT
tap_test()
{
	local log="$work/$(basename "$1" .pl).log"
	in_server bash -c "cd '$work/src' && prove -v -I \"\$PGXS_DIR/../test/perl\" -I test/lib $1" \
		> "$log" 2>&1 && return 0
	grep -E '^not ok|^# ' "$log" | tail -n 20
	return 1
}

# No report of the instrument, and no failed assertion in any server's log.
no_reports()
{
	local found
	found=$(find "$work/reports" -type f -size +0 | sort)
	[ -z "$found" ] || head -v -n 40 $(echo "$found" | head -n 5)
	! grep -rE 'TRAP: |runtime error: |ERROR: AddressSanitizer' "$work/src" \
		--include='*.log' --include=postmaster.log | head -n 10 | grep . &&
		[ -z "$found" ]
}
