/* A device that models are trained on: clattn and the kernels of training.cl on one OpenCL queue,
 * where everything runs in the order in which it is called. What fails ends the program: stop.h. */
#ifndef EXAMPLES_TRAINING_DEVICE_H
#define EXAMPLES_TRAINING_DEVICE_H

#include "opencl.h"

/* The kernels of training.cl. */
#define DEVICE_KERNELS(X)                                                                          \
    X(ONE_HOT, one_hot)                                                                            \
    X(TANH_FORWARD, tanh_forward)                                                                  \
    X(TANH_GRADIENT, tanh_gradient)                                                                \
    X(ADD, add)                                                                                    \
    X(CROSS_ENTROPY, cross_entropy)                                                                \
    X(SGD, sgd)                                                                                    \
    X(ADAM, adam)
typedef enum device_kernel {
#define DEVICE_KERNEL(constant, name) KERNEL_##constant,
    DEVICE_KERNELS(DEVICE_KERNEL)
#undef DEVICE_KERNEL
        KERNELS
} device_kernel;

typedef struct device {
    opencl cl;
    cl_device_id id;
    cl_context context;
    cl_command_queue queue;
    cl_program program;
    cl_kernel kernel[KERNELS];
    clattn_context *clattn;
    clattn_dispatcher *dispatcher;
} device;

/* The device that clattn prefers, or the one that CLATTN_DEVICE names. */
void device_open(device *d);
/* Tensors and plans of it must be destroyed before. */
void device_close(device *d);

/* Elements of 4 bytes, float or int32_t, that kernels and clattn see alike. */
typedef struct tensor {
    cl_mem memory;
    clattn_buffer *buffer;
    size_t count;
} tensor;

/* All 0; extents end with 0, and make NEW_TENSOR(d, BATCH, LENGTH, WIDTH). */
tensor tensor_create(device *d, const size_t *extents);
#define NEW_TENSOR(d, ...) tensor_create(d, (const size_t[]){__VA_ARGS__, 0})
void tensor_destroy(device *d, tensor *t);
/* Elements first .. first + count - 1, behind all that was called before; these calls block. */
void tensor_write(device *d, const tensor *t, size_t first, const void *values, size_t count);
void tensor_read(device *d, const tensor *t, size_t first, void *values, size_t count);

/* What a kernel gets behind `count`, in its order. */
typedef struct kernel_argument {
    size_t size;
    const void *value; /* borrowed during the call */
} kernel_argument;
#define ARGUMENT(variable) ((kernel_argument){sizeof(variable), &(variable)})
#define TENSOR(t)          ((kernel_argument){sizeof(cl_mem), &(t)->memory})

/* Enqueues a kernel with `count` work-items and up to 8 arguments; the list ends with one of size
 * 0: LAUNCH(d, KERNEL_ADD, n, TENSOR(&sum), TENSOR(&more)). */
void device_launch(device *d, device_kernel kernel, size_t count, const kernel_argument *arguments);
#define LAUNCH(d, kernel, count, ...)                                                              \
    device_launch(d, kernel, count, (const kernel_argument[]){__VA_ARGS__, {0, NULL}})

/* One plan, or several in order. */
void device_submit(device *d, const clattn_step *steps, uint32_t count);

/* Waits for everything. A dispatcher takes 4096 submissions that nobody has waited for. */
void device_finish(device *d);

#endif
