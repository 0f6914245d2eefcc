#!/bin/bash
# Everything that is checked, from a fresh clone: the demonstration's set-up, then all tests. The
# last line is "N passed, M failed"; the exit status is 0 only if M is 0.
. "$(dirname "$0")/lib.sh"

passed=0
failed=0
failures=''

# step NAME COMMAND...: runs it and counts it.
step() {
    local name=$1 start=$SECONDS
    shift
    heading "$name"
    if "$@"; then
        passed=$((passed + 1))
        printf '%s: ok, %s s\n' "$name" $((SECONDS - start))
    else
        failed=$((failed + 1))
        failures+="  $name"$'\n'
        printf '%s: FAILED, %s s\n' "$name" $((SECONDS - start))
    fi
}

# Adds what the single tests counted: see ci/count_tests.py.
count() {
    local result
    result=$(python3 ci/count_tests.py "$1") || return 1
    # shellcheck disable=SC2086 # two numbers
    set -- $result
    passed=$((passed + $1))
    failed=$((failed + $2))
    printf '%s passed, %s failed\n' "$1" "$2"
}

formatting() {
    git ls-files -z '*.c' '*.h' '*.cl' |
        xargs -0 clang-format --dry-run -Werror &&
        ci/check_text.py --self-test && ci/check_text.py
}

clang_warnings() {
    CC=clang build_tree build-clang -Dwerror=true -Dbuildtype=debug
}

# What .clang-tidy asks for. clang-tidy counts on stderr what it found in the system's headers.
static_analysis() {
    local log=build-clang/clang-tidy.log
    git ls-files -z '*.c' | xargs -0 -n 4 -P "$(nproc)" clang-tidy -p build-clang --quiet \
        >"$log" 2>"$log.stderr" ||
        { cat "$log"; grep -v ' generated\.$' "$log.stderr"; return 1; }
}

suite() {
    rm -f build/meson-logs/testlog.json
    meson test -C build --print-errorlogs --quiet
}

heading 'Packages'
ci/packages.sh test
echo 'all there'

step 'formatting' formatting
step 'kernels in every combination of macros' ci/check_kernels.py
step 'checks of that check' ci/check_kernels.py --self-test
step 'build, warnings are errors (gcc)' build_tree build -Dwerror=true
step 'build, warnings are errors (clang)' clang_warnings
step 'clang-tidy' static_analysis
step 'tests' suite
step 'every test ran' count build/meson-logs/testlog.json
step 'small limits, and races' ci/matrix.sh --quick
step 'random problems' ci/fuzz.sh
step 'sanitizers and valgrind' ci/sanitize.sh
step 'demonstration' ci/demo.sh

[ -z "$failures" ] || printf '\nFailed:\n%s' "$failures"
printf '\n%s passed, %s failed\n' "$passed" "$failed"
[ "$failed" -eq 0 ]
