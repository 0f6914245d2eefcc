/* The system's OpenCL library, whose devices claim to take larger buffers than they do: PoCL offers
 * a quarter of the memory, and kernels that count in 64 bits are to be tried beyond that. A buffer
 * over host memory that is too large is made with its first bytes only. On a CPU device of PoCL a
 * kernel reaches the rest all the same, because it works on the host's addresses; nowhere else. */
#ifndef TESTS_DEVICE_ROOMY_OPENCL_H
#define TESTS_DEVICE_ROOMY_OPENCL_H

#include <stdbool.h>
#include <stdint.h>

#include <clattn/clattn.h>

/* For clattn_context_options.get_proc. */
void *roomy_get_proc(void *user, const char *name);

/* A context of this kernel on this device in which tensors of `size` bytes can be wrapped: by the
 * device itself, or with roomy_get_proc. NULL, and a reason, where neither is possible. */
clattn_context *roomy_open(uint32_t device, const char *kernel, uint64_t size, const char **reason);

#endif
