/* Files and folders of POSIX systems: links, pipes, devices, permissions, a full disk, and where
 * the cache is. test_file.c has what holds on every system. */
#include <criterion/criterion.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "file_rig.h"

#define NOBODY 65534

TestSuite(file_posix, .init = file_begin, .fini = file_finish);

Test(file_posix, what_is_no_file_is_not_read)
{
    char *data;
    size_t size;
    file_expect_failure(clattn__file_read(&file_env, "/dev/zero", 100, &data, &size), "/dev/zero");
    cr_assert_eq(mkfifo(file_path, 0600), 0);
    alarm(20); /* a pipe without a writer must not block */
    file_expect_failure(clattn__file_read(&file_env, file_path, 100, &data, &size),
                        "is not a file");
    cr_assert_eq(unlink(file_path), 0);
    cr_assert_eq(symlink("file", file_path), 0); /* to itself */
    file_expect_failure(clattn__file_read(&file_env, file_path, 100, &data, &size), file_path);
}

Test(file_posix, made_folders_are_private)
{
    struct stat state;
    char parent[PLACE_PATH], deep[PLACE_PATH + 8];
    const mode_t before = umask(0);
    snprintf(parent, sizeof parent, "%s/a", file_folder);
    snprintf(deep, sizeof deep, "%s/b", parent);
    cr_assert_eq(clattn__folder_make_private(&file_env, deep), CLATTN_OK, "%s", clattn__message());
    umask(before);
    cr_assert_eq(stat(deep, &state), 0);
    cr_assert_eq(state.st_mode & 0777, 0700);
    cr_assert_eq(stat(parent, &state), 0);
    cr_assert_eq(state.st_mode & 0777, 0700, "the parents too");
    cr_assert_eq(rmdir(deep), 0);
    file_expect_failure(clattn__folder_make_private(&file_env, "/proc/clattn/x"), "/proc/clattn");
    file_expect_failure(clattn__folder_make_private(&file_env, ""), "can't be created");
}

/* A private file: it may hold code that somebody will run. */
Test(file_posix, a_written_file_is_private)
{
    struct stat state;
    const mode_t before = umask(0);
    file_put("text");
    umask(before);
    cr_assert_eq(stat(file_path, &state), 0);
    cr_assert_eq(state.st_mode & 0777, 0600, "%o", (unsigned)state.st_mode);
}

/* The disk is full in the middle: the old file stays, whole. */
Test(file_posix, a_write_that_breaks_off)
{
    static char large[100000];
    struct rlimit limit;
    file_put("the old text");
    signal(SIGXFSZ, SIG_IGN);
    cr_assert_eq(getrlimit(RLIMIT_FSIZE, &limit), 0);
    const rlim_t before = limit.rlim_cur;
    limit.rlim_cur = 50000;
    cr_assert_eq(setrlimit(RLIMIT_FSIZE, &limit), 0);
    const clattn_status status =
        clattn__file_write_atomic(&file_env, file_path, large, sizeof large);
    limit.rlim_cur = before;
    cr_assert_eq(setrlimit(RLIMIT_FSIZE, &limit), 0);
    file_expect_failure(status, file_path);
    file_expect_content("the old text");
    cr_assert_eq(file_count(), 1, "a temporary file is left");
}

/* A link in the file's place is replaced, not followed. */
Test(file_posix, a_link_is_replaced)
{
    char target[PLACE_PATH];
    struct stat state;
    snprintf(target, sizeof target, "%s/target", file_folder);
    cr_assert_eq(symlink(target, file_path), 0);
    file_put("text");
    cr_assert_eq(lstat(file_path, &state), 0);
    cr_assert(S_ISREG(state.st_mode));
    cr_assert_neq(access(target, F_OK), 0);
}

Test(file_posix, folders_that_are_not_private)
{
    char link[PLACE_PATH];
    file_put("x");
    file_expect_not_private(file_path, "is not a folder");
    snprintf(link, sizeof link, "%s/link", file_folder);
    cr_assert_eq(symlink(file_folder, link), 0);
    file_expect_not_private(link, "is not a folder");
    cr_assert_eq(unlink(link), 0);
    cr_assert_eq(symlink("/nowhere/at/all", link), 0);
    file_expect_not_private(link, "is not a folder");
    static const mode_t open_to_others[] = {0777, 0722, 0720, 0702, 01777};
    for (int i = 0; i < 5; i++) {
        cr_assert_eq(chmod(file_folder, open_to_others[i]), 0);
        file_expect_not_private(file_folder, "others may write to it");
    }
    static const mode_t readable[] = {0755, 0711, 0500};
    for (int i = 0; i < 3; i++) {
        cr_assert_eq(chmod(file_folder, readable[i]), 0);
        cr_assert_eq(clattn__folder_check_private(&file_env, file_folder), CLATTN_OK);
    }
    if (geteuid() != 0)
        file_expect_not_private("/", "belongs to another user");
}

Test(file_posix, another_users_folder)
{
    if (geteuid() != 0) { /* only root can give a folder away; what the others see is above */
        file_expect_not_private("/", "belongs to another user");
        return;
    }
    cr_assert_eq(chown(file_folder, NOBODY, NOBODY), 0);
    file_expect_not_private(file_folder, "belongs to another user");
    cr_assert_eq(chown(file_folder, 0, 0), 0);
}

/* As a user who may not write there: root becomes one for a while. */
Test(file_posix, a_folder_without_permission)
{
    char below[PLACE_PATH];
    const uid_t before = geteuid();
    cr_assert_eq(chmod(file_folder, 0500), 0);
    if (before == 0) {
        cr_assert_eq(chown(file_folder, NOBODY, NOBODY), 0);
        cr_assert_eq(seteuid(NOBODY), 0);
    }
    const clattn_status written = clattn__file_write_atomic(&file_env, file_path, "x", 1);
    file_expect_failure(written, "can't be written");
    snprintf(below, sizeof below, "%s/below", file_folder);
    file_expect_failure(clattn__folder_make_private(&file_env, below), "can't be created");
    snprintf(below, sizeof below, "%s/below/it", file_folder);
    file_expect_failure(clattn__folder_make_private(&file_env, below), "can't be created");
    cr_assert_eq(seteuid(before), 0);
    cr_assert(before != 0 || chown(file_folder, 0, 0) == 0);
}

static const struct {
    const char *xdg, *home; /* NULL: not set */
    const char *expected;   /* NULL: there is none */
} homes[] = {
    {"/x/cache", "/home/me", "/x/cache/clattn"},
    {NULL, "/home/me", "/home/me/.cache/clattn"},
    {"", "/home/me", "/home/me/.cache/clattn"},
    {"relative", "/home/me", "/home/me/.cache/clattn"}, /* to be ignored, says the specification */
    {"relative", NULL, NULL},
    {NULL, NULL, NULL},
    {NULL, "", NULL},
    {NULL, "home", NULL},
};

Test(file_posix, default_cache_folder)
{
    for (size_t i = 0; i < sizeof homes / sizeof homes[0]; i++) {
        char *found = NULL;
        place_set_variable("XDG_CACHE_HOME", homes[i].xdg);
        place_set_variable("HOME", homes[i].home);
        cr_assert_eq(clattn__default_cache_dir(&file_env, &found), CLATTN_OK);
        if (homes[i].expected)
            cr_assert_str_eq(found, homes[i].expected);
        else
            cr_assert_null(found, "row %d: %s", (int)i, found);
        clattn__free(&file_env, found);
    }
}
