/* A folder of a test's own, and what tests do with files and variables besides, on each system. */
#ifndef CLATTN_TESTS_PLACE_H
#define CLATTN_TESTS_PLACE_H

#include <stdbool.h>

enum { PLACE_SIZE = 200, PLACE_PATH = PLACE_SIZE + 100 /* and a name below */ };

/* Makes a new, empty folder that only the user may write to; its path has no final slash. */
void place_make(char folder[PLACE_SIZE]);

/* Removes it: true only if it was there and is empty. */
bool place_remove(const char *folder);

/* A folder below, or one file: whether it could be made, is there, could be removed. */
bool place_make_folder(const char *path);
bool place_is_there(const char *path);
bool place_remove_file(const char *path);

/* Lets everyone write to the folder, or only the user again. */
void place_open_to_others(const char *folder, bool open);

/* NULL takes the variable away. */
void place_set_variable(const char *name, const char *value);

#endif
