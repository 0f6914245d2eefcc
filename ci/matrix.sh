#!/bin/bash
# The tests on every implementation of OpenCL that can be had: PoCL of this system and of Debian 13,
# with its ways of making work-groups and behind small limits, Intel's for CPUs, Mesa's rusticl,
# Oclgrind; see ci/matrix.py for what runs on which, and docs/platforms.md. Needs root, for a system
# of its own, and downloads (3 GB in all) into $CLATTN_MATRIX (clattn-matrix in the user's cache
# folder). Prints a table, writes build/matrix.json; the last line is "N passed, M failed", and the
# exit status is 0 only if M is 0.
#
#   ci/matrix.sh [--quick] [--only IMPLEMENTATION]... [--family FAMILY]... [--suite SUITE]...
#                [--count N] [--seed N]
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

# A Debian 13 with PoCL, rusticl and what the tests are linked with.
install_debian13() {
    local system=$home/debian13 packages
    packages='ocl-icd-libopencl1 pocl-opencl-icd mesa-opencl-icd libcriterion3 libcjson1 libcairo2'
    [ ! -e "$system/complete" ] || return 0
    rm -rf "$system"
    debootstrap --variant=minbase trixie "$system"
    cp /etc/resolv.conf /etc/hosts "$system/etc"
    cp /etc/apt/apt.conf.d/*registry* "$system/etc/apt/apt.conf.d" 2>/dev/null || true
    # shellcheck disable=SC2016 # for the shell inside
    unshare -m bash -ec 'mount -t proc proc "$1/proc"; mount --bind /dev "$1/dev"
        chroot "$1" apt-get update -q
        DEBIAN_FRONTEND=noninteractive chroot "$1" apt-get install -y -q \
            --no-install-recommends $2' x "$system" "$packages"
    touch "$system/complete"
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
    case $needed in *pocl-6* | *rusticl*) install_debian13 ;; esac
    case $needed in *oclgrind*) install_oclgrind ;; esac
    case $needed in *onnx*)
        once ci/onnx-requirements.txt build/venv/installed.txt install_venv ;;
    esac
} >"$log" 2>&1 || { tail -n 30 "$log"; printf '0 passed, 1 failed\n'; exit 1; }
echo "in $home"

heading 'Runs'
mkdir -p build/matrix
exec python3 ci/matrix.py --home "$home" "$@"
