/* A folder of a test's own on Windows: below the system's folder for such, and of another alphabet,
 * so that every test of files is one of UTF-8 as well. */
#include <criterion/criterion.h>
#include <stdio.h>

#include <windows.h>

#include <aclapi.h>

#include "place.h"

enum { WIDE = 600 };

static void widen(const char *text, wchar_t wide[WIDE])
{
    cr_assert(MultiByteToWideChar(CP_UTF8, MB_ERR_INVALID_CHARS, text, -1, wide, WIDE) > 0);
}

void place_make(char folder[PLACE_SIZE])
{
    wchar_t above[MAX_PATH + 1], wide[WIDE];
    static int number;
    cr_assert(GetTempPathW(MAX_PATH, above) > 0);
    _snwprintf(wide, WIDE, L"%lsclattn-Pr\u00fcfung-\u6ce8\u610f-%lu-%d", above,
               GetCurrentProcessId(), ++number);
    cr_assert(WideCharToMultiByte(CP_UTF8, 0, wide, -1, folder, PLACE_SIZE, NULL, NULL) > 0);
    cr_assert(CreateDirectoryW(wide, NULL), "%s can't be created", folder);
    place_open_to_others(folder, false);
}

bool place_remove(const char *folder)
{
    wchar_t wide[WIDE];
    widen(folder, wide);
    return RemoveDirectoryW(wide);
}

bool place_make_folder(const char *path)
{
    wchar_t wide[WIDE];
    widen(path, wide);
    return CreateDirectoryW(wide, NULL);
}

bool place_is_there(const char *path)
{
    wchar_t wide[WIDE];
    widen(path, wide);
    return GetFileAttributesW(wide) != INVALID_FILE_ATTRIBUTES;
}

bool place_remove_file(const char *path)
{
    wchar_t wide[WIDE];
    widen(path, wide);
    return DeleteFileW(wide);
}

static void allow(EXPLICIT_ACCESSW *entry, TRUSTEE_FORM form, void *who)
{
    memset(entry, 0, sizeof *entry);
    entry->grfAccessPermissions = GENERIC_ALL;
    entry->grfAccessMode = SET_ACCESS;
    entry->grfInheritance = SUB_CONTAINERS_AND_OBJECTS_INHERIT;
    entry->Trustee.TrusteeForm = form;
    entry->Trustee.ptstrName = who;
}

void place_open_to_others(const char *folder, bool open)
{
    wchar_t wide[WIDE];
    EXPLICIT_ACCESSW entries[2];
    unsigned char everyone[SECURITY_MAX_SID_SIZE];
    DWORD size = sizeof everyone;
    ACL *list = NULL;
    widen(folder, wide);
    cr_assert(CreateWellKnownSid(WinWorldSid, NULL, everyone, &size));
    allow(&entries[0], TRUSTEE_IS_NAME, L"CURRENT_USER");
    allow(&entries[1], TRUSTEE_IS_SID, everyone);
    cr_assert_eq(SetEntriesInAclW(open ? 2 : 1, entries, NULL, &list), ERROR_SUCCESS);
    cr_assert_eq(
        SetNamedSecurityInfoW(wide, SE_FILE_OBJECT,
                              DACL_SECURITY_INFORMATION | PROTECTED_DACL_SECURITY_INFORMATION, NULL,
                              NULL, list, NULL),
        ERROR_SUCCESS);
    LocalFree(list);
}

void place_set_variable(const char *name, const char *value)
{
    wchar_t wide_name[WIDE], wide[WIDE];
    widen(name, wide_name);
    if (value)
        widen(value, wide);
    cr_assert(SetEnvironmentVariableW(wide_name, value ? wide : NULL));
}
