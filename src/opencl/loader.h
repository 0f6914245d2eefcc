/* OpenCL at run time: one list of functions makes the table, its types and its loading. Private to
 * src/opencl and src/api/interop.c. */
#ifndef CLATTN_OPENCL_LOADER_H
#define CLATTN_OPENCL_LOADER_H

#include <CL/cl.h>
#include <CL/cl_icd.h> /* the types cl_api_* */

#include "base/env.h"

/* Functions of OpenCL 1.2: without one of them the library is no use. */
#define CLATTN__CL_REQUIRED(X)                                                                     \
    X(clGetPlatformIDs)                                                                            \
    X(clGetPlatformInfo)                                                                           \
    X(clGetDeviceIDs)                                                                              \
    X(clGetDeviceInfo)                                                                             \
    X(clCreateContext)                                                                             \
    X(clRetainContext)                                                                             \
    X(clReleaseContext)                                                                            \
    X(clGetContextInfo)                                                                            \
    X(clCreateCommandQueue)                                                                        \
    X(clRetainCommandQueue)                                                                        \
    X(clReleaseCommandQueue)                                                                       \
    X(clGetCommandQueueInfo)                                                                       \
    X(clCreateBuffer)                                                                              \
    X(clRetainMemObject)                                                                           \
    X(clReleaseMemObject)                                                                          \
    X(clGetMemObjectInfo)                                                                          \
    X(clCreateProgramWithSource)                                                                   \
    X(clCreateProgramWithBinary)                                                                   \
    X(clReleaseProgram)                                                                            \
    X(clBuildProgram)                                                                              \
    X(clGetProgramInfo)                                                                            \
    X(clGetProgramBuildInfo)                                                                       \
    X(clCreateKernel)                                                                              \
    X(clReleaseKernel)                                                                             \
    X(clSetKernelArg)                                                                              \
    X(clEnqueueNDRangeKernel)                                                                      \
    X(clEnqueueReadBuffer)                                                                         \
    X(clEnqueueWriteBuffer)                                                                        \
    X(clEnqueueFillBuffer)                                                                         \
    X(clEnqueueMapBuffer)                                                                          \
    X(clEnqueueUnmapMemObject)                                                                     \
    X(clEnqueueMarkerWithWaitList)                                                                 \
    X(clWaitForEvents)                                                                             \
    X(clGetEventInfo)                                                                              \
    X(clRetainEvent)                                                                               \
    X(clReleaseEvent)                                                                              \
    X(clFlush)                                                                                     \
    X(clFinish)

/* Functions that only some uses need, of later versions or of extensions: NULL where the library
 * has none. */
#define CLATTN__CL_OPTIONAL(X)                                                                     \
    X(clCreateSubDevices)                                                                          \
    X(clRetainDevice)                                                                              \
    X(clReleaseDevice)                                                                             \
    X(clGetEventProfilingInfo)

typedef struct clattn__cl {
#define CLATTN__CL_MEMBER(name) cl_api_##name name;
    CLATTN__CL_REQUIRED(CLATTN__CL_MEMBER)
    CLATTN__CL_OPTIONAL(CLATTN__CL_MEMBER)
#undef CLATTN__CL_MEMBER
} clattn__cl;

/* Fills the table by env->get_proc, or from the system's library, which stays loaded. */
clattn_status clattn__cl_load(const clattn__env *env, clattn__cl *cl);

/* The system's part (loader_posix.c, loader_windows.c): opens a library by name, and finds a
 * function in it. NULL where there is none. */
void *clattn__library_open(const clattn__env *env, const char *name);
void *clattn__library_find(void *library, const char *name);

#endif
