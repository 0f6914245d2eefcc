#!/bin/bash
# Gradients of 500 random problems over all options by finite differences in double precision, 250
# of them of attention, the others of linear operations, additive attention and layers: the
# library's against the oracle's, element by element, and the oracle's, some elements of each
# tensor, against differences of its forward pass. A fixed seed; `ci/gradients.sh SEED [COUNT]`
# takes others.
. "$(dirname "$0")/lib.sh"

seed=${1:-1}
count=${2:-500}
build_tree build

heading "Attention, seed $seed"
build/tests/fuzz/fuzz_attention --differences --seed "$seed" --count $((count / 2))
heading 'Linear operations, additive attention, layers'
CLATTN_SWEEP_DIFFERENCES=1 CLATTN_SWEEP_SEED=$seed CLATTN_SWEEP_COUNT=$(((count / 2 + 2) / 3)) \
    build/tests/fuzz/fuzz_operations
printf '%s problems: gradients agree with finite differences\n' "$count"
