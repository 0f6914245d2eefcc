/* What a key/value cache is, for the files that have its public functions: kv_caches.c (books and
 * memory), kv_guards.c (events that read pages), kv_sequences.c (windows), kv_files.c. */
#ifndef CLATTN_API_KV_CACHE_H
#define CLATTN_API_KV_CACHE_H

#include <clattn/layer.h>

#include "dispatch/dispatcher.h"
#include "layer/page_pool.h"

/* Pages that an event's submission reads or writes. */
typedef struct clattn__kv_guard {
    clattn_event *event; /* a reference */
    clattn__page_hold hold;
} clattn__kv_guard;

struct clattn_kv_cache {
    clattn_context *context; /* borrowed, held */
    clattn_kv_cache_desc desc;
    clattn__mutex lock; /* guards `pool` and `guard` */
    clattn__page_pool pool;
    clattn_buffer *memory[2]; /* keys, values; owned */
    void *page;               /* room for a page of one layer on its way, owned */
    clattn__kv_guard *guard; /* (guard_capacity) owned; holds behind guard_count are to use again */
    uint32_t guard_count, guard_capacity;
};

/* Locks the cache, where CLATTN_OK; leave unlocks it and returns `status`. */
clattn_status clattn__kv_cache_enter(clattn_kv_cache *cache);
clattn_status clattn__kv_cache_leave(clattn_kv_cache *cache, clattn_status status);

/* Waits for what a dispatcher of the cache's context still does. */
clattn_status clattn__kv_cache_quiet(const clattn_kv_cache *cache, clattn_dispatcher *dispatcher);

/* Bytes of one row of a key (0) or value (1). */
uint64_t clattn__kv_cache_row_bytes(const clattn_kv_cache *cache, int values);

/* Tokens begin .. end - 1 of one layer of a sequence. */
typedef struct clattn__kv_rows {
    const clattn__page_sequence *of;
    int64_t layer, begin, end;
} clattn__kv_rows;

/* Copies one head's keys or values, page by page, from or to data (end - begin) rows. */
clattn_status clattn__kv_cache_move_head(const clattn_kv_cache *cache, const clattn__kv_rows *rows,
                                         int values, int64_t head, void *data, bool write);

/* With the lock held: pages of events that are done are let go. */
void clattn__kv_guards_settle(clattn_kv_cache *cache);
/* Lets all events go, done or not. */
void clattn__kv_guards_finish(clattn_kv_cache *cache);

#endif
