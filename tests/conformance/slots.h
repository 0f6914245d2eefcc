/* Facts about the slots of an attention: which shape each has in a given description, and which
 * types of .npy files it takes. */
#ifndef SLOTS_H
#define SLOTS_H

#include <stdbool.h>

#include <clattn/clattn.h>

#define SLOT_MOST_DIMS 4

typedef struct slot_shape {
    uint32_t rank;
    int64_t extent[SLOT_MOST_DIMS]; /* (rank) */
} slot_shape;

/* The shape of the slot's tensor; false for a slot that these cases don't use. */
bool slot_shape_of(const clattn_attention_desc *desc, clattn_slot slot, slot_shape *shape);

/* The storage type for elements of a .npy type, and the type in which `host` memory must hold them:
 * the same, but "i4" for integers of either size. false: the slot doesn't take such elements. */
bool slot_type_of(clattn_slot slot, const char *npy_type, clattn_dtype *dtype, const char **memory);

#endif
