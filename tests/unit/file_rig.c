/* What the tests of files share. */
#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

#include "file_rig.h"

clattn__env file_env;
char file_folder[PLACE_SIZE], file_path[PLACE_PATH];

void file_begin(void)
{
    cr_assert_eq(clattn__env_init(&file_env, NULL), CLATTN_OK);
    place_make(file_folder);
    snprintf(file_path, sizeof file_path, "%s/file", file_folder);
}

clattn_status file_remove_one(void *user, const char *name)
{
    char below[PLACE_PATH + 300];
    (void)user;
    snprintf(below, sizeof below, "%s/%s", file_folder, name);
    if (!place_remove_file(below))
        place_remove(below);
    return CLATTN_OK;
}

void file_finish(void)
{
    place_open_to_others(file_folder, false);
    cr_assert_eq(clattn__folder_list(&file_env, file_folder, file_remove_one, NULL), CLATTN_OK);
    cr_assert(place_remove(file_folder), "something is left in %s", file_folder);
    clattn__env_finish(&file_env);
}

void file_put(const char *text)
{
    cr_assert_eq(clattn__file_write_atomic(&file_env, file_path, text, strlen(text)), CLATTN_OK,
                 "%s", clattn__message());
}

void file_expect_failure(clattn_status status, const char *says)
{
    cr_assert_eq(status, CLATTN_ERR_IO, "%s instead of: %s", clattn_status_string(status), says);
    cr_assert(strstr(clattn__message(), says), "%s instead of: %s", clattn__message(), says);
}

void file_expect_not_private(const char *which, const char *says)
{
    file_expect_failure(clattn__folder_check_private(&file_env, which), says);
    file_expect_failure(clattn__folder_make_private(&file_env, which), says);
}

void file_expect_content(const char *expected)
{
    char *data = NULL;
    size_t size = 0;
    cr_assert_eq(clattn__file_read(&file_env, file_path, 1 << 20, &data, &size), CLATTN_OK, "%s",
                 clattn__message());
    cr_assert_eq(size, strlen(expected));
    cr_assert_str_eq(data, expected); /* it ends with 0 */
    clattn__free(&file_env, data);
}

static clattn_status count(void *user, const char *name)
{
    (void)name;
    ++*(int *)user;
    return CLATTN_OK;
}

int file_count(void)
{
    int found = 0;
    cr_assert_eq(clattn__folder_list(&file_env, file_folder, count, &found), CLATTN_OK);
    return found;
}
