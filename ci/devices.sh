#!/bin/bash
# Several platforms in one context: the system's OpenCL (PoCL) and Intel's runtime for CPUs, which
# bench/setup_peers.sh --intel-opencl installs, and whatever else $CLATTN_ICDS names (a folder of
# .icd files, for instance Mesa's with RUSTICL_ENABLE=llvmpipe). Tests of the dispatcher on all of
# them at once, and programs that know nothing of it with CLATTN_DEVICE naming two devices. The
# last line is "N passed, M failed"; the exit status is 0 only if M is 0.
#
#   ci/devices.sh
. "$(dirname "$0")/lib.sh"

peers=${CLATTN_PEERS:-${XDG_CACHE_HOME:-$HOME/.cache}/clattn-peers}/intel-opencl
vendors=$root/build/devices
# Names of platforms: Intel's own processors are in the names of both platforms' devices.
intel='intel(r) opencl'
pocl='portable computing'

# together COMMAND...: one program, on the platforms together.
together() {
    OCL_ICD_VENDORS=$vendors LD_LIBRARY_PATH=$peers/lib "$@" >"$vendors/log" 2>&1 ||
        { tail -n 30 "$vendors/log"; return 1; }
}

heading 'Packages'
ci/packages.sh venv
heading 'Build'
build_tree build
[ -e "$peers/vendors/intel.icd" ] || bench/setup_peers.sh --intel-opencl
mkdir -p "$vendors"
rm -f "$vendors"/*.icd
cp /etc/OpenCL/vendors/*.icd "$peers/vendors/intel.icd" "$vendors"
[ -z "${CLATTN_ICDS:-}" ] || cp "$CLATTN_ICDS"/*.icd "$vendors"

heading 'Devices'
OCL_ICD_VENDORS=$vendors LD_LIBRARY_PATH=$peers/lib build/src/tool/clattn devices

export CLATTN_STRESS_JOBS=${CLATTN_STRESS_JOBS:-1000} # of each thread

begin_steps
step 'dispatch_devices' together build/tests/device/test_dispatch_devices -j1
for name in submit bindings workspace layers kv_guards dispatch_stress; do
    step "$name" \
        together env CLATTN_DEVICE="$intel+$pocl" "build/tests/device/test_$name" -j1
    step "$name, the other way round" \
        together env CLATTN_DEVICE="$pocl+$intel" "build/tests/device/test_$name" -j1
done
# These compare bits, which are the same on lanes of one kind alone.
for name in dispatch_stress kv_cache layer_order; do
    step "$name, one kind" together env -u OCL_ICD_VENDORS CLATTN_DEVICE=0+0 \
        "build/tests/device/test_$name" -j1
done
end_steps
