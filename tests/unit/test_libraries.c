/* Where OpenCL is looked for, for every system on any of them. */
#include <criterion/criterion.h>
#include <string.h>

#include "opencl/libraries.h"

/* The names that a user of the system knows, in the order in which they must come. */
static const struct {
    const char *system, *name;
} expected[] = {
    {"Linux and BSD", "libOpenCL.so.1"}, /* without the development package */
    {"Linux and BSD", "libOpenCL.so"},
    {"Android, 64 bits", "libOpenCL.so"},
    {"Android, 64 bits", "libOpenCL-pixel.so"},
    {"Android, 64 bits", "/vendor/lib64/libOpenCL.so"},
    {"Android, 64 bits", "/vendor/lib64/libOpenCL_adreno.so"},
    {"Android, 64 bits", "/vendor/lib64/egl/libGLES_mali.so"},
    {"Android, 32 bits", "libOpenCL.so"},
    {"Android, 32 bits", "/vendor/lib/libOpenCL.so"},
    {"Android, 32 bits", "/vendor/lib/egl/libGLES_mali.so"},
    {"macOS", "/System/Library/Frameworks/OpenCL.framework/OpenCL"},
    {"macOS", "/opt/homebrew/lib/libOpenCL.1.dylib"},
    {"Windows", "OpenCL.dll"},
};

static const clattn__libraries *row_of(const char *system)
{
    for (size_t i = 0; i < clattn__all_libraries_count; i++)
        if (strcmp(clattn__all_libraries[i].system, system) == 0)
            return &clattn__all_libraries[i];
    return NULL;
}

/* Where a name is in the row's list, -1: nowhere. */
static int place_of(const clattn__libraries *row, const char *name)
{
    for (int i = 0; row->names[i]; i++)
        if (strcmp(row->names[i], name) == 0)
            return i;
    return -1;
}

Test(libraries, have_what_users_know)
{
    int last = -1;
    for (size_t i = 0; i < sizeof expected / sizeof expected[0]; i++) {
        const clattn__libraries *row = row_of(expected[i].system);
        cr_assert_not_null(row, "%s", expected[i].system);
        const int place = place_of(row, expected[i].name);
        if (i == 0 || strcmp(expected[i].system, expected[i - 1].system) != 0)
            last = -1;
        cr_assert(place > last, "%s: %s is at %d, after %d", row->system, expected[i].name, place,
                  last);
        last = place;
    }
}

/* Each name once, a bare one or a whole path, of the row's own width; and a hint. */
Test(libraries, rows)
{
    for (size_t i = 0; i < clattn__all_libraries_count; i++) {
        const clattn__libraries *row = &clattn__all_libraries[i];
        cr_assert(row->names[0] && strlen(row->hint) > 20, "%s", row->system);
        for (int k = 0; row->names[k]; k++) {
            const char *name = row->names[k], *slash = strchr(name, '/');
            cr_assert_eq(place_of(row, name), k, "%s: %s is there twice", row->system, name);
            cr_assert(!slash || slash == name, "%s: %s", row->system, name);
            cr_assert_not(strstr(row->system, "64 bits") && strstr(name, "/lib/"), "%s", name);
            cr_assert_not(strstr(row->system, "32 bits") && strstr(name, "lib64"), "%s", name);
        }
    }
}

Test(libraries, of_this_system)
{
    const clattn__libraries *here = clattn__libraries_here();
    cr_assert(here >= clattn__all_libraries &&
              here < clattn__all_libraries + clattn__all_libraries_count);
#if defined(__linux__) && !defined(__ANDROID__)
    cr_assert_str_eq(here->names[0], "libOpenCL.so.1");
#elif defined(_WIN32)
    cr_assert_str_eq(here->names[0], "OpenCL.dll");
#endif
}
