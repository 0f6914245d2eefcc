#!/bin/bash
# headers_test.sh c|c++ INCLUDE_FOLDER: each public header compiles alone, warnings being errors,
# and clattn.h without OpenCL's headers.
set -eu
language=$1 include=$2
case $language in
c) compiler=(cc -std=c11 -xc) ;;
c++) compiler=(c++ -std=c++11 -xc++) ;;
esac
if ! command -v "${compiler[0]}" >/dev/null; then
    echo "no ${compiler[0]} here"
    exit 77
fi

for header in "$include"/clattn/*.h; do
    name=clattn/$(basename "$header")
    # Twice: the guard has to hold.
    printf '#include <%s>\n#include <%s>\nint main(void) { return 0; }\n' "$name" "$name" |
        "${compiler[@]}" -Wall -Wextra -Wpedantic -Werror -I"$include" -fsyntax-only -
    if [ "$name" != clattn/opencl.h ]; then
        # -M names every file that is read.
        if printf '#include <%s>\n' "$name" |
            "${compiler[@]}" -I"$include" -M - | grep -q 'CL/'; then
            echo "$name includes OpenCL's headers"
            exit 1
        fi
    fi
    echo "$name: compiles as $language"
done
