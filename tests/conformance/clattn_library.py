"""The shared object through ctypes: a context, and clattn_run on NumPy arrays of any strides."""

import ctypes

import ml_dtypes
import numpy as np

# clattn's types by NumPy's.
DTYPES = {
    "float32": "CLATTN_F32",
    "float16": "CLATTN_F16",
    "bfloat16": "CLATTN_BF16",
    "bool": "CLATTN_BOOL",
    "int32": "CLATTN_I32",
}
BFLOAT16 = np.dtype(ml_dtypes.bfloat16)


class Declined(Exception):
    """The problem is valid, but the kernel (or this version) doesn't take it."""


class Failed(Exception):
    """Any other failure of the library."""


class Library:
    def __init__(self, path, header, kernel=None):
        self.header = header
        self.kernel = kernel
        self.calls = ctypes.CDLL(path)
        self.calls.clattn_error_message.restype = ctypes.c_char_p
        self.calls.clattn_version_string.restype = ctypes.c_char_p
        self.calls.clattn_kernel_name.restype = ctypes.c_char_p
        if kernel and kernel not in self.kernels():
            raise Failed(f"there is no kernel {kernel}, but {', '.join(self.kernels())}")
        self.context = ctypes.c_void_p()
        options = self.make("clattn_context_options")
        options.kernel = kernel.encode() if kernel else None
        self.require(self.calls.clattn_context_create(ctypes.byref(options),
                                                      ctypes.byref(self.context)))
        self.check_size_of_description()

    def make(self, name):
        """A zeroed struct, as its _init function leaves it."""
        made = self.header.struct[name]()
        if hasattr(made, "struct_size"):
            made.struct_size = ctypes.sizeof(made)
        return made

    def kernels(self):
        return [self.calls.clattn_kernel_name(index).decode()
                for index in range(self.calls.clattn_kernel_count())]

    def message(self):
        return self.calls.clattn_error_message().decode(errors="replace")

    def require(self, status):
        if status == self.header.value["CLATTN_OK"]:
            return
        unsupported = status == self.header.value["CLATTN_ERR_UNSUPPORTED"]
        raise (Declined if unsupported else Failed)(self.message())

    def device(self):
        info = self.make("clattn_device_info")
        self.require(self.calls.clattn_context_device_info(self.context, ctypes.byref(info)))
        return f"{info.name.decode()} ({info.platform.decode()}, {info.driver.decode()})"

    def check_size_of_description(self):
        """The library refuses what is shorter than its own description, and unknown fields behind
        it: that gives both sizes away."""
        size = ctypes.sizeof(self.header.struct["clattn_attention_desc"])
        memory = (ctypes.c_uint8 * (size + 8))()
        memory[size] = 1
        statuses = []
        for claimed in (size - 1, size + 1):
            ctypes.cast(memory, ctypes.POINTER(ctypes.c_uint32))[0] = claimed
            statuses.append(self.calls.clattn_run(self.context, memory, None, 0))
        value = self.header.value
        if statuses != [value["CLATTN_ERR_ARGUMENT"], value["CLATTN_ERR_UNSUPPORTED"]]:
            raise Failed(f"the library's clattn_attention_desc does not have the {size} bytes of "
                         f"the header's: statuses {statuses}")

    def run(self, desc, slots):
        """slots: arrays by the slot's name ("Q", "MASK"), each of the slot's shape, with any
        strides; those that are written must not be broadcast."""
        bindings = (self.header.struct["clattn_host_binding"] * len(slots))()
        desc.slots = 0
        for binding, (name, array) in zip(bindings, slots.items()):
            number = self.header.value[f"CLATTN_SLOT_{name}"]
            tensor = desc.tensor[number]
            tensor.dtype = self.header.value[DTYPES[array.dtype.name]]
            tensor.strided = 1
            for dim, stride in enumerate(array.strides):
                tensor.stride[dim] = stride // array.itemsize
            if name not in ("Q", "K", "V", "OUT"):
                desc.slots |= 1 << number
            binding.slot = number
            binding.data = array.ctypes.data
        self.require(self.calls.clattn_run(self.context, ctypes.byref(desc), bindings,
                                           len(slots)))

    def close(self):
        self.require(self.calls.clattn_context_destroy(self.context))
