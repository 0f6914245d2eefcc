/* What the library can say about itself: version, statuses, kernels, the last failure. */
#include <clattn/clattn.h>

#include "base/status.h"
#include "kernels/registry.h"

#define TEXT_OF(number)                   #number
#define VERSION_TEXT(major, minor, patch) TEXT_OF(major) "." TEXT_OF(minor) "." TEXT_OF(patch)

uint32_t clattn_version(void)
{
    return (uint32_t)CLATTN_VERSION_MAJOR << 16 | CLATTN_VERSION_MINOR << 8 | CLATTN_VERSION_PATCH;
}

const char *clattn_version_string(void)
{
    return VERSION_TEXT(CLATTN_VERSION_MAJOR, CLATTN_VERSION_MINOR, CLATTN_VERSION_PATCH);
}

static const struct {
    clattn_status status;
    const char *text;
} statuses[] = {
#define STATUS_ROW(name, value, text) {name, text},
    CLATTN_STATUS_LIST(STATUS_ROW)
#undef STATUS_ROW
};

const char *clattn_status_string(clattn_status status)
{
    for (size_t i = 0; i < sizeof statuses / sizeof statuses[0]; i++)
        if (statuses[i].status == status)
            return statuses[i].text;
    return "not a status of clattn";
}

const char *clattn_error_message(void)
{
    return clattn__message();
}

uint32_t clattn_kernel_count(void)
{
    return clattn__kernel_count();
}

const char *clattn_kernel_name(uint32_t index)
{
    return index < clattn__kernel_count() ? clattn__kernel_get(index)->name : NULL;
}
