/* The bookkeeping of a key/value cache: sequences, their pages, and who shares which. Knows numbers
 * of pages only; what lies in them is src/layer/kv_cache.c's matter. A call that fails changes
 * nothing. Not thread-safe. */
#ifndef CLATTN_LAYER_PAGE_POOL_H
#define CLATTN_LAYER_PAGE_POOL_H

#include "base/env.h"
#include "base/status.h"

typedef struct clattn__page_sequence {
    uint64_t id;
    int64_t length;   /* tokens */
    int32_t *page;    /* (capacity) owned; those of the tokens in order */
    int64_t capacity; /* pages that there is room for */
} clattn__page_sequence;

typedef struct clattn__page_pool {
    const clattn__env *env;
    int64_t page_size;               /* tokens */
    int32_t count;                   /* pages */
    int32_t free_count;              /* of them */
    int32_t *free_page;              /* (count) a stack of those that nobody has, owned */
    int32_t *references;             /* (count) sequences that have the page, owned */
    clattn__page_sequence *sequence; /* (sequences) ascending by id, owned */
    int64_t sequences, sequence_capacity;
} clattn__page_pool;

/* Tokens of `from` that a sequence goes on writing behind must be copied to `to` first. */
typedef struct clattn__page_copy {
    int32_t from, to;
} clattn__page_copy;

/* page_size and count at least 1; `env` is borrowed. */
clattn_status clattn__page_pool_init(clattn__page_pool *pool, const clattn__env *env,
                                     int64_t page_size, int32_t count);
void clattn__page_pool_finish(clattn__page_pool *pool);

/* NULL where there is none, with the sentence set. */
const clattn__page_sequence *clattn__page_pool_find(const clattn__page_pool *pool, uint64_t id);

/* A new, empty sequence. */
clattn_status clattn__page_pool_add(clattn__page_pool *pool, uint64_t id);
/* A new sequence that begins with the first `length` tokens of `from` and shares their pages. */
clattn_status clattn__page_pool_fork(clattn__page_pool *pool, uint64_t id, uint64_t from,
                                     int64_t length);
/* Forgets the tokens from `length` on. */
clattn_status clattn__page_pool_truncate(clattn__page_pool *pool, uint64_t id, int64_t length);
clattn_status clattn__page_pool_remove(clattn__page_pool *pool, uint64_t id);

/* Makes room for tokens[i] more tokens of each of the `count` sequences, which must differ.
 * `copies` (count) gets what must be copied before anything is written, *copied their number.
 * CLATTN_ERR_OUT_OF_MEMORY where not enough pages are free. */
clattn_status clattn__page_pool_extend(clattn__page_pool *pool, const uint64_t *ids,
                                       const int64_t *tokens, uint32_t count,
                                       clattn__page_copy *copies, uint32_t *copied);

/* Pages that hold `length` tokens. */
int64_t clattn__page_pool_pages(const clattn__page_pool *pool, int64_t length);

#endif
