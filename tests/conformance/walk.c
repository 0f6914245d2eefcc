/* The walk of walk.h, over POSIX folders. */
#include "walk.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

static char *join(const char *folder, const char *name)
{
    const size_t size = strlen(folder) + strlen(name) + 2;
    char *joined = malloc(size);
    if (joined)
        snprintf(joined, size, "%s/%s", folder, name);
    return joined;
}

/* Takes over `path`; NULL is a failed allocation. */
static int add(walk_list *list, char *path)
{
    if (!path)
        return 0;
    if (list->count == list->capacity) {
        const size_t capacity = list->capacity ? 2 * list->capacity : 64;
        char **grown = realloc(list->path, capacity * sizeof *grown);
        if (!grown) {
            free(path);
            return 0;
        }
        list->path = grown;
        list->capacity = capacity;
    }
    list->path[list->count++] = path;
    return 1;
}

static int compare_paths(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

static int is_folder(const char *path)
{
    struct stat info;
    return stat(path, &info) == 0 && S_ISDIR(info.st_mode);
}

/* Everything in a folder but what begins with a dot, sorted. */
static int list_folder(const char *folder, walk_list *entries)
{
    DIR *stream = opendir(folder);
    int good = stream != NULL;
    for (const struct dirent *entry; good && (entry = readdir(stream)) != NULL;)
        if (entry->d_name[0] != '.')
            good = add(entries, join(folder, entry->d_name));
    if (stream)
        closedir(stream);
    if (entries->count)
        qsort(entries->path, entries->count, sizeof *entries->path, compare_paths);
    return good;
}

static int has_case(const char *folder)
{
    char *path = join(folder, "case.json");
    struct stat info;
    const int found = path && stat(path, &info) == 0 && S_ISREG(info.st_mode);
    free(path);
    return found;
}

int walk_find_cases(const char *path, walk_list *list)
{
    walk_list entries = {0};
    int good = list_folder(path, &entries);
    if (good && has_case(path))
        good = add(list, strdup(path));
    for (size_t i = 0; good && i < entries.count; i++)
        if (is_folder(entries.path[i]))
            good = walk_find_cases(entries.path[i], list);
    walk_finish(&entries);
    return good;
}

void walk_finish(walk_list *list)
{
    for (size_t i = 0; i < list->count; i++)
        free(list->path[i]);
    free(list->path);
    *list = (walk_list){0};
}
