"""Buffers, plans, layers and a dispatcher of libclattn.so through ctypes: what calls on host arrays
don't have. What each means is written in clattn's headers."""

import ctypes

import data


class Device:
    """A dispatcher and what is made for it; forget() frees all but the dispatcher."""

    def __init__(self, library):
        self.library, self.calls = library, library.calls
        self.header = library.header
        self.dispatcher = ctypes.c_void_p()
        self.require(self.calls.clattn_dispatcher_create(library.context, None,
                                                         ctypes.byref(self.dispatcher)))
        self.owned = []  # (function that frees, handle)

    def require(self, status):
        if status:
            self.library.require(status)

    def forget(self):
        while self.owned:
            free, handle = self.owned.pop()
            free(handle)

    def create(self, free, call, *arguments):
        """What a call makes and writes to its last argument."""
        made = ctypes.c_void_p()
        self.require(call(self.library.context, *arguments, ctypes.byref(made)))
        self.owned.append((free, made))
        return made

    def buffer(self, size):
        return self.create(self.calls.clattn_buffer_destroy, self.calls.clattn_buffer_create,
                           ctypes.c_uint64(max(1, size)))

    def buffer_of(self, array):
        made = self.buffer(array.nbytes)
        self.require(self.calls.clattn_buffer_write(made, ctypes.c_uint64(0),
                                                    ctypes.c_void_p(array.ctypes.data),
                                                    ctypes.c_uint64(array.nbytes)))
        return made

    def read(self, buffer, shape):
        array = data.empty(shape)
        self.require(self.calls.clattn_buffer_read(buffer, ctypes.c_uint64(0),
                                                   ctypes.c_void_p(array.ctypes.data),
                                                   ctypes.c_uint64(array.nbytes)))
        return array

    def finish(self):
        self.require(self.calls.clattn_dispatcher_finish(self.dispatcher))

    # ---- plans -----------------------------------------------------------------------------------

    def plan(self, call, desc):
        return self.create(self.calls.clattn_plan_destroy, call, ctypes.byref(desc))

    def workspace(self, plan):
        size = ctypes.c_uint64()
        self.require(self.calls.clattn_plan_workspace_size(plan, ctypes.byref(size)))
        return size.value

    def bind(self, buffers):
        """buffers: by the slot's name."""
        bindings = (self.header.struct["clattn_binding"] * len(buffers))()
        for binding, (name, buffer) in zip(bindings, buffers.items()):
            binding.slot = self.header.value[f"CLATTN_SLOT_{name}"]
            binding.buffer = buffer
        return bindings

    def submission(self, steps):
        """A function without arguments that submits (plan, buffers by slot) in their order and
        waits for them."""
        made = (self.header.struct["clattn_step"] * len(steps))()
        bindings = [self.bind(buffers) for _, buffers in steps]
        for step, (plan, _), of in zip(made, steps, bindings):
            step.plan = plan
            step.bindings = ctypes.addressof(of)
            step.binding_count = len(of)
        submission = self.library.make("clattn_submission")
        submission.step_size = ctypes.sizeof(self.header.struct["clattn_step"])
        submission.steps = ctypes.addressof(made)
        submission.step_count = len(steps)
        call, given = self.calls.clattn_submit, (self.dispatcher, ctypes.byref(submission), None)
        alive = (made, bindings)

        def run(alive=alive):
            self.require(call(*given))
            self.finish()
        return run

    # ---- layers ----------------------------------------------------------------------------------

    def layer(self, call, desc):
        return self.create(self.calls.clattn_layer_destroy, call, ctypes.byref(desc))

    def layer_passes(self, layer, places, backward):
        """A function without arguments that runs both passes, or the forward pass alone. places:
        (buffer, offset in bytes) by the tensor's name."""
        sizes = [ctypes.c_uint64(), ctypes.c_uint64()]
        self.require(self.calls.clattn_layer_sizes(layer, *map(ctypes.byref, sizes)))
        own = {name: (self.buffer(size.value), 0)
               for name, size in zip(("STATE", "SCRATCH"), sizes) if size.value}
        places = {**places, **own}
        bindings = (self.header.struct["clattn_layer_binding"] * len(places))()
        for binding, (name, (buffer, offset)) in zip(bindings, places.items()):
            binding.tensor = self.header.value[f"CLATTN_LAYER_{name}"]
            binding.buffer, binding.offset = buffer, offset
        given = layer, self.dispatcher, bindings, len(places), None
        passes = [self.calls.clattn_layer_forward, self.calls.clattn_layer_backward]
        passes = passes if backward else passes[:1]

        def run():
            for one in passes:
                self.require(one(*given))
            self.finish()
        return run
