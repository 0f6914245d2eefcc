#!/bin/bash
# Random problems of every option against the oracle: a fixed seed, so that every run of the CI sees
# them, and a random one, printed first. `ci/fuzz.sh SEED [COUNT]` repeats a run.
. "$(dirname "$0")/lib.sh"

fuzz=build/tests/fuzz/fuzz_attention
build_tree build

if [ $# -gt 0 ]; then
    exec "$fuzz" --seed "$1" --count "${2:-3000}"
fi
"$fuzz" --seed 1 --count 3000
"$fuzz" --seed "$(od -An -N4 -tu4 /dev/urandom | tr -d ' ')" --count 500
