/* OpenCL's error codes: names, and the statuses they become. Private to src/opencl. */
#ifndef CLATTN_OPENCL_CL_ERROR_H
#define CLATTN_OPENCL_CL_ERROR_H

#include <CL/cl.h>

#include "base/status.h"

/* "CL_OUT_OF_RESOURCES"; "an unknown error" for codes that aren't known. */
const char *clattn__cl_error_name(cl_int error);

/* Fails with "function: CL_NAME (code)" and the status that suits the code. */
clattn_status clattn__cl_fail(cl_int error, const char *function);

/* Leaves the function unless an OpenCL call was successful. */
#define CLATTN__CL_TRY(cl, function, ...)                                                          \
    do {                                                                                           \
        const cl_int cl_try_error = (cl)->function(__VA_ARGS__);                                   \
        if (cl_try_error != CL_SUCCESS)                                                            \
            return clattn__cl_fail(cl_try_error, #function);                                       \
    } while (0)

#endif
