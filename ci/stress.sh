#!/bin/sh
# The dispatcher under many threads: tests/device/test_dispatch_stress.c with 1,000 jobs a thread,
# and with fewer under ThreadSanitizer, which fails on any race in clattn; then, for as many seconds
# as asked, examples/serve, whose memory, threads and descriptors must not grow.
#
#   ci/stress.sh [SECONDS]      600 seconds of serving if not given
set -eu
cd "$(dirname "$0")/.."
seconds=${1:-600}

[ -d build ] || meson setup build
meson compile -C build test_dispatch_stress serve
CLATTN_STRESS_JOBS=1000 build/tests/device/test_dispatch_stress

[ -d build-thread ] || meson setup build-thread -Db_sanitize=thread -Db_lundef=false \
    -Dbuildtype=debugoptimized
meson compile -C build-thread stress_plain
TSAN_OPTIONS="suppressions=$PWD/ci/tsan.supp ignore_noninstrumented_modules=1 halt_on_error=1" \
    CLATTN_STRESS_JOBS=200 build-thread/tests/device/stress_plain

build/examples/serve "$seconds"
echo "stress: no race, no loss, nothing grows"
