"""libclattn.so through ctypes: a context, and attention on NumPy arrays of any strides. What a call
means is written in clattn's headers; the benchmarks and the ONNX tests share this module."""

import ctypes

# clattn's types by NumPy's.
DTYPES = {
    "float32": "CLATTN_F32",
    "float16": "CLATTN_F16",
    "bfloat16": "CLATTN_BF16",
    "bool": "CLATTN_BOOL",
    "int32": "CLATTN_I32",
}
# Those of every attention, in the order of clattn_attention's arguments.
PLAIN_SLOTS = ("Q", "K", "V", "OUT")


class Declined(Exception):
    """The problem is valid, but the kernel (or this version) doesn't take it."""


class Failed(Exception):
    """Any other failure of the library."""


class Library:
    """One context: on the device of the selector, with one kernel alone where `kernel` is given."""

    def __init__(self, path, header, kernel=None, device=None):
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
        options.device = device.encode() if device else None
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

    def lay_out(self, desc, name, array):
        """Writes the array's type and strides into the description; returns the slot's number."""
        number = self.header.value[f"CLATTN_SLOT_{name}"]
        tensor = desc.tensor[number]
        tensor.dtype = self.header.value[DTYPES[array.dtype.name]]
        tensor.strided = 1
        for dim, stride in enumerate(array.strides):
            tensor.stride[dim] = stride // array.itemsize
        return number

    def bind(self, desc, slots, always):
        """Bindings of arrays, laid out in the description, whose `slots` are those that don't take
        part always."""
        bindings = (self.header.struct["clattn_host_binding"] * len(slots))()
        desc.slots = 0
        for binding, (name, array) in zip(bindings, slots.items()):
            binding.slot = self.lay_out(desc, name, array)
            binding.data = array.ctypes.data
            if name not in always:
                desc.slots |= 1 << binding.slot
        return bindings

    def run(self, desc, slots):
        """slots: arrays by the slot's name ("Q", "MASK"), each of the slot's shape, with any
        strides; those that are written must not be broadcast."""
        bindings = self.bind(desc, slots, PLAIN_SLOTS)
        self.require(self.calls.clattn_run(self.context, ctypes.byref(desc), bindings,
                                           len(slots)))

    def prepared(self, call, desc, slots, always):
        """A function without arguments that is the call, of clattn_run's kind, on these arrays, for
        calling many times. `always`: names of slots that the description doesn't name."""
        bindings, require = self.bind(desc, slots, always), self.require
        given = self.context, ctypes.byref(desc), bindings, len(slots)
        alive = (desc, slots)

        def run(alive=alive):
            status = call(*given)
            if status:
                require(status)
        return run

    def attention(self, desc, *arrays):
        """A function without arguments that is clattn_attention on q, k, v and out, for calling
        many times: the description is made here, once."""
        for name, array in zip(PLAIN_SLOTS, arrays, strict=True):
            self.lay_out(desc, name, array)
        call, require = self.calls.clattn_attention, self.require
        given = (self.context, ctypes.byref(desc),
                 *(ctypes.c_void_p(array.ctypes.data) for array in arrays))
        alive = (desc, arrays)

        def run(alive=alive):
            status = call(*given)
            if status:
                require(status)
        return run

    def close(self):
        self.require(self.calls.clattn_context_destroy(self.context))
