"""Reads the PNG files that cairo writes, and measures their colours; the standard library alone."""

import struct
import zlib


class Image:
    """A PNG as cairo writes it: 8 bits a channel, RGB, not interlaced."""

    def __init__(self, data):
        assert data[:8] == b"\x89PNG\r\n\x1a\n", data[:8]
        at, packed, names = 8, b"", []
        while at < len(data):
            size, name = struct.unpack(">I4s", data[at : at + 8])
            body = data[at + 8 : at + 8 + size]
            (checksum,) = struct.unpack(">I", data[at + 8 + size : at + 12 + size])
            assert checksum == zlib.crc32(name + body), name
            names.append(name)
            if name == b"IHDR":
                self.width, self.height, *form = struct.unpack(">IIBBBBB", body)
                assert form == [8, 2, 0, 0, 0], form
            elif name == b"IDAT":
                packed += body
            at += 12 + size
        assert names[-1] == b"IEND", names
        self.rows = self.unfilter(zlib.decompress(packed))

    def unfilter(self, raw):
        stride = 3 * self.width
        assert len(raw) == self.height * (stride + 1)
        above, rows = bytearray(stride), []
        for start in range(0, len(raw), stride + 1):
            row = bytearray(raw[start + 1 : start + 1 + stride])
            FILTERS[raw[start]](row, above)
            rows.append(bytes(row))
            above = row
        return rows

    def __getitem__(self, place):
        x, y = place
        return tuple(self.rows[y][3 * x : 3 * x + 3])

    def colours(self):
        return {row[i : i + 3] for row in set(self.rows) for i in range(0, len(row), 3)}


def left_of(row, i):
    return row[i - 3] if i >= 3 else 0


def add_nothing(row, above):
    pass


def add_left(row, above):
    for i in range(3, len(row)):
        row[i] = row[i] + row[i - 3] & 255


def add_above(row, above):
    for i, up in enumerate(above):
        row[i] = row[i] + up & 255


def add_mean(row, above):
    for i, up in enumerate(above):
        row[i] = row[i] + (left_of(row, i) + up) // 2 & 255


def add_nearest(row, above):
    for i, up in enumerate(above):
        left, corner = left_of(row, i), left_of(above, i)
        guess = left + up - corner
        row[i] = row[i] + min((left, up, corner), key=lambda x: abs(guess - x)) & 255


FILTERS = [add_nothing, add_left, add_above, add_mean, add_nearest]  # PNG specification, 9.2


def lightness(colour):
    """L of OKLab (B. Ottosson, 2020)."""
    r, g, b = (((c / 255 + 0.055) / 1.055) ** 2.4 if c > 10 else c / 255 / 12.92 for c in colour)
    long = 0.4122214708 * r + 0.5363325363 * g + 0.0514459929 * b
    medium = 0.2119034982 * r + 0.6806995451 * g + 0.1073969566 * b
    short = 0.0883024619 * r + 0.2817188376 * g + 0.6299787005 * b
    return (
        0.2104542553 * long ** (1 / 3)
        + 0.7936177850 * medium ** (1 / 3)
        - 0.0040720468 * short ** (1 / 3)
    )
