/* Variables of the environment on Windows. The system's own table is asked and not the C library's,
 * which is of the code page, and another one for each C library in the process. */
#include "base/variable.h"
#include "base/windows.h"

clattn_status clattn__variable(const clattn__env *env, const char *name, char **value)
{
    wchar_t *wide_name = clattn__to_wide(env, name), *found = NULL;
    clattn_status status = wide_name ? CLATTN_OK : CLATTN_ERR_OUT_OF_MEMORY;
    char *made = NULL;
    DWORD size = wide_name ? GetEnvironmentVariableW(wide_name, NULL, 0) : 0, got = size;
    /* Another thread may change it between the two calls: then again. */
    while (status == CLATTN_OK && size > 1 && got >= size) {
        size = got + 1;
        clattn__free(env, found);
        found = clattn__alloc_array(env, size, sizeof *found);
        if (!found)
            status = CLATTN_ERR_OUT_OF_MEMORY;
        else
            got = GetEnvironmentVariableW(wide_name, found, size);
    }
    if (found && *found) {
        made = clattn__from_wide(env, found);
        status = made ? status : CLATTN_ERR_OUT_OF_MEMORY;
    }
    clattn__free(env, wide_name);
    clattn__free(env, found);
    if (status == CLATTN_OK)
        *value = made;
    return status;
}
