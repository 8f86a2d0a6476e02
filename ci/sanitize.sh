#!/bin/bash
#
# sanitize.sh
#		SQL tests and streaming under AddressSanitizer and UBSan, on a server
#		built with both and with assertions.
#
#	ci/sanitize.sh [SCRIPT...]
#
# SCRIPT... are the TAP tests (t/001_stream.pl and two others); REGRESS="a b"
# runs only these SQL tests.  The last line is "N passed, N failed".
#
# Leaks are not looked for: the server leaves its memory to the end of the
# process.  What addresses of a stack's frame that is gone are used for is not
# either: the server measures its stack by such.

. "$(dirname "${BASH_SOURCE[0]}")/instrumented.sh"

flags='-fsanitize=address,undefined -fno-sanitize-recover=all -fno-omit-frame-pointer'
options='detect_leaks=0:detect_stack_use_after_return=0:abort_on_error=1:disable_coredump=0:print_stacktrace=1'
export ASAN_OPTIONS=$options UBSAN_OPTIONS=$options

prepare sanitize
instrument=("ASAN_OPTIONS=$options:log_path=$work/reports/asan"
	"UBSAN_OPTIONS=$options:log_path=$work/reports/ubsan"
	PG_TEST_TIMEOUT_DEFAULT=600)

verdict 'server' build_server sanitize "-O1 -g $flags" "$flags"
# of our own files a run should show everything
[ "$failed" != 0 ] ||
	verdict 'extension' build_extension '-Wno-maybe-uninitialized -fsanitize-recover=undefined'
if [ "$failed" = 0 ]; then
	sql_tests
	for script in ${*:-t/001_stream.pl t/002_snapshot.pl t/007_worker_kill9.pl}; do
		verdict "$script" tap_test "$script"
	done
	verdict 'no report, no failed assertion' no_reports
fi
echo "$passed passed, $failed failed"
[ "$failed" = 0 ]
