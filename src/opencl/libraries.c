/* Names of the OpenCL library. A name without a folder is looked for by the system's own rules. */
#include "opencl/libraries.h"

static const char *const linux_names[] = {"libOpenCL.so.1", "libOpenCL.so", NULL};

/* Where an application's manifest has them as uses-native-library, names suffice; programs outside
 * an application need paths. Pixel phones and cars have a library of their own. */
#define ANDROID_NAMES(lib)                                                                         \
    {                                                                                              \
        "libOpenCL.so", "libOpenCL-pixel.so", "libOpenCL-car.so", "/vendor/" lib "/libOpenCL.so",  \
            "/system/vendor/" lib "/libOpenCL.so", "/system/" lib "/libOpenCL.so",                 \
            "/vendor/" lib "/libOpenCL_adreno.so", "/vendor/" lib "/egl/libGLES_mali.so",          \
            "/vendor/" lib "/libPVROCL.so", NULL                                                   \
    }
static const char *const android_names_64[] = ANDROID_NAMES("lib64");
static const char *const android_names_32[] = ANDROID_NAMES("lib");

/* The framework is in macOS; the others are of package managers. */
static const char *const macos_names[] = {
    "/System/Library/Frameworks/OpenCL.framework/OpenCL",
    "libOpenCL.1.dylib",
    "/opt/homebrew/lib/libOpenCL.1.dylib",
    "/usr/local/lib/libOpenCL.1.dylib",
    "/opt/local/lib/libOpenCL.1.dylib",
    NULL,
};

static const char *const windows_names[] = {"OpenCL.dll", NULL};

enum { LINUX, ANDROID_64, ANDROID_32, MACOS, WINDOWS, SYSTEMS };

const clattn__libraries clattn__all_libraries[] = {
    [LINUX] = {"Linux and BSD", linux_names,
               "install it with your graphics driver, or for the CPU on Debian and Ubuntu: apt "
               "install ocl-icd-libopencl1 pocl-opencl-icd"},
    [ANDROID_64] = {"Android, 64 bits", android_names_64,
                    "it comes with the device, if at all; name libOpenCL.so as uses-native-library "
                    "in the application's manifest"},
    [ANDROID_32] = {"Android, 32 bits", android_names_32,
                    "it comes with the device, if at all; name libOpenCL.so as uses-native-library "
                    "in the application's manifest"},
    [MACOS] = {"macOS", macos_names, "it is part of macOS; PoCL can be installed besides"},
    [WINDOWS] = {"Windows", windows_names,
                 "install your graphics driver, or a runtime for the CPU"},
};
const size_t clattn__all_libraries_count = SYSTEMS;

const clattn__libraries *clattn__libraries_here(void)
{
#if defined(_WIN32)
    return &clattn__all_libraries[WINDOWS];
#elif defined(__APPLE__)
    return &clattn__all_libraries[MACOS];
#elif defined(__ANDROID__)
    return &clattn__all_libraries[sizeof(void *) == 8 ? ANDROID_64 : ANDROID_32];
#else
    return &clattn__all_libraries[LINUX];
#endif
}
