#!/bin/bash
# Random cases of every kind of tests/data/conformance/torch, computed by PyTorch in float64 with
# gradients by autograd, against the library: `ci/torch_cases.sh [SEED [CASES]]`, 20 of each kind
# (60 of attention) by default. Needs the virtual environment of bench/setup_peers.sh (6 GB); its
# last line is "N passed, M failed".
. "$(dirname "$0")/lib.sh"

seed=${1:-1}
cases=${2:-20}
python=${CLATTN_PEERS:-${XDG_CACHE_HOME:-$HOME/.cache}/clattn-peers}/bin/python
if [ ! -x "$python" ]; then
    echo "torch_cases: $python: not there; run bench/setup_peers.sh first" >&2
    exit 2
fi
build_tree build

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
"$python" tests/conformance/torch_random.py "$folder/cases" --seed "$seed" --cases "$cases"
build/tests/conformance --kernel every "$folder/cases"
