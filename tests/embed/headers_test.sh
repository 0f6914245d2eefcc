#!/bin/bash
# headers_test.sh c|c++ INCLUDE_FOLDER: each public header compiles alone, warnings being errors,
# and all but opencl.h without OpenCL's headers. With the system's compiler, and with clang where it
# is.
set -eu
language=$1 include=$2
case $language in
c) compilers=(cc clang) flags=(-std=c11 -xc) ;;
c++) compilers=(c++ clang++) flags=(-std=c++11 -Wold-style-cast -xc++) ;;
esac
flags+=(-Wall -Wextra -Wpedantic -Wshadow -Wconversion -Werror -I"$include")
if ! command -v "${compilers[0]}" >/dev/null; then
    echo "no ${compilers[0]} here"
    exit 77
fi

for header in "$include"/clattn/*.h; do
    name=clattn/$(basename "$header")
    for compiler in "${compilers[@]}"; do
        command -v "$compiler" >/dev/null || continue
        # Twice: the guard has to hold.
        printf '#include <%s>\n#include <%s>\nint main(void) { return 0; }\n' "$name" "$name" |
            "$compiler" "${flags[@]}" -fsyntax-only -
        echo "$name: compiles as $language with $compiler"
    done
    [ "$name" != clattn/opencl.h ] || continue
    # -M names every file that is read.
    if printf '#include <%s>\n' "$name" | "${compilers[0]}" "${flags[@]}" -M - | grep -q 'CL/'; then
        echo "$name includes OpenCL's headers"
        exit 1
    fi
done
