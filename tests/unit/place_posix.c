/* A folder of a test's own on POSIX systems. */
#if defined(__APPLE__)
#define _DARWIN_C_SOURCE /* mkdtemp */
#endif
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "place.h"

void place_make(char folder[PLACE_SIZE])
{
    snprintf(folder, PLACE_SIZE, "/tmp/clattn-test-XXXXXX");
    cr_assert_not_null(mkdtemp(folder));
}

bool place_remove(const char *folder)
{
    return rmdir(folder) == 0;
}

bool place_make_folder(const char *path)
{
    return mkdir(path, 0700) == 0;
}

bool place_is_there(const char *path)
{
    struct stat state;
    return lstat(path, &state) == 0;
}

bool place_remove_file(const char *path)
{
    return unlink(path) == 0;
}

void place_open_to_others(const char *folder, bool open)
{
    cr_assert_eq(chmod(folder, open ? 0777 : 0700), 0);
}

void place_set_variable(const char *name, const char *value)
{
    cr_assert_eq(value ? setenv(name, value, 1) : unsetenv(name), 0);
}
