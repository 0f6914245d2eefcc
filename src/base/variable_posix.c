/* Variables of the environment on POSIX systems. */
#include "base/variable.h"

#include <stdlib.h>

clattn_status clattn__variable(const clattn__env *env, const char *name, char **value)
{
    const char *found = getenv(name);
    *value = found && *found ? clattn__copy_text(env, found) : NULL;
    return !found || !*found || *value ? CLATTN_OK : CLATTN_ERR_OUT_OF_MEMORY;
}
