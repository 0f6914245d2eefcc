#!/bin/bash
# The tests on every implementation of OpenCL that can be had: PoCL of this system and of Debian 13,
# with its ways of making work-groups and behind small limits, Intel's for CPUs, Mesa's rusticl,
# Oclgrind; see ci/matrix.py for what runs on which, and docs/platforms.md. Needs root, for the
# Debian 13 of ci/debian13.sh, and downloads (3 GB in all) into $CLATTN_MATRIX (clattn-matrix in the
# user's cache folder). Prints a table, writes build/matrix.json; the last line is "N passed, M
# failed", and the exit status is 0 only if M is 0.
#
#   ci/matrix.sh [--quick] [--only IMPLEMENTATION]... [--family FAMILY]... [--suite SUITE]...
#                [--test NAME]... [--count N] [--seed N]
. "$(dirname "$0")/lib.sh"

home=${CLATTN_MATRIX:-${XDG_CACHE_HOME:-$HOME/.cache}/clattn-matrix}
mkdir -p "$home"

# once REQUIREMENTS STAMP COMMAND...: unless it was done with the same requirements before.
once() {
    local requirements=$1 stamp=$2
    shift 2
    cmp -s "$requirements" "$stamp" && return
    "$@" && cp "$requirements" "$stamp"
}

install_intel() {
    rm -rf "$home/intel"
    python3 -m pip install --quiet --disable-pip-version-check --ignore-installed \
        --root-user-action ignore --prefix "$home/intel" -r bench/intel-requirements.txt
    mkdir -p "$home/intel/vendors"
    echo "$home/intel/lib/libintelocl.so" >"$home/intel/vendors/intel.icd"
}

install_venv() {
    rm -rf build/venv
    python3 -m venv build/venv
    build/venv/bin/pip install --quiet --disable-pip-version-check -r ci/onnx-requirements.txt
}

install_oclgrind() {
    echo /usr/lib/oclgrind/liboclgrind-rt-icd.so >"$home/oclgrind.icd"
}

# What --quick needs is what the tests need.
if [[ " $* " != *' --quick '* ]]; then
    heading 'Packages'
    ci/packages.sh matrix
fi
heading 'Build'
build_tree build
heading 'Implementations'
log=$home/install.log
needed=$(python3 ci/matrix.py --list "$@")
{
    case $needed in *'intel '* | *intel-small*)
        once bench/intel-requirements.txt "$home/installed-intel.txt" install_intel ;;
    esac
    case $needed in *pocl-6* | *rusticl*) ci/debian13.sh ;; esac
    case $needed in *oclgrind*) install_oclgrind ;; esac
    case $needed in *onnx*)
        once ci/onnx-requirements.txt build/venv/installed.txt install_venv ;;
    esac
} >"$log" 2>&1 || { tail -n 30 "$log"; printf '0 passed, 1 failed\n'; exit 1; }
echo "in $home"

heading 'Runs'
mkdir -p build/matrix
exec python3 ci/matrix.py --home "$home" "$@"
