/* How --dtype stores floating-point numbers on the device, and conversion from and to float. */
#ifndef CLATTN_TOOL_STORED_TYPE_H
#define CLATTN_TOOL_STORED_TYPE_H

#include <stdint.h>

#include <clattn/clattn.h>

/* The values of --dtype. */
#define STORED_TYPE_NAMES "f32|f16|bf16"
#define STORED_TYPES      3
typedef struct stored_type {
    const char *name;
    clattn_dtype dtype;
    uint32_t bytes; /* of an element */
} stored_type;

/* `choice` as of OPTION_CHOICE; 0 is f32. */
const stored_type *stored_type_get(int choice);

/* `count` floats become elements of the type, rounded to nearest even, in the same memory. */
void stored_type_narrow(const stored_type *type, void *data, int64_t count);
/* The other way round; the memory has room for `count` floats. */
void stored_type_widen(const stored_type *type, void *data, int64_t count);

#endif
