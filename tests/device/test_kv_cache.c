/* Key/value caches against plain tensors: what sequences hold after random operations, and
 * attention to it, which must have the bits that it has over the same keys and values side by side.
 * CLATTN_TEST_STEPS: how many random operations in all, in the place of 600. */
#include <clattn/layer.h>
#include <criterion/criterion.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "rig.h"
#include "tests/oracle/storage.h"

enum { IDS = 5, HEADS = 4, KV_HEADS = 2, DIM = 32, VALUE_DIM = 48, LAYERS = 2, LONGEST = 700 };
enum { MOST_TOKENS = 40, STEPS = 600, SINK = 20 };

/* What a sequence should hold: (layer, token, head, dim). */
typedef struct plain {
    bool exists;
    int64_t length;
    float k[LAYERS][LONGEST][KV_HEADS][DIM];
    float v[LAYERS][LONGEST][KV_HEADS][VALUE_DIM];
} plain;

typedef struct model {
    clattn_context *context;
    clattn_dispatcher *dispatcher;
    clattn_kv_cache *cache;
    clattn_dtype dtype;
    int64_t page_size;
    clattn_plan *append, *attend;
    clattn_buffer *k, *v, *q, *out; /* of one step of all sequences */
    plain sequence[IDS];
    uint32_t random;
    int refused, attended, evicted;
} model;

static int below(model *m, int bound)
{
    m->random = m->random * 1664525u + 1013904223u;
    return (int)((m->random >> 8) % (uint32_t)bound);
}

/* Numbers that every type stores exactly. */
static float number(model *m)
{
    return (float)(below(m, 257) - 128) / 64;
}

static void good(clattn_status status)
{
    cr_assert_eq(status, CLATTN_OK, "%s: %s", rig_said(), clattn_error_message());
}

static void make_plans(model *m)
{
    clattn_append_desc append;
    clattn_attention_desc attend;
    clattn_append_desc_init(&append);
    append.batch = IDS;
    append.n_kv = MOST_TOKENS;
    append.slots = CLATTN_SLOT_BIT(CLATTN_SLOT_KV_LENGTHS);
    good(clattn_kv_cache_describe_append(m->cache, LONGEST, &append));
    good(clattn_plan_append(m->context, &append, &m->append));
    clattn_attention_desc_init(&attend);
    attend.batch = IDS;
    attend.n_head = HEADS;
    attend.n_q = 2;
    attend.n_kv = LONGEST;
    attend.causal = 1;
    attend.align = CLATTN_ALIGN_BOTTOM_RIGHT;
    good(clattn_kv_cache_describe_attention(m->cache, &attend));
    good(clattn_plan_attention(m->context, &attend, &m->attend));
}

static void set_up(model *m, clattn_context *context, clattn_dtype dtype, int64_t page_size)
{
    clattn_kv_cache_desc desc;
    memset(m, 0, sizeof *m);
    m->context = context;
    m->random = (uint32_t)page_size + (uint32_t)dtype;
    m->dtype = dtype;
    m->page_size = page_size;
    clattn_kv_cache_desc_init(&desc);
    desc.dtype = dtype;
    desc.layers = LAYERS;
    desc.n_kv_head = KV_HEADS;
    desc.head_dim = DIM;
    desc.value_dim = VALUE_DIM;
    desc.page_size = page_size;
    desc.pages = 1200 / page_size;
    good(clattn_dispatcher_create(context, NULL, &m->dispatcher));
    good(clattn_kv_cache_create(context, &desc, &m->cache));
    const uint64_t rows = IDS * MOST_TOKENS * KV_HEADS * sizeof(float);
    good(clattn_buffer_create(context, rows * DIM, &m->k));
    good(clattn_buffer_create(context, rows * VALUE_DIM, &m->v));
    good(clattn_buffer_create(context, IDS * HEADS * 2 * DIM * sizeof(float), &m->q));
    good(clattn_buffer_create(context, IDS * HEADS * 2 * VALUE_DIM * sizeof(float), &m->out));
    make_plans(m);
}

static void tear_down(model *m)
{
    clattn_plan_destroy(m->append);
    clattn_plan_destroy(m->attend);
    clattn_kv_cache_destroy(m->cache);
    clattn_dispatcher_destroy(m->dispatcher);
    clattn_buffer *const buffers[] = {m->k, m->v, m->q, m->out};
    for (int i = 0; i < 4; i++)
        good(clattn_buffer_destroy(buffers[i]));
}

/* ---- one step: room, append, attend ---------------------------------------------------------- */

/* What the step is about; entry i of the batch is sequence ids[i]. */
typedef struct step {
    uint64_t ids[IDS];
    int64_t tokens[IDS];
    uint32_t count;
    int32_t added[IDS], positions[IDS], lengths[IDS], q_lengths[IDS];
    int32_t pages[IDS * LONGEST];
    int64_t limit;
    float q[IDS][HEADS][2][DIM], out[IDS][HEADS][2][VALUE_DIM];
} step;

/* New tokens into the model and, as (entry, head, token, dim), into the buffers. */
static void make_tokens(model *m, const step *s, int layer)
{
    static float k[IDS][KV_HEADS][MOST_TOKENS][DIM], v[IDS][KV_HEADS][MOST_TOKENS][VALUE_DIM];
    for (uint32_t n = 0; n < s->count; n++)
        for (int64_t i = 0; i < s->tokens[n]; i++)
            for (int h = 0; h < KV_HEADS; h++) {
                plain *of = &m->sequence[s->ids[n]];
                const int64_t at = s->positions[n] + i;
                for (int d = 0; d < DIM; d++)
                    k[n][h][i][d] = of->k[layer][at][h][d] = number(m);
                for (int d = 0; d < VALUE_DIM; d++)
                    v[n][h][i][d] = of->v[layer][at][h][d] = number(m);
            }
    good(clattn_buffer_write(m->k, 0, k, sizeof k));
    good(clattn_buffer_write(m->v, 0, v, sizeof v));
}

static void run_layer(model *m, step *s, int layer)
{
    clattn_binding append[7], attend[6];
    make_tokens(m, s, layer);
    good(clattn_kv_cache_bind(m->cache, layer, 1, append));
    good(clattn_kv_cache_bind(m->cache, layer, 0, attend));
    append[2] = (clattn_binding){.slot = CLATTN_SLOT_K, .buffer = m->k};
    append[3] = (clattn_binding){.slot = CLATTN_SLOT_V, .buffer = m->v};
    append[4] = (clattn_binding){.slot = CLATTN_SLOT_PAGES, .host = s->pages};
    append[5] = (clattn_binding){.slot = CLATTN_SLOT_POSITIONS, .host = s->positions};
    append[6] = (clattn_binding){.slot = CLATTN_SLOT_KV_LENGTHS, .host = s->added};
    attend[2] = append[4];
    attend[3] = (clattn_binding){.slot = CLATTN_SLOT_KV_LENGTHS, .host = s->lengths};
    attend[4] = (clattn_binding){.slot = CLATTN_SLOT_Q, .buffer = m->q};
    attend[5] = (clattn_binding){.slot = CLATTN_SLOT_OUT, .buffer = m->out};
    const clattn_step steps[] = {{.plan = m->append, .bindings = append, .binding_count = 7},
                                 {.plan = m->attend, .bindings = attend, .binding_count = 6}};
    clattn_submission submission;
    clattn_submission_init(&submission);
    submission.steps = steps;
    submission.step_count = 2;
    good(clattn_buffer_write(m->q, 0, s->q, sizeof s->q));
    clattn_event *event;
    good(clattn_submit(m->dispatcher, &submission, &event));
    good(clattn_kv_cache_guard(m->cache, event, s->ids, s->count));
    good(clattn_event_wait(event, UINT64_MAX));
    clattn_event_release(event);
    good(clattn_buffer_read(m->out, 0, s->out, sizeof s->out));
}

/* Attention of one sequence by plain tensors in the same context. */
static void check_entry(model *m, step *s, uint32_t n, int layer)
{
    static float k[KV_HEADS * LONGEST * DIM], v[KV_HEADS * LONGEST * VALUE_DIM];
    float out[HEADS][2][VALUE_DIM];
    const plain *of = &m->sequence[s->ids[n]];
    for (int h = 0; h < KV_HEADS; h++)
        for (int64_t i = 0; i < of->length; i++) {
            memcpy(k + (h * of->length + i) * DIM, of->k[layer][i][h], sizeof of->k[0][0][0]);
            memcpy(v + (h * of->length + i) * VALUE_DIM, of->v[layer][i][h], sizeof of->v[0][0][0]);
        }
    clattn_attention_desc desc;
    clattn_attention_desc_init(&desc);
    desc.batch = 1;
    desc.n_head = HEADS;
    desc.n_kv_head = KV_HEADS;
    desc.n_q = 2;
    desc.n_kv = of->length;
    desc.head_dim = DIM;
    desc.value_dim = VALUE_DIM;
    desc.causal = 1;
    desc.align = CLATTN_ALIGN_BOTTOM_RIGHT;
    good(clattn_attention(m->context, &desc, s->q[n], k, v, out));
    cr_assert_eq(memcmp(out, s->out[n], sizeof out), 0,
                 "%s: sequence %d of %d tokens, layer %d: other bits", rig_said(), (int)s->ids[n],
                 (int)of->length, layer);
    m->attended++;
}

static void take_step(model *m)
{
    static step s;
    memset(&s, 0, sizeof s);
    for (uint64_t id = 0; id < IDS; id++) {
        if (!m->sequence[id].exists || below(m, 4) == 0)
            continue;
        s.ids[s.count] = id;
        s.tokens[s.count] = below(m, below(m, 3) ? 3 : MOST_TOKENS + 1);
        if (m->sequence[id].length + s.tokens[s.count] > LONGEST)
            s.tokens[s.count] = 0;
        s.count++;
    }
    const clattn_status status =
        clattn_kv_cache_extend(m->cache, m->dispatcher, s.ids, s.tokens, s.count);
    if (status != CLATTN_OK) {
        cr_assert_eq(status, CLATTN_ERR_OUT_OF_MEMORY, "%s", clattn_error_message());
        m->refused++;
        return;
    }
    s.limit = (LONGEST + m->page_size - 1) / m->page_size;
    good(clattn_kv_cache_tables(m->cache, s.ids, s.count, s.limit, s.pages, s.lengths));
    for (uint32_t n = 0; n < s.count; n++) {
        s.added[n] = (int32_t)s.tokens[n];
        s.positions[n] = s.lengths[n] - s.added[n];
        m->sequence[s.ids[n]].length += s.tokens[n];
        cr_assert_eq(s.lengths[n], m->sequence[s.ids[n]].length);
        for (int e = 0; e < HEADS * 2 * DIM; e++)
            (&s.q[n][0][0][0])[e] = number(m);
    }
    for (int layer = 0; layer < LAYERS; layer++) {
        run_layer(m, &s, layer);
        for (uint32_t n = 0; n < s.count; n++)
            check_entry(m, &s, n, layer);
    }
}

/* ---- reading back ---------------------------------------------------------------------------- */

static float widened(const model *m, const void *data, int64_t i)
{
    uint16_t bits;
    if (m->dtype == CLATTN_F32)
        return ((const float *)data)[i];
    memcpy(&bits, (const char *)data + 2 * i, sizeof bits);
    return m->dtype == CLATTN_F16 ? oracle_from_f16(bits) : oracle_from_bf16(bits);
}

static void read_back(model *m)
{
    static float k[KV_HEADS * LONGEST * DIM], v[KV_HEADS * LONGEST * VALUE_DIM];
    const int id = below(m, IDS), layer = below(m, LAYERS);
    const plain *of = &m->sequence[id];
    if (!of->exists)
        return;
    const int64_t begin = below(m, (int)of->length + 1);
    const int64_t count = below(m, (int)(of->length - begin) + 1);
    const clattn_kv_range range = {(uint64_t)id, layer, begin, count};
    good(clattn_kv_cache_read(m->cache, &range, k, v));
    for (int h = 0; h < KV_HEADS; h++)
        for (int64_t i = 0; i < count; i++) {
            for (int d = 0; d < DIM; d++)
                cr_assert_eq(widened(m, k, (h * count + i) * DIM + d),
                             of->k[layer][begin + i][h][d]);
            for (int d = 0; d < VALUE_DIM; d++)
                cr_assert_eq(widened(m, v, (h * count + i) * VALUE_DIM + d),
                             of->v[layer][begin + i][h][d]);
        }
}

/* ---- books ----------------------------------------------------------------------------------- */

/* Tokens in the middle of a sequence go, in whole pages. */
static void evict(model *m)
{
    const int id = below(m, IDS);
    plain *of = &m->sequence[id];
    const int64_t window = below(m, 120), size = m->page_size;
    const int64_t begin = (SINK + size - 1) / size * size;
    const int64_t end = of->length > window ? (of->length - window) / size * size : 0;
    int64_t evicted;
    if (!of->exists)
        return;
    good(clattn_kv_cache_evict(m->cache, (uint64_t)id, SINK, window, &evicted));
    cr_assert_eq(evicted, end > begin ? end - begin : 0);
    for (int layer = 0; evicted && layer < LAYERS; layer++) {
        const size_t left = (size_t)(of->length - end);
        memmove(of->k[layer][begin], of->k[layer][end], left * sizeof of->k[0][0]);
        memmove(of->v[layer][begin], of->v[layer][end], left * sizeof of->v[0][0]);
    }
    of->length -= evicted;
    m->evicted += evicted > 0;
}

static void change_books(model *m)
{
    const int id = below(m, IDS), from = below(m, IDS);
    plain *to = &m->sequence[id], *of = &m->sequence[from];
    const int64_t length = below(m, (int)of->length + 1);
    if (!to->exists && of->exists && below(m, 3)) {
        good(clattn_kv_cache_fork(m->cache, (uint64_t)id, (uint64_t)from, length));
        *to = *of;
        to->length = length;
    } else if (!to->exists) {
        good(clattn_kv_cache_add(m->cache, (uint64_t)id));
        to->exists = true;
        to->length = 0;
    } else if (below(m, 2)) {
        good(clattn_kv_cache_remove(m->cache, (uint64_t)id));
        to->exists = false;
    } else if (of->exists) {
        good(clattn_kv_cache_truncate(m->cache, (uint64_t)from, length));
        of->length = length;
    }
}

static void random_steps(clattn_context *context, clattn_dtype dtype, int64_t page_size, int steps)
{
    static model m;
    clattn_kv_cache_info info = {.struct_size = sizeof info};
    set_up(&m, context, dtype, page_size);
    for (int n = 0; n < steps; n++) {
        rig_say("type %d, pages of %d, step %d", (int)dtype, (int)page_size, n);
        if (below(&m, 5) == 0)
            change_books(&m);
        if (below(&m, 8) == 0)
            evict(&m);
        take_step(&m);
        read_back(&m);
    }
    cr_assert(m.attended > steps && m.evicted > 0, "%d, %d", m.attended, m.evicted);
    for (uint64_t id = 0; id < IDS; id++)
        if (m.sequence[id].exists)
            good(clattn_kv_cache_remove(m.cache, id));
    good(clattn_kv_cache_get_info(m.cache, &info));
    cr_assert(info.free_pages == info.pages && info.sequences == 0 && info.tokens == 0 &&
              info.waiting_pages == 0 && info.used_pages == 0);
    tear_down(&m);
}

Test(kv_cache, random_operations, .timeout = 3000)
{
    static const int64_t sizes[] = {16, 1, 64, 5};
    const char *steps = getenv("CLATTN_TEST_STEPS");
    clattn_context *context = rig_open();
    for (int n = 0; n < 4; n++)
        random_steps(context, (clattn_dtype)(n % 3), sizes[n],
                     (steps ? (int)strtol(steps, NULL, 10) : STEPS) / 4);
    rig_close(context);
}

/* ---- memory ---------------------------------------------------------------------------------- */

/* 64 forks of a prefix have its pages once, and one each of their own. */
Test(kv_cache, forks_share_pages)
{
    enum { PREFIX = 4096 + 7, FORKS = 64, PAGE = 16 };
    static uint64_t ids[FORKS];
    static int64_t tokens[FORKS];
    clattn_context *context = rig_open();
    clattn_dispatcher *dispatcher;
    clattn_kv_cache *cache;
    clattn_kv_cache_desc desc;
    clattn_kv_cache_info info = {.struct_size = sizeof info};
    clattn_kv_cache_desc_init(&desc);
    desc.layers = desc.n_kv_head = 1;
    desc.head_dim = desc.value_dim = 8;
    desc.page_size = PAGE;
    desc.pages = 400;
    const uint64_t first = 1000;
    const int64_t prefix = PREFIX;
    good(clattn_dispatcher_create(context, NULL, &dispatcher));
    good(clattn_kv_cache_create(context, &desc, &cache));
    good(clattn_kv_cache_add(cache, first));
    good(clattn_kv_cache_extend(cache, dispatcher, &first, &prefix, 1));
    for (int i = 0; i < FORKS; i++) {
        ids[i] = (uint64_t)i;
        tokens[i] = 9; /* fills the page that the prefix ends in */
        good(clattn_kv_cache_fork(cache, ids[i], first, prefix));
    }
    good(clattn_kv_cache_get_info(cache, &info));
    cr_assert_eq(info.free_pages, desc.pages - (PREFIX + PAGE - 1) / PAGE);
    good(clattn_kv_cache_extend(cache, dispatcher, ids, tokens, FORKS));
    good(clattn_kv_cache_get_info(cache, &info));
    cr_assert_eq(info.free_pages, desc.pages - (PREFIX + PAGE - 1) / PAGE - FORKS);
    cr_assert_eq(clattn_kv_cache_extend(cache, dispatcher, &first, &prefix, 1),
                 CLATTN_ERR_OUT_OF_MEMORY);
    clattn_kv_cache_destroy(cache);
    clattn_dispatcher_destroy(dispatcher);
    rig_close(context);
}

/* Ranges that a sequence hasn't: each is refused by the name of what is wrong. */
Test(kv_cache, ranges)
{
    static const struct {
        clattn_kv_range range;
        const char *saying; /* NULL: it is there */
    } cases[] = {
        {{1, 0, 0, 9}, NULL},
        {{1, 0, 9, 0}, NULL},
        {{1, 0, 1, 9}, "begin: 1 to 10"},
        {{1, 0, 10, 0}, "begin: 10 to 10"},
        {{1, 0, -1, 2}, "begin: is -1"},
        {{1, 0, INT64_MAX, 1}, "begin: is 9223372036854775807"},
        {{1, 0, INT64_MIN, 1}, "begin: is -9223372036854775808"},
        {{1, 0, 0, -1}, "count: is -1"},
        {{1, 0, 1, INT64_MAX}, "count: is 9223372036854775807"},
        {{1, 1, 0, 1}, "layer: is 1"},
        {{1, -1, 0, 1}, "layer: is -1"},
        {{2, 0, 0, 0}, "sequence: "},
    };
    clattn_context *context = rig_open();
    clattn_dispatcher *dispatcher;
    clattn_kv_cache *cache;
    clattn_kv_cache_desc desc;
    float k[9];
    const uint64_t id = 1;
    const int64_t tokens = 9;
    clattn_kv_cache_desc_init(&desc);
    desc.layers = desc.n_kv_head = desc.head_dim = desc.value_dim = 1;
    desc.page_size = desc.pages = 4;
    good(clattn_dispatcher_create(context, NULL, &dispatcher));
    good(clattn_kv_cache_create(context, &desc, &cache));
    good(clattn_kv_cache_add(cache, id));
    good(clattn_kv_cache_extend(cache, dispatcher, &id, &tokens, 1));
    for (size_t n = 0; n < sizeof cases / sizeof cases[0]; n++) {
        const clattn_status wanted = cases[n].saying ? CLATTN_ERR_ARGUMENT : CLATTN_OK;
        cr_expect_eq(clattn_kv_cache_read(cache, &cases[n].range, k, NULL), wanted, "case %d",
                     (int)n);
        cr_expect(!cases[n].saying || strncmp(clattn_error_message(), cases[n].saying,
                                              strlen(cases[n].saying)) == 0,
                  "case %d: %s", (int)n, clattn_error_message());
    }
    clattn_kv_cache_destroy(cache);
    clattn_dispatcher_destroy(dispatcher);
    rig_close(context);
}
