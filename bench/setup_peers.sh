#!/bin/bash
# Makes the virtual environment that bench/compare.py runs in: PyTorch, ONNX Runtime and OpenVINO,
# NumPy and matplotlib.
#
#   bench/setup_peers.sh [--intel-opencl] [DIR]
#
# DIR is $CLATTN_PEERS, or clattn-peers in the user's cache folder, unless it is given. On Linux the
# PyTorch of PyPI brings CUDA's libraries, which it doesn't need on a CPU but doesn't start without:
# about 6 GB in all. A PyTorch of the same version without CUDA that is already in DIR is kept.
#
# --intel-opencl puts Intel's OpenCL runtime for CPUs (closed source, 0.7 GB) into DIR/intel-opencl,
# for compare.py --opencl intel. For other programs: OCL_ICD_VENDORS=DIR/intel-opencl/vendors and
# LD_LIBRARY_PATH=DIR/intel-opencl/lib.
set -eu

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
folder=${CLATTN_PEERS:-${XDG_CACHE_HOME:-$HOME/.cache}/clattn-peers}
with_intel=
peers_space=9000 # MB: what is installed, and the largest packages while they are unpacked
for argument; do
    case $argument in
    --intel-opencl) with_intel=yes ;;
    -h | --help) sed -n '2,/^set/s/^# \{0,1\}//p' "${BASH_SOURCE[0]}"; exit ;;
    -*) echo "setup_peers: $argument: no such option; see --help" >&2; exit 2 ;;
    *) folder=$argument ;;
    esac
done

fail() {
    printf 'setup_peers: %s\n' "$*" >&2
    exit 1
}

# need_space MEGABYTES FOLDER: the folder, or one above it, must have so much room.
need_space() {
    local at=$2 free
    while [ ! -d "$at" ]; do at=$(dirname "$at"); done
    free=$(($(df -Pk "$at" | awk 'NR == 2 { print $4 }') / 1024))
    [ "$free" -ge "$1" ] || fail "$2: needs $1 MB of disk space, there are $free MB"
}

# install REQUIREMENTS MEGABYTES NAME pip-options...: once; a stamp remembers with what.
install() {
    local requirements=$1 space=$2 stamp=$folder/$3
    shift 3
    if cmp -s "$requirements" "$stamp"; then
        printf '%s: already there\n' "$(basename "$requirements")"
        return
    fi
    need_space "$space" "$folder"
    "$folder/bin/pip" install --no-cache-dir --disable-pip-version-check "$@" -r "$requirements" ||
        fail "pip could not install $requirements"
    cp "$requirements" "$stamp"
}

python3 -c 'import ensurepip, venv' 2>/dev/null ||
    fail 'python3 has no venv (on Debian: package python3-venv)'
if [ ! -x "$folder/bin/pip" ]; then
    need_space "$peers_space" "$folder"
    python3 -m venv "$folder" || fail "$folder: no virtual environment can be made there"
fi
folder=$(cd "$folder" && pwd)
install "$here/peers-requirements.txt" "$peers_space" installed-peers.txt

if [ -n "$with_intel" ]; then
    # Not where Python's other packages are: libraries of the same names would meet.
    install "$here/intel-requirements.txt" 1500 installed-intel.txt \
        --ignore-installed --prefix "$folder/intel-opencl"
    mkdir -p "$folder/intel-opencl/vendors"
    echo "$folder/intel-opencl/lib/libintelocl.so" >"$folder/intel-opencl/vendors/intel.icd"
    [ -e "$folder/intel-opencl/lib/libintelocl.so" ] ||
        fail "$folder/intel-opencl/lib/libintelocl.so is not there after the installation"
fi
echo "in $folder"
