/* Options of attention that clattn bench times beside plain attention. */
#ifndef CLATTN_TOOL_BENCH_FEATURE_H
#define CLATTN_TOOL_BENCH_FEATURE_H

#include <stdbool.h>
#include <stdint.h>

#include <clattn/clattn.h>

/* 0: without. */
typedef struct bench_feature {
    const char *name;
    uint64_t slots; /* tensors that it takes */
    float softcap, dropout;
    int64_t top_k;         /* keys of highest score that a query attends to */
    int64_t window;        /* keys that a query sees before its own; with it none after */
    const char *type;      /* storage in the place of --dtype's; NULL: none */
    clattn_dtype integers; /* storage of keys and values alone, with a scale a row, or 0 */
    bool append;           /* the last keys and values are put into their pages first */
    bool rotated;          /* queries are normalised and rotated */
    bool uneven;           /* key lengths of the batch entries: from 1 to all, evenly, mixed */
    clattn_align align;    /* that it needs: bottom-right, as causal shapes have it, or none */
} bench_feature;

/* Row by row; NULL from the end on. */
const bench_feature *bench_feature_get(uint32_t index);

/* The row of this name; otherwise NULL, and one line was printed. */
const bench_feature *bench_feature_find(const char *name);

#endif
