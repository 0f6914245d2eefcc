/* An entry of the program cache in memory: made from a program, or checked after reading. */
#ifndef CLATTN_OPENCL_PROGRAM_ENTRY_H
#define CLATTN_OPENCL_PROGRAM_ENTRY_H

#include "base/env.h"
#include "base/hash.h"

/* What is stored under a key. `binary` may be empty: then the entry says that the driver's own
 * cache has the program. */
typedef struct clattn__cached_program {
    const char *device; /* name, for the list */
    const char *label;
    const void *binary;
    size_t binary_size;
} clattn__cached_program;

typedef struct clattn__entry {
    unsigned char *bytes; /* (size) owned */
    size_t size;
    uint64_t device_size, label_size, binary_size; /* of a whole entry */
} clattn__entry;

/* Fills in the sizes. NULL if the entry is whole and its key is `stem` (32 digits), else what is
 * wrong: any bytes may be given. */
const char *clattn__entry_check(clattn__entry *e, const char *stem);

/* Parts of a whole entry, without a 0 at their end. */
const unsigned char *clattn__entry_device(const clattn__entry *e);
const unsigned char *clattn__entry_label(const clattn__entry *e);
const unsigned char *clattn__entry_binary(const clattn__entry *e);

clattn_status clattn__entry_make(const clattn__env *env, clattn__hash key,
                                 const clattn__cached_program *program, clattn__entry *made);

#endif
