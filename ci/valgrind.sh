#!/bin/bash
#
# valgrind.sh
#		SQL tests and streaming under valgrind, on a server built with its
#		requests: valgrind then knows the memory of contexts.
#
#	ci/valgrind.sh [SCRIPT...]
#
# SCRIPT... are the TAP tests (t/001_stream.pl); REGRESS="a b" runs only these
# SQL tests.  The last line is "N passed, N failed".  Takes half an hour.

. "$(dirname "${BASH_SOURCE[0]}")/instrumented.sh"

# In place of the server's program: itself under valgrind, except where it
# only says its version or makes a cluster.
#
# All processes of a server append to one file: with a file for each, the next
# process of the same number would empty it.
wrap_server()
{
	local bin="$work/server/bin" source
	source=$(postgres_source "$(pg_major)") || return 1
	[ -e "$bin/postgres.real" ] || mv "$bin/postgres" "$bin/postgres.real"
	cat > "$bin/postgres" <<-END
		#!/bin/sh
		case "\$1" in
			-V|--version|--boot|--single|--check|--describe-config|-C) exec $bin/postgres.real "\$@" ;;
		esac
		exec 9>> $work/reports/\$\$.log
		exec valgrind --quiet --leak-check=no --num-callers=30 --error-markers=VALGRIND,END \\
			--suppressions=$source/src/tools/valgrind.supp --suppressions=$work/src/ci/valgrind.supp \\
			--log-fd=9 $bin/postgres.real "\$@"
	END
	chmod 755 "$bin/postgres"
}

prepare valgrind valgrind libc6-dbg
instrument=(PG_TEST_TIMEOUT_DEFAULT=1800 PGCTLTIMEOUT=600)

verdict 'server' build_server valgrind '-O1 -g -fno-omit-frame-pointer -DUSE_VALGRIND' ''
[ "$failed" != 0 ] || verdict 'extension' build_extension -Wno-maybe-uninitialized
if [ "$failed" = 0 ]; then
	wrap_server || exit 1
	sql_tests
	for script in ${*:-t/001_stream.pl}; do
		verdict "$script" tap_test "$script"
	done
	verdict 'no report, no failed assertion' no_reports
fi
echo "$passed passed, $failed failed"
[ "$failed" = 0 ]
