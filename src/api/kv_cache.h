/* What a key/value cache is, for the files that have its public functions: kv_caches.c (books),
 * kv_memory.c, kv_steps.c (descriptions and bindings), kv_guards.c (events that read pages),
 * kv_sequences.c (windows), kv_files.c. */
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

/* The memory objects of a cache, (layer, page, head, token, elements of a row); scales where keys
 * and values are integers. */
enum {
    CLATTN__KV_KEYS,
    CLATTN__KV_VALUES,
    CLATTN__KV_K_SCALES,
    CLATTN__KV_V_SCALES,
    CLATTN__KV_PARTS
};

struct clattn_kv_cache {
    clattn_context *context; /* borrowed, held */
    clattn_kv_cache_desc desc;
    clattn__mutex lock; /* guards `pool` and `guard` */
    clattn__page_pool pool;
    clattn_buffer *memory[CLATTN__KV_PARTS]; /* owned; those of clattn__kv_cache_parts */
    void *page;                              /* room for a page of one layer on its way, owned */
    clattn__kv_guard *guard; /* (guard_capacity) owned; holds behind guard_count are to use again */
    uint32_t guard_count, guard_capacity;
};

/* Locks the cache, where CLATTN_OK; leave unlocks it and returns `status`. */
clattn_status clattn__kv_cache_enter(clattn_kv_cache *cache);
clattn_status clattn__kv_cache_leave(clattn_kv_cache *cache, clattn_status status);

clattn_status clattn__kv_cache_check_dispatcher(const clattn_kv_cache *cache,
                                                const clattn_dispatcher *dispatcher);

/* Waits for what the dispatcher still does. Called with the lock held, which isn't while it waits:
 * callbacks may need the cache, and may change it. */
clattn_status clattn__kv_cache_wait(clattn_kv_cache *cache, clattn_dispatcher *dispatcher);

/* How many parts a cache has: 2, or with scales 4. */
int clattn__kv_cache_parts(const clattn_kv_cache *cache);
clattn_dtype clattn__kv_cache_type(const clattn_kv_cache *cache, int part);
/* Elements and bytes of one row, and where a page of a layer begins. */
int64_t clattn__kv_cache_row(const clattn_kv_cache *cache, int part);
uint64_t clattn__kv_cache_row_bytes(const clattn_kv_cache *cache, int part);
uint64_t clattn__kv_cache_page_offset(const clattn_kv_cache *cache, int part, int64_t layer,
                                      int32_t page);

/* Allocates the parts; what there is of them is the caller's to free in any case. */
clattn_status clattn__kv_cache_make_memory(clattn_kv_cache *made);
/* Copies pages for sequences that go on with `copies[i].to`, after everything in flight. Called
 * with the lock held, which isn't while it waits. */
clattn_status clattn__kv_cache_copy_pages(clattn_kv_cache *cache, clattn_dispatcher *dispatcher,
                                          const clattn__page_copy *copies, uint32_t count,
                                          clattn__page_hold *hold);
/* Copies a page of all layers. */
clattn_status clattn__kv_cache_copy_page(const clattn_kv_cache *cache, clattn__page_copy copy);

clattn_status clattn__kv_cache_check_field(const char *name, int64_t value, int64_t most);
clattn_status clattn__kv_cache_check_layer(const clattn_kv_cache *cache, int64_t layer);
/* The cache has scales. */
clattn_status clattn__kv_cache_check_scales(const clattn_kv_cache *cache);
/* Its keys may be rotated: it has none. */
clattn_status clattn__kv_cache_check_rotatable(const clattn_kv_cache *cache);

/* Tokens begin .. end - 1 of one layer of a sequence. */
typedef struct clattn__kv_rows {
    const clattn__page_sequence *of;
    int64_t layer, begin, end;
} clattn__kv_rows;

/* Copies one part of one head, page by page, from or to data (end - begin) rows. */
clattn_status clattn__kv_cache_move_head(const clattn_kv_cache *cache, const clattn__kv_rows *rows,
                                         int part, int64_t head, void *data, bool write);

/* With the lock held: pages of events that are done are let go. */
void clattn__kv_guards_settle(clattn_kv_cache *cache);
/* Lets all events go, done or not. */
void clattn__kv_guards_finish(clattn_kv_cache *cache);

#endif
