/* The bookkeeping of key/value caches against a plain model, in which every sequence has its tokens
 * for itself: random operations, the contents of every page, no page lost and none owned twice, and
 * nothing written where someone still reads. */
#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

#include "layer/page_pool.h"

enum { STEPS = 20000, IDS = 12, MOST_TOKENS = 200, MOST_PAGES = 60, MOST_PAGE_SIZE = 16 };
enum { HOLDS = 3, SINK = 7 };

/* What a sequence should be. */
typedef struct plain {
    bool exists;
    int64_t length, gap_begin, gap;
    int token[MOST_TOKENS];
} plain;

/* What an event in flight reads: sequences as they were when their pages were held. Of each the
 * first tokens, those that it hasn't been cut to since; it may write behind them itself. */
typedef struct reader {
    bool exists;
    clattn__page_hold hold;
    bool goes_on[IDS]; /* it is still the sequence that it was */
    int64_t length[IDS];
    int32_t page[IDS][MOST_TOKENS];
    int token[IDS][MOST_TOKENS];
} reader;

typedef struct model {
    clattn__env env;
    clattn__page_pool pool;
    int memory[MOST_PAGES * MOST_PAGE_SIZE]; /* (page, token) */
    plain sequence[IDS];
    reader reader[HOLDS];
    int next; /* value of the next token */
    uint32_t random;
    int refused, extended, copied, busy, evicted, held, held_pages, undone, shifted, refused_shifts;
} model;

static int below(model *m, int bound)
{
    m->random = m->random * 1664525u + 1013904223u;
    return (int)((m->random >> 8) % (uint32_t)bound);
}

static int *memory_of(model *m, uint64_t id, int64_t token)
{
    const clattn__page_sequence *of = clattn__page_pool_find(&m->pool, id);
    const int64_t page = of->page[token / m->pool.page_size];
    return &m->memory[page * m->pool.page_size + token % m->pool.page_size];
}

static void set_up(model *m, int64_t page_size, int32_t pages)
{
    memset(m, 0, sizeof *m);
    m->random = (uint32_t)page_size;
    cr_assert_eq(clattn__env_init(&m->env, NULL), CLATTN_OK);
    cr_assert_eq(clattn__page_pool_init(&m->pool, &m->env, page_size, pages), CLATTN_OK);
}

static void tear_down(model *m)
{
    for (int n = 0; n < HOLDS; n++)
        clattn__free(&m->env, m->reader[n].hold.page);
    clattn__page_pool_finish(&m->pool);
    clattn__env_finish(&m->env);
}

/* ---- what must hold after every step --------------------------------------------------------- */

static void check_pages(model *m)
{
    int32_t owners[MOST_PAGES] = {0}, readers[MOST_PAGES] = {0}, unused = 0, waiting = 0;
    for (int64_t n = 0; n < m->pool.sequences; n++) {
        const clattn__page_sequence *of = &m->pool.sequence[n];
        for (int64_t i = 0; i < clattn__page_pool_pages(&m->pool, of->length); i++)
            owners[of->page[i]]++;
    }
    for (int n = 0; n < HOLDS; n++)
        for (int32_t i = 0; m->reader[n].exists && i < m->reader[n].hold.count; i++)
            readers[m->reader[n].hold.page[i]]++;
    for (int32_t page = 0; page < m->pool.count; page++) {
        cr_assert_eq(owners[page], m->pool.references[page], "page %d", (int)page);
        cr_assert_eq(readers[page], m->pool.readers[page], "page %d", (int)page);
        unused += owners[page] == 0 && readers[page] == 0;
        waiting += owners[page] == 0 && readers[page] != 0;
    }
    cr_assert_eq(unused, m->pool.free_count);
    cr_assert_eq(waiting, m->pool.waiting_count);
    for (int32_t i = 0; i < unused; i++) {
        const int32_t page = m->pool.free_page[i];
        cr_assert_eq(owners[page], 0, "page %d is free and owned", (int)page);
        cr_assert_eq(readers[page], 0, "page %d is free and read", (int)page);
        owners[page] = 1;
    }
}

/* What is in flight reads what was there when it began. */
static void check_readers(model *m)
{
    const int64_t size = m->pool.page_size;
    for (int n = 0; n < HOLDS; n++)
        for (int id = 0; m->reader[n].exists && id < IDS; id++)
            for (int64_t i = 0; i < m->reader[n].length[id]; i++) {
                const int64_t page = m->reader[n].page[id][i / size];
                cr_assert_eq(m->memory[page * size + i % size], m->reader[n].token[id][i],
                             "token %d of sequence %d was overwritten while it was read", (int)i,
                             id);
            }
}

static void check_sequences(model *m)
{
    int64_t existing = 0;
    for (uint64_t id = 0; id < IDS; id++) {
        const plain *of = &m->sequence[id];
        existing += of->exists;
        if (!of->exists)
            continue;
        const clattn__page_sequence *found = clattn__page_pool_find(&m->pool, id);
        cr_assert(found->length == of->length && found->gap_begin == of->gap_begin &&
                  found->gap == of->gap);
        for (int64_t i = 0; i < of->length; i++)
            cr_assert_eq(*memory_of(m, id, i), of->token[i], "token %d of sequence %d", (int)i,
                         (int)id);
    }
    cr_assert_eq(m->pool.sequences, existing);
}

/* ---- operations ------------------------------------------------------------------------------ */

static clattn_status wanted(bool good)
{
    return good ? CLATTN_OK : CLATTN_ERR_ARGUMENT;
}

static void add(model *m)
{
    const int id = below(m, IDS);
    const bool good = !m->sequence[id].exists;
    cr_assert_eq(clattn__page_pool_add(&m->pool, (uint64_t)id), wanted(good));
    if (good)
        m->sequence[id] = (plain){.exists = true};
}

static void fork_one(model *m)
{
    const int id = below(m, IDS), from = below(m, IDS);
    const int length = below(m, (int)m->sequence[from].length + 3) - 1;
    plain *to = &m->sequence[id], *of = &m->sequence[from];
    const bool good = !to->exists && of->exists && length >= 0 && length <= of->length;
    cr_assert_eq(clattn__page_pool_fork(&m->pool, (uint64_t)id, (uint64_t)from, length),
                 wanted(good));
    if (good) {
        *to = *of;
        to->length = length;
        if (length <= of->gap_begin && length != of->length)
            to->gap_begin = to->gap = 0;
    }
}

/* All of the longest sequence, so that its last pages are shared. */
static void fork_whole(model *m)
{
    int from = 0, id = 0;
    for (int n = 1; n < IDS; n++)
        if (m->sequence[n].exists && m->sequence[n].length > m->sequence[from].length)
            from = n;
    while (id < IDS && m->sequence[id].exists)
        id++;
    if (id == IDS || !m->sequence[from].exists)
        return;
    cr_assert_eq(
        clattn__page_pool_fork(&m->pool, (uint64_t)id, (uint64_t)from, m->sequence[from].length),
        CLATTN_OK);
    m->sequence[id] = m->sequence[from];
}

static void truncate_one(model *m)
{
    const int id = below(m, IDS), length = below(m, (int)m->sequence[id].length + 3) - 1;
    const bool good = m->sequence[id].exists && length >= 0 && length <= m->sequence[id].length;
    cr_assert_eq(clattn__page_pool_truncate(&m->pool, (uint64_t)id, length), wanted(good));
    if (!good)
        return;
    plain *of = &m->sequence[id];
    if (length <= of->gap_begin && length != of->length)
        of->gap_begin = of->gap = 0;
    of->length = length;
    for (int n = 0; n < HOLDS; n++)
        if (m->reader[n].goes_on[id] && m->reader[n].length[id] > length)
            m->reader[n].length[id] = length;
}

static void remove_one(model *m)
{
    const int id = below(m, IDS);
    cr_assert_eq(clattn__page_pool_remove(&m->pool, (uint64_t)id), wanted(m->sequence[id].exists));
    m->sequence[id].exists = false;
    for (int n = 0; n < HOLDS; n++)
        m->reader[n].goes_on[id] = false;
}

/* The same number of sinks each time, now and then another, which is refused once there is a gap.
 */
static void evict_one(model *m)
{
    const int id = below(m, IDS), sink = below(m, 6) ? SINK : below(m, 40), window = below(m, 60);
    const int64_t size = m->pool.page_size, begin = (sink + size - 1) / size * size;
    plain *of = &m->sequence[id];
    const bool good = of->exists && (of->gap == 0 || begin == of->gap_begin);
    const int64_t end = of->length > window ? (of->length - window) / size * size : 0;
    int64_t evicted;
    cr_assert_eq(clattn__page_pool_evict(&m->pool, (uint64_t)id, sink, window, &evicted),
                 wanted(good));
    if (!good)
        return;
    cr_assert_eq(evicted, end > begin ? end - begin : 0);
    if (evicted == 0)
        return;
    memmove(&of->token[begin], &of->token[end], (size_t)(of->length - end) * sizeof of->token[0]);
    of->length -= evicted;
    of->gap_begin = begin;
    of->gap += evicted;
    m->evicted++;
}

/* The window of a sequence moves, and its tokens become others, in its pages. What reads these of
 * the same sequence is done: its own submissions have an order. */
static void move_window(model *m, uint64_t id, int64_t window)
{
    plain *of = &m->sequence[id];
    int64_t evicted;
    cr_assert_eq(clattn__page_pool_evict(&m->pool, id, SINK, window, &evicted), CLATTN_OK);
    if (evicted == 0)
        return;
    const int64_t size = m->pool.page_size, begin = (SINK + size - 1) / size * size;
    for (int n = 0; n < HOLDS; n++)
        if (m->reader[n].goes_on[id] && m->reader[n].length[id] > begin + evicted)
            m->reader[n].length[id] = begin + evicted;
    of->length -= evicted;
    of->gap_begin = begin;
    of->gap += evicted;
    for (int64_t i = begin; i < of->length; i++)
        *memory_of(m, id, i) = of->token[i] = m->next++;
}

/* Some sequences at once get the pages of their windows for themselves, and change every token in
 * them, as a rotation does; then what is before the windows goes. A refusal changes nothing. */
static void shift_some(model *m)
{
    uint64_t ids[IDS];
    clattn__page_copy copies[MOST_PAGES];
    clattn__page_window window = {.ids = ids, .sink = SINK, .window = below(m, 60)};
    const int64_t size = m->pool.page_size, begin = (SINK + size - 1) / size * size;
    uint32_t shared;
    bool good = true;
    if (below(m, 2))
        fork_whole(m);
    for (uint64_t id = 0; id < IDS; id++)
        if (below(m, 4) == 0 && (m->sequence[id].exists || below(m, 20) == 0)) {
            const plain *of = &m->sequence[id];
            ids[window.count++] = id;
            good = good && of->exists && (of->gap == 0 || of->gap_begin == begin);
        }
    const int32_t unused = m->pool.free_count;
    const clattn_status status = clattn__page_pool_count_shared(&m->pool, &window, &shared);
    cr_assert_eq(m->pool.free_count, unused);
    if (status != CLATTN_OK) {
        cr_assert(good ? status == CLATTN_ERR_OUT_OF_MEMORY || status == CLATTN_ERR_BUSY
                       : status == CLATTN_ERR_ARGUMENT);
        m->refused_shifts += good;
        return;
    }
    cr_assert(good && shared <= (uint32_t)unused);
    clattn__page_pool_own(&m->pool, &window, copies);
    cr_assert_eq(m->pool.free_count, unused - (int32_t)shared);
    if (below(m, 6) == 0) { /* as if a copy had failed */
        clattn__page_pool_disown(&m->pool, &window, copies, shared);
        cr_assert_eq(m->pool.free_count, unused);
        return;
    }
    for (uint32_t n = 0; n < shared; n++)
        memcpy(&m->memory[copies[n].to * size], &m->memory[copies[n].from * size],
               (size_t)size * sizeof m->memory[0]);
    for (uint32_t n = 0; n < window.count; n++)
        move_window(m, ids[n], window.window);
    m->shifted += (int)shared;
}

/* An event begins to read some sequences, or all of them. */
static void begin_reading(model *m)
{
    uint64_t ids[IDS];
    uint32_t count = 0;
    reader *to = &m->reader[below(m, HOLDS)];
    const bool all = below(m, 3) == 0;
    if (to->exists)
        return;
    for (uint64_t id = 0; id < IDS; id++) {
        const plain *of = &m->sequence[id];
        to->goes_on[id] = of->exists && (all || below(m, 2));
        to->length[id] = to->goes_on[id] ? of->length : 0;
        if (!to->goes_on[id])
            continue;
        ids[count++] = id;
        const clattn__page_sequence *pages = clattn__page_pool_find(&m->pool, id);
        memcpy(to->token[id], of->token, sizeof of->token);
        for (int64_t i = 0; i < clattn__page_pool_pages(&m->pool, of->length); i++)
            to->page[id][i] = pages->page[i];
    }
    cr_assert_eq(clattn__page_pool_hold(&m->pool, all ? NULL : ids, all ? 0 : count, &to->hold),
                 CLATTN_OK);
    to->exists = true;
    m->held++;
    m->held_pages += to->hold.count;
}

static void end_reading(model *m)
{
    reader *of = &m->reader[below(m, HOLDS)];
    if (of->exists)
        clattn__page_pool_let_go(&m->pool, &of->hold);
    of->exists = false;
    memset(of->goes_on, 0, sizeof of->goes_on);
}

/* What an extension was asked for and has made. */
typedef struct extension {
    uint64_t ids[IDS];
    int64_t tokens[IDS];
    clattn__page_copy copies[IDS];
    uint32_t count, copied;
    int32_t free_page[MOST_PAGES], free_count; /* before */
} extension;

/* As if a copy had failed: the pages that are free are those before, in their order. */
static void undo(model *m, const extension *of)
{
    clattn__page_pool_undo(&m->pool, of->ids, of->tokens, of->count, of->copies, of->copied);
    cr_assert_eq(m->pool.free_count, of->free_count);
    cr_assert_eq(
        memcmp(m->pool.free_page, of->free_page, (size_t)of->free_count * sizeof of->free_page[0]),
        0);
    m->undone += of->copied > 0;
}

/* Several sequences at once; a refusal changes nothing. */
static void extend(model *m)
{
    extension x = {.free_count = m->pool.free_count};
    bool good = true;
    memcpy(x.free_page, m->pool.free_page, sizeof x.free_page[0] * (size_t)x.free_count);
    for (uint64_t id = 0; id < IDS; id++) {
        const plain *of = &m->sequence[id];
        if (below(m, 3) || (!of->exists && below(m, 10)))
            continue;
        x.ids[x.count] = id;
        x.tokens[x.count] = below(m, below(m, 4) ? 3 : 30);
        if (of->exists && of->length + x.tokens[x.count] > MOST_TOKENS)
            x.tokens[x.count] = 0;
        good = good && of->exists;
        x.count++;
    }
    const clattn_status status =
        clattn__page_pool_extend(&m->pool, x.ids, x.tokens, x.count, x.copies, &x.copied);
    if (status != CLATTN_OK) {
        cr_assert(good ? status == CLATTN_ERR_OUT_OF_MEMORY || status == CLATTN_ERR_BUSY
                       : status == CLATTN_ERR_ARGUMENT);
        cr_assert_eq(m->pool.free_count, x.free_count);
        m->busy += status == CLATTN_ERR_BUSY;
        m->refused += good;
        return;
    }
    cr_assert(good);
    if (below(m, 6) == 0) {
        undo(m, &x);
        return;
    }
    const int64_t size = m->pool.page_size;
    for (uint32_t n = 0; n < x.copied; n++)
        memcpy(&m->memory[x.copies[n].to * size], &m->memory[x.copies[n].from * size],
               (size_t)size * sizeof m->memory[0]);
    for (uint32_t n = 0; n < x.count; n++)
        for (int64_t i = 0; i < x.tokens[n]; i++) {
            plain *of = &m->sequence[x.ids[n]];
            of->token[of->length] = m->next++;
            *memory_of(m, x.ids[n], of->length) = of->token[of->length];
            of->length++;
        }
    m->copied += (int)x.copied;
    m->extended++;
}

static void run(int64_t page_size, int32_t pages)
{
    static void (*const operations[])(model *) = {
        add,    fork_one, truncate_one, remove_one, evict_one, begin_reading, end_reading,
        extend, extend,   extend,       extend,     evict_one, begin_reading, shift_some};
    static model m;
    set_up(&m, page_size, pages);
    for (int step = 0; step < STEPS; step++) {
        operations[below(&m, sizeof operations / sizeof operations[0])](&m);
        check_pages(&m);
        check_sequences(&m);
        check_readers(&m);
    }
    cr_assert(m.refused > 100 && m.extended > 1000, "%d refused, %d extended", m.refused,
              m.extended);
    cr_assert(page_size == 1 || (m.copied > 100 && m.undone > 20), "%d copied, %d undone", m.copied,
              m.undone);
    cr_assert(m.busy > 20 && m.evicted > 30, "%d busy, %d evicted", m.busy, m.evicted);
    cr_assert(m.held > 900 && m.held_pages > 5000, "%d times %d pages held", m.held, m.held_pages);
    cr_assert(m.shifted > 100 && m.refused_shifts > 20, "%d pages shifted, %d refused", m.shifted,
              m.refused_shifts);
    for (int n = 0; n < HOLDS; n++)
        if (m.reader[n].exists)
            clattn__page_pool_let_go(&m.pool, &m.reader[n].hold);
    for (uint64_t id = 0; id < IDS; id++)
        if (m.sequence[id].exists)
            cr_assert_eq(clattn__page_pool_remove(&m.pool, id), CLATTN_OK);
    cr_assert(m.pool.free_count == pages && m.pool.waiting_count == 0, "pages are lost");
    tear_down(&m);
}

Test(page_pool, random_operations_with_pages_of_16)
{
    run(16, 23);
}
Test(page_pool, random_operations_with_pages_of_1)
{
    run(1, 60);
}
Test(page_pool, random_operations_with_pages_of_5)
{
    run(5, 41);
}

/* ---- exactly enough -------------------------------------------------------------------------- */

/* Two sequences share a page that both go on writing to: one copy, not two. */
Test(page_pool, the_last_owner_needs_no_copy)
{
    static const uint64_t ids[] = {1, 2};
    static const int64_t first[] = {3}, more[] = {1, 1};
    static model m;
    clattn__page_copy copies[2];
    uint32_t copied;
    set_up(&m, 4, 2);
    cr_assert_eq(clattn__page_pool_add(&m.pool, 1), CLATTN_OK);
    cr_assert_eq(clattn__page_pool_extend(&m.pool, ids, first, 1, copies, &copied), CLATTN_OK);
    cr_assert_eq(clattn__page_pool_fork(&m.pool, 2, 1, 3), CLATTN_OK);
    cr_assert_eq(m.pool.free_count, 1);
    cr_assert_eq(clattn__page_pool_extend(&m.pool, ids, more, 2, copies, &copied), CLATTN_OK);
    cr_assert(copied == 1 && m.pool.free_count == 0);
    check_pages(&m);
    tear_down(&m);
}

/* While a page is copied for one that has left it, the one that is left doesn't write into it; it
 * may leave, too, and the page isn't free before the copy is made. */
Test(page_pool, what_is_copied_stays)
{
    static const uint64_t ids[] = {1, 2};
    static const int64_t first[] = {3}, more[] = {1};
    static model m;
    clattn__page_copy copies[2];
    clattn__page_hold hold = {0};
    uint32_t copied;
    set_up(&m, 4, 4);
    cr_assert_eq(clattn__page_pool_add(&m.pool, 1), CLATTN_OK);
    cr_assert_eq(clattn__page_pool_extend(&m.pool, ids, first, 1, copies, &copied), CLATTN_OK);
    cr_assert_eq(clattn__page_pool_fork(&m.pool, 2, 1, 1), CLATTN_OK);
    cr_assert_eq(clattn__page_pool_extend(&m.pool, ids, more, 1, copies, &copied), CLATTN_OK);
    cr_assert_eq(copied, 1);
    cr_assert_eq(clattn__page_pool_hold_copied(&m.pool, copies, copied, &hold), CLATTN_OK);
    cr_assert_eq(clattn__page_pool_extend(&m.pool, ids + 1, more, 1, copies + 1, &copied),
                 CLATTN_OK);
    cr_assert(copied == 1 && copies[1].from == copies[0].from, "it writes into what is copied");
    cr_assert(m.pool.waiting_count == 1 && m.pool.free_count == 1);
    clattn__page_pool_undo(&m.pool, ids + 1, more, 1, copies + 1, 1);
    cr_assert(m.pool.waiting_count == 0 && m.pool.free_count == 2);
    clattn__page_pool_undo(&m.pool, ids, more, 1, copies, 1);
    cr_assert_eq(m.pool.references[copies[0].from], 2);
    clattn__page_pool_let_go(&m.pool, &hold);
    check_pages(&m);
    clattn__free(&m.env, hold.page);
    tear_down(&m);
}
