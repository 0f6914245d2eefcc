"""A public header of clattn, and those that it includes, as ctypes sees them: structs, enumerations
and constants, read from the headers' own text, so that there is no second copy of them which could
differ. check() has a C compiler confirm every size and offset."""

import ctypes
import os
import re
import subprocess

SCALARS = {
    "char": ctypes.c_char,
    "float": ctypes.c_float,
    "double": ctypes.c_double,
    "size_t": ctypes.c_size_t,
    **{f"{sign}int{bits}_t": getattr(ctypes, f"c_{sign}int{bits}")
       for sign in ("", "u") for bits in (8, 16, 32, 64)},
}
INCLUDE = re.compile(r"^#include <(clattn/\w+\.h)>", re.M)
COMMENT = re.compile(r"/\*.*?\*/", re.S)
DEFINE = re.compile(r"^#define\s+(CLATTN_\w+)\s+(\d+)\s*$", re.M)
STATUS = re.compile(r"\bX\((CLATTN_\w+), (-?\d+),")
ENUM = re.compile(r"(?:typedef\s+)?enum\s*(\w*)\s*\{([^}]*)\}\s*(\w*)\s*;")
ENUM_VALUE = re.compile(r"(CLATTN_\w+)\s*=\s*(-?\d+)")
STRUCT = re.compile(r"typedef struct (\w+) \{([^}]*)\} \1;")
POINTER_TYPE = re.compile(r"\(\*(clattn_\w+)\)\(")
FIELD = re.compile(r"^(?:const )?(\w+) (.*)$", re.S)
DECLARATOR = re.compile(r"^([*\s]|const\b)*(\w+)(?:\[(\w+)\])?$")


class Header:
    """`value`: constants by name; `struct`: ctypes.Structure classes by name. `path` ends in
    clattn/NAME.h."""

    def __init__(self, path):
        self.path = os.path.abspath(path)
        self.folder = os.path.dirname(os.path.dirname(self.path))
        self.value, self.types, self.struct = {}, dict(SCALARS), {}
        self.have_read = set()
        self.read_file(self.path)

    def read_file(self, path):
        """What it includes first; each file once."""
        if path in self.have_read:
            return
        self.have_read.add(path)
        with open(path, encoding="utf-8") as stream:
            text = COMMENT.sub(" ", stream.read())
        for included in INCLUDE.findall(text):
            self.read_file(os.path.join(self.folder, included))
        self.read(text)

    def read(self, text):
        self.value.update((name, int(number)) for name, number in DEFINE.findall(text))
        self.value.update((name, int(number)) for name, number in STATUS.findall(text))
        self.types.update((name, ctypes.c_void_p) for name in POINTER_TYPE.findall(text))
        for name, body, _ in ENUM.findall(text):
            self.value.update((item, int(number)) for item, number in ENUM_VALUE.findall(body))
            if name:
                self.types[name] = ctypes.c_int
        for name, body in STRUCT.findall(text):
            self.struct[name] = self.types[name] = self.make_struct(name, body)

    def make_struct(self, name, body):
        fields = []
        for statement in body.split(";"):
            statement = " ".join(statement.split())
            if statement:
                kind, declarators = FIELD.match(statement).groups()
                fields += [self.make_field(kind, one.strip()) for one in declarators.split(",")]
        return type(name, (ctypes.Structure,), {"_fields_": fields})

    def make_field(self, kind, declarator):
        _, name, extent = DECLARATOR.match(declarator).groups()
        if "*" in declarator:
            of_type = ctypes.c_char_p if kind == "char" else ctypes.c_void_p
        else:
            of_type = self.types[kind]
        if extent:
            of_type *= int(extent) if extent.isdigit() else self.value[extent]
        return name, of_type

    def check(self, compiler):
        """Raises where the compiler doesn't agree with a size or an offset."""
        include = f'#include "{self.path}"'
        lines = []
        for name, mirror in self.struct.items():
            claims = [f"sizeof({name}) == {ctypes.sizeof(mirror)}"]
            claims += [f"offsetof({name}, {field}) == {getattr(mirror, field).offset}"
                       for field, _ in mirror._fields_]
            lines += [f'_Static_assert({claim}, "{claim}");' for claim in claims]
        for name, number in self.value.items():
            lines.append(f'_Static_assert({name} == {number}, "{name}");')
        command = [*compiler.split(), "-std=c11", "-fsyntax-only", f"-I{self.folder}", "-xc", "-"]
        subprocess.run(command, input="\n".join([include, *lines, ""]), text=True, check=True)
        return len(lines)
