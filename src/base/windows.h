/* What the Windows files of all rooms share: the system's header, and texts, which are UTF-8 in
 * clattn and UTF-16 in Windows. */
#ifndef CLATTN_BASE_WINDOWS_H
#define CLATTN_BASE_WINDOWS_H

#define WIN32_LEAN_AND_MEAN
#define NOMINMAX
#include <windows.h>

#include "base/env.h"

/* Copies in the other form, owned. NULL without memory (the message is set). A byte that is not
 * UTF-8, or half of a surrogate pair, becomes U+FFFD. */
wchar_t *clattn__to_wide(const clattn__env *env, const char *text);
char *clattn__from_wide(const clattn__env *env, const wchar_t *wide);

/* A path for the system's functions, owned: absolute, and with the prefix that lets it be longer
 * than MAX_PATH where it has to. NULL without memory. */
wchar_t *clattn__wide_path(const clattn__env *env, const char *path);

/* CLATTN_ERR_IO with "path: what: the system's sentence for `error`". */
clattn_status clattn__fail_windows(const char *path, const char *what, DWORD error);

#endif
