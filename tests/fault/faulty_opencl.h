/* OpenCL that fails on demand: the real library behind wrappers, given to clattn through
 * options.get_proc. The n-th call of a chosen function fails, and objects that were created and
 * not released are counted. State is the process's; Criterion gives each test its own. */
#ifndef TESTS_FAULT_FAULTY_OPENCL_H
#define TESTS_FAULT_FAULTY_OPENCL_H

#include <stdbool.h>
#include <stdint.h>

#include <CL/cl.h>

/* What has to follow when a call of the function fails: */
typedef enum outcome {
    MUST_FAIL, /* the status is an error */
    MAY_PASS   /* an error, or a good result: there is another way, or nothing depends on it */
} outcome;

/* Every function of OpenCL that clattn may use: kind of wrapper, outcome, name, parameters,
 * arguments. STATUS returns an error; WAIT, RETAIN and RELEASE act, and then claim to have failed;
 * ENQUEUE makes an event, NEW_* an object. */
#define FAULTY_CALLS(X)                                                                            \
    X(STATUS, MUST_FAIL, clGetPlatformIDs, (cl_uint a, cl_platform_id * b, cl_uint * c),           \
      (a, b, c))                                                                                   \
    X(STATUS, MAY_PASS, clGetPlatformInfo,                                                         \
      (cl_platform_id a, cl_platform_info b, size_t c, void *d, size_t *e), (a, b, c, d, e))       \
    X(STATUS, MUST_FAIL, clGetDeviceIDs,                                                           \
      (cl_platform_id a, cl_device_type b, cl_uint c, cl_device_id * d, cl_uint * e),              \
      (a, b, c, d, e))                                                                             \
    X(STATUS, MAY_PASS, clGetDeviceInfo,                                                           \
      (cl_device_id a, cl_device_info b, size_t c, void *d, size_t *e), (a, b, c, d, e))           \
    X(STATUS, MAY_PASS, clCreateSubDevices,                                                        \
      (cl_device_id a, const cl_device_partition_property *b, cl_uint c, cl_device_id *d,          \
       cl_uint *e),                                                                                \
      (a, b, c, d, e))                                                                             \
    X(STATUS, MAY_PASS, clRetainDevice, (cl_device_id a), (a))                                     \
    X(STATUS, MAY_PASS, clReleaseDevice, (cl_device_id a), (a))                                    \
    X(NEW_CONTEXT, MUST_FAIL, clCreateContext,                                                     \
      (const cl_context_properties *a, cl_uint b, const cl_device_id *c, notify_context *d,        \
       void *e, cl_int *error),                                                                    \
      (a, b, c, d, e, error))                                                                      \
    X(RETAIN_CONTEXT, MAY_PASS, clRetainContext, (cl_context a), (a))                              \
    X(RELEASE_CONTEXT, MAY_PASS, clReleaseContext, (cl_context a), (a))                            \
    X(STATUS, MAY_PASS, clGetContextInfo,                                                          \
      (cl_context a, cl_context_info b, size_t c, void *d, size_t *e), (a, b, c, d, e))            \
    X(NEW_QUEUE, MUST_FAIL, clCreateCommandQueue,                                                  \
      (cl_context a, cl_device_id b, cl_command_queue_properties c, cl_int * error),               \
      (a, b, c, error))                                                                            \
    X(NEW_QUEUE, MAY_PASS, clCreateCommandQueueWithProperties,                                     \
      (cl_context a, cl_device_id b, const cl_bitfield *c, cl_int *error), (a, b, c, error))       \
    X(RETAIN_QUEUE, MAY_PASS, clRetainCommandQueue, (cl_command_queue a), (a))                     \
    X(RELEASE_QUEUE, MAY_PASS, clReleaseCommandQueue, (cl_command_queue a), (a))                   \
    X(STATUS, MAY_PASS, clGetCommandQueueInfo,                                                     \
      (cl_command_queue a, cl_command_queue_info b, size_t c, void *d, size_t *e),                 \
      (a, b, c, d, e))                                                                             \
    X(NEW_MEMORY, MUST_FAIL, clCreateBuffer,                                                       \
      (cl_context a, cl_mem_flags b, size_t c, void *d, cl_int *error), (a, b, c, d, error))       \
    X(NEW_MEMORY, MUST_FAIL, clCreateSubBuffer,                                                    \
      (cl_mem a, cl_mem_flags b, cl_buffer_create_type c, const void *d, cl_int *error),           \
      (a, b, c, d, error))                                                                         \
    X(RETAIN_MEMORY, MAY_PASS, clRetainMemObject, (cl_mem a), (a))                                 \
    X(RELEASE_MEMORY, MAY_PASS, clReleaseMemObject, (cl_mem a), (a))                               \
    X(STATUS, MAY_PASS, clGetMemObjectInfo,                                                        \
      (cl_mem a, cl_mem_info b, size_t c, void *d, size_t *e), (a, b, c, d, e))                    \
    X(NEW_PROGRAM, MUST_FAIL, clCreateProgramWithSource,                                           \
      (cl_context a, cl_uint b, const char **c, const size_t *d, cl_int *error),                   \
      (a, b, c, d, error))                                                                         \
    X(NEW_PROGRAM, MAY_PASS, clCreateProgramWithBinary,                                            \
      (cl_context a, cl_uint b, const cl_device_id *c, const size_t *d, const unsigned char **e,   \
       cl_int *f, cl_int *error),                                                                  \
      (a, b, c, d, e, f, error))                                                                   \
    X(RETAIN_PROGRAM, MAY_PASS, clRetainProgram, (cl_program a), (a))                              \
    X(RELEASE_PROGRAM, MAY_PASS, clReleaseProgram, (cl_program a), (a))                            \
    X(STATUS, MAY_PASS, clBuildProgram,                                                            \
      (cl_program a, cl_uint b, const cl_device_id *c, const char *d, notify_program *e, void *f), \
      (a, b, c, d, e, f))                                                                          \
    X(STATUS, MAY_PASS, clGetProgramInfo,                                                          \
      (cl_program a, cl_program_info b, size_t c, void *d, size_t *e), (a, b, c, d, e))            \
    X(STATUS, MAY_PASS, clGetProgramBuildInfo,                                                     \
      (cl_program a, cl_device_id b, cl_program_build_info c, size_t d, void *e, size_t *f),       \
      (a, b, c, d, e, f))                                                                          \
    X(NEW_KERNEL, MUST_FAIL, clCreateKernel, (cl_program a, const char *b, cl_int *error),         \
      (a, b, error))                                                                               \
    X(RETAIN_KERNEL, MAY_PASS, clRetainKernel, (cl_kernel a), (a))                                 \
    X(RELEASE_KERNEL, MAY_PASS, clReleaseKernel, (cl_kernel a), (a))                               \
    X(STATUS, MUST_FAIL, clSetKernelArg, (cl_kernel a, cl_uint b, size_t c, const void *d),        \
      (a, b, c, d))                                                                                \
    X(STATUS, MAY_PASS, clGetKernelInfo,                                                           \
      (cl_kernel a, cl_kernel_info b, size_t c, void *d, size_t *e), (a, b, c, d, e))              \
    X(STATUS, MAY_PASS, clGetKernelWorkGroupInfo,                                                  \
      (cl_kernel a, cl_device_id b, cl_kernel_work_group_info c, size_t d, void *e, size_t *f),    \
      (a, b, c, d, e, f))                                                                          \
    X(WAIT, MAY_PASS, clWaitForEvents, (cl_uint a, const cl_event *b), (a, b))                     \
    X(STATUS, MAY_PASS, clGetEventInfo,                                                            \
      (cl_event a, cl_event_info b, size_t c, void *d, size_t *e), (a, b, c, d, e))                \
    X(NEW_EVENT, MUST_FAIL, clCreateUserEvent, (cl_context a, cl_int * error), (a, error))         \
    X(STATUS, MUST_FAIL, clSetUserEventStatus, (cl_event a, cl_int b), (a, b))                     \
    X(RETAIN_EVENT, MAY_PASS, clRetainEvent, (cl_event a), (a))                                    \
    X(RELEASE_EVENT, MAY_PASS, clReleaseEvent, (cl_event a), (a))                                  \
    X(STATUS, MAY_PASS, clSetEventCallback, (cl_event a, cl_int b, notify_event * c, void *d),     \
      (a, b, c, d))                                                                                \
    X(STATUS, MAY_PASS, clGetEventProfilingInfo,                                                   \
      (cl_event a, cl_profiling_info b, size_t c, void *d, size_t *e), (a, b, c, d, e))            \
    X(STATUS, MAY_PASS, clFlush, (cl_command_queue a), (a))                                        \
    X(WAIT, MAY_PASS, clFinish, (cl_command_queue a), (a))                                         \
    X(ENQUEUE, MUST_FAIL, clEnqueueReadBuffer,                                                     \
      (cl_command_queue a, cl_mem b, cl_bool c, size_t d, size_t e, void *f, cl_uint g,            \
       const cl_event *h, cl_event *event),                                                        \
      (a, b, c, d, e, f, g, h, event))                                                             \
    X(ENQUEUE, MUST_FAIL, clEnqueueWriteBuffer,                                                    \
      (cl_command_queue a, cl_mem b, cl_bool c, size_t d, size_t e, const void *f, cl_uint g,      \
       const cl_event *h, cl_event *event),                                                        \
      (a, b, c, d, e, f, g, h, event))                                                             \
    X(ENQUEUE, MUST_FAIL, clEnqueueCopyBuffer,                                                     \
      (cl_command_queue a, cl_mem b, cl_mem c, size_t d, size_t e, size_t f, cl_uint g,            \
       const cl_event *h, cl_event *event),                                                        \
      (a, b, c, d, e, f, g, h, event))                                                             \
    X(ENQUEUE, MUST_FAIL, clEnqueueFillBuffer,                                                     \
      (cl_command_queue a, cl_mem b, const void *c, size_t d, size_t e, size_t f, cl_uint g,       \
       const cl_event *h, cl_event *event),                                                        \
      (a, b, c, d, e, f, g, h, event))                                                             \
    X(NEW_MAPPING, MUST_FAIL, clEnqueueMapBuffer,                                                  \
      (cl_command_queue a, cl_mem b, cl_bool c, cl_map_flags d, size_t e, size_t f, cl_uint g,     \
       const cl_event *h, cl_event *event, cl_int *error),                                         \
      (a, b, c, d, e, f, g, h, event, error))                                                      \
    X(ENQUEUE, MUST_FAIL, clEnqueueUnmapMemObject,                                                 \
      (cl_command_queue a, cl_mem b, void *c, cl_uint d, const cl_event *e, cl_event *event),      \
      (a, b, c, d, e, event))                                                                      \
    X(ENQUEUE, MUST_FAIL, clEnqueueNDRangeKernel,                                                  \
      (cl_command_queue a, cl_kernel b, cl_uint c, const size_t *d, const size_t *e,               \
       const size_t *f, cl_uint g, const cl_event *h, cl_event *event),                            \
      (a, b, c, d, e, f, g, h, event))                                                             \
    X(ENQUEUE, MUST_FAIL, clEnqueueMarkerWithWaitList,                                             \
      (cl_command_queue a, cl_uint b, const cl_event *c, cl_event *event), (a, b, c, event))       \
    X(ENQUEUE, MUST_FAIL, clEnqueueBarrierWithWaitList,                                            \
      (cl_command_queue a, cl_uint b, const cl_event *c, cl_event *event), (a, b, c, event))

typedef void(CL_CALLBACK notify_context)(const char *, const void *, size_t, void *);
typedef void(CL_CALLBACK notify_program)(cl_program, void *);
typedef void(CL_CALLBACK notify_event)(cl_event, cl_int, void *);

/* For clattn_context_options.get_proc. A function that isn't in the list is the real one, and is
 * remembered for faulty_unwrapped(). */
void *faulty_get_proc(void *user, const char *name);

/* From now on the `call`-th call (from 1; 0: every call) of `function` fails with `error`. */
void faulty_set(const char *function, uint32_t call, cl_int error);
void faulty_clear(void);

/* From now on get_proc doesn't know `function` (NULL: knows all, "": knows none). */
void faulty_hide(const char *function);

/* From now on work doesn't succeed on the device: waiting fails, and events have failed. */
void faulty_lose_device(void);

/* Whether a call failed since faulty_set. */
bool faulty_fired(void);

/* Objects that exist: contexts, queues, memory, programs, kernels, events. The name of the first
 * kind that does into *kind (may be NULL). */
long faulty_live(const char **kind);

/* A function that clattn asked for and that has no wrapper yet; NULL: none. */
const char *faulty_unwrapped(void);

#endif
