/* Shared libraries on Windows. */
#include <string.h>

#include "base/windows.h"
#include "opencl/loader.h"

/* Whether a name has a folder: C:\..., \\server\..., dir\x.dll. */
static bool has_folder(const wchar_t *name)
{
    return wcspbrk(name, L"\\/:") != NULL;
}

/* Looked for beside the program and where the system keeps its own, never in the current folder or
 * along PATH, where anyone may have put a file of this name. A named file's own needs may lie
 * beside it. Without the system's boxes that tell a user about missing files. */
void *clattn__library_open(const clattn__env *env, const char *name)
{
    wchar_t *given = clattn__to_wide(env, name), *wide = NULL;
    if (given)
        wide = has_folder(given) ? clattn__wide_path(env, name) : clattn__to_wide(env, name);
    HMODULE library = NULL;
    if (wide) {
        DWORD before = 0;
        const DWORD beside = has_folder(given) ? LOAD_LIBRARY_SEARCH_DLL_LOAD_DIR : 0;
        SetThreadErrorMode(SEM_FAILCRITICALERRORS | SEM_NOOPENFILEERRORBOX, &before);
        library = LoadLibraryExW(wide, NULL, LOAD_LIBRARY_SEARCH_DEFAULT_DIRS | beside);
        SetThreadErrorMode(before, NULL);
    }
    clattn__free(env, wide);
    clattn__free(env, given);
    return library;
}

void *clattn__library_find(void *library, const char *name)
{
    const FARPROC address = GetProcAddress(library, name);
    void *found;
    _Static_assert(sizeof found == sizeof address, "functions have addresses like data");
    memcpy(&found, &address, sizeof found);
    return found;
}
