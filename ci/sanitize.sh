#!/bin/bash
# Tests under AddressSanitizer and UndefinedBehaviorSanitizer, the unit tests under valgrind's
# memcheck as well, and, shortly, the stress test of the dispatcher under ThreadSanitizer, which
# ci/stress.sh runs long. The first three see what code of the host does, not what kernels compute:
# tests of the suite `numbers`, whose host code others run too, are left out, and
# tests/shortened.h cuts what repeats. Criterion runs each test in a child and drops that child's
# exit status, so the checkers write log files, and any log is a failure. Defects planted in
# tests/sanitize prove first that they would be seen.
#
#   ci/sanitize.sh            all of that
#   ci/sanitize.sh --quick    the first two, on the unit tests and the suite `host`
. "$(dirname "$0")/lib.sh"

suites=(--no-suite numbers)
quick=false
case "$*" in
'') ;;
--quick) quick=true suites=(--suite unit --suite host) ;;
*) echo "sanitize.sh: $*: expects nothing or --quick" >&2; exit 2 ;;
esac

logs=$root/build-asan/logs
asan=log_path=$logs/asan:detect_leaks=1:check_initialization_order=1:strict_string_checks=1
ubsan=print_stacktrace=1:halt_on_error=1
lsan=suppressions=$root/ci/lsan.supp:print_suppressions=0

fresh_logs() {
    rm -rf "$logs"
    mkdir -p "$logs"
}

# Succeeds if no checker wrote anything; shows what was written otherwise.
logs_are_empty() {
    local found
    found=$(find "$logs" -type f -size +0)
    [ -n "$found" ] || return 0
    printf 'checkers reported:\n'
    # shellcheck disable=SC2086 # one path a word
    head -n 60 $found
    return 1
}

# One test of a program at a time: with more, Criterion itself loses 48 bytes now and then, by the
# order in which its tests end. meson runs several programs meanwhile.
with_sanitizers() {
    CRITERION_JOBS=1 ASAN_OPTIONS=$asan UBSAN_OPTIONS=$ubsan LSAN_OPTIONS=$lsan "$@"
}

with_memcheck() {
    valgrind -q --log-file="$logs/valgrind.%p" --trace-children=yes --child-silent-after-fork=no \
        --leak-check=full --errors-for-leak-kinds=definite --error-exitcode=99 "$@"
}

# must_be_seen CHECKER PROGRAM: a planted defect has to leave a log or a failure.
must_be_seen() {
    fresh_logs
    if "$1" "$2" >/dev/null 2>&1 && logs_are_empty >/dev/null; then
        printf '%s does not see the defect planted in %s\n' "$1" "$2" >&2
        return 1
    fi
}

test_with_sanitizers() {
    fresh_logs
    with_sanitizers meson test -C build-asan "${suites[@]}" --print-errorlogs --quiet -t 4 &&
        logs_are_empty
}

# The plain build of it: Criterion's memory lies where ThreadSanitizer has its own.
test_with_thread_sanitizer() {
    CLATTN_STRESS_JOBS=20 with_thread_sanitizer build-thread/tests/device/stress_plain
}

test_with_memcheck() {
    local program programs=0
    fresh_logs
    for program in build/tests/unit/*; do
        [ -f "$program" ] && [ -x "$program" ] || continue
        programs=$((programs + 1))
        with_memcheck "$program" >"$logs/output" 2>&1 || { cat "$logs/output"; return 1; }
        rm -f "$logs/output"
    done
    logs_are_empty && [ "$programs" -gt 0 ]
}

build_tree build
# With -O2 the instrumented code takes half as long again to compile.
build_tree build-asan -Dbuildtype=debugoptimized -Doptimization=1 -Db_sanitize=address,undefined

for program in leak write undefined; do
    must_be_seen with_sanitizers "build-asan/tests/sanitize/planted_$program"
done
$quick || for program in leak write; do
    must_be_seen with_memcheck "build/tests/sanitize/planted_$program"
done
if ! $quick; then
    thread_tree stress_plain planted_race
    must_be_seen with_thread_sanitizer build-thread/tests/sanitize/planted_race
fi
echo 'planted defects are seen'

test_with_sanitizers
echo 'tests: nothing found by AddressSanitizer and UndefinedBehaviorSanitizer'
$quick && exit
test_with_thread_sanitizer
echo 'stress test of the dispatcher: nothing found by ThreadSanitizer'
test_with_memcheck
echo 'unit tests: nothing found by memcheck'
