#!/bin/bash
# Attention on real data, from a fresh clone: installs what is missing, builds, and computes
# attention on the README's example and on queries, keys and values of a language model, checked
# against the expected output.
. "$(dirname "$0")/lib.sh"

heading 'Packages'
ci/packages.sh
echo 'all there'

heading 'Build'
build_tree build

heading 'The example of the README'
build/examples/attention

heading 'Attention on queries, keys and values of MiniLM'
build/tests/test_minilm_cases tests/data/minilm
