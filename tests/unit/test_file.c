/* Files and folders of POSIX systems: whole or not at all, private or not used, and a sentence that
 * names the path for each failure. */
#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/file.h"

#define NOBODY 65534

static clattn__env env;
static char folder[64], path[128];

static void begin(void)
{
    cr_assert_eq(clattn__env_init(&env, NULL), CLATTN_OK);
    strcpy(folder, "/tmp/clattn-file-XXXXXX");
    cr_assert_not_null(mkdtemp(folder));
    snprintf(path, sizeof path, "%s/file", folder);
}

static clattn_status remove_one(void *user, const char *name)
{
    char below[400];
    (void)user;
    snprintf(below, sizeof below, "%s/%s", folder, name);
    if (unlink(below) != 0)
        rmdir(below);
    return CLATTN_OK;
}

static void finish(void)
{
    chmod(folder, 0700);
    cr_assert_eq(clattn__folder_list(&env, folder, remove_one, NULL), CLATTN_OK);
    cr_assert_eq(rmdir(folder), 0, "something is left in %s", folder);
    clattn__env_finish(&env);
}

TestSuite(file, .init = begin, .fini = finish);

static void put(const char *text)
{
    cr_assert_eq(clattn__file_write_atomic(&env, path, text, strlen(text)), CLATTN_OK, "%s",
                 clattn__message());
}

static void expect_failure(clattn_status status, const char *says)
{
    cr_assert_eq(status, CLATTN_ERR_IO, "%s instead of: %s", clattn_status_string(status), says);
    cr_assert(strstr(clattn__message(), says), "%s instead of: %s", clattn__message(), says);
}

static void expect_content(const char *expected)
{
    char *data = NULL;
    size_t size = 0;
    cr_assert_eq(clattn__file_read(&env, path, 1 << 20, &data, &size), CLATTN_OK, "%s",
                 clattn__message());
    cr_assert_eq(size, strlen(expected));
    cr_assert_str_eq(data, expected); /* it ends with 0 */
    clattn__free(&env, data);
}

/* --- reading and writing ---------------------------------------------------------------------- */

Test(file, what_is_written_is_read)
{
    put("some text");
    expect_content("some text");
    put("");
    expect_content("");
    put("shorter than before");
    put("x");
    expect_content("x");
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
    cr_assert_eq(clattn__file_write_atomic(&env, path, bytes, SIZE), CLATTN_OK);
    cr_assert_eq(clattn__file_read(&env, path, SIZE, &data, &size), CLATTN_OK);
    cr_assert(size == SIZE && memcmp(data, bytes, SIZE) == 0 && data[SIZE] == 0);
    clattn__free(&env, data);
    free(bytes);
}

Test(file, reading_has_a_limit)
{
    char *data = (char *)&env;
    size_t size = 77;
    put("12345");
    expect_failure(clattn__file_read(&env, path, 4, &data, &size), "has 5 bytes, more than 4");
    cr_assert(data == (char *)&env && size == 77, "results are written on success only");
    cr_assert_eq(clattn__file_read(&env, path, 5, &data, &size), CLATTN_OK);
    clattn__free(&env, data);
}

Test(file, what_is_no_file_is_not_read)
{
    char *data;
    size_t size;
    expect_failure(clattn__file_read(&env, path, 100, &data, &size), path);
    expect_failure(clattn__file_read(&env, folder, 100, &data, &size), "is not a file");
    expect_failure(clattn__file_read(&env, "/dev/zero", 100, &data, &size), "/dev/zero");
    expect_failure(clattn__file_read(&env, "", 100, &data, &size), "can't be opened");
    cr_assert_eq(mkfifo(path, 0600), 0);
    alarm(20); /* a pipe without a writer must not block */
    expect_failure(clattn__file_read(&env, path, 100, &data, &size), "is not a file");
    cr_assert_eq(unlink(path), 0);
    cr_assert_eq(symlink("file", path), 0); /* to itself */
    expect_failure(clattn__file_read(&env, path, 100, &data, &size), path);
}

/* A private file: it may hold code that somebody will run. */
Test(file, a_written_file_is_private)
{
    struct stat state;
    const mode_t before = umask(0);
    put("text");
    umask(before);
    cr_assert_eq(stat(path, &state), 0);
    cr_assert_eq(state.st_mode & 0777, 0600, "%o", (unsigned)state.st_mode);
}

static clattn_status count(void *user, const char *name)
{
    (void)name;
    ++*(int *)user;
    return CLATTN_OK;
}

static int files(void)
{
    int found = 0;
    cr_assert_eq(clattn__folder_list(&env, folder, count, &found), CLATTN_OK);
    return found;
}

Test(file, writing_fails_and_leaves_nothing)
{
    char below[160];
    snprintf(below, sizeof below, "%s/no/file", folder);
    expect_failure(clattn__file_write_atomic(&env, below, "x", 1), below);
    put("text");
    snprintf(below, sizeof below, "%s/below", path); /* below a file */
    expect_failure(clattn__file_write_atomic(&env, below, "x", 1), below);
    cr_assert_eq(unlink(path), 0);
    cr_assert_eq(mkdir(path, 0700), 0); /* over a folder */
    expect_failure(clattn__file_write_atomic(&env, path, "x", 1), path);
    cr_assert_eq(files(), 1, "a temporary file is left");
}

/* The disk is full in the middle: the old file stays, whole. */
Test(file, a_write_that_breaks_off)
{
    static char large[100000];
    struct rlimit limit;
    put("the old text");
    signal(SIGXFSZ, SIG_IGN);
    cr_assert_eq(getrlimit(RLIMIT_FSIZE, &limit), 0);
    const rlim_t before = limit.rlim_cur;
    limit.rlim_cur = 50000;
    cr_assert_eq(setrlimit(RLIMIT_FSIZE, &limit), 0);
    const clattn_status status = clattn__file_write_atomic(&env, path, large, sizeof large);
    limit.rlim_cur = before;
    cr_assert_eq(setrlimit(RLIMIT_FSIZE, &limit), 0);
    expect_failure(status, path);
    expect_content("the old text");
    cr_assert_eq(files(), 1, "a temporary file is left");
}

/* A link in the file's place is replaced, not followed. */
Test(file, a_link_is_replaced)
{
    char target[128];
    struct stat state;
    snprintf(target, sizeof target, "%s/target", folder);
    cr_assert_eq(symlink(target, path), 0);
    put("text");
    cr_assert_eq(lstat(path, &state), 0);
    cr_assert(S_ISREG(state.st_mode));
    cr_assert_neq(access(target, F_OK), 0);
}

Test(file, removing)
{
    cr_assert_not(clattn__file_remove(path));
    put("x");
    cr_assert(clattn__file_remove(path));
    cr_assert_not(clattn__file_remove(path));
    cr_assert_not(clattn__file_remove(folder), "a folder is no file");
}

/* --- folders ---------------------------------------------------------------------------------- */

Test(file, private_folders_are_made)
{
    struct stat state;
    const mode_t before = umask(0);
    char deep[160], parent[80];
    snprintf(parent, sizeof parent, "%s/a", folder);
    snprintf(deep, sizeof deep, "%s/b", parent);
    expect_failure(clattn__folder_check_private(deep), deep);
    for (int again = 0; again < 2; again++)
        cr_assert_eq(clattn__folder_make_private(&env, deep), CLATTN_OK, "%s", clattn__message());
    umask(before);
    cr_assert_eq(clattn__folder_check_private(deep), CLATTN_OK);
    cr_assert_eq(stat(deep, &state), 0);
    cr_assert_eq(state.st_mode & 0777, 0700);
    cr_assert_eq(stat(parent, &state), 0);
    cr_assert_eq(state.st_mode & 0777, 0700, "the parents too");
    cr_assert_eq(rmdir(deep), 0);
}

Test(file, a_folder_with_slashes)
{
    char with_slashes[160];
    snprintf(with_slashes, sizeof with_slashes, "%s//a///b/", folder);
    cr_assert_eq(clattn__folder_make_private(&env, with_slashes), CLATTN_OK, "%s",
                 clattn__message());
    snprintf(with_slashes, sizeof with_slashes, "%s/a/b", folder);
    cr_assert_eq(rmdir(with_slashes), 0);
}

static void expect_not_private(const char *which, const char *says)
{
    expect_failure(clattn__folder_check_private(which), says);
    expect_failure(clattn__folder_make_private(&env, which), says);
}

Test(file, folders_that_are_not_private)
{
    char link[128];
    put("x");
    expect_not_private(path, "is not a folder");
    snprintf(link, sizeof link, "%s/link", folder);
    cr_assert_eq(symlink(folder, link), 0);
    expect_not_private(link, "is not a folder");
    cr_assert_eq(unlink(link), 0);
    cr_assert_eq(symlink("/nowhere/at/all", link), 0);
    expect_not_private(link, "is not a folder");
    static const mode_t open_to_others[] = {0777, 0722, 0720, 0702, 01777};
    for (int i = 0; i < 5; i++) {
        cr_assert_eq(chmod(folder, open_to_others[i]), 0);
        expect_not_private(folder, "others may write to it");
    }
    static const mode_t readable[] = {0755, 0711, 0500};
    for (int i = 0; i < 3; i++) {
        cr_assert_eq(chmod(folder, readable[i]), 0);
        cr_assert_eq(clattn__folder_check_private(folder), CLATTN_OK);
    }
    if (geteuid() != 0)
        expect_not_private("/", "belongs to another user");
}

Test(file, another_users_folder)
{
    if (geteuid() != 0) { /* only root can give a folder away; what the others see is above */
        expect_not_private("/", "belongs to another user");
        return;
    }
    cr_assert_eq(chown(folder, NOBODY, NOBODY), 0);
    expect_not_private(folder, "belongs to another user");
    cr_assert_eq(chown(folder, 0, 0), 0);
}

/* As a user who may not write there: root becomes one for a while. */
Test(file, a_folder_without_permission)
{
    char below[160];
    const uid_t before = geteuid();
    cr_assert_eq(chmod(folder, 0500), 0);
    if (before == 0) {
        cr_assert_eq(chown(folder, NOBODY, NOBODY), 0);
        cr_assert_eq(seteuid(NOBODY), 0);
    }
    const clattn_status written = clattn__file_write_atomic(&env, path, "x", 1);
    expect_failure(written, "can't be written");
    snprintf(below, sizeof below, "%s/below", folder);
    expect_failure(clattn__folder_make_private(&env, below), "can't be created");
    snprintf(below, sizeof below, "%s/below/it", folder);
    expect_failure(clattn__folder_make_private(&env, below), "can't be created");
    cr_assert_eq(seteuid(before), 0);
    cr_assert(before != 0 || chown(folder, 0, 0) == 0);
}

Test(file, folders_that_can_not_be_made)
{
    char below[160];
    put("x");
    snprintf(below, sizeof below, "%s/a", path);
    expect_failure(clattn__folder_make_private(&env, below), path);
    snprintf(below, sizeof below, "%s/a/b/c", path);
    expect_failure(clattn__folder_make_private(&env, below), path);
    expect_failure(clattn__folder_make_private(&env, "/proc/clattn/x"), "/proc/clattn");
    expect_failure(clattn__folder_make_private(&env, ""), "can't be created");
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
    static const char *const names[] = {"b", "a", ".hidden", "c.x", "B"};
    walk of = {.stop_at = 0};
    for (int i = 0; i < 5; i++) {
        snprintf(path, sizeof path, "%s/%s", folder, names[i]);
        put("");
    }
    cr_assert_eq(clattn__folder_list(&env, folder, visit, &of), CLATTN_OK);
    cr_assert_str_eq(of.names, ".hidden B a b c.x ");
    walk stopped = {.stop_at = 2};
    cr_assert_eq(clattn__folder_list(&env, folder, visit, &stopped), CLATTN_ERR_TIMEOUT);
    cr_assert_eq(stopped.calls, 2);
}

Test(file, a_listing_of_many)
{
    for (int i = 0; i < 100; i++) {
        snprintf(path, sizeof path, "%s/%d", folder, i);
        put("");
    }
    cr_assert_eq(files(), 100);
}

/* Names may be removed while they are visited: the cache is cleared that way. */
Test(file, removing_while_listing)
{
    for (int i = 0; i < 20; i++) {
        snprintf(path, sizeof path, "%s/%d", folder, i);
        put("");
    }
    cr_assert_eq(clattn__folder_list(&env, folder, remove_one, NULL), CLATTN_OK);
    cr_assert_eq(files(), 0);
}

Test(file, a_listing_of_nothing)
{
    int calls = 0;
    cr_assert_eq(clattn__folder_list(&env, "/nowhere/at/all", count, &calls), CLATTN_OK);
    cr_assert_eq(files(), 0);
    put("x");
    expect_failure(clattn__folder_list(&env, path, count, &calls), path);
    cr_assert_eq(calls, 0);
}

/* --- the default folder ----------------------------------------------------------------------- */

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

static void set(const char *variable, const char *value)
{
    cr_assert_eq(value ? setenv(variable, value, 1) : unsetenv(variable), 0);
}

Test(file, default_cache_folder)
{
    for (size_t i = 0; i < sizeof homes / sizeof homes[0]; i++) {
        char *found = NULL;
        set("XDG_CACHE_HOME", homes[i].xdg);
        set("HOME", homes[i].home);
        cr_assert_eq(clattn__default_cache_dir(&env, &found), CLATTN_OK);
        if (homes[i].expected)
            cr_assert_str_eq(found, homes[i].expected);
        else
            cr_assert_null(found, "row %d: %s", (int)i, found);
        clattn__free(&env, found);
    }
}
