#!/bin/bash
# Attention on real data, from a fresh clone: installs what is missing, builds, computes attention
# on queries, keys and values of a language model, checks it, and draws one head. With --all it
# trains the two models of the examples as well, which takes a minute or two. Stops with an error at
# the first difference.
#
#   ci/demo.sh [--all]
. "$(dirname "$0")/lib.sh"

set -o pipefail # a failure counts where its output is shown, too
case "$*" in
'' | --all) ;;
*) echo "usage: ci/demo.sh [--all]" >&2; exit 2 ;;
esac

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

# draw NAME WEIGHTS COLUMNS: a picture of an example's weights, and where it is.
draw() {
    local folder=$out/$1
    $tool heatmap --weights "$folder/$2.npy" --row-tokens "$folder/rows.json" \
        --column-tokens "$folder/$3.json" --out "$folder/$2.png"
    echo "$root/$folder/$2.png"
}

# train NAME LEAST: an example of training; fails where less than LEAST % are right in the end.
train() {
    build/examples/"$1" --out "$out/$1" | tee "$out/$1.txt"
    awk -v least="$2" '/^exact match/ { right = $3 } END { exit !(right >= least) }' \
        "$out/$1.txt" || { echo "less than $2 % are right" >&2; exit 1; }
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

if [ "${1:-}" = --all ]; then
    heading 'Training: dates, by additive attention'
    train align 99
    heading 'Training: sequences backwards, by multi-head self-attention'
    train copy 99
    heading 'What they attend to, before and after'
    for name in before after; do
        draw align "$name-1" columns-1
        draw align "$name-5" columns-5
        draw copy "$name" columns
    done
fi
printf '\nDone: %s cases computed and checked. The picture: %s\n' "$cases" "$root/$out/heatmap.png"
