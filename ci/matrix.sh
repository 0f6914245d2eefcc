#!/bin/bash
# The conformance cases, and ONNX' own tests and reference evaluator, with the library's choice of a
# kernel and with each kernel alone. Downloads Python packages (ci/onnx-requirements.txt) into
# build/venv at the first run. Prints a table; the last line is "N passed, M failed", and the exit
# status is 0 only if M is 0. `ci/matrix.sh COUNT SEED` sets the number of random combinations.
. "$(dirname "$0")/lib.sh"

count=${1:-600}
seed=${2:-1}
venv=build/venv
logs=build/matrix
table=$logs/table

make_venv() {
    cmp -s ci/onnx-requirements.txt "$venv/requirements.txt" && return
    python3 -c 'import ensurepip, venv' 2>/dev/null ||
        { echo 'python3 has no venv (on Debian: package python3-venv)' >&2; return 1; }
    rm -rf "$venv"
    python3 -m venv "$venv"
    "$venv/bin/pip" install --quiet --disable-pip-version-check -r ci/onnx-requirements.txt
    cp ci/onnx-requirements.txt "$venv/requirements.txt"
}

conformance() {
    build/tests/conformance "$@" --outputs forward --must-pass tests/conformance/must_pass.txt \
        tests/data/conformance
}

onnx() {
    "$venv/bin/python" tests/conformance/onnx_backend.py build/src/libclattn.so \
        --count "$count" --seed "$seed" "$@"
}

# row KERNEL CHECK: runs it, with one kernel alone unless KERNEL is "any", and adds a line to the
# table: kernel, check, passed, failed, declined, seconds.
row() {
    local kernel=$1 check=$2 start=$SECONDS status=0 option='' log=$logs/$1-$2.log
    [ "$kernel" = any ] || option="--kernel $kernel"
    printf '%s, %s ...\n' "$kernel" "$check"
    # shellcheck disable=SC2086 # two words or none
    "$check" $option >"$log" 2>&1 || status=$?
    awk -v kernel="$kernel" -v check="$check" -v status="$status" -v time=$((SECONDS - start)) '
        / declined by /    { declined = $1 }
        / passed, .* failed$/ { passed = $1; failed = $3 }
        END {
            # Where a list says what must pass, other cases that fail do no harm.
            if (status == 0) failed = 0
            else if (failed == 0) failed = 1
            printf "%s %s %d %d %d %d\n", kernel, check, passed, failed, declined, time
        }' "$log" >>"$table"
    [ "$status" -eq 0 ] ||
        grep -E '^(FAIL|MUST|conformance:|Traceback|[a-z_]+Error)' "$log" | head -20
}

heading 'Build'
build_tree build
heading 'Python packages'
make_venv
echo "in $venv"

heading "Runs ($count random combinations, seed $seed)"
mkdir -p "$logs"
rm -f "$table"
for kernel in any $(build/tests/conformance --kernels); do
    row "$kernel" conformance
    row "$kernel" onnx
done

heading 'Table'
{ echo 'kernel check passed failed declined seconds'; cat "$table"; } | column -t
awk '{ passed += $3; failed += $4 } END { printf "\n%d passed, %d failed\n", passed, failed
                                          exit failed != 0 || passed == 0 }' "$table"
