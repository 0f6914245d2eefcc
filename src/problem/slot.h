/* The slots: name, shape, direction, data types; one row each. */
#ifndef CLATTN_PROBLEM_SLOT_H
#define CLATTN_PROBLEM_SLOT_H

#include <stdbool.h>
#include <stdint.h>

#include <clattn/clattn.h>

/* Columns of a panel of packed weights. */
#define CLATTN__PANEL 16

/* Kinds of operation. */
typedef enum clattn__kind {
    CLATTN__ATTENTION,
    CLATTN__MERGE,
    CLATTN__GRADIENT,
    CLATTN__APPEND,
    CLATTN__ROTARY,
    CLATTN__TOP_K,  /* attention to the keys of highest score */
    CLATTN__LINEAR, /* y = x W^T + b; the gradient by x; those by W and b; packing W */
    CLATTN__LINEAR_X,
    CLATTN__LINEAR_W,
    CLATTN__LINEAR_PACK,
    CLATTN__ADDITIVE,
    CLATTN__ADDITIVE_GRADIENT,
    CLATTN__SHIFT, /* of keys in pages to other positions */
    CLATTN__KIND_COUNT
} clattn__kind;

/* Extents a slot's dimension can have. */
typedef enum clattn__extent {
    CLATTN__BATCH,
    CLATTN__N_HEAD,
    CLATTN__N_KV_HEAD,
    CLATTN__N_Q,
    CLATTN__N_KV, /* all keys: n_past + n_kv of the description */
    CLATTN__HEAD_DIM,
    CLATTN__VALUE_DIM,
    CLATTN__N_NEW, /* n_kv of the description */
    CLATTN__N_PAST,
    CLATTN__TOTAL_Q, /* ragged */
    CLATTN__TOTAL_KV,
    CLATTN__LENGTHS,      /* batch; ragged: batch + 1 */
    CLATTN__KEY_LENGTHS,  /* the same by whether keys are ragged */
    CLATTN__QUERY_BLOCKS, /* block-sparse: ceil(n_q / block_q) */
    CLATTN__BLOCK_LIMIT,
    CLATTN__N_PARAMS,
    CLATTN__N_PAGES,     /* paged, else 0 */
    CLATTN__PAGE_SIZE,   /* paged, else 0 */
    CLATTN__PAGE_LIMIT,  /* of a batch entry's table */
    CLATTN__N_POSITIONS, /* rotary: rows of the table of angles */
    CLATTN__N_ANGLES,
    CLATTN__N_TOKENS, /* rows of an entry that are rotated: n_q, or n_kv of appending */
    CLATTN__TOP,      /* keys that a query attends to; 0: all */
    CLATTN__LISTED,   /* of them, those that INDICES has: all, or the one that was drawn */
    CLATTN__ROWS,     /* linear */
    CLATTN__IN,
    CLATTN__OUT,
    CLATTN__PACKED,   /* elements of PACKED_W */
    CLATTN__K_GROUPS, /* scales of a key, at least 1 */
    CLATTN__V_GROUPS,
    CLATTN__PARTS,
    CLATTN__ONE,
    CLATTN__TWO,
    CLATTN__EXTENT_COUNT
} clattn__extent;

/* Whether a slot takes part in a kind of operation. */
typedef enum clattn__part { CLATTN__NEVER, CLATTN__IF_ASKED, CLATTN__ALWAYS } clattn__part;

typedef struct clattn__slot_info {
    clattn_slot slot;
    const char *name; /* "Q" */
    uint32_t rank;
    clattn__extent shape[CLATTN_RANK_LIMIT];
    uint32_t dtypes;                       /* bit (1 << clattn_dtype) for each type allowed */
    clattn__part part[CLATTN__KIND_COUNT]; /* by kind */
    uint32_t written;                      /* bit (1 << kind) for each kind that writes it */
    bool host_too; /* small: may come as a host array, copied at submission */
    /* The axis whose tokens lie one after the other in a ragged problem, as the extent of them
     * all: CLATTN__TOTAL_Q or CLATTN__TOTAL_KV; CLATTN__ONE: the slot is never ragged. */
    clattn__extent tokens;
} clattn__slot_info;

/* Number of slots that exist; they are numbered from 0. */
uint32_t clattn__slot_count(void);

/* NULL for a value that is no slot. */
const clattn__slot_info *clattn__slot_get(uint32_t slot);

/* "batch", "n_head", ... as in the descriptions. */
const char *clattn__extent_name(clattn__extent extent);

#endif
