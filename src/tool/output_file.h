/* Output files that appear whole or not at all: everything is written to a temporary file beside
 * the target, and renamed when all files of a command are complete. What is no regular file (a
 * pipe, /dev/stdout, /dev/null) is written directly. */
#ifndef CLATTN_TOOL_OUTPUT_FILE_H
#define CLATTN_TOOL_OUTPUT_FILE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>

#include "tool/npy.h"

typedef struct output_file {
    const char *argument; /* option that named it, borrowed */
    const char *path;     /* as the user wrote it, borrowed; NULL: not wanted, all does nothing */
    char *target;         /* the same with links resolved, owned; NULL: written directly */
    char *temporary;      /* owned; NULL: written directly */
    FILE *stream;         /* owned; NULL before open and after commit */
    bool renamed;
} output_file;

/* Creates the temporary file, so that an unwritable target is known before work begins. On failure
 * prints one line on stderr and returns false. A path that is NULL succeeds. */
bool output_open(output_file *file, const char *argument, const char *path);
/* Writes floats as float32, whole numbers as int32, version 1.0 of the format, C order. */
bool output_write_npy(output_file *file, const npy_array *array);
bool output_write_bytes(output_file *file, const void *bytes, size_t size);
/* Flushes, closes and renames. */
bool output_commit(output_file *file);
/* The same for all files of a command: renames when every file is complete. */
bool output_commit_all(output_file *files, size_t count);
/* For open files; false, with a line, if two of them would replace the same file. */
bool output_targets_differ(const output_file *files, size_t count);
/* Removes the temporary file if it was not committed; always to be called, also if open failed. */
void output_finish(output_file *file);

#endif
