#!/bin/bash
# subproject_test.sh MESON CONSUMER.c: builds a program with clattn's sources below it: by CMake's
# add_subdirectory and by FetchContent, static and shared, and as a subproject of meson, in a folder
# and by a wrap file. It has to compute with OpenCL, and to say so without. Meson refuses a
# big-endian machine.
set -eu
# shellcheck disable=SC2206 # meson may be "python3 meson.py"
meson=($1)
consumer=$(realpath "$2")
project=$(realpath "$(dirname "$0")/subproject")
source=$(realpath "$(dirname "$0")/../..")
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

logged() {
    "$@" >"$work/log" 2>&1 || { cat "$work/log"; echo "failed: $*"; exit 1; }
}

# expect WORDS COMMAND...
expect() {
    local wanted=$1 got
    shift
    got=$("$@") || { echo "$*: exit $?"; exit 1; }
    [ "$got" = "$wanted" ] || { echo "$*: printed '$got', not '$wanted'"; exit 1; }
}

run() {
    expect 'success 5' "$1"
    expect 'no OpenCL library was found 0' env CLATTN_OPENCL_LIBRARY=/nonexistent "$1"
}

# refuses COMMAND...: configuring fails, with a sentence.
refuses() {
    if "$@" >"$work/log" 2>&1 || ! grep -q 'needs a little-endian machine' "$work/log"; then
        cat "$work/log"
        echo "was not refused: $*"
        exit 1
    fi
}

command -v cmake >/dev/null || { echo 'no cmake here'; exit 77; }
for options in '-DFETCH=OFF -DBUILD_SHARED_LIBS=OFF' '-DFETCH=ON -DBUILD_SHARED_LIBS=ON'; do
    rm -rf "$work/cmake"
    # shellcheck disable=SC2086 # one word an option
    logged cmake -G Ninja -S "$project" -B "$work/cmake" -DCLATTN_SOURCE="$source" \
        -DCONSUMER="$consumer" $options
    logged cmake --build "$work/cmake" -j 2
    run "$work/cmake/program"
done

# by_meson FOLDER: has its subproject already.
by_meson() {
    cp "$project/meson.build" "$consumer" "$1"
    logged "${meson[@]}" setup "$1/build" "$1" --wrap-mode=forcefallback -Doptimization=0
    logged "${meson[@]}" compile -C "$1/build" program
    run "$1/build/program"
}

mkdir -p "$work/meson/subprojects"
ln -s "$source" "$work/meson/subprojects/clattn"
by_meson "$work/meson"

# A repository of these sources as they are, committed or not.
origin() {
    mkdir "$work/origin"
    tar -C "$source" --exclude='./build*' --exclude=./.git --exclude=./tests/data -c . |
        tar -x -C "$work/origin"
    cd "$work/origin"
    git init --quiet
    git add --all
    git -c user.name=test -c user.email=test@localhost commit --quiet --message sources
    cd "$OLDPWD"
}

awk '$0 == "```" { shown = 0 } shown; $0 == "```ini" { shown = 1 }' "$source/README.md" |
    cmp - "$project/clattn.wrap" || { echo "the README has another wrap file"; exit 1; }
command -v git >/dev/null || { echo 'no git here'; exit 77; }
logged origin
mkdir -p "$work/wrap/subprojects"
sed "s,@URL@,file://$work/origin," "$project/clattn.wrap" \
    >"$work/wrap/subprojects/clattn.wrap"
by_meson "$work/wrap"

printf '%s\n' "[binaries]" "c = 'cc'" "pkgconfig = 'pkg-config'" "[properties]" \
    "needs_exe_wrapper = true" "[host_machine]" "system = 'linux'" "cpu_family = 's390x'" \
    "cpu = 's390x'" "endian = 'big'" >"$work/big.ini"
refuses "${meson[@]}" setup "$work/big" "$source" --cross-file "$work/big.ini"

echo 'built by add_subdirectory, by FetchContent and as a subproject of meson, by a wrap file too'
