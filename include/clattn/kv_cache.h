/* clattn: the key/value cache, the memory of decoding. Part of clattn/layer.h.
 *
 * A cache has pages of `page_size` tokens. A sequence is a caller's 64-bit id and the pages of its
 * tokens; sequences that begin alike share pages, which are copied when one of them goes on. The
 * host keeps the books, at once, when a function is called; keys and values are moved by steps of a
 * submission, in its order:
 *
 *    clattn_kv_cache_extend(cache, dispatcher, ids, tokens, count)     room for new tokens
 *    clattn_kv_cache_tables(cache, ids, count, limit, pages, lengths)  where they are
 *    for each layer, clattn_submit of two steps, with `pages` and `lengths` as host arrays:
 *        clattn_plan_append      their keys and values into the cache
 *        clattn_plan_attention   attention with CLATTN_SLOT_PAGES, which reads it
 *
 * Steps copy `pages` and `lengths`, so the cache may change while they are in flight. What they
 * read must not change under them: either everything that uses a cache goes to one dispatcher that
 * executes in order (clattn_dispatcher_options.direct, or a queue of the caller's), or
 * clattn_kv_cache_guard tells the cache of the submission's event, and the steps name their
 * sequences (clattn_step.sequences; ids other than 0), whose own order is kept. The first
 * submission of a fork then has those in its wait list that still write what it shares. */
#ifndef CLATTN_KV_CACHE_H
#define CLATTN_KV_CACHE_H

#include <clattn/operations.h>
#include <clattn/submit.h>
#include <stdint.h>
#include <string.h>

#ifdef __cplusplus
extern "C" {
#endif

/* ------------------------------------------------------------------------------------------------
 * The key/value cache
 * --------------------------------------------------------------------------------------------- */

/* Keys and values of sequences, for all layers of a model. Any thread. */
typedef struct clattn_kv_cache clattn_kv_cache;

typedef struct clattn_kv_cache_desc {
    uint32_t struct_size;
    clattn_dtype dtype; /* F32, F16, BF16, I8 or I4: how keys and values are stored */
    int64_t layers;     /* at least 1, as are all that follow */
    int64_t n_kv_head;
    int64_t head_dim;       /* up to 576 */
    int64_t value_dim;      /* up to 576 */
    int64_t page_size;      /* tokens of a page; 16 and more for speed */
    int64_t pages;          /* of the whole cache, each for all layers; up to 2^31-1 */
    int64_t scale_channels; /* I8 and I4: channels that share a scale, 0: all of a row; 32 */
} clattn_kv_cache_desc;

static inline void clattn_kv_cache_desc_init(clattn_kv_cache_desc *desc)
{
    memset(desc, 0, sizeof *desc);
    desc->struct_size = sizeof *desc;
}

/* Allocates pages * page_size tokens' keys and values. */
CLATTN_API clattn_status clattn_kv_cache_create(clattn_context *context,
                                                const clattn_kv_cache_desc *desc,
                                                clattn_kv_cache **cache);
/* Submissions in flight keep the memory alive. NULL is allowed. */
CLATTN_API void clattn_kv_cache_destroy(clattn_kv_cache *cache);

/* Sequences. A call that fails changes nothing. CLATTN_ERR_ARGUMENT for an id that is there already
 * (add, fork) or is not there (all others).
 * add: a new, empty one.
 * fork: a new one that begins with the first `length` tokens of `from`, and shares their pages.
 * truncate: forgets the tokens from `length` on.
 * remove: gives all pages back that no other sequence has. */
CLATTN_API clattn_status clattn_kv_cache_add(clattn_kv_cache *cache, uint64_t id);
CLATTN_API clattn_status clattn_kv_cache_fork(clattn_kv_cache *cache, uint64_t id, uint64_t from,
                                              int64_t length);
CLATTN_API clattn_status clattn_kv_cache_truncate(clattn_kv_cache *cache, uint64_t id,
                                                  int64_t length);
CLATTN_API clattn_status clattn_kv_cache_remove(clattn_kv_cache *cache, uint64_t id);
CLATTN_API clattn_status clattn_kv_cache_length(clattn_kv_cache *cache, uint64_t id,
                                                int64_t *length);

/* Forgets tokens in the middle: the first `sink` tokens stay, and the last `window` (Xiao et al.
 * 2024, "Efficient Streaming Language Models with Attention Sinks"). Whole pages go, so up to
 * page_size - 1 tokens more stay on either side. Call it as often as you like, say before each
 * extend; *evicted (may be NULL) counts the tokens that went, often 0. A sequence has one gap: with
 * a `sink` of other pages than before, CLATTN_ERR_ARGUMENT.
 *
 * Afterwards tokens are counted as if the others had never been: in lengths, tables, reading,
 * truncating and in attention, where causal, window and ALiBi see the distances of this counting,
 * as in the paper. Those within the sinks and within the window are as before, those across are
 * shorter by the gap. Keys that were rotated stay as they were appended: see
 * clattn_kv_cache_shift. */
CLATTN_API clattn_status clattn_kv_cache_evict(clattn_kv_cache *cache, uint64_t id, int64_t sink,
                                               int64_t window, int64_t *evicted);

typedef struct clattn_kv_sequence_info {
    uint32_t struct_size;
    uint32_t reserved;
    int64_t length;    /* tokens that it has, as clattn_kv_cache_length */
    int64_t pages;     /* that hold them */
    int64_t gap_begin; /* tokens before those that were evicted */
    int64_t gap;       /* tokens evicted: token j >= gap_begin was appended as number j + gap */
    int64_t position;  /* number of the next token, counting those that were evicted */
} clattn_kv_sequence_info;

/* info->struct_size must be set to sizeof *info. */
CLATTN_API clattn_status clattn_kv_cache_get_sequence(clattn_kv_cache *cache, uint64_t id,
                                                      clattn_kv_sequence_info *info);

/* A window that moves, for sequences whose keys are rotated by their place in the cache, as the
 * paper does it. */
typedef struct clattn_kv_shift {
    uint32_t struct_size;
    uint32_t count;
    const uint64_t *ids;  /* (count) all different */
    int64_t sink, window; /* as clattn_kv_cache_evict */
    /* (count) each, written: what clattn_plan_shift wants. Where nothing was evicted all are 0. */
    int32_t *positions; /* the first token whose position has changed */
    int32_t *lengths;   /* how many there are, to the end of the sequence */
    int32_t *shifts;    /* new minus old position: minus the number of tokens evicted */
} clattn_kv_shift;

static inline void clattn_kv_shift_init(clattn_kv_shift *shift)
{
    memset(shift, 0, sizeof *shift);
    shift->struct_size = sizeof *shift;
}

/* clattn_kv_cache_evict of each of them, and readies the keys behind the gap to be rotated: where
 * their pages are shared with other sequences, or read for one that has left them, they are copied,
 * as by extend, with what that says of waiting and of its statuses. The next thing to happen to the
 * sequences is then, before extend, a step of clattn_plan_shift for each layer, with these arrays
 * and the tables that the sequences have now; new tokens are rotated by their place in the cache.
 * CLATTN_ERR_UNSUPPORTED for caches of I8 and I4: there keys keep the positions that they were
 * appended with, see clattn_kv_sequence_info.position. A call that fails changes nothing. Since
 * 0.1. */
CLATTN_API clattn_status clattn_kv_cache_shift(clattn_kv_cache *cache,
                                               clattn_dispatcher *dispatcher,
                                               const clattn_kv_shift *shift);

/* The pages of `count` sequences, as they are now, are in use until `event` is done: call it after
 * clattn_submit, for the sequences whose tables the submission has, before one of them is
 * truncated, evicted from or removed. The books change at once, data when steps run: a page given
 * back without it is another sequence's, whose append may write what the submission has yet to
 * read. `ids` NULL with count 0: all sequences. The cache keeps a
 * reference to the event until it has seen that it is done. Until then
 *  - pages that no sequence has any more wait, and are no other sequence's;
 *  - a page that sequences shared isn't written for one of them in the place of what another one,
 *    which has left it, is read for: it is copied, as if that one still had it. */
CLATTN_API clattn_status clattn_kv_cache_guard(clattn_kv_cache *cache, clattn_event *event,
                                               const uint64_t *ids, uint32_t count);

/* Makes room for tokens[i] more tokens of ids[i], all different. CLATTN_ERR_OUT_OF_MEMORY, and
 * nothing has changed, where the free pages aren't enough; CLATTN_ERR_BUSY, and nothing has
 * changed, where they will be when the events are done that pages wait for. The first time that one
 * of several sequences writes to a page that they share, the page is copied: only then the call
 * waits for what `dispatcher` still does, and is not for a callback of it. */
CLATTN_API clattn_status clattn_kv_cache_extend(clattn_kv_cache *cache,
                                                clattn_dispatcher *dispatcher, const uint64_t *ids,
                                                const int64_t *tokens, uint32_t count);

/* pages (count, limit): the pages of each sequence, 0 behind the last one; lengths (count): their
 * tokens. What PAGES and KV_LENGTHS want. `lengths` may be NULL. CLATTN_ERR_ARGUMENT where a
 * sequence has more than `limit` pages. */
CLATTN_API clattn_status clattn_kv_cache_tables(clattn_kv_cache *cache, const uint64_t *ids,
                                                uint32_t count, int64_t limit, int32_t *pages,
                                                int32_t *lengths);

/* Fill in what the cache knows: the first, of attention, PAGES and KV_LENGTHS in slots, heads,
 * dimensions, types and strides of K and V, page_size, n_pages, and page_limit by desc->n_kv,
 * which is the caller's; the second the same of PRESENT_K and PRESENT_V, with page_limit by
 * `tokens`, the longest that a sequence may become. A cache of I8 or I4 adds K_SCALES and V_SCALES
 * to slots, and scale_channels. The third is for clattn_plan_shift, of which `bind` with `append` 1
 * has the first binding; CLATTN_ERR_UNSUPPORTED for a cache of I8 or I4. Since 0.1. */
CLATTN_API clattn_status clattn_kv_cache_describe_attention(clattn_kv_cache *cache,
                                                            clattn_attention_desc *desc);
CLATTN_API clattn_status clattn_kv_cache_describe_append(clattn_kv_cache *cache, int64_t tokens,
                                                         clattn_append_desc *desc);
CLATTN_API clattn_status clattn_kv_cache_describe_shift(clattn_kv_cache *cache, int64_t tokens,
                                                        clattn_shift_desc *desc);

/* The bindings of one layer: those of K and V for attention (`append` 0), of PRESENT_K and
 * PRESENT_V for appending (`append` 1). They hold as long as the cache. */
CLATTN_API clattn_status clattn_kv_cache_bind(clattn_kv_cache *cache, int64_t layer,
                                              uint32_t append, clattn_binding bindings[2]);

/* The same of K_SCALES and V_SCALES, for either. CLATTN_ERR_ARGUMENT unless the cache is of type I8
 * or I4. */
CLATTN_API clattn_status clattn_kv_cache_bind_scales(clattn_kv_cache *cache, int64_t layer,
                                                     clattn_binding bindings[2]);

/* Tokens begin .. begin + count - 1 of one layer of a sequence. */
typedef struct clattn_kv_range {
    uint64_t id;
    int64_t layer, begin, count;
} clattn_kv_range;

/* Copies them to host arrays of the cache's type: k (n_kv_head, count, head_dim),
 * v (n_kv_head, count, value_dim); either may be NULL. Wait for submissions that write them first.
 */
CLATTN_API clattn_status clattn_kv_cache_read(clattn_kv_cache *cache, const clattn_kv_range *range,
                                              void *k, void *v);

/* The scales of a cache of I8 or I4, in the same manner: (n_kv_head, count, scales of a row), one,
 * or one for each 32 channels. CLATTN_ERR_ARGUMENT for other types. */
CLATTN_API clattn_status clattn_kv_cache_read_scales(clattn_kv_cache *cache,
                                                     const clattn_kv_range *range, float *k_scales,
                                                     float *v_scales);

/* Saves a sequence, all layers, to a file, and loads it as a new sequence `id`. The file is the
 * same for every device and page size: rows of the cache's type with checksums; docs/memory.md has
 * its form. It appears whole or not at all. Wait for submissions that write the sequence before
 * saving; load waits for what `dispatcher` does, not from a callback of it. CLATTN_ERR_IO for files
 * that can't be written or read, are truncated, damaged or foreign; CLATTN_ERR_ARGUMENT where type
 * or extents aren't the cache's, or the id is there already; CLATTN_ERR_OUT_OF_MEMORY and
 * CLATTN_ERR_BUSY as extend. A call that fails changes nothing. */
CLATTN_API clattn_status clattn_kv_cache_save(clattn_kv_cache *cache, uint64_t id,
                                              const char *path);
CLATTN_API clattn_status clattn_kv_cache_load(clattn_kv_cache *cache, clattn_dispatcher *dispatcher,
                                              uint64_t id, const char *path);

typedef struct clattn_kv_cache_info {
    uint32_t struct_size;
    uint32_t reserved;
    int64_t pages, free_pages; /* free_pages: nobody has or reads them */
    int64_t sequences;
    int64_t tokens; /* of all sequences, shared ones counted once for each */
    uint64_t bytes; /* of keys and values, all pages */
    int64_t
        waiting_pages;  /* no sequence has them, but events of clattn_kv_cache_guard aren't done */
    int64_t used_pages; /* of sequences; free, waiting and used ones are all */
} clattn_kv_cache_info;

/* info->struct_size must be set to sizeof *info. */
CLATTN_API clattn_status clattn_kv_cache_get_info(clattn_kv_cache *cache,
                                                  clattn_kv_cache_info *info);

#ifdef __cplusplus
}
#endif

#endif
