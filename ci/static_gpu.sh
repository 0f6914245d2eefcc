#!/bin/bash
# What compilers for GPUs make of the kernels: AMD's and NVIDIA's back ends of clang, ptxas, Intel's
# ocloc, SPIR-V. Prints registers, spills, private and local memory and occupancy of each kernel in
# each configuration, and compares with ci/static_gpu.tsv; see docs/gpu.md. The last line is "N
# passed, M failed"; a compiler that is missing is a failure. The exit status is 0 only if M is 0.
#
#   ci/static_gpu.sh [--update] [--only TARGET]... [--kernel NAME]...
. "$(dirname "$0")/lib.sh"

home=${CLATTN_STATIC_GPU:-${XDG_CACHE_HOME:-$HOME/.cache}/clattn-static-gpu}
ptxas_version=13.0.88
mkdir -p "$home"

# unpack PACKAGE FOLDER FILE: unless FILE is there. Packages that aren't installed: Intel's compiler
# comes with a driver, for a device that this machine may not have, and the library of OpenCL's
# functions conflicts with that of another LLVM, which other packages need.
unpack() {
    [ ! -f "$home/$2/usr/$3" ] || return 0
    rm -rf "${home:?}/$2" "$home/package"
    mkdir -p "$home/package"
    (cd "$home/package" && apt-get download "$1")
    dpkg-deb -x "$home/package/$1"_*.deb "$home/$2"
}

# NVIDIA's assembler, of the version that the table was made with: that of PATH, else PyPI's.
is_ptxas() {
    "$1" --version 2>/dev/null | grep -qF "V$ptxas_version"
}

find_ptxas() {
    CLATTN_PTXAS=$(command -v ptxas) && is_ptxas "$CLATTN_PTXAS" && return
    CLATTN_PTXAS=$home/nvidia/nvidia/cu13/bin/ptxas
    is_ptxas "$CLATTN_PTXAS" ||
        python3 -m pip install --quiet --disable-pip-version-check --root-user-action ignore \
            --upgrade --target "$home/nvidia" "nvidia-cuda-nvcc==$ptxas_version"
}

heading 'Packages'
ci/packages.sh static
unpack intel-opencl-icd intel bin/ocloc
export CLATTN_OCLOC=$home/intel/usr
unpack libclc-19 clc lib/clc/amdgcn--amdhsa.bc
export CLATTN_LIBCLC=$home/clc/usr/lib/clc
find_ptxas
export CLATTN_PTXAS
python3 ci/static_gpu.py --self-test
heading 'Kernels'
exec python3 ci/static_gpu.py "$@"
