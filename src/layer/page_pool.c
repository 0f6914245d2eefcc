/* See page_pool.h. A page belongs to as many sequences as its count of references says; the last
 * page of a sequence is written behind its tokens only while it belongs to no other, and is not
 * read for one that has had it: what that one read is what the next would write. */
#include "layer/page_pool.h"

#include <inttypes.h>
#include <string.h>

clattn_status clattn__page_pool_init(clattn__page_pool *pool, const clattn__env *env,
                                     int64_t page_size, int32_t count)
{
    memset(pool, 0, sizeof *pool);
    pool->env = env;
    pool->page_size = page_size;
    pool->count = pool->free_count = count;
    pool->free_page = clattn__alloc_array(env, (size_t)count, sizeof *pool->free_page);
    pool->references = clattn__alloc_array(env, (size_t)count, sizeof *pool->references);
    pool->readers = clattn__alloc_array(env, (size_t)count, sizeof *pool->readers);
    pool->state = clattn__alloc_array(env, (size_t)count, sizeof *pool->state);
    if (!pool->free_page || !pool->references || !pool->readers || !pool->state) {
        clattn__page_pool_finish(pool);
        return CLATTN_ERR_OUT_OF_MEMORY;
    }
    for (int32_t i = 0; i < count; i++)
        pool->free_page[i] = count - 1 - i;
    return CLATTN_OK;
}

void clattn__page_pool_finish(clattn__page_pool *pool)
{
    for (int64_t i = 0; i < pool->sequences; i++)
        clattn__free(pool->env, pool->sequence[i].page);
    clattn__free(pool->env, pool->sequence);
    clattn__free(pool->env, pool->state);
    clattn__free(pool->env, pool->readers);
    clattn__free(pool->env, pool->references);
    clattn__free(pool->env, pool->free_page);
    memset(pool, 0, sizeof *pool);
}

int64_t clattn__page_pool_pages(const clattn__page_pool *pool, int64_t length)
{
    return length / pool->page_size + (length % pool->page_size != 0);
}

/* Index of the first sequence whose id isn't below `id`. */
static int64_t place_of(const clattn__page_pool *pool, uint64_t id)
{
    int64_t begin = 0, end = pool->sequences;
    while (begin < end) {
        const int64_t middle = begin + (end - begin) / 2;
        if (pool->sequence[middle].id < id)
            begin = middle + 1;
        else
            end = middle;
    }
    return begin;
}

static bool exists(const clattn__page_pool *pool, uint64_t id)
{
    const int64_t at = place_of(pool, id);
    return at < pool->sequences && pool->sequence[at].id == id;
}

clattn__page_sequence *clattn__page_pool_get(const clattn__page_pool *pool, uint64_t id)
{
    if (exists(pool, id))
        return &pool->sequence[place_of(pool, id)];
    clattn__fail(CLATTN_ERR_ARGUMENT, "sequence: the cache has none of id %" PRIu64, id);
    return NULL;
}

const clattn__page_sequence *clattn__page_pool_find(const clattn__page_pool *pool, uint64_t id)
{
    return clattn__page_pool_get(pool, id);
}

/* Whether the gap is still there when the sequence ends at `length`. */
static bool keeps_gap(const clattn__page_sequence *of, int64_t length)
{
    return length > of->gap_begin || length == of->length;
}

void clattn__page_drop(clattn__page_pool *pool, int32_t page)
{
    const bool held = pool->readers[page] > 0;
    if (--pool->references[page] > 0)
        pool->state[page] |= held ? CLATTN__PAGE_LEFT : 0;
    else if (held)
        pool->waiting_count++;
    else
        pool->free_page[pool->free_count++] = page;
}

int32_t clattn__page_take(clattn__page_pool *pool)
{
    const int32_t page = pool->free_page[--pool->free_count];
    pool->references[page] = 1;
    return page;
}

/* Room for `pages` pages of a sequence. */
static clattn_status reserve(const clattn__page_pool *pool, clattn__page_sequence *of,
                             int64_t pages)
{
    if (pages <= of->capacity)
        return CLATTN_OK;
    const int64_t capacity = pages + pages / 2;
    int32_t *grown = clattn__resize(pool->env, of->page, (size_t)capacity * sizeof *grown);
    if (!grown)
        return CLATTN_ERR_OUT_OF_MEMORY;
    of->page = grown;
    of->capacity = capacity;
    return CLATTN_OK;
}

/* Room for one more sequence. */
static clattn_status reserve_sequence(clattn__page_pool *pool)
{
    if (pool->sequences < pool->sequence_capacity)
        return CLATTN_OK;
    const int64_t capacity = pool->sequence_capacity * 2 + 8;
    clattn__page_sequence *grown =
        clattn__resize(pool->env, pool->sequence, (size_t)capacity * sizeof *grown);
    if (!grown)
        return CLATTN_ERR_OUT_OF_MEMORY;
    pool->sequence = grown;
    pool->sequence_capacity = capacity;
    return CLATTN_OK;
}

/* Inserts it; there must be room. */
static void insert(clattn__page_pool *pool, const clattn__page_sequence *made)
{
    const int64_t at = place_of(pool, made->id);
    memmove(&pool->sequence[at + 1], &pool->sequence[at],
            (size_t)(pool->sequences - at) * sizeof *made);
    pool->sequence[at] = *made;
    pool->sequences++;
}

static clattn_status check_new(clattn__page_pool *pool, uint64_t id)
{
    if (exists(pool, id))
        return clattn__fail(CLATTN_ERR_ARGUMENT,
                            "sequence: the cache already has one of id %" PRIu64, id);
    return reserve_sequence(pool);
}

clattn_status clattn__page_pool_add(clattn__page_pool *pool, uint64_t id)
{
    const clattn__page_sequence made = {.id = id};
    CLATTN__TRY(check_new(pool, id));
    insert(pool, &made);
    return CLATTN_OK;
}

static clattn_status check_length(const clattn__page_sequence *of, int64_t length)
{
    if (length < 0 || length > of->length)
        return clattn__fail(CLATTN_ERR_ARGUMENT,
                            "length: is %" PRId64 ", must be 0 to the %" PRId64
                            " tokens of sequence %" PRIu64,
                            length, of->length, of->id);
    return CLATTN_OK;
}

clattn_status clattn__page_pool_fork(clattn__page_pool *pool, uint64_t id, uint64_t from,
                                     int64_t length)
{
    clattn__page_sequence made = {.id = id, .length = length};
    CLATTN__TRY(check_new(pool, id));
    const clattn__page_sequence *of = clattn__page_pool_get(pool, from);
    if (!of)
        return CLATTN_ERR_ARGUMENT;
    CLATTN__TRY(check_length(of, length));
    const int64_t pages = clattn__page_pool_pages(pool, length);
    CLATTN__TRY(reserve(pool, &made, pages));
    for (int64_t i = 0; i < pages; i++) {
        made.page[i] = of->page[i];
        pool->references[of->page[i]]++;
    }
    if (keeps_gap(of, length)) {
        made.gap_begin = of->gap_begin;
        made.gap = of->gap;
    }
    insert(pool, &made);
    return CLATTN_OK;
}

static void shorten(clattn__page_pool *pool, clattn__page_sequence *of, int64_t length)
{
    const int64_t kept = clattn__page_pool_pages(pool, length);
    for (int64_t i = clattn__page_pool_pages(pool, of->length); i-- > kept;)
        clattn__page_drop(pool, of->page[i]);
    if (!keeps_gap(of, length))
        of->gap_begin = of->gap = 0;
    of->length = length;
}

clattn_status clattn__page_pool_truncate(clattn__page_pool *pool, uint64_t id, int64_t length)
{
    clattn__page_sequence *of = clattn__page_pool_get(pool, id);
    if (!of)
        return CLATTN_ERR_ARGUMENT;
    CLATTN__TRY(check_length(of, length));
    shorten(pool, of, length);
    return CLATTN_OK;
}

clattn_status clattn__page_pool_remove(clattn__page_pool *pool, uint64_t id)
{
    clattn__page_sequence *of = clattn__page_pool_get(pool, id);
    if (!of)
        return CLATTN_ERR_ARGUMENT;
    shorten(pool, of, 0);
    clattn__free(pool->env, of->page);
    pool->sequences--;
    memmove(of, of + 1, (size_t)(&pool->sequence[pool->sequences] - of) * sizeof *of);
    return CLATTN_OK;
}

/* ---- longer sequences ------------------------------------------------------------------------ */

/* The page that new tokens would join, -1: none, or no new tokens. */
static int32_t joined_page(const clattn__page_pool *pool, const clattn__page_sequence *of,
                           int64_t tokens)
{
    if (tokens == 0 || of->length % pool->page_size == 0)
        return -1;
    return of->page[of->length / pool->page_size];
}

clattn_status clattn__page_pool_check_new(const uint64_t *ids, uint32_t i)
{
    for (uint32_t other = 0; other < i; other++)
        if (ids[other] == ids[i])
            return clattn__fail(CLATTN_ERR_ARGUMENT,
                                "sequences[%" PRIu32 "]: %" PRIu64 " is there twice", i, ids[i]);
    return CLATTN_OK;
}

static clattn_status check_growth(const clattn__page_pool *pool, const uint64_t *ids,
                                  const int64_t *tokens, uint32_t i)
{
    const clattn__page_sequence *of = clattn__page_pool_get(pool, ids[i]);
    if (!of)
        return CLATTN_ERR_ARGUMENT;
    if (tokens[i] < 0 || tokens[i] > INT32_MAX - of->length)
        return clattn__fail(CLATTN_ERR_ARGUMENT,
                            "tokens[%" PRIu32 "]: is %" PRId64
                            ", must be at least 0 and lead to at most 2^31-1",
                            i, tokens[i]);
    return clattn__page_pool_check_new(ids, i);
}

bool clattn__page_must_copy(const clattn__page_pool *pool, int32_t page)
{
    return pool->references[page] > 1 ||
           pool->state[page] & (CLATTN__PAGE_LEFT | CLATTN__PAGE_WILL_LEAVE);
}

void clattn__page_count_writer(clattn__page_pool *pool, int32_t page)
{
    if (--pool->references[page] > 0 && pool->readers[page] > 0)
        pool->state[page] |= CLATTN__PAGE_WILL_LEAVE;
}

void clattn__page_uncount_writer(clattn__page_pool *pool, int32_t page)
{
    pool->references[page]++;
    pool->state[page] &= (uint8_t)~CLATTN__PAGE_WILL_LEAVE;
}

/* Pages that the sequences need beyond what they have. A page that two of them share and both
 * would write to is copied by the first, and by the second only if a third has it or it is held:
 * while counting, references and states change as they will. */
static int64_t count_needed(clattn__page_pool *pool, const uint64_t *ids, const int64_t *tokens,
                            uint32_t count)
{
    int64_t needed = 0;
    for (uint32_t i = 0; i < count; i++) {
        const clattn__page_sequence *of = clattn__page_pool_get(pool, ids[i]);
        const int32_t joined = joined_page(pool, of, tokens[i]);
        needed += clattn__page_pool_pages(pool, of->length + tokens[i]) -
                  clattn__page_pool_pages(pool, of->length);
        if (joined < 0)
            continue;
        needed += clattn__page_must_copy(pool, joined);
        clattn__page_count_writer(pool, joined);
    }
    for (uint32_t i = 0; i < count; i++) {
        const int32_t joined = joined_page(pool, clattn__page_pool_get(pool, ids[i]), tokens[i]);
        if (joined >= 0)
            clattn__page_uncount_writer(pool, joined);
    }
    return needed;
}

clattn_status clattn__page_pool_check_free(const clattn__page_pool *pool, int64_t needed)
{
    if (needed <= pool->free_count)
        return CLATTN_OK;
    return clattn__fail(needed <= pool->free_count + pool->waiting_count ? CLATTN_ERR_BUSY
                                                                         : CLATTN_ERR_OUT_OF_MEMORY,
                        "tokens: %" PRId64 " more pages are needed, %" PRId32 " of %" PRId32
                        " are free, %" PRId32 " wait for events that read them",
                        needed, pool->free_count, pool->count, pool->waiting_count);
}

static void grow(clattn__page_pool *pool, clattn__page_sequence *of, int64_t tokens,
                 clattn__page_copy *copies, uint32_t *copied)
{
    const int32_t joined = joined_page(pool, of, tokens);
    const int64_t after = clattn__page_pool_pages(pool, of->length + tokens);
    if (joined >= 0 && clattn__page_must_copy(pool, joined)) {
        const int32_t own = clattn__page_take(pool);
        of->page[of->length / pool->page_size] = own;
        clattn__page_drop(pool, joined);
        copies[(*copied)++] = (clattn__page_copy){joined, own};
    }
    for (int64_t i = clattn__page_pool_pages(pool, of->length); i < after; i++)
        of->page[i] = clattn__page_take(pool);
    of->length += tokens;
}

clattn_status clattn__page_pool_extend(clattn__page_pool *pool, const uint64_t *ids,
                                       const int64_t *tokens, uint32_t count,
                                       clattn__page_copy *copies, uint32_t *copied)
{
    for (uint32_t i = 0; i < count; i++)
        CLATTN__TRY(check_growth(pool, ids, tokens, i));
    CLATTN__TRY(clattn__page_pool_check_free(pool, count_needed(pool, ids, tokens, count)));
    for (uint32_t i = 0; i < count; i++) {
        clattn__page_sequence *of = clattn__page_pool_get(pool, ids[i]);
        CLATTN__TRY(reserve(pool, of, clattn__page_pool_pages(pool, of->length + tokens[i])));
    }
    *copied = 0;
    for (uint32_t i = 0; i < count; i++)
        grow(pool, clattn__page_pool_get(pool, ids[i]), tokens[i], copies, copied);
    return CLATTN_OK;
}

void clattn__page_put_back(clattn__page_pool *pool, int32_t *at, clattn__page_copy copy)
{
    clattn__page_drop(pool, copy.to);
    *at = copy.from;
    pool->waiting_count -= pool->references[copy.from]++ == 0;
}

/* From the last page that was taken to the first. Others may have used the pool meanwhile. */
void clattn__page_pool_undo(clattn__page_pool *pool, const uint64_t *ids, const int64_t *tokens,
                            uint32_t count, const clattn__page_copy *copies, uint32_t copied)
{
    while (count-- > 0) {
        clattn__page_sequence *of = clattn__page_pool_get(pool, ids[count]);
        if (!of || of->length < tokens[count])
            continue;
        const int64_t before = of->length - tokens[count], last = before / pool->page_size;
        const int64_t kept = clattn__page_pool_pages(pool, before);
        for (int64_t i = clattn__page_pool_pages(pool, of->length); i-- > kept;)
            clattn__page_drop(pool, of->page[i]);
        of->length = before;
        for (uint32_t i = 0; last < kept && i < copied; i++) {
            if (of->page[last] != copies[i].to)
                continue;
            clattn__page_put_back(pool, &of->page[last], copies[i]);
            break;
        }
    }
}
