"""What bench/clattn_header.py reads of the public headers, and of headers that are made up; a C
compiler confirms it. Needs the standard library alone."""

import ctypes
import os
import pathlib
import subprocess
import sys
import tempfile
import unittest

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(1, str(ROOT / "bench"))

from clattn_header import Header

COMPILER = os.environ.get("CC", "cc")
# One struct of each public header, by what includes it.
OF_CLATTN = ("clattn_context_options", "clattn_tuning_row", "clattn_attention_desc",
             "clattn_submission")
OF_LAYER = ("clattn_append_desc", "clattn_kv_cache_desc", "clattn_multi_head_desc")

# The compiler leaves room between the two.
FIELDS = "uint8_t byte; int64_t word;"


def make(folder, **texts):
    """Headers clattn/NAME.h in the folder; the path of the first."""
    for name, text in texts.items():
        path = pathlib.Path(folder) / "clattn" / f"{name}.h"
        path.parent.mkdir(exist_ok=True)
        path.write_text(f"#ifndef {name}_H\n#define {name}_H\n{text}#endif\n", encoding="utf-8")
    return os.path.join(folder, "clattn", f"{next(iter(texts))}.h")


def struct(name, fields):
    return ("#include <stddef.h>\n#include <stdint.h>\n"
            f"typedef struct clattn_{name} {{ {fields} }} clattn_{name};\n")


class PublicHeaders(unittest.TestCase):
    def test_follows_includes(self):
        header = Header(ROOT / "include/clattn/layer.h")
        for name in OF_CLATTN + OF_LAYER:
            self.assertIn(name, header.struct)
        self.assertEqual(header.value["CLATTN_ERR_CANCELLED"], -15)
        self.assertGreater(header.check(COMPILER), 100)

    def test_reads_no_more(self):
        header = Header(ROOT / "include/clattn/clattn.h")
        for name in OF_CLATTN:
            self.assertIn(name, header.struct)
        for name in OF_LAYER:
            self.assertNotIn(name, header.struct)

    def test_each_part_alone(self):
        for path in sorted((ROOT / "include/clattn").glob("*.h")):
            if path.name != "opencl.h":
                with self.subTest(path.name):
                    Header(path).check(COMPILER)


class MadeUp(unittest.TestCase):
    def test_order_and_once(self):
        """A field's type may come from what is included, by two ways."""
        with tempfile.TemporaryDirectory() as folder:
            path = make(folder,
                        top="#include <clattn/left.h>\n#include <clattn/right.h>\n",
                        left="#include <clattn/base.h>\n",
                        right="#include <clattn/base.h>\n" +
                              struct("outer", "clattn_inner two[2];"),
                        base=struct("inner", FIELDS))
            header = Header(path)
            self.assertEqual(ctypes.sizeof(header.struct["clattn_outer"]), 32)
            self.assertEqual(header.check(COMPILER), 5)

    def test_compiler_disagrees(self):
        command = f"{COMPILER} -w"
        with tempfile.TemporaryDirectory() as folder:
            Header(make(folder, top=struct("odd", FIELDS))).check(command)
            path = make(folder, top="#pragma pack(1)\n" + struct("odd", FIELDS))
            with self.assertRaises(subprocess.CalledProcessError):
                Header(path).check(command)


if __name__ == "__main__":
    unittest.main(verbosity=2)
