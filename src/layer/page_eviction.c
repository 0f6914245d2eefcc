/* Windows that leave tokens behind, and pages that become one sequence's alone. See page_pool.h. */
#include <inttypes.h>
#include <string.h>

#include "layer/page_pool.h"

static clattn_status check_window(const clattn__page_pool *pool, const clattn__page_sequence *of,
                                  int64_t sink, int64_t window)
{
    if (sink < 0 || sink > INT32_MAX || window < 0 || window > INT32_MAX)
        return clattn__fail(CLATTN_ERR_ARGUMENT, "%s: is %" PRId64 ", must be 0 to 2^31-1 tokens",
                            sink < 0 || sink > INT32_MAX ? "sink" : "window",
                            sink < 0 || sink > INT32_MAX ? sink : window);
    if (of->gap > 0 && clattn__page_pool_pages(pool, sink) * pool->page_size != of->gap_begin)
        return clattn__fail(CLATTN_ERR_ARGUMENT,
                            "sink: is %" PRId64 " tokens, in pages of %" PRId64
                            ", but sequence %" PRIu64 " has kept the first %" PRId64,
                            sink, pool->page_size, of->id, of->gap_begin);
    return CLATTN_OK;
}

/* Pages of a sequence: those from `begin` to `end` - 1 go, those from there to `pages` - 1 stay. */
typedef struct cut {
    int64_t begin, end, pages;
} cut;

static cut cut_of(const clattn__page_pool *pool, const clattn__page_sequence *of, int64_t sink,
                  int64_t window)
{
    cut made = {.begin = clattn__page_pool_pages(pool, sink),
                .pages = clattn__page_pool_pages(pool, of->length)};
    made.end = of->length > window ? (of->length - window) / pool->page_size : 0;
    if (made.end < made.begin)
        made.end = made.begin;
    return made;
}

clattn_status clattn__page_pool_evict(clattn__page_pool *pool, uint64_t id, int64_t sink,
                                      int64_t window, int64_t *evicted)
{
    clattn__page_sequence *of = clattn__page_pool_get(pool, id);
    if (!of)
        return CLATTN_ERR_ARGUMENT;
    CLATTN__TRY(check_window(pool, of, sink, window));
    const cut at = cut_of(pool, of, sink, window);
    *evicted = (at.end - at.begin) * pool->page_size;
    if (*evicted == 0)
        return CLATTN_OK;
    for (int64_t i = at.begin; i < at.end; i++)
        clattn__page_drop(pool, of->page[i]);
    memmove(&of->page[at.begin], &of->page[at.end], (size_t)(at.pages - at.end) * sizeof *of->page);
    of->length -= *evicted;
    of->gap_begin = at.begin * pool->page_size;
    of->gap += *evicted;
    return CLATTN_OK;
}

void clattn__page_pool_set_gap(clattn__page_pool *pool, uint64_t id, int64_t begin, int64_t gap)
{
    clattn__page_sequence *of = clattn__page_pool_get(pool, id);
    of->gap_begin = begin;
    of->gap = gap;
}

int64_t clattn__page_sequence_position(const clattn__page_sequence *of, int64_t index)
{
    return index < of->gap_begin ? index : index + of->gap;
}

/* ---- pages that become one sequence's alone -------------------------------------------------- */

/* The pages that sequence i keeps behind what goes: none where nothing does. */
static int32_t *kept_pages(const clattn__page_pool *pool, const clattn__page_window *window,
                           uint32_t i, int64_t *count)
{
    const clattn__page_sequence *of = clattn__page_pool_get(pool, window->ids[i]);
    const cut at = cut_of(pool, of, window->sink, window->window);
    *count = at.end > at.begin ? at.pages - at.end : 0;
    return *count > 0 ? of->page + at.end : NULL;
}

/* Those that must be copied; references and states change meanwhile, as in an extension. */
static int64_t count_shared(clattn__page_pool *pool, const clattn__page_window *window)
{
    int64_t needed = 0, count;
    for (uint32_t i = 0; i < window->count; i++) {
        const int32_t *page = kept_pages(pool, window, i, &count);
        for (int64_t n = 0; n < count; n++) {
            needed += clattn__page_must_copy(pool, page[n]);
            clattn__page_count_writer(pool, page[n]);
        }
    }
    for (uint32_t i = 0; i < window->count; i++) {
        const int32_t *page = kept_pages(pool, window, i, &count);
        for (int64_t n = 0; n < count; n++)
            clattn__page_uncount_writer(pool, page[n]);
    }
    return needed;
}

clattn_status clattn__page_pool_count_shared(clattn__page_pool *pool,
                                             const clattn__page_window *window, uint32_t *shared)
{
    for (uint32_t i = 0; i < window->count; i++) {
        const clattn__page_sequence *of = clattn__page_pool_get(pool, window->ids[i]);
        if (!of)
            return CLATTN_ERR_ARGUMENT;
        CLATTN__TRY(check_window(pool, of, window->sink, window->window));
        CLATTN__TRY(clattn__page_pool_check_new(window->ids, i));
    }
    const int64_t needed = count_shared(pool, window);
    CLATTN__TRY(clattn__page_pool_check_free(pool, needed));
    *shared = (uint32_t)needed;
    return CLATTN_OK;
}

void clattn__page_pool_own(clattn__page_pool *pool, const clattn__page_window *window,
                           clattn__page_copy *copies)
{
    int64_t count;
    for (uint32_t i = 0; i < window->count; i++) {
        int32_t *page = kept_pages(pool, window, i, &count);
        for (int64_t n = 0; n < count; n++) {
            if (!clattn__page_must_copy(pool, page[n]))
                continue;
            *copies = (clattn__page_copy){page[n], clattn__page_take(pool)};
            page[n] = copies->to;
            clattn__page_drop(pool, copies->from);
            copies++;
        }
    }
}

/* Others may have used the pool meanwhile. */
void clattn__page_pool_disown(clattn__page_pool *pool, const clattn__page_window *window,
                              const clattn__page_copy *copies, uint32_t copied)
{
    for (uint32_t i = 0; i < window->count; i++) {
        clattn__page_sequence *of = clattn__page_pool_get(pool, window->ids[i]);
        const int64_t pages = of ? clattn__page_pool_pages(pool, of->length) : 0;
        for (int64_t n = 0; n < pages; n++)
            for (uint32_t c = 0; c < copied; c++)
                if (of->page[n] == copies[c].to) {
                    clattn__page_put_back(pool, &of->page[n], copies[c]);
                    break;
                }
    }
}
