/* Variables of the process's environment, which is read here and never changed. One implementation
 * a system: variable_posix.c, variable_windows.c. */
#ifndef CLATTN_BASE_VARIABLE_H
#define CLATTN_BASE_VARIABLE_H

#include "base/env.h"

/* A copy of the variable in *value (owned), in UTF-8 on Windows; NULL where it is not set or empty.
 * CLATTN_ERR_OUT_OF_MEMORY. */
clattn_status clattn__variable(const clattn__env *env, const char *name, char **value);

#endif
