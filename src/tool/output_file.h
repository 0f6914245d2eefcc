/* Output files that appear whole or not at all: everything is written to a temporary file beside
 * the target, and renamed when all files of a command are complete. */
#ifndef CLATTN_TOOL_OUTPUT_FILE_H
#define CLATTN_TOOL_OUTPUT_FILE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>

#include "tool/npy.h"

typedef struct output_file {
    const char *argument; /* option that named it, borrowed */
    const char *path;     /* target, borrowed; NULL: not wanted, every function does nothing */
    char *temporary;      /* owned */
    FILE *stream;         /* owned; NULL before open and after commit */
} output_file;

/* Creates the temporary file, so that an unwritable target is known before work begins. On failure
 * prints one line on stderr and returns false. A path that is NULL succeeds. */
bool output_open(output_file *file, const char *argument, const char *path);
/* Writes float32, version 1.0. */
bool output_write_npy(output_file *file, const npy_array *array);
bool output_write_bytes(output_file *file, const void *bytes, size_t size);
/* Flushes, closes and renames. */
bool output_commit(output_file *file);
/* Removes the temporary file if it was not committed; always to be called. */
void output_finish(output_file *file);

#endif
