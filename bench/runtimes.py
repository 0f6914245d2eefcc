"""Where what clattn is compared with is installed, and how a process gets one OpenCL or another."""

import os
import pathlib

ROOT = pathlib.Path(__file__).resolve().parents[1]
CACHE = pathlib.Path(os.environ.get("XDG_CACHE_HOME") or pathlib.Path.home() / ".cache")
PEERS = pathlib.Path(os.environ.get("CLATTN_PEERS") or CACHE / "clattn-peers")
INTEL = PEERS / "intel-opencl"
# What OpenCL to use: environment of clattn's process.
OPENCL = {
    "system": {},
    "intel": {"OCL_ICD_VENDORS": str(INTEL / "vendors"), "LD_LIBRARY_PATH": str(INTEL / "lib")},
}
