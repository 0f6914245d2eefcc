#!/bin/bash
# Several platforms in one context: the system's OpenCL (PoCL) and Intel's runtime for CPUs, which
# bench/setup_peers.sh --intel-opencl installs, and whatever else $CLATTN_ICDS names (a folder of
# .icd files). With --debian13 in the Debian 13 of ci/debian13.sh (root, downloads): its PoCL and
# Mesa's rusticl, on llvmpipe, together, either way round, and both beside Intel's. Tests of the
# dispatcher on all platforms at once, and programs that know nothing of it with CLATTN_DEVICE
# naming two or three devices. The last line is "N passed, M failed"; the exit status is 0 only if
# M is 0.
#
#   ci/devices.sh [--debian13]
. "$(dirname "$0")/lib.sh"

peers=${CLATTN_PEERS:-${XDG_CACHE_HOME:-$HOME/.cache}/clattn-peers}/intel-opencl
# Names of platforms: Intel's own processors are in the names of both platforms' devices.
intel='intel(r) opencl'
pocl='portable computing'
rusticl='rusticl'

case ${1:-} in
'')
    vendors=$root/build/devices system=''
    orders=("$intel+$pocl" "$pocl+$intel")
    ;;
--debian13)
    vendors=$root/build/devices13 system=ci/debian13.sh
    orders=("$rusticl+$pocl" "$pocl+$rusticl" "$intel+$rusticl+$pocl")
    ;;
*) sed -n '2,/^\./s/^# \{0,1\}//p' "$0" >&2; exit 2 ;;
esac

# within COMMAND...: in that system, with all platforms.
within() {
    # shellcheck disable=SC2086 # no word where it is this system
    CLATTN_BIND=$peers RUSTICL_ENABLE=llvmpipe $system \
        env OCL_ICD_VENDORS="$vendors" LD_LIBRARY_PATH="$peers/lib" "$@"
}

# together COMMAND...: one program, on the platforms together.
together() {
    within "$@" >"$vendors/log" 2>&1 || { tail -n 30 "$vendors/log"; return 1; }
}

heading 'Packages'
ci/packages.sh venv
heading 'Build'
build_tree build
[ -e "$peers/vendors/intel.icd" ] || bench/setup_peers.sh --intel-opencl
mkdir -p "$vendors"
rm -f "$vendors"/*.icd
if [ "$system" ]; then
    # What is in PoCL's cache and clattn's own is of another PoCL.
    export POCL_CACHE_DIR=$vendors/pocl CLATTN_CACHE_DIR=$vendors/clattn
    mkdir -p "$POCL_CACHE_DIR"
    $system cp /etc/OpenCL/vendors/{pocl,rusticl}.icd "$vendors"
else
    cp /etc/OpenCL/vendors/*.icd "$vendors"
fi
cp "$peers/vendors/intel.icd" "$vendors"
[ -z "${CLATTN_ICDS:-}" ] || cp "$CLATTN_ICDS"/*.icd "$vendors"

heading 'Devices'
within build/src/tool/clattn devices

export CLATTN_STRESS_JOBS=${CLATTN_STRESS_JOBS:-1000} # of each thread

begin_steps
step 'dispatch_devices' together build/tests/device/test_dispatch_devices -j1
for name in submit bindings workspace layers kv_guards dispatch_stress; do
    for order in "${orders[@]}"; do
        step "$name, $order" together env CLATTN_DEVICE="$order" "build/tests/device/test_$name" -j1
    done
done
# These compare bits, which are the same on lanes of one kind alone. rusticl twice is left out:
# docs/platforms.md says under "Known to fail" what it does there.
for name in dispatch_stress kv_cache layer_order; do
    step "$name, PoCL twice" together env OCL_ICD_VENDORS="$vendors/pocl.icd" CLATTN_DEVICE=0+0 \
        "build/tests/device/test_$name" -j1
done
end_steps
