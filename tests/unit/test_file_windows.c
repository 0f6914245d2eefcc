/* Files and folders of Windows: long paths, both slashes, devices, readers in the way of a writer,
 * and where the cache is. test_file.c has what holds on every system, with names that are not
 * ASCII.
 */
#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

#include "base/variable.h"
#include "base/windows.h"
#include "file_rig.h"

TestSuite(file_windows, .init = file_begin, .fini = file_finish);

static HANDLE open_wide(const char *path, DWORD sharing)
{
    wchar_t wide[600];
    cr_assert(MultiByteToWideChar(CP_UTF8, 0, path, -1, wide, 600) > 0);
    return CreateFileW(wide, GENERIC_READ, sharing, NULL, OPEN_EXISTING, 0, NULL);
}

/* What has been written lies under the right name, as others see it. */
Test(file_windows, names_are_utf_8)
{
    snprintf(file_path, sizeof file_path, "%s/\xc3\xbc\xe6\xb3\xa8\xf0\x9f\x98\x80", file_folder);
    file_put("text");
    const HANDLE file = open_wide(file_path, FILE_SHARE_READ);
    cr_assert(file != INVALID_HANDLE_VALUE);
    CloseHandle(file);
    file_expect_content("text");
    cr_assert_eq(file_count(), 1);
}

Test(file_windows, both_slashes)
{
    char *found = strrchr(file_path, '/');
    file_put("text");
    *found = '\\';
    file_expect_content("text");
}

static void remove_long(const char *path)
{
    wchar_t *wide = clattn__wide_path(&file_env, path);
    cr_assert(wide && RemoveDirectoryW(wide));
    clattn__free(&file_env, wide);
}

Test(file_windows, longer_than_max_path)
{
    char deep[PLACE_PATH + 400], above[PLACE_PATH + 400], file[PLACE_PATH + 500];
    char *data = NULL;
    size_t size = 0;
    snprintf(above, sizeof above, "%s/%0150d", file_folder, 1);
    snprintf(deep, sizeof deep, "%s/%0150d", above, 2);
    snprintf(file, sizeof file, "%s/file", deep);
    cr_assert_eq(clattn__folder_make_private(&file_env, deep), CLATTN_OK, "%s", clattn__message());
    cr_assert_eq(clattn__file_write_atomic(&file_env, file, "long", 4), CLATTN_OK, "%s",
                 clattn__message());
    cr_assert_eq(clattn__file_read(&file_env, file, 4, &data, &size), CLATTN_OK, "%s",
                 clattn__message());
    cr_assert_str_eq(data, "long");
    clattn__free(&file_env, data);
    cr_assert(clattn__file_exists(&file_env, file));
    cr_assert(clattn__file_remove(&file_env, file));
    cr_assert_not(clattn__file_exists(&file_env, file));
    remove_long(deep);
    remove_long(above);
}

Test(file_windows, devices_are_no_files)
{
    static const char *const devices[] = {"NUL", "\\\\.\\NUL"};
    char *data;
    size_t size;
    for (int i = 0; i < 2; i++)
        file_expect_failure(clattn__file_read(&file_env, devices[i], 100, &data, &size),
                            devices[i]);
}

/* A reader who shares is no hindrance; one who doesn't is, and the old file stays. */
Test(file_windows, a_reader_in_the_way)
{
    file_put("old");
    HANDLE reader = open_wide(file_path, FILE_SHARE_READ);
    cr_assert(reader != INVALID_HANDLE_VALUE);
    file_expect_failure(clattn__file_write_atomic(&file_env, file_path, "new", 3), file_path);
    CloseHandle(reader);
    file_expect_content("old");
    cr_assert_eq(file_count(), 1, "a temporary file is left");
    file_put("new");
    file_expect_content("new");
}

static DWORD WINAPI close_later(void *handle)
{
    Sleep(30);
    CloseHandle(handle);
    return 0;
}

Test(file_windows, a_reader_who_leaves)
{
    file_put("old");
    const HANDLE reader = open_wide(file_path, FILE_SHARE_READ);
    const HANDLE thread = CreateThread(NULL, 0, close_later, reader, 0, NULL);
    cr_assert(thread != NULL);
    file_put("new");
    file_expect_content("new");
    WaitForSingleObject(thread, INFINITE);
    CloseHandle(thread);
}

static const struct {
    const char *variable, *expected; /* NULL: not set; none */
} homes[] = {
    {"C:\\Users\\J\xc3\xb6rg\\AppData\\Local", "C:\\Users\\J\xc3\xb6rg\\AppData\\Local\\clattn"},
    {"", NULL},
    {NULL, NULL},
};

Test(file_windows, default_cache_folder)
{
    for (size_t i = 0; i < sizeof homes / sizeof homes[0]; i++) {
        char *found = NULL;
        place_set_variable("LOCALAPPDATA", homes[i].variable);
        cr_assert_eq(clattn__default_cache_dir(&file_env, &found), CLATTN_OK);
        if (homes[i].expected)
            cr_assert_str_eq(found, homes[i].expected);
        else
            cr_assert_null(found, "row %d: %s", (int)i, found);
        clattn__free(&file_env, found);
    }
}

/* Variables of any length and alphabet. */
Test(file_windows, variables)
{
    static char large[20000];
    static wchar_t wide[10000];
    char *found = NULL;
    for (size_t i = 0; i + 3 < sizeof large; i += 3)
        memcpy(large + i, "\xe6\xb3\xa8", 3);
    cr_assert(MultiByteToWideChar(CP_UTF8, 0, large, -1, wide, 10000) > 0);
    cr_assert(SetEnvironmentVariableW(L"CLATTN_TEST", wide));
    cr_assert_eq(clattn__variable(&file_env, "CLATTN_TEST", &found), CLATTN_OK);
    cr_assert(found && strcmp(found, large) == 0);
    clattn__free(&file_env, found);
    cr_assert_eq(clattn__variable(&file_env, "CLATTN_NO_SUCH_VARIABLE", &found), CLATTN_OK);
    cr_assert_null(found);
}
