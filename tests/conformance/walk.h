/* Finds the folders below a path that hold a case.json, in alphabetical order. */
#ifndef WALK_H
#define WALK_H

#include <stddef.h>

typedef struct walk_list {
    char **path; /* (count) owned */
    size_t count, capacity;
} walk_list;

/* Appends the case folders at and below `path`, any depth; 0 if the path can't be read. */
int walk_find_cases(const char *path, walk_list *list);
void walk_finish(walk_list *list);

#endif
