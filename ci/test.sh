#!/bin/bash
# What is checked from a fresh clone. The last line is "N passed, M failed"; the exit status is 0
# only if M is 0.
#
#   ci/test.sh          in minutes: all tests, of which the longest leave out what only repeats
#                       (tests/shortened.h), and kernels for lanes but in the reference cases and
#                       tests of their own; the host's code under the sanitizers; every combination
#                       of macros; small limits and races
#   ci/test.sh --all    everything, about an hour on two cores: also clang's warnings, clang-tidy,
#                       Windows, musl and 32 bits, random problems, all tests in full, and most of
#                       them once more under the sanitizers
. "$(dirname "$0")/lib.sh"

all=false
case "$*" in
'') export CLATTN_SHORT_TESTS=1 ;;
--all) all=true ;;
*) echo "test.sh: $*: expects nothing or --all" >&2; exit 2 ;;
esac

begin_steps

formatting() {
    git ls-files -z '*.c' '*.h' '*.cl' |
        xargs -0 clang-format --dry-run -Werror &&
        ci/check_text.py --self-test && ci/check_text.py
}

clang_warnings() {
    CC=clang build_tree build-clang -Dwerror=true -Dbuildtype=debug
}

# What .clang-tidy asks for. clang-tidy counts on stderr what it found in the system's headers.
# Files of Windows are compiled by ci/windows.sh.
static_analysis() {
    local log=build-clang/clang-tidy.log
    git ls-files -z '*.c' ':!*windows.c' |
        xargs -0 -n 4 -P "$(nproc)" clang-tidy -p build-clang --quiet >"$log" 2>"$log.stderr" ||
        { cat "$log"; grep -v ' generated\.$' "$log.stderr"; return 1; }
}

suite() {
    rm -f build/meson-logs/testlog.json
    meson test -C build --print-errorlogs --quiet
}

heading 'Packages'
ci/packages.sh test
! $all || ci/packages.sh windows musl i686
echo 'all there'

step 'formatting' formatting
step 'kernels in every combination of macros' ci/check_kernels.py
step 'checks of that check' ci/check_kernels.py --self-test
step 'build, warnings are errors (gcc)' build_tree build -Dwerror=true
if $all; then
    step 'build, warnings are errors (clang)' clang_warnings
    step 'clang-tidy' static_analysis
fi
step 'tests' suite
step 'every test ran' count_tests build/meson-logs/testlog.json
step 'small limits, and races' ci/matrix.sh --quick
if $all; then
    step 'for Windows, under wine' ci/windows.sh
    step 'for musl, and for 32 bits' ci/cross.sh musl i686
    step 'random problems' ci/fuzz.sh
    step 'sanitizers and valgrind' ci/sanitize.sh
else
    step 'sanitizers, quickly' ci/sanitize.sh --quick
fi
step 'demonstration' ci/demo.sh

end_steps
