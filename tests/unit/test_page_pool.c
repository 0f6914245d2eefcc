/* The bookkeeping of key/value caches against a plain model, in which every sequence has its tokens
 * for itself: random operations, the contents of every page, no page lost and none owned twice. */
#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

#include "layer/page_pool.h"

enum { STEPS = 20000, IDS = 12, MOST_TOKENS = 200, MOST_PAGES = 60, MOST_PAGE_SIZE = 16 };

/* What a sequence should be. */
typedef struct plain {
    bool exists;
    int64_t length;
    int token[MOST_TOKENS];
} plain;

typedef struct model {
    clattn__env env;
    clattn__page_pool pool;
    int memory[MOST_PAGES * MOST_PAGE_SIZE]; /* (page, token) */
    plain sequence[IDS];
    int next; /* value of the next token */
    uint32_t random;
    int refused, extended, copied;
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
    clattn__page_pool_finish(&m->pool);
    clattn__env_finish(&m->env);
}

/* ---- what must hold after every step --------------------------------------------------------- */

static void check_pages(model *m)
{
    int32_t owners[MOST_PAGES] = {0}, unused = 0;
    for (int64_t n = 0; n < m->pool.sequences; n++) {
        const clattn__page_sequence *of = &m->pool.sequence[n];
        for (int64_t i = 0; i < clattn__page_pool_pages(&m->pool, of->length); i++)
            owners[of->page[i]]++;
    }
    for (int32_t page = 0; page < m->pool.count; page++) {
        cr_assert_eq(owners[page], m->pool.references[page], "page %d", (int)page);
        unused += owners[page] == 0;
    }
    cr_assert_eq(unused, m->pool.free_count);
    for (int32_t i = 0; i < unused; i++) {
        cr_assert_eq(owners[m->pool.free_page[i]], 0, "page %d is free and owned",
                     (int)m->pool.free_page[i]);
        owners[m->pool.free_page[i]] = 1;
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
        cr_assert_eq(clattn__page_pool_find(&m->pool, id)->length, of->length);
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
    }
}

static void truncate_one(model *m)
{
    const int id = below(m, IDS), length = below(m, (int)m->sequence[id].length + 3) - 1;
    const bool good = m->sequence[id].exists && length >= 0 && length <= m->sequence[id].length;
    cr_assert_eq(clattn__page_pool_truncate(&m->pool, (uint64_t)id, length), wanted(good));
    if (good)
        m->sequence[id].length = length;
}

static void remove_one(model *m)
{
    const int id = below(m, IDS);
    cr_assert_eq(clattn__page_pool_remove(&m->pool, (uint64_t)id), wanted(m->sequence[id].exists));
    m->sequence[id].exists = false;
}

/* Several sequences at once; a refusal changes nothing. */
static void extend(model *m)
{
    uint64_t ids[IDS];
    int64_t tokens[IDS];
    clattn__page_copy copies[IDS];
    uint32_t count = 0, copied = 0;
    bool good = true;
    for (uint64_t id = 0; id < IDS; id++) {
        const plain *of = &m->sequence[id];
        if (below(m, 3) || (!of->exists && below(m, 10)))
            continue;
        ids[count] = id;
        tokens[count] = below(m, below(m, 4) ? 3 : 30);
        if (of->exists && of->length + tokens[count] > MOST_TOKENS)
            tokens[count] = 0;
        good = good && of->exists;
        count++;
    }
    const int32_t free_before = m->pool.free_count;
    const clattn_status status =
        clattn__page_pool_extend(&m->pool, ids, tokens, count, copies, &copied);
    if (status != CLATTN_OK) {
        cr_assert_eq(status, good ? CLATTN_ERR_OUT_OF_MEMORY : CLATTN_ERR_ARGUMENT);
        cr_assert_eq(m->pool.free_count, free_before);
        m->refused += good;
        return;
    }
    cr_assert(good);
    const int64_t size = m->pool.page_size;
    for (uint32_t n = 0; n < copied; n++)
        memcpy(&m->memory[copies[n].to * size], &m->memory[copies[n].from * size],
               (size_t)size * sizeof m->memory[0]);
    for (uint32_t n = 0; n < count; n++)
        for (int64_t i = 0; i < tokens[n]; i++) {
            plain *of = &m->sequence[ids[n]];
            of->token[of->length] = m->next++;
            *memory_of(m, ids[n], of->length) = of->token[of->length];
            of->length++;
        }
    m->copied += (int)copied;
    m->extended++;
}

static void run(int64_t page_size, int32_t pages)
{
    static void (*const operations[])(model *) = {add,    fork_one, truncate_one, remove_one,
                                                  extend, extend,   extend,       extend};
    static model m;
    set_up(&m, page_size, pages);
    for (int step = 0; step < STEPS; step++) {
        operations[below(&m, 8)](&m);
        check_pages(&m);
        check_sequences(&m);
    }
    cr_assert(m.refused > 100 && m.extended > 1000, "%d refused, %d extended", m.refused,
              m.extended);
    cr_assert(page_size == 1 || m.copied > 100, "%d copied", m.copied);
    for (uint64_t id = 0; id < IDS; id++)
        if (m.sequence[id].exists)
            cr_assert_eq(clattn__page_pool_remove(&m.pool, id), CLATTN_OK);
    cr_assert_eq(m.pool.free_count, pages, "pages are lost");
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

Test(page_pool, arguments)
{
    static const uint64_t twice[] = {7, 7};
    static const int64_t one[] = {1, 1}, less[] = {-1}, many[] = {INT64_MAX};
    static model m;
    clattn__page_copy copies[2];
    uint32_t copied;
    set_up(&m, 4, 8);
    cr_assert_eq(clattn__page_pool_add(&m.pool, 7), CLATTN_OK);
    cr_assert_eq(clattn__page_pool_extend(&m.pool, twice, one, 2, copies, &copied),
                 CLATTN_ERR_ARGUMENT);
    cr_assert_eq(clattn__page_pool_extend(&m.pool, twice, less, 1, copies, &copied),
                 CLATTN_ERR_ARGUMENT);
    cr_assert_eq(clattn__page_pool_extend(&m.pool, twice, many, 1, copies, &copied),
                 CLATTN_ERR_ARGUMENT);
    cr_assert_null(clattn__page_pool_find(&m.pool, 8));
    cr_assert_eq(m.pool.free_count, 8);
    tear_down(&m);
}
