#!/bin/bash
# The library and its unit tests, compiled and linked for systems that can't be run here: macOS,
# FreeBSD, Windows on ARM and others, by zig's C compiler from PyPI, which brings their headers. The
# last line is "N passed, M failed"; the exit status is 0 only if M is 0.
#
#   ci/compile_only.sh [TARGET]...      zig's names; those below, if none is named
. "$(dirname "$0")/lib.sh"

[ $# -gt 0 ] || set -- aarch64-macos x86_64-macos x86_64-freebsd aarch64-windows-gnu \
    x86-windows-gnu riscv64-linux-musl arm-linux-musleabihf
home=${CLATTN_ZIG:-${XDG_CACHE_HOME:-$HOME/.cache}/clattn-zig}
zig_version=0.17.1
flags=(-std=c11 -O1 -Wall -Wextra -Wpedantic -Wshadow -Wconversion -Wstrict-prototypes
    -Wmissing-prototypes -Werror -D_POSIX_C_SOURCE=200809L -DCL_TARGET_OPENCL_VERSION=120
    -I"$root/include" -I"$root/src" -I"$root/cl" -isystem "$root/build-only/headers"
    -fvisibility=hidden)
tests=(base locks libraries file program_cache source)

install_zig() {
    [ "$("$home/bin/zig" version 2>/dev/null)" != "$zig_version" ] || return 0
    python3 -m venv "$home"
    "$home/bin/pip" install --quiet --disable-pip-version-check "ziglang==$zig_version"
    printf '#!/bin/sh\nexec "%s/bin/python3" -m ziglang "$@"\n' "$home" >"$home/bin/zig"
    chmod +x "$home/bin/zig"
}

zig_cc() {
    "$home/bin/zig" cc -target "$@"
}

# The files of a system, of the rooms that make the library.
sources() {
    case $1 in
    *windows*) find src -name '*.c' ! -path 'src/tool/*' ! -name '*_posix.c' ;;
    *) find src -name '*.c' ! -path 'src/tool/*' ! -name '*windows.c' ;;
    esac
}

compile_library() {
    local target=$1 folder=build-only/$1 source stem
    rm -rf "$folder"
    mkdir -p "$folder"
    # shellcheck disable=SC2046 # one word a file
    python3 cl/embed.py "$folder/kernels.c" cl $(cd cl && echo ./*/*.cl common/*.h | sed 's,\./,,g')
    for source in "$folder/kernels.c" $(sources "$target"); do
        stem=${source##*/}
        zig_cc "$target" "${flags[@]}" -fPIC -c "$source" -o "$folder/${stem%.c}.o" || return 1
    done
}

link_library() {
    local target=$1 folder=build-only/$1
    zig_cc "$target" -shared "$folder"/*.o -o "$folder/libclattn.shared"
}

link_tests() {
    local target=$1 folder=build-only/$1 system=posix name extra
    case $target in *windows*) system=windows ;; esac
    for name in "${tests[@]}"; do
        extra=()
        [ "$name" != file ] || extra=(tests/unit/file_rig.c)
        zig_cc "$target" "${flags[@]}" -Wno-pedantic -Itests/plain \
            "tests/unit/test_$name.c" "tests/unit/place_$system.c" "${extra[@]}" \
            tests/plain/plain.c "tests/plain/plain_$system.c" "$folder"/*.o \
            -o "$folder/test_$name" || return 1
    done
    echo "${#tests[@]} programs of unit tests"
}

mkdir -p build-only/headers
ln -sfn /usr/include/CL build-only/headers/CL
ln -sfn /usr/include/xxhash.h build-only/headers/xxhash.h
heading 'Packages'
ci/packages.sh venv
heading 'zig'
install_zig
"$home/bin/zig" version
begin_steps
for target; do
    step "$target: compile" compile_library "$target"
    step "$target: link the library" link_library "$target"
    step "$target: link unit tests" link_tests "$target"
done
end_steps
