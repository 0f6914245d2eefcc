#!/bin/bash
# Attention on real data, from a fresh clone: installs what is missing, builds, computes attention
# on queries, keys and values of a language model, checks it, and draws one head. Stops with an
# error at the first difference.
. "$(dirname "$0")/lib.sh"

data=tests/data/minilm
picture_case=short_layer5
picture_head=9
out=build/demo
tool=build/src/tool/clattn

# Prints how many tokens and heads a case has, and how its text begins.
describe() {
    python3 -c 'import json, sys
case = json.load(open(sys.argv[1], encoding="utf-8"))
print(len(case["tokens"]), "tokens,", case["heads"], "heads,", repr(case["text"][:60]))' "$1"
}

# compute NAME: attention of one case, checked twice: in double precision, and against the model's.
compute() {
    local folder=$data/$1 results=$out/$1 expected result
    mkdir -p "$results"
    $tool attention --q "$folder/q.npy" --k "$folder/k.npy" --v "$folder/v.npy" \
        --out "$results/out.npy" --lse "$results/lse.npy" --weights "$results/weights.npy" --verify
    for result in out weights; do
        expected=$folder/expected_$result.npy
        [ ! -f "$expected" ] ||
            python3 ci/compare_npy.py "$result" "$results/$result.npy" "$expected"
    done
}

# show NAME [options of top_tokens.py]
show() {
    local name=$1
    shift
    python3 ci/top_tokens.py "$out/$name/weights.npy" "$data/$name/case.json" "$@"
}

heading 'Packages'
ci/packages.sh
echo 'all there'

heading 'Build'
build_tree build
rm -rf "$out"

heading 'The example of the README'
build/examples/attention

heading 'Devices'
$tool devices

cases=0
for folder in "$data"/*/; do
    name=$(basename "$folder")
    heading "Attention on $name: $(describe "$folder/case.json")"
    compute "$name"
    echo 'What each token attends to most besides [CLS] and [SEP], mean of the heads:'
    show "$name" --without '[CLS]' '[SEP]'
    cases=$((cases + 1))
done
[ "$cases" -gt 0 ] || { echo "no data in $data" >&2; exit 1; }

heading "Heat-map of $picture_case, head $picture_head"
show "$picture_case" --head "$picture_head" --top 3
$tool heatmap --weights "$out/$picture_case/weights.npy" --head "$picture_head" \
    --tokens "$data/$picture_case/case.json" --out "$out/heatmap.png"
printf '\nDone: %s cases computed and checked. The picture: %s\n' "$cases" "$root/$out/heatmap.png"
