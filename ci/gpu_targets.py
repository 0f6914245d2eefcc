"""The compilers of ci/static_gpu.py, a row of TARGETS each: how a kernel is compiled for a device
that isn't here, and what the compiler says that it needs there.

A target's function takes a folder with kernel.cl, self-contained OpenCL C 1.2, the kernel's name
and the work-items of its groups, and returns its Figures, or raises Refused with the compiler's
first words.
"""

import functools

import os
import pathlib
import re
import shutil
import struct
import subprocess
import tempfile
from collections import namedtuple

# width: work-items of a hardware thread. registers: of a work-item (AMD, NVIDIA), or those that a
# hardware thread may use (Intel). spills: vector registers (AMD) or bytes. scratch: bytes of
# private memory of a work-item, on Intel with what is spilled. local: bytes of a group. occupancy:
# hardware threads that fit at once, of those that the device has place for, in percent.
Figures = namedtuple("Figures", "width registers spills scratch local occupancy")
NONE = Figures(0, 0, 0, 0, 0, 0)


# Those that ci/static_gpu.sh has chosen: they come before those of PATH.
OWN = {"ptxas": os.environ.get("CLATTN_PTXAS", ""),
       "ocloc": os.environ.get("CLATTN_OCLOC", "") + "/bin/ocloc"}


def find_tool(name):
    own = OWN.get(name, "")
    return own if os.access(own, os.X_OK) else shutil.which(name)


class Refused(Exception):
    """The compiler doesn't take the kernel."""


def run(words, folder, environment=None):
    result = subprocess.run([str(word) for word in words], cwd=folder, text=True, check=False,
                            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, errors="replace",
                            timeout=600, env={**os.environ, **(environment or {})})
    if result.returncode != 0:
        lines = result.stdout.strip().splitlines()
        first = [line for line in lines if "error" in line.lower()] or lines or ["no message"]
        raise Refused(f"{pathlib.Path(words[0]).name}: {first[0].strip()}")
    return result.stdout


LANGUAGE = ("-x", "cl", "-cl-std=CL1.2", "-D__OPENCL_VERSION__=120")
OPTIONS = (*LANGUAGE, "-O3", "-Xclang", "-finclude-default-header", "-Xclang",
           "-fdeclare-opencl-builtins")
# LLVM 15 gives a work-item no more than 128 of gfx1100's 256 registers.
CLANG = "clang-19"
# Of the translator's version.
CLANG_FOR_SPIRV = "clang-15"
LIBCLC = os.environ.get("CLATTN_LIBCLC", "/usr/lib/clc")


def bitcode(name):
    return ("-Xclang", "-mlink-builtin-bitcode", "-Xclang", f"{LIBCLC}/{name}.bc")


# ---- AMD ----------------------------------------------------------------------------------------

# Work-items of a wave, and waves that a SIMD has place for.
AMD = {"gfx90a": (64, 8), "gfx1030": (32, 16), "gfx1100": (32, 16)}


def amd(chip):
    width, most = AMD[chip]

    def compile_for(folder, kernel, _):
        text = run([CLANG, *OPTIONS, "-target", "amdgcn-amd-amdhsa", f"-mcpu={chip}", "-nogpulib",
                    *bitcode("amdgcn--amdhsa"), "-Rpass-analysis=kernel-resource-usage", "-c",
                    "kernel.cl", "-o", "kernel.o"], folder)

        # The caller's functions have figures of their own.
        own = text.partition(f"Function Name: {kernel} ")[2].partition("Function Name: ")[0]

        def number(label):
            found = re.search(rf"remark: [^\n]*? {re.escape(label)}: (\d+)", own)
            if not found:
                raise Refused(f"{CLANG}: no '{label}' of {kernel}")
            return int(found.group(1))
        # Scalar registers are spilled into vector registers, not into memory.
        return Figures(width, number("VGPRs"), number("VGPRs Spill"),
                       number("ScratchSize [bytes/lane]"), number("LDS Size [bytes/block]"),
                       100 * number("Occupancy [waves/SIMD]") // most)
    return compile_for


# ---- NVIDIA -------------------------------------------------------------------------------------

# What a multiprocessor has: warps, groups, registers, bytes of shared memory, and what of it each
# group takes besides its own (CUDA C programming guide, "Compute Capabilities").
Multiprocessor = namedtuple("Multiprocessor", "warps groups registers shared reserved")
NVIDIA = {"sm_75": Multiprocessor(32, 16, 65536, 65536, 0),
          "sm_80": Multiprocessor(64, 32, 65536, 167936, 1024),
          "sm_90": Multiprocessor(64, 32, 65536, 233472, 1024)}
WARP, REGISTERS_AT_ONCE = 32, 256


def nvidia_occupancy(chip, registers, shared, group):
    """Warps in flight, of those that there is place for, in percent."""
    has = NVIDIA[chip]
    warps = -(-group // WARP)
    each = -(-max(registers, 1) * WARP // REGISTERS_AT_ONCE) * REGISTERS_AT_ONCE
    groups = min(has.groups, has.warps // warps, has.registers // each // warps,
                 has.shared // max(shared + has.reserved, 1))
    return 100 * groups * warps // has.warps


def ptxas():
    """That of the table's version: ci/static_gpu.sh finds or installs it."""
    return find_tool("ptxas")


@functools.lru_cache(maxsize=None)
def assembly(text):
    """PTX is the same for all chips from sm_75 on."""
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        (folder / "kernel.cl").write_text(text, encoding="utf-8")
        run([CLANG, *OPTIONS, "-target", "nvptx64--nvidiacl", "-Xclang", "-target-cpu", "-Xclang",
             "sm_75", *bitcode("nvptx64--nvidiacl"), "-S", "kernel.cl", "-o", "kernel.ptx"], folder)
        return (folder / "kernel.ptx").read_text(encoding="utf-8")


def nvidia(chip):
    def compile_for(folder, kernel, group):
        ptx = assembly((folder / "kernel.cl").read_text(encoding="utf-8"))
        (folder / "kernel.ptx").write_text(ptx, encoding="utf-8")
        text = run([ptxas(), f"-arch={chip}", "-v", "kernel.ptx", "-o", "kernel.cubin"], folder)
        own = text.partition(f"entry function '{kernel}'")[2]
        used = re.search(r"Used (\d+) registers", own)
        stack = re.search(r"(\d+) bytes stack frame, (\d+) bytes spill stores, (\d+) bytes spill",
                          own)
        if not used or not stack:
            raise Refused(f"ptxas: no figures of {kernel}")
        shared = re.search(r"(\d+) bytes smem", own)
        shared = int(shared.group(1)) if shared else 0
        registers = int(used.group(1))
        return Figures(WARP, registers, int(stack.group(2)) + int(stack.group(3)),
                       int(stack.group(1)), shared,
                       nvidia_occupancy(chip, registers, shared, group))
    return compile_for


# ---- Intel --------------------------------------------------------------------------------------

# Threads that a (dual) sub-slice has place for, and bytes of its shared local memory.
INTEL = {"dg2": (128, 131072), "tgllp": (112, 65536)}


def section(data, wanted):
    """The text of a section of an ELF file of 64 bits; "" if there is none."""
    headers, = struct.unpack_from("<Q", data, 0x28)
    count, names_at = struct.unpack_from("<HH", data, 0x3c)
    rows = [struct.unpack_from("<IIQQQQ", data, headers + 64 * at) for at in range(count)]
    names = data[rows[names_at][4]:][:rows[names_at][5]]
    for row in rows:
        if names[row[0]:].partition(b"\0")[0].decode() == wanted:
            return data[row[4]:row[4] + row[5]].decode()
    return ""


def intel_figures(text, chip, group):
    """Figures from the lines about a kernel that Intel's compiler puts into its programs."""
    def number(name, default=None):
        found = re.search(rf"^ +{name}: +(\d+)$", text, flags=re.M)
        if not found and default is None:
            raise Refused(f"ocloc: no '{name}'")
        return int(found.group(1)) if found else default
    width, registers, local = number("simd_size"), number("grf_count"), number("slm_size", 0)
    # Of a hardware thread, but for those that say that they are of a work-item.
    buffers = [(usage, int(size) * (width if of_an_item else 1)) for usage, size, of_an_item in
               re.findall(r"type: +(?:scratch|global)\n +usage: +(\w+)\n +size: +(\d+)\n"
                          r"( +is_simt_thread: +true)?", text)]
    spilled = sum(size for usage, size in buffers if usage == "spill_fill_space")
    threads, memory = INTEL[chip]
    threads_of_group = -(-group // width)
    groups = threads * 128 // max(registers, 128) // threads_of_group
    if local:
        groups = min(groups, memory // local)
    return Figures(width, registers, spilled, sum(size for _, size in buffers) // width, local,
                   min(100, 100 * groups * threads_of_group // threads))


def intel(chip):
    def compile_for(folder, kernel, group):
        tool = pathlib.Path(find_tool("ocloc"))
        # As the library asks for tiles: src/opencl/quirk.c.
        more = " -cl-intel-256-GRF-per-thread" if kernel.endswith("_tile") else ""
        run([tool, "compile", "-q", "-file", "kernel.cl", "-device", chip, "-options",
             f"-cl-std=CL1.2{more}", "--format", "zebin", "-output", "kernel", "-output_no_suffix"],
            folder,
            {"LD_LIBRARY_PATH": str(tool.parents[1] / "lib/x86_64-linux-gnu")})
        return intel_figures(section((folder / "kernel").read_bytes(), ".ze_info"), chip, group)
    return compile_for


# ---- SPIR-V -------------------------------------------------------------------------------------

def spirv(folder, _, __):
    # As the front end leaves it: drivers optimise, and LLVM's passes make what SPIR-V has no words
    # for.
    run([CLANG_FOR_SPIRV, *OPTIONS, "-Xclang", "-disable-llvm-passes", "-target", "spir64",
         "-emit-llvm", "-c", "kernel.cl", "-o", "kernel.bc"], folder)
    run(["llvm-spirv-15", "--spirv-max-version=1.2", "kernel.bc", "-o", "kernel.spv"], folder)
    run(["spirv-val", "--target-env", "opencl1.2", "kernel.spv"], folder)
    return NONE


# ---- the table ----------------------------------------------------------------------------------

Target = namedtuple("Target", "name vendor tools compile")
TARGETS = [
    *(Target(chip, "AMD", (CLANG,), amd(chip)) for chip in AMD),
    *(Target(chip, "NVIDIA", (CLANG, "ptxas"), nvidia(chip)) for chip in NVIDIA),
    *(Target(chip, "Intel", ("ocloc",), intel(chip)) for chip in INTEL),
    Target("spirv", "any", (CLANG_FOR_SPIRV, "llvm-spirv-15", "spirv-val"), spirv),
]
