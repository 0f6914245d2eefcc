/* Opening a device for a command, and what to say where that fails. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tool/commands.h"

int device_failure(const char *device, clattn_status status)
{
    const char *what = "OpenCL";
    if (status == CLATTN_ERR_NO_DEVICE && device)
        what = "--device";
    else if (status == CLATTN_ERR_NO_DEVICE && getenv("CLATTN_DEVICE"))
        what = "CLATTN_DEVICE";
    else if (status == CLATTN_ERR_NO_OPENCL && getenv("CLATTN_OPENCL_LIBRARY"))
        what = "CLATTN_OPENCL_LIBRARY";
    const char *message = clattn_error_message();
    static const char prefix[] = "device: "; /* `what` says it already */
    if (strncmp(message, prefix, sizeof prefix - 1) == 0)
        message += sizeof prefix - 1;
    return failure(what, "%s", message);
}

bool open_context(const char *device, const char *kernel, clattn_context **context, int *status)
{
    clattn_context_options options;
    clattn_context_options_init(&options);
    options.device = device;
    options.kernel = kernel;
    const clattn_status result = clattn_context_create(&options, context);
    if (result == CLATTN_OK)
        return true;
    *status = device_failure(device, result);
    return false;
}

int check_kernel(const char *name)
{
    char known[512] = "";
    if (!name)
        return EXIT_RAN;
    for (uint32_t i = 0; i < clattn_kernel_count(); i++) {
        if (strcmp(name, clattn_kernel_name(i)) == 0)
            return EXIT_RAN;
        const size_t at = strlen(known);
        snprintf(known + at, sizeof known - at, "%s%s", at ? ", " : "", clattn_kernel_name(i));
    }
    return usage_error("--kernel", "'%s' is none of: %s", name, known);
}
