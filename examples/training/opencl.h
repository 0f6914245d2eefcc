/* OpenCL's functions, from the library that is found at run time: the same one that clattn finds,
 * so that the two can share objects. A program that is linked with OpenCL needs none of this. */
#ifndef EXAMPLES_TRAINING_OPENCL_H
#define EXAMPLES_TRAINING_OPENCL_H

#include <clattn/opencl.h>

/* name, parameters; these return cl_int, those of the second list what they make. */
#define OPENCL_STATUS(X)                                                                           \
    X(clGetPlatformIDs, (cl_uint, cl_platform_id *, cl_uint *))                                    \
    X(clGetPlatformInfo, (cl_platform_id, cl_platform_info, size_t, void *, size_t *))             \
    X(clGetDeviceIDs, (cl_platform_id, cl_device_type, cl_uint, cl_device_id *, cl_uint *))        \
    X(clGetDeviceInfo, (cl_device_id, cl_device_info, size_t, void *, size_t *))                   \
    X(clReleaseContext, (cl_context))                                                              \
    X(clReleaseCommandQueue, (cl_command_queue))                                                   \
    X(clReleaseMemObject, (cl_mem))                                                                \
    X(clReleaseProgram, (cl_program))                                                              \
    X(clReleaseKernel, (cl_kernel))                                                                \
    X(clBuildProgram, (cl_program, cl_uint, const cl_device_id *, const char *,                    \
                       void(CL_CALLBACK *)(cl_program, void *), void *))                           \
    X(clGetProgramBuildInfo,                                                                       \
      (cl_program, cl_device_id, cl_program_build_info, size_t, void *, size_t *))                 \
    X(clSetKernelArg, (cl_kernel, cl_uint, size_t, const void *))                                  \
    X(clEnqueueNDRangeKernel,                                                                      \
      (cl_command_queue, cl_kernel, cl_uint, const size_t *, const size_t *, const size_t *,       \
       cl_uint, const cl_event *, cl_event *))                                                     \
    X(clEnqueueReadBuffer, (cl_command_queue, cl_mem, cl_bool, size_t, size_t, void *, cl_uint,    \
                            const cl_event *, cl_event *))                                         \
    X(clEnqueueWriteBuffer, (cl_command_queue, cl_mem, cl_bool, size_t, size_t, const void *,      \
                             cl_uint, const cl_event *, cl_event *))
#define OPENCL_OBJECT(X)                                                                           \
    X(cl_context, clCreateContext,                                                                 \
      (const cl_context_properties *, cl_uint, const cl_device_id *,                               \
       void(CL_CALLBACK *)(const char *, const void *, size_t, void *), void *, cl_int *))         \
    X(cl_command_queue, clCreateCommandQueue,                                                      \
      (cl_context, cl_device_id, cl_command_queue_properties, cl_int *))                           \
    X(cl_mem, clCreateBuffer, (cl_context, cl_mem_flags, size_t, void *, cl_int *))                \
    X(cl_program, clCreateProgramWithSource,                                                       \
      (cl_context, cl_uint, const char **, const size_t *, cl_int *))                              \
    X(cl_kernel, clCreateKernel, (cl_program, const char *, cl_int *))

typedef struct opencl {
    void *library;
#define OPENCL_FIELD(name, parameters)              cl_int(CL_API_CALL *name) parameters;
#define OPENCL_FIELD_OBJECT(type, name, parameters) type(CL_API_CALL *name) parameters;
    OPENCL_STATUS(OPENCL_FIELD)
    OPENCL_OBJECT(OPENCL_FIELD_OBJECT)
#undef OPENCL_FIELD
#undef OPENCL_FIELD_OBJECT
} opencl;

/* Opens CLATTN_OPENCL_LIBRARY, or the system's library. The program ends with a line on stderr
 * where there is none. It stays open to the program's end, as drivers want it. */
void opencl_open(opencl *cl);

/* A clattn_get_proc_fn; `user` is the library's handle. */
void *opencl_function(void *user, const char *name);

#endif
