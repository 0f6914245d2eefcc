/* OpenCL as a program uses it that brings its own objects: functions of the library that clattn
 * opens too, a context on the first device, and a gate that holds a queue until it is opened. */
#ifndef TESTS_DEVICE_OWN_CL_H
#define TESTS_DEVICE_OWN_CL_H

#include <clattn/opencl.h>
#include <stdbool.h>

/* name, parameters; all return cl_int but those of the second list. */
#define OWN_CL_STATUS(X)                                                                           \
    X(clGetPlatformIDs, (cl_uint, cl_platform_id *, cl_uint *))                                    \
    X(clGetDeviceIDs, (cl_platform_id, cl_device_type, cl_uint, cl_device_id *, cl_uint *))        \
    X(clReleaseContext, (cl_context))                                                              \
    X(clReleaseCommandQueue, (cl_command_queue))                                                   \
    X(clReleaseMemObject, (cl_mem))                                                                \
    X(clReleaseEvent, (cl_event))                                                                  \
    X(clGetContextInfo, (cl_context, cl_context_info, size_t, void *, size_t *))                   \
    X(clGetCommandQueueInfo, (cl_command_queue, cl_command_queue_info, size_t, void *, size_t *))  \
    X(clGetMemObjectInfo, (cl_mem, cl_mem_info, size_t, void *, size_t *))                         \
    X(clGetEventInfo, (cl_event, cl_event_info, size_t, void *, size_t *))                         \
    X(clWaitForEvents, (cl_uint, const cl_event *))                                                \
    X(clSetUserEventStatus, (cl_event, cl_int))                                                    \
    X(clFlush, (cl_command_queue))                                                                 \
    X(clFinish, (cl_command_queue))                                                                \
    X(clEnqueueMarkerWithWaitList, (cl_command_queue, cl_uint, const cl_event *, cl_event *))      \
    X(clEnqueueBarrierWithWaitList, (cl_command_queue, cl_uint, const cl_event *, cl_event *))     \
    X(clEnqueueWriteBuffer, (cl_command_queue, cl_mem, cl_bool, size_t, size_t, const void *,      \
                             cl_uint, const cl_event *, cl_event *))                               \
    X(clEnqueueReadBuffer, (cl_command_queue, cl_mem, cl_bool, size_t, size_t, void *, cl_uint,    \
                            const cl_event *, cl_event *))
#define OWN_CL_OBJECT(X)                                                                           \
    X(cl_context, clCreateContext,                                                                 \
      (const cl_context_properties *, cl_uint, const cl_device_id *,                               \
       void(CL_CALLBACK *)(const char *, const void *, size_t, void *), void *, cl_int *))         \
    X(cl_command_queue, clCreateCommandQueue,                                                      \
      (cl_context, cl_device_id, cl_command_queue_properties, cl_int *))                           \
    X(cl_mem, clCreateBuffer, (cl_context, cl_mem_flags, size_t, void *, cl_int *))                \
    X(cl_event, clCreateUserEvent, (cl_context, cl_int *))

typedef struct own_cl {
    cl_platform_id platform;
    cl_device_id device;
    cl_context context;
#define OWN_CL_FIELD(name, parameters)          cl_int(CL_API_CALL *name) parameters;
#define OWN_CL_FIELD_OBJECT(type, name, params) type(CL_API_CALL *name) params;
    OWN_CL_STATUS(OWN_CL_FIELD)
    OWN_CL_OBJECT(OWN_CL_FIELD_OBJECT)
#undef OWN_CL_FIELD
#undef OWN_CL_FIELD_OBJECT
} own_cl;

/* Fails the test where OpenCL or a device is missing. */
void own_cl_open(own_cl *cl);
void own_cl_close(own_cl *cl);

/* References that others hold as well: 1 for the caller's alone. */
cl_uint own_cl_context_references(const own_cl *cl);
cl_uint own_cl_queue_references(const own_cl *cl, cl_command_queue queue);
cl_uint own_cl_memory_references(const own_cl *cl, cl_mem memory);

/* Whether nobody but the caller holds `memory`, or stops holding it within 10 s: a driver's thread
 * may give a command's memory back only after it has woken who waits for the command. */
bool own_cl_memory_is_free(const own_cl *cl, cl_mem memory);

/* A queue of the caller with a clattn context and dispatcher on it. */
typedef struct own_lane {
    own_cl cl;
    cl_command_queue queue;
    cl_event gate; /* NULL: nothing is held */
    clattn_context *context;
    clattn_dispatcher *dispatcher;
} own_lane;

void own_lane_open(own_lane *lane, cl_command_queue_properties properties);
/* Opens the gate and gives everything back. */
void own_lane_close(own_lane *lane);

/* Nothing that is enqueued from now on begins before own_lane_go; with an error (negative) for a
 * status it fails instead. */
void own_lane_hold(own_lane *lane);
void own_lane_go(own_lane *lane, cl_int status);

#endif
