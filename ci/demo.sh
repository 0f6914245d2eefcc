#!/bin/bash
# Attention on real data, from a fresh clone: installs what is missing, builds, computes attention
# on queries, keys and values of a language model, checks it, and draws one head.
. "$(dirname "$0")/lib.sh"

picture_case=short_layer5
picture_head=11
out=build/demo
tool=build/src/tool/clattn

heading 'Packages'
ci/packages.sh
echo 'all there'

heading 'Build'
build_tree build

heading 'Devices'
$tool devices

mkdir -p "$out"
cases=0
for folder in tests/data/minilm/*/; do
    name=$(basename "$folder")
    case_out=$out/$name
    mkdir -p "$case_out"
    heading "Attention on $name: $(python3 -c 'import json, sys
case = json.load(open(sys.argv[1], encoding="utf-8"))
print(len(case["tokens"]), "tokens,", case["heads"], "heads,", case["text"][:60])' \
        "$folder/case.json")"
    $tool attention --q "$folder/q.npy" --k "$folder/k.npy" --v "$folder/v.npy" \
        --out "$case_out/out.npy" --lse "$case_out/lse.npy" --weights "$case_out/weights.npy" --verify
    for result in out weights; do
        if [ -f "$folder/expected_$result.npy" ]; then
            python3 ci/compare_npy.py "$result" "$case_out/$result.npy" \
                "$folder/expected_$result.npy"
        fi
    done
    if [ "$name" = "$picture_case" ]; then
        echo "What each token attends to most (head $picture_head):"
        python3 ci/top_tokens.py "$case_out/weights.npy" "$folder/case.json" \
            --head "$picture_head" --top 3
    else
        echo 'What each token attends to most (mean of the heads):'
        python3 ci/top_tokens.py "$case_out/weights.npy" "$folder/case.json"
    fi
    cases=$((cases + 1))
done
[ "$cases" -gt 0 ] || { echo 'no data in tests/data/minilm' >&2; exit 1; }

heading 'Heat-map'
$tool heatmap --weights "$out/$picture_case/weights.npy" --head "$picture_head" \
    --tokens "tests/data/minilm/$picture_case/case.json" --out "$out/heatmap.png"
printf '\nDone: %s cases computed and checked. Picture of one head: %s\n' "$cases" \
    "$root/$out/heatmap.png"
