#!/bin/bash
# The dispatcher under many threads: tests/device/test_dispatch_stress.c with 1,000 jobs a thread,
# with a lane that is lost at 20 different times, nets of submissions of which commands end badly by
# chance, and all of it under ThreadSanitizer, which fails on any race in clattn; then, for as many
# seconds as asked, examples/serve, whose memory, threads and descriptors must not grow.
#
#   ci/stress.sh [SECONDS]      600 seconds of serving if not given
. "$(dirname "$0")/lib.sh"

seconds=${1:-600}
export CLATTN_STRESS_JOBS=1000

[ -d build ] || meson setup build
meson compile -C build test_dispatch_stress test_dispatch_chance serve
build/tests/device/test_dispatch_stress
for seed in $(seq 1 20); do
    CLATTN_STRESS_JOBS=40 CLATTN_STRESS_SEED=$seed build/tests/device/test_dispatch_stress \
        --filter 'dispatch_stress/a_lane_is_lost'
    CLATTN_CHANCE_ROUNDS=50 CLATTN_STRESS_SEED=${seed}000 build/tests/device/test_dispatch_chance
done

programs='stress lost again chance devices waits late'
# shellcheck disable=SC2046,SC2086 # several words
thread_tree $(printf '%s_plain ' $programs)
for name in $programs; do
    with_thread_sanitizer "build-thread/tests/device/${name}_plain"
done

build/examples/serve "$seconds"
echo "stress: no race, no loss, nothing grows"
