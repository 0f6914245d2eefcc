#!/bin/bash
# The library and its unit tests for other processors and C libraries: Linux on aarch64 (on an
# emulated processor), with musl, and with 32 bits. The last line is "N passed, M failed", each test
# counts; the exit status is 0 only if M is 0.
#
#   ci/cross.sh [aarch64|musl|i686]...      all, if none is named
. "$(dirname "$0")/lib.sh"

[ $# -gt 0 ] || set -- aarch64 musl i686
begin_steps
for system; do
    [ -f "ci/cross/$system.ini" ] ||
        { echo "cross.sh: $system: no ci/cross/$system.ini" >&2; exit 2; }
    heading "Packages for $system"
    ci/packages.sh "$system"
    step "$system: build" foreign_tree "build-$system" "ci/cross/$system.ini"
    step "$system: tests" foreign_tests "build-$system"
    count_tests "build-$system/meson-logs/testlog.json" || failed=$((failed + 1))
done
end_steps
