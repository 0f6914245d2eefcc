#!/usr/bin/env python3
"""Writes a C file that holds .cl files as byte arrays: embed.py OUT ROOT FILE..."""
import pathlib
import sys


def main(out, root, names):
    lines = ['#include "opencl/source.h"', '']
    rows = []
    for number, name in enumerate(names):
        data = (pathlib.Path(root) / name).read_bytes()
        lines.append(f'static const unsigned char file_{number}[] = {{')
        for start in range(0, len(data), 24):
            lines.append('    ' + ','.join(str(b) for b in data[start:start + 24]) + ',')
        lines.append('    0};')
        rows.append(f'    {{"{name}", file_{number}, {len(data)}}},')
    lines += ['', 'const clattn__embedded_file clattn__embedded_files[] = {', *rows,
              '    {NULL, NULL, 0}};', '']
    pathlib.Path(out).write_text('\n'.join(lines))


main(sys.argv[1], sys.argv[2], sys.argv[3:])
