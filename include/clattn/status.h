/* clattn: versions, statuses, the sentence of the last failure. Part of clattn/clattn.h. */
#ifndef CLATTN_STATUS_H
#define CLATTN_STATUS_H

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define CLATTN_VERSION_MAJOR 0
#define CLATTN_VERSION_MINOR 1
#define CLATTN_VERSION_PATCH 0

#if defined(_WIN32) && defined(CLATTN_BUILD_SHARED)
#define CLATTN_API __declspec(dllexport)
#elif defined(__GNUC__)
#define CLATTN_API __attribute__((visibility("default")))
#else
#define CLATTN_API
#endif

/* ------------------------------------------------------------------------------------------------
 * Status
 * --------------------------------------------------------------------------------------------- */

/* One list makes the values and their texts. Values never change; new ones are appended. */
#define CLATTN_STATUS_LIST(X)                                                                      \
    X(CLATTN_OK, 0, "success")                                                                     \
    X(CLATTN_PENDING, 1, "not finished yet")                                                       \
    X(CLATTN_ERR_ARGUMENT, -1, "an argument is not valid")                                         \
    X(CLATTN_ERR_UNSUPPORTED, -2, "valid, but not supported by this version or device")            \
    X(CLATTN_ERR_NO_OPENCL, -3, "no OpenCL library was found")                                     \
    X(CLATTN_ERR_NO_PLATFORM, -4, "OpenCL has no platform (no driver is installed)")               \
    X(CLATTN_ERR_NO_DEVICE, -5, "no OpenCL device was found that fits")                            \
    X(CLATTN_ERR_OUT_OF_MEMORY, -6, "out of memory, on the host or on the device")                 \
    X(CLATTN_ERR_BUILD, -7, "an OpenCL program did not build")                                     \
    X(CLATTN_ERR_DEVICE_LOST, -8, "the device failed while it executed")                           \
    X(CLATTN_ERR_TIMEOUT, -9, "the time allowed has passed")                                       \
    X(CLATTN_ERR_BUSY, -10, "in use, or a queue is full")                                          \
    X(CLATTN_ERR_WRONG_PROCESS, -11, "the object was made before fork() in the parent process")    \
    X(CLATTN_ERR_IO, -12, "a file could not be read or written")                                   \
    X(CLATTN_ERR_OPENCL, -13, "OpenCL reported an error")                                          \
    X(CLATTN_ERR_INTERNAL, -14, "a defect in clattn")                                              \
    X(CLATTN_ERR_CANCELLED, -15, "cancelled before it began")

typedef enum clattn_status {
#define CLATTN_STATUS_ENUM(name, value, text) name = value,
    CLATTN_STATUS_LIST(CLATTN_STATUS_ENUM)
#undef CLATTN_STATUS_ENUM
} clattn_status;

/* A fixed sentence for a status; never NULL, also for values that don't exist. Any thread. */
CLATTN_API const char *clattn_status_string(clattn_status status);

/* What went wrong in the last call that failed on the calling thread: which argument, what was
 * found, what is expected. "" before the first failure. Valid until the thread's next failure. */
CLATTN_API const char *clattn_error_message(void);

/* (major << 16 | minor << 8 | patch) of the library that runs, and the same as text "0.1.0". */
CLATTN_API uint32_t clattn_version(void);
CLATTN_API const char *clattn_version_string(void);

#ifdef __cplusplus
}
#endif

#endif
