#!/bin/bash
# Random problems of every option against the oracle: a fixed seed, so that every run of the CI sees
# them, and a random one, printed first. `ci/fuzz.sh SEED [COUNT]` repeats a run.
. "$(dirname "$0")/lib.sh"

fuzz=build/tests/fuzz/fuzz_attention
build_tree build

# operations SEED COUNT: linear ones, additive attention and layers, COUNT of each.
operations() {
    printf 'operations, seed %s\n' "$1"
    CLATTN_SWEEP_SEED=$1 CLATTN_SWEEP_COUNT=$2 build/tests/fuzz/fuzz_operations
}

if [ $# -gt 0 ]; then
    "$fuzz" --seed "$1" --count "${2:-3000}"
    operations "$1" "$((${2:-3000} / 10))"
    exit
fi
random=$(od -An -N4 -tu4 /dev/urandom | tr -d ' ')
"$fuzz" --seed 1 --count 3000
"$fuzz" --seed "$random" --count 500
operations 2 20
"$fuzz" --differences --seed 2 --count 10
# These get few of the others on a CPU.
for kernel in attention_tile attention_decode_tile gradient_tile; do
    "$fuzz" --seed "$random" --count 30 --kernel "$kernel" --allow-unsupported
done
