/* The names in a folder, in an array that grows: for file_posix.c and file_windows.c. */
#ifndef CLATTN_BASE_NAME_LIST_H
#define CLATTN_BASE_NAME_LIST_H

#include "base/file.h"

typedef struct clattn__name_list {
    const clattn__env *env; /* borrowed */
    char **name;            /* (count) owned */
    size_t count, capacity;
} clattn__name_list;

/* Copies `name`; "." and ".." are left out. CLATTN_ERR_OUT_OF_MEMORY. */
clattn_status clattn__name_list_add(clattn__name_list *list, const char *name);

/* Calls `visit` with each name, in order of their bytes, until it fails. */
clattn_status clattn__name_list_visit(clattn__name_list *list, clattn__visit_fn visit, void *user);

void clattn__name_list_finish(clattn__name_list *list);

#endif
