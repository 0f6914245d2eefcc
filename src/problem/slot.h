/* The slots: name, shape, direction, data types; one row each. */
#ifndef CLATTN_PROBLEM_SLOT_H
#define CLATTN_PROBLEM_SLOT_H

#include <stdbool.h>
#include <stdint.h>

#include <clattn/clattn.h>

/* Extents a slot's dimension can have. */
typedef enum clattn__extent {
    CLATTN__BATCH,
    CLATTN__N_HEAD,
    CLATTN__N_KV_HEAD,
    CLATTN__N_Q,
    CLATTN__N_KV,
    CLATTN__HEAD_DIM,
    CLATTN__VALUE_DIM,
    CLATTN__EXTENT_COUNT
} clattn__extent;

typedef struct clattn__slot_info {
    clattn_slot slot;
    const char *name; /* "Q" */
    uint32_t rank;
    clattn__extent shape[4];
    bool optional; /* takes part only if desc.slots says so */
    bool written;
    uint32_t dtypes; /* bit (1 << clattn_dtype) for each type allowed */
} clattn__slot_info;

/* Number of slots that exist; they are numbered from 0. */
uint32_t clattn__slot_count(void);

/* NULL for a value that is no slot. */
const clattn__slot_info *clattn__slot_get(uint32_t slot);

/* "batch", "n_head", ... as in clattn_attention_desc. */
const char *clattn__extent_name(clattn__extent extent);

#endif
