/* Texts, paths and errors on Windows. */
#include "base/windows.h"

#include <stdio.h>
#include <string.h>

wchar_t *clattn__to_wide(const clattn__env *env, const char *text)
{
    const int size = MultiByteToWideChar(CP_UTF8, 0, text, -1, NULL, 0);
    wchar_t *wide = clattn__alloc_array(env, (size_t)size + 1, sizeof *wide);
    if (wide)
        MultiByteToWideChar(CP_UTF8, 0, text, -1, wide, size);
    return wide;
}

char *clattn__from_wide(const clattn__env *env, const wchar_t *wide)
{
    const int size = WideCharToMultiByte(CP_UTF8, 0, wide, -1, NULL, 0, NULL, NULL);
    char *text = clattn__alloc_array(env, (size_t)size + 1, 1);
    if (text)
        WideCharToMultiByte(CP_UTF8, 0, wide, -1, text, size, NULL, NULL);
    return text;
}

/* What comes before an absolute path that may be long: \\server\share\... has a form of its own. */
static const struct {
    const wchar_t *begins, *prefix;
    size_t skipped; /* characters of the path that the prefix replaces */
} long_forms[] = {
    {L"\\\\?\\", L"", 0},
    {L"\\\\.\\", L"", 0},
    {L"\\\\", L"\\\\?\\UNC\\", 2},
    {L"", L"\\\\?\\", 0},
};

static wchar_t *with_prefix(const clattn__env *env, const wchar_t *path)
{
    size_t form = 0;
    while (wcsncmp(path, long_forms[form].begins, wcslen(long_forms[form].begins)) != 0)
        form++;
    const wchar_t *prefix = long_forms[form].prefix, *rest = path + long_forms[form].skipped;
    const size_t before = wcslen(prefix), after = wcslen(rest) + 1;
    wchar_t *made = clattn__alloc_array(env, before + after, sizeof *made);
    if (made) {
        memcpy(made, prefix, before * sizeof *made);
        memcpy(made + before, rest, after * sizeof *made);
    }
    return made;
}

/* Folders have to leave room for a name of 12 characters. */
#define SHORT_PATH (MAX_PATH - 12)

wchar_t *clattn__wide_path(const clattn__env *env, const char *path)
{
    wchar_t *given = clattn__to_wide(env, path), *whole = NULL, *made = NULL;
    for (wchar_t *at = given; at && *at; at++)
        if (*at == L'/')
            *at = L'\\'; /* paths with a prefix must not have the other one */
    const DWORD size = given ? GetFullPathNameW(given, 0, NULL, NULL) : 0;
    if (size < SHORT_PATH)
        return given; /* the system's own rules: "" and odd names fail where they are used */
    whole = clattn__alloc_array(env, size, sizeof *whole);
    if (whole && GetFullPathNameW(given, size, whole, NULL) < size)
        made = with_prefix(env, whole);
    clattn__free(env, whole);
    clattn__free(env, given);
    return made;
}

clattn_status clattn__fail_windows(const char *path, const char *what, DWORD error)
{
    wchar_t wide[256] = L"";
    char text[512] = "";
    DWORD size = FormatMessageW(FORMAT_MESSAGE_FROM_SYSTEM | FORMAT_MESSAGE_IGNORE_INSERTS, NULL,
                                error, 0, wide, 255, NULL);
    while (size && (wide[size - 1] == L'\n' || wide[size - 1] == L'\r' || wide[size - 1] == L'.'))
        wide[--size] = 0;
    WideCharToMultiByte(CP_UTF8, 0, wide, -1, text, (int)sizeof text - 1, NULL, NULL);
    return clattn__fail(CLATTN_ERR_IO, "%s: %s: %s (error %lu)", path, what, text,
                        (unsigned long)error);
}
