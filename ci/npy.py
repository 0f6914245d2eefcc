"""Reads the little-endian float32 .npy arrays of the demonstration; the standard library alone."""

import ast
import math
import struct


def read(path):
    """Returns (shape, flat tuple of floats)."""
    with open(path, "rb") as file:
        data = file.read()
    if data[:6] != b"\x93NUMPY":
        raise ValueError(f"{path}: not a .npy file")
    wide = data[6] > 1
    start = 12 if wide else 10
    (length,) = struct.unpack("<I" if wide else "<H", data[8:start])
    header = ast.literal_eval(data[start : start + length].decode("latin-1"))
    if header["descr"] != "<f4" or header["fortran_order"]:
        raise ValueError(f"{path}: expected float32 in C order, found {header}")
    shape = header["shape"]
    return shape, struct.unpack(f"<{math.prod(shape)}f", data[start + length :])
