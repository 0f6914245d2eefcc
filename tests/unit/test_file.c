/* Files and folders on every system: whole or not at all, private or not used, and a sentence that
 * names the path for each failure. test_file_posix.c and test_file_windows.c have what is special.
 */
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "file_rig.h"

TestSuite(file, .init = file_begin, .fini = file_finish);

/* --- reading and writing ---------------------------------------------------------------------- */

Test(file, what_is_written_is_read)
{
    file_put("some text");
    file_expect_content("some text");
    file_put("");
    file_expect_content("");
    file_put("shorter than before");
    file_put("x");
    file_expect_content("x");
}

Test(file, any_bytes_and_a_large_file)
{
    enum { SIZE = 3000000 };
    unsigned char *bytes = malloc(SIZE);
    char *data = NULL;
    size_t size = 0;
    cr_assert_not_null(bytes);
    for (int i = 0; i < SIZE; i++)
        bytes[i] = (unsigned char)(i * 7 + i / 256);
    cr_assert_eq(clattn__file_write_atomic(&file_env, file_path, bytes, SIZE), CLATTN_OK);
    cr_assert_eq(clattn__file_read(&file_env, file_path, SIZE, &data, &size), CLATTN_OK);
    cr_assert(size == SIZE && memcmp(data, bytes, SIZE) == 0 && data[SIZE] == 0);
    clattn__free(&file_env, data);
    free(bytes);
}

Test(file, reading_has_a_limit)
{
    char *data = (char *)&file_env;
    size_t size = 77;
    file_put("12345");
    file_expect_failure(clattn__file_read(&file_env, file_path, 4, &data, &size),
                        "has 5 bytes, more than 4");
    cr_assert(data == (char *)&file_env && size == 77, "results are written on success only");
    cr_assert_eq(clattn__file_read(&file_env, file_path, 5, &data, &size), CLATTN_OK);
    clattn__free(&file_env, data);
}

Test(file, what_is_no_file_is_not_read)
{
    char *data;
    size_t size;
    file_expect_failure(clattn__file_read(&file_env, file_path, 100, &data, &size), file_path);
    file_expect_failure(clattn__file_read(&file_env, file_folder, 100, &data, &size),
                        "is not a file");
    file_expect_failure(clattn__file_read(&file_env, "", 100, &data, &size), "can't be opened");
}

Test(file, writing_fails_and_leaves_nothing)
{
    char below[PLACE_PATH + 16];
    snprintf(below, sizeof below, "%s/no/file", file_folder);
    file_expect_failure(clattn__file_write_atomic(&file_env, below, "x", 1), below);
    file_put("text");
    snprintf(below, sizeof below, "%s/below", file_path); /* below a file */
    file_expect_failure(clattn__file_write_atomic(&file_env, below, "x", 1), below);
    cr_assert(place_remove_file(file_path));
    cr_assert(place_make_folder(file_path)); /* over a folder */
    file_expect_failure(clattn__file_write_atomic(&file_env, file_path, "x", 1), file_path);
    cr_assert_eq(file_count(), 1, "a temporary file is left");
}

Test(file, removing)
{
    cr_assert_not(clattn__file_remove(&file_env, file_path));
    file_put("x");
    cr_assert(clattn__file_remove(&file_env, file_path));
    cr_assert_not(clattn__file_remove(&file_env, file_path));
    cr_assert_not(clattn__file_remove(&file_env, file_folder), "a folder is no file");
}

/* --- folders ---------------------------------------------------------------------------------- */

Test(file, private_folders_are_made)
{
    char parent[PLACE_PATH], deep[PLACE_PATH + 8];
    snprintf(parent, sizeof parent, "%s/a", file_folder);
    snprintf(deep, sizeof deep, "%s/b", parent);
    file_expect_failure(clattn__folder_check_private(&file_env, deep), deep);
    for (int again = 0; again < 2; again++)
        cr_assert_eq(clattn__folder_make_private(&file_env, deep), CLATTN_OK, "%s",
                     clattn__message());
    cr_assert_eq(clattn__folder_check_private(&file_env, deep), CLATTN_OK);
    cr_assert_eq(clattn__folder_check_private(&file_env, parent), CLATTN_OK, "the parents too");
    cr_assert(place_remove(deep));
}

Test(file, a_folder_with_slashes)
{
    char with_slashes[PLACE_PATH];
    snprintf(with_slashes, sizeof with_slashes, "%s//a///b/", file_folder);
    cr_assert_eq(clattn__folder_make_private(&file_env, with_slashes), CLATTN_OK, "%s",
                 clattn__message());
    snprintf(with_slashes, sizeof with_slashes, "%s/a/b", file_folder);
    cr_assert(place_remove(with_slashes));
}

Test(file, folders_that_are_not_private)
{
    file_put("x");
    file_expect_not_private(file_path, "is not a folder");
    cr_assert_eq(clattn__folder_check_private(&file_env, file_folder), CLATTN_OK, "%s",
                 clattn__message());
    place_open_to_others(file_folder, true);
    file_expect_not_private(file_folder, "others may write to it");
    place_open_to_others(file_folder, false);
    cr_assert_eq(clattn__folder_check_private(&file_env, file_folder), CLATTN_OK, "%s",
                 clattn__message());
}

Test(file, folders_that_can_not_be_made)
{
    char below[PLACE_PATH + 16];
    file_put("x");
    snprintf(below, sizeof below, "%s/a", file_path);
    file_expect_failure(clattn__folder_make_private(&file_env, below), file_path);
    snprintf(below, sizeof below, "%s/a/b/c", file_path);
    file_expect_failure(clattn__folder_make_private(&file_env, below), file_path);
    file_expect_failure(clattn__folder_make_private(&file_env, ""), "can't be created");
}

/* --- listing ---------------------------------------------------------------------------------- */

typedef struct walk {
    char names[64];
    int calls, stop_at;
} walk;

static clattn_status visit(void *user, const char *name)
{
    walk *of = user;
    strcat(of->names, name);
    strcat(of->names, " ");
    return ++of->calls == of->stop_at ? CLATTN_ERR_TIMEOUT : CLATTN_OK;
}

Test(file, a_listing_is_sorted)
{
    static const char *const names[] = {"b", "a", ".hidden", "c.x", "D"};
    walk of = {.stop_at = 0};
    for (int i = 0; i < 5; i++) {
        snprintf(file_path, sizeof file_path, "%s/%s", file_folder, names[i]);
        file_put("");
    }
    cr_assert_eq(clattn__folder_list(&file_env, file_folder, visit, &of), CLATTN_OK);
    cr_assert_str_eq(of.names, ".hidden D a b c.x ");
    walk stopped = {.stop_at = 2};
    cr_assert_eq(clattn__folder_list(&file_env, file_folder, visit, &stopped), CLATTN_ERR_TIMEOUT);
    cr_assert_eq(stopped.calls, 2);
}

Test(file, a_listing_of_many)
{
    for (int i = 0; i < 100; i++) {
        snprintf(file_path, sizeof file_path, "%s/%d", file_folder, i);
        file_put("");
    }
    cr_assert_eq(file_count(), 100);
}

/* Names may be removed while they are visited: the cache is cleared that way. */
Test(file, removing_while_listing)
{
    for (int i = 0; i < 20; i++) {
        snprintf(file_path, sizeof file_path, "%s/%d", file_folder, i);
        file_put("");
    }
    cr_assert_eq(clattn__folder_list(&file_env, file_folder, file_remove_one, NULL), CLATTN_OK);
    cr_assert_eq(file_count(), 0);
}

static clattn_status count(void *user, const char *name)
{
    (void)name;
    ++*(int *)user;
    return CLATTN_OK;
}

Test(file, a_listing_of_nothing)
{
    int calls = 0;
    cr_assert_eq(clattn__folder_list(&file_env, "/nowhere/at/all", count, &calls), CLATTN_OK);
    cr_assert_eq(file_count(), 0);
    file_put("x");
    file_expect_failure(clattn__folder_list(&file_env, file_path, count, &calls), file_path);
    cr_assert_eq(calls, 0);
}
