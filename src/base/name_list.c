/* The names in a folder. */
#include "base/name_list.h"

#include <stdlib.h>
#include <string.h>

clattn_status clattn__name_list_add(clattn__name_list *list, const char *name)
{
    if (strcmp(name, ".") == 0 || strcmp(name, "..") == 0)
        return CLATTN_OK;
    if (list->count == list->capacity) {
        const size_t capacity = list->capacity ? 2 * list->capacity : 16;
        char **grown = clattn__resize(list->env, list->name, capacity * sizeof *grown);
        if (!grown)
            return CLATTN_ERR_OUT_OF_MEMORY;
        list->name = grown;
        list->capacity = capacity;
    }
    char *copy = clattn__copy_text(list->env, name);
    if (!copy)
        return CLATTN_ERR_OUT_OF_MEMORY;
    list->name[list->count++] = copy;
    return CLATTN_OK;
}

static int by_name(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

clattn_status clattn__name_list_visit(clattn__name_list *list, clattn__visit_fn visit, void *user)
{
    if (list->count > 1)
        qsort(list->name, list->count, sizeof *list->name, by_name);
    for (size_t i = 0; i < list->count; i++)
        CLATTN__TRY(visit(user, list->name[i]));
    return CLATTN_OK;
}

void clattn__name_list_finish(clattn__name_list *list)
{
    for (size_t i = 0; i < list->count; i++)
        clattn__free(list->env, list->name[i]);
    clattn__free(list->env, list->name);
}
