/* The bookkeeping of a key/value cache: sequences, their pages, and who shares which. Knows numbers
 * of pages only; what lies in them is src/api/kv_memory.c's matter. A call that fails changes
 * nothing. Not thread-safe. */
#ifndef CLATTN_LAYER_PAGE_POOL_H
#define CLATTN_LAYER_PAGE_POOL_H

#include "base/env.h"
#include "base/status.h"

typedef struct clattn__page_sequence {
    uint64_t id;
    int64_t length;    /* tokens */
    int64_t gap_begin; /* tokens before those that were evicted, a multiple of the page size */
    int64_t gap;       /* tokens evicted there */
    int32_t *page;     /* (capacity) owned; those of the tokens in order */
    int64_t capacity;  /* pages that there is room for */
} clattn__page_sequence;

typedef struct clattn__page_pool {
    const clattn__env *env;
    int64_t page_size;               /* tokens */
    int32_t count;                   /* pages */
    int32_t free_count;              /* of them */
    int32_t waiting_count;           /* of them: no sequence has them, but they are held */
    int32_t *free_page;              /* (count) a stack of those that nobody has, owned */
    int32_t *references;             /* (count) sequences that have the page, owned */
    int32_t *readers;                /* (count) holds that have the page, owned */
    uint8_t *state;                  /* (count) CLATTN__PAGE_*, owned */
    clattn__page_sequence *sequence; /* (sequences) ascending by id, owned */
    int64_t sequences, sequence_capacity;
} clattn__page_pool;

/* Tokens of `from` that a sequence goes on writing behind must be copied to `to` first. */
typedef struct clattn__page_copy {
    int32_t from, to;
} clattn__page_copy;

/* Pages that someone reads: each once. */
typedef struct clattn__page_hold {
    int32_t *page; /* (capacity) owned */
    int32_t count, capacity;
} clattn__page_hold;

/* page_size and count at least 1; `env` is borrowed. */
clattn_status clattn__page_pool_init(clattn__page_pool *pool, const clattn__env *env,
                                     int64_t page_size, int32_t count);
void clattn__page_pool_finish(clattn__page_pool *pool);

/* States of a page, or-ed. */
enum {
    CLATTN__PAGE_LEFT = 1,       /* a sequence left it to others while it was held */
    CLATTN__PAGE_WILL_LEAVE = 2, /* the same, while it is only counted what an extension needs */
    CLATTN__PAGE_LISTED = 4      /* is in the hold that is being made */
};

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

/* Frees the pages between those of the first `sink` tokens and those of the last `window` ones;
 * *evicted counts their tokens. A sequence has one gap: CLATTN_ERR_ARGUMENT where `sink` would make
 * another. */
clattn_status clattn__page_pool_evict(clattn__page_pool *pool, uint64_t id, int64_t sink,
                                      int64_t window, int64_t *evicted);

/* What a sequence that comes from elsewhere has been through; `id` must exist. */
void clattn__page_pool_set_gap(clattn__page_pool *pool, uint64_t id, int64_t begin, int64_t gap);

/* Makes room for tokens[i] more tokens of each of the `count` sequences, which must differ.
 * `copies` (count) gets what must be copied before anything is written, *copied their number.
 * CLATTN_ERR_OUT_OF_MEMORY where not enough pages are free, CLATTN_ERR_BUSY where those that wait
 * would make up for it. */
clattn_status clattn__page_pool_extend(clattn__page_pool *pool, const uint64_t *ids,
                                       const int64_t *tokens, uint32_t count,
                                       clattn__page_copy *copies, uint32_t *copied);

/* Takes an extension back, with the same arguments: its copies, which are held, have failed. */
void clattn__page_pool_undo(clattn__page_pool *pool, const uint64_t *ids, const int64_t *tokens,
                            uint32_t count, const clattn__page_copy *copies, uint32_t copied);

/* Holds the pages of `count` sequences, of all if `ids` is NULL, as they are now: until they are
 * let go, they aren't free, nor written behind the tokens of a sequence that shared them with one
 * that went on without. `hold` may have an array to use again; let_go leaves it there. */
clattn_status clattn__page_pool_hold(clattn__page_pool *pool, const uint64_t *ids, uint32_t count,
                                     clattn__page_hold *hold);
/* The same of the pages that an extension copies, until that is done. */
clattn_status clattn__page_pool_hold_copied(clattn__page_pool *pool,
                                            const clattn__page_copy *copies, uint32_t copied,
                                            clattn__page_hold *hold);
void clattn__page_pool_let_go(clattn__page_pool *pool, clattn__page_hold *hold);

/* What is to be left of sequences by clattn__page_pool_evict. */
typedef struct clattn__page_window {
    const uint64_t *ids; /* (count) */
    uint32_t count;
    int64_t sink, window; /* tokens */
} clattn__page_window;

/* How many pages must be copied so that the pages of the window are each sequence's alone, of those
 * sequences that evicting would take something from. Checks what _evict checks, that ids differ,
 * and that so many pages are free: statuses as of _extend. */
clattn_status clattn__page_pool_count_shared(clattn__page_pool *pool,
                                             const clattn__page_window *window, uint32_t *shared);
/* Gives them fresh pages in their place; `copies` (shared) gets what must be copied. */
void clattn__page_pool_own(clattn__page_pool *pool, const clattn__page_window *window,
                           clattn__page_copy *copies);
/* Takes that back: the copies, which are held, have failed. */
void clattn__page_pool_disown(clattn__page_pool *pool, const clattn__page_window *window,
                              const clattn__page_copy *copies, uint32_t copied);

/* Where token `index` of those that the sequence has was among all that were appended. */
int64_t clattn__page_sequence_position(const clattn__page_sequence *of, int64_t index);

/* Pages that hold `length` tokens. */
int64_t clattn__page_pool_pages(const clattn__page_pool *pool, int64_t length);

/* ---- for the files of the pool: page_pool.c, page_holds.c, page_eviction.c ---- */

clattn__page_sequence *clattn__page_pool_get(const clattn__page_pool *pool, uint64_t id);
/* A sequence has the page no more; takes one that is free, of which there must be one. */
void clattn__page_drop(clattn__page_pool *pool, int32_t page);
int32_t clattn__page_take(clattn__page_pool *pool);
/* Puts `from` in the place of `to` again, in a sequence's table. */
void clattn__page_put_back(clattn__page_pool *pool, int32_t *at, clattn__page_copy copy);
/* Whether a sequence that writes to the page needs a copy of it. */
bool clattn__page_must_copy(const clattn__page_pool *pool, int32_t page);
/* One sequence fewer writes to the page, while it is only counted what they need; and back. */
void clattn__page_count_writer(clattn__page_pool *pool, int32_t page);
void clattn__page_uncount_writer(clattn__page_pool *pool, int32_t page);
/* ids[i] is none of those before it. */
clattn_status clattn__page_pool_check_new(const uint64_t *ids, uint32_t i);
clattn_status clattn__page_pool_check_free(const clattn__page_pool *pool, int64_t needed);

#endif
