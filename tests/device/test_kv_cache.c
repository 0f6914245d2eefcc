/* Key/value caches against plain arrays: what sequences hold after random operations, with up to
 * three steps in flight, and attention to it, which must have the bits that it has over the same
 * keys and values side by side. Keys are rotated by their places, by quarters of a turn, which
 * every type has exactly. CLATTN_TEST_STEPS: how many random operations in all, in the place of
 * 1800. */
#include <clattn/layer.h>
#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

#include "kv_flights.h"
#include "kv_model.h"
#include "rig.h"

#define COUNT(array) (sizeof(array) / sizeof(array)[0])
enum { STEPS = 1800 };

typedef struct model {
    clattn_context *context;
    clattn_dispatcher *dispatcher;
    clattn_kv_cache *cache;
    clattn_dtype dtype;
    int64_t page_size;
    clattn_plan *append, *attend, *shift; /* shift: NULL with integers */
    clattn_buffer *angles;
    kv_sequence sequence[IDS];
    kv_flights flights;
    uint32_t random;
    int refused, evicted, shifted;
} model;

static int below(model *m, int bound)
{
    m->random = m->random * 1664525u + 1013904223u;
    return (int)((m->random >> 8) % (uint32_t)bound);
}

/* Numbers that every type of floats stores exactly. */
static float number(model *m)
{
    return (float)(below(m, 257) - 128) / 64;
}

static void good(clattn_status status)
{
    cr_assert_eq(status, CLATTN_OK, "%s: %s", rig_said(), clattn_error_message());
}

/* ---- set-up ---------------------------------------------------------------------------------- */

static void make_plans(model *m)
{
    clattn_append_desc append;
    clattn_attention_desc attend;
    clattn_shift_desc shift;
    clattn_append_desc_init(&append);
    append.batch = IDS;
    append.n_kv = MOST_TOKENS;
    append.slots = CLATTN_SLOT_BIT(CLATTN_SLOT_KV_LENGTHS) | CLATTN_SLOT_BIT(CLATTN_SLOT_ANGLES);
    append.rotary_dim = DIM;
    append.n_positions = LONGEST;
    good(clattn_kv_cache_describe_append(m->cache, LONGEST, &append));
    good(clattn_plan_append(m->context, &append, &m->append));
    clattn_attention_desc_init(&attend);
    attend.batch = IDS;
    attend.n_head = HEADS;
    attend.n_q = QUERIES;
    attend.n_kv = LONGEST;
    attend.causal = 1;
    attend.align = CLATTN_ALIGN_BOTTOM_RIGHT;
    good(clattn_kv_cache_describe_attention(m->cache, &attend));
    good(clattn_plan_attention(m->context, &attend, &m->attend));
    if (kv_has_scales(m->dtype))
        return;
    clattn_shift_desc_init(&shift);
    shift.batch = IDS;
    shift.rotary_dim = DIM;
    shift.n_positions = LONGEST;
    good(clattn_kv_cache_describe_shift(m->cache, LONGEST, &shift));
    good(clattn_plan_shift(m->context, &shift, &m->shift));
}

/* Position p is p quarters of a turn, in all pairs. */
static void make_angles(model *m)
{
    static const float cosines[] = {1, 0, -1, 0}, sines[] = {0, 1, 0, -1};
    static float angles[LONGEST][DIM / 2][2];
    for (int p = 0; p < LONGEST; p++)
        for (int n = 0; n < DIM / 2; n++) {
            angles[p][n][0] = cosines[p % 4];
            angles[p][n][1] = sines[p % 4];
        }
    m->angles = rig_filled(m->context, angles, sizeof angles);
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
    desc.pages = 450 / page_size; /* so few that some steps are refused */
    good(clattn_dispatcher_create(context, NULL, &m->dispatcher));
    good(clattn_kv_cache_create(context, &desc, &m->cache));
    kv_flights_open(&m->flights, context, m->dispatcher, m->cache);
    make_plans(m);
    make_angles(m);
}

static void tear_down(model *m)
{
    kv_flights_close(&m->flights);
    clattn_plan_destroy(m->append);
    clattn_plan_destroy(m->attend);
    clattn_plan_destroy(m->shift);
    clattn_kv_cache_destroy(m->cache);
    clattn_dispatcher_destroy(m->dispatcher);
    good(clattn_buffer_destroy(m->angles));
}

/* A flight of some sequences. Forks wait for all that may still write what they share. */
static kv_flight *next_flight(model *m, const uint64_t *ids, uint32_t count)
{
    kv_flight *f = kv_flights_next(&m->flights, ids, count);
    for (uint32_t n = 0; n < count; n++) {
        f->waits = f->waits || m->sequence[ids[n]].is_new;
        m->sequence[ids[n]].is_new = false;
    }
    return f;
}

/* ---- one step: room, append, attend ---------------------------------------------------------- */

/* What the step is about; entry i of the batch is sequence ids[i]. */
typedef struct step {
    uint64_t ids[IDS];
    int64_t tokens[IDS];
    uint32_t count;
    int32_t added[IDS], positions[IDS], lengths[IDS];
    int32_t pages[IDS * LONGEST];
    int64_t limit;
    kv_queries q[IDS];
} step;

/* New tokens into the model and, as (entry, head, token, dim), into the buffers. */
static void make_tokens(model *m, const step *s, int layer, kv_flight *f)
{
    static float k[IDS][KV_HEADS][MOST_TOKENS][DIM], v[IDS][KV_HEADS][MOST_TOKENS][VALUE_DIM];
    for (uint32_t n = 0; n < s->count; n++)
        for (int64_t i = 0; i < s->tokens[n]; i++)
            for (int h = 0; h < KV_HEADS; h++) {
                kv_rows *of = &m->sequence[s->ids[n]].layer[layer];
                const int64_t at = s->positions[n] + i;
                for (int d = 0; d < DIM; d++)
                    k[n][h][i][d] = of->k[at][h][d] = number(m);
                kv_model_turn(of->k[at][h], at);
                for (int d = 0; d < VALUE_DIM; d++)
                    v[n][h][i][d] = of->v[at][h][d] = number(m);
                of->k_scale[at][h] = of->v_scale[at][h] = 1;
            }
    good(clattn_buffer_write(f->k[layer], 0, k, sizeof k));
    good(clattn_buffer_write(f->v[layer], 0, v, sizeof v));
}

/* What integers the tokens became is known when they have been appended. */
static void append_integers(model *m, const step *s, int layer, const kv_flight *f, clattn_step *of)
{
    clattn_event *event = kv_flights_submit(&m->flights, f, of, 1);
    good(clattn_event_wait(event, UINT64_MAX));
    clattn_event_release(event);
    for (uint32_t n = 0; n < s->count; n++) {
        const clattn_kv_range range = {s->ids[n], layer, s->positions[n], s->tokens[n]};
        if (range.count)
            kv_model_fetch(m->cache, m->dtype, &range, &m->sequence[s->ids[n]].layer[layer]);
    }
}

static void run_layer(model *m, step *s, int layer, kv_flight *f)
{
    const bool scales = kv_has_scales(m->dtype);
    make_tokens(m, s, layer, f);
    clattn_binding append[10] = {
        {.slot = CLATTN_SLOT_K, .buffer = f->k[layer]},
        {.slot = CLATTN_SLOT_V, .buffer = f->v[layer]},
        {.slot = CLATTN_SLOT_PAGES, .host = s->pages},
        {.slot = CLATTN_SLOT_POSITIONS, .host = s->positions},
        {.slot = CLATTN_SLOT_KV_LENGTHS, .host = s->added},
        {.slot = CLATTN_SLOT_ANGLES, .buffer = m->angles},
    };
    clattn_binding attend[8] = {
        {.slot = CLATTN_SLOT_PAGES, .host = s->pages},
        {.slot = CLATTN_SLOT_KV_LENGTHS, .host = s->lengths},
        {.slot = CLATTN_SLOT_Q, .buffer = f->q[layer]},
        {.slot = CLATTN_SLOT_OUT, .buffer = f->out[layer]},
    };
    good(clattn_kv_cache_bind(m->cache, layer, 1, append + 6));
    good(clattn_kv_cache_bind(m->cache, layer, 0, attend + 4));
    if (scales) {
        good(clattn_kv_cache_bind_scales(m->cache, layer, append + 8));
        good(clattn_kv_cache_bind_scales(m->cache, layer, attend + 6));
    }
    clattn_step steps[] = {
        {.plan = m->append, .bindings = append, .binding_count = scales ? 10 : 8},
        {.plan = m->attend, .bindings = attend, .binding_count = scales ? 8 : 6}};
    good(clattn_buffer_write(f->q[layer], 0, s->q, sizeof s->q));
    if (scales)
        append_integers(m, s, layer, f, &steps[0]);
    f->event[layer] = kv_flights_submit(&m->flights, f, steps + scales, 2 - scales);
    for (uint32_t n = 0; n < s->count; n++)
        kv_model_attend(m->context, m->dtype, &m->sequence[s->ids[n]], layer, s->q[n],
                        f->expected[layer][n]);
}

/* Room for the tokens, if need be when pages that are waiting have become free; false: never. */
static bool extend(model *m, const step *s)
{
    clattn_status status =
        clattn_kv_cache_extend(m->cache, m->dispatcher, s->ids, s->tokens, s->count);
    for (int n = 0; n < FLIGHTS && status == CLATTN_ERR_BUSY; n++) {
        kv_flights_land_next(&m->flights);
        status = clattn_kv_cache_extend(m->cache, m->dispatcher, s->ids, s->tokens, s->count);
    }
    if (status == CLATTN_OK)
        return true;
    cr_assert_eq(status, CLATTN_ERR_OUT_OF_MEMORY, "%s", clattn_error_message());
    m->refused++;
    return false;
}

static void choose(model *m, step *s)
{
    memset(s, 0, sizeof *s);
    for (uint64_t id = 0; id < IDS; id++) {
        if (!m->sequence[id].exists || below(m, 4) == 0)
            continue;
        s->ids[s->count] = id;
        s->tokens[s->count] = below(m, below(m, 3) ? 3 : MOST_TOKENS + 1);
        if (m->sequence[id].length + s->tokens[s->count] > LONGEST)
            s->tokens[s->count] = 0;
        s->count++;
    }
}

static void take_step(model *m)
{
    static step s;
    choose(m, &s);
    if (s.count == 0 || !extend(m, &s))
        return;
    kv_flight *f = next_flight(m, s.ids, s.count);
    s.limit = (LONGEST + m->page_size - 1) / m->page_size;
    good(clattn_kv_cache_tables(m->cache, s.ids, s.count, s.limit, s.pages, s.lengths));
    for (uint32_t n = 0; n < s.count; n++) {
        s.added[n] = (int32_t)s.tokens[n];
        s.positions[n] = s.lengths[n] - s.added[n];
        m->sequence[s.ids[n]].length += s.tokens[n];
        cr_assert_eq(s.lengths[n], m->sequence[s.ids[n]].length);
        f->lengths[n] = s.lengths[n];
        for (int e = 0; e < HEADS * QUERIES * DIM; e++)
            (&s.q[n][0][0][0])[e] = number(m);
    }
    for (int layer = 0; layer < LAYERS; layer++)
        run_layer(m, &s, layer, f);
    f->checks = s.count;
    kv_flights_take_off(&m->flights, f);
}

static void read_back(model *m)
{
    const int id = below(m, IDS), layer = below(m, LAYERS);
    const kv_sequence *of = &m->sequence[id];
    if (!of->exists)
        return;
    const int64_t begin = below(m, (int)of->length + 1);
    const clattn_kv_range range = {(uint64_t)id, layer, begin,
                                   below(m, (int)(of->length - begin) + 1)};
    kv_flights_land_all(&m->flights);
    if (range.count)
        kv_model_compare(m->cache, m->dtype, &range, &of->layer[layer]);
}

/* ---- books ----------------------------------------------------------------------------------- */

/* Where a gap begins, and what a window loses; 0: nothing. */
static int64_t gap_of(const model *m)
{
    return (SINK + m->page_size - 1) / m->page_size * m->page_size;
}

static int64_t lost_by(const model *m, const kv_sequence *of, int64_t window)
{
    const int64_t size = m->page_size, begin = gap_of(m);
    const int64_t end = of->length > window ? (of->length - window) / size * size : 0;
    return end > begin ? end - begin : 0;
}

static void evict(model *m)
{
    const int id = below(m, IDS);
    kv_sequence *of = &m->sequence[id];
    const int64_t window = below(m, 120), lost = lost_by(m, of, window);
    int64_t evicted;
    if (!of->exists)
        return;
    good(clattn_kv_cache_evict(m->cache, (uint64_t)id, SINK, window, &evicted));
    cr_assert_eq(evicted, lost);
    kv_model_lose(of, gap_of(m), lost, false);
    m->evicted += evicted > 0;
}

/* The step that rotates what has moved, of all layers. */
static void run_shift(model *m, step *s, const int32_t *shifts)
{
    kv_flight *f = next_flight(m, s->ids, s->count);
    clattn_binding bindings[7] = {{.slot = CLATTN_SLOT_ANGLES, .buffer = m->angles},
                                  {.slot = CLATTN_SLOT_PAGES, .host = s->pages},
                                  {.slot = CLATTN_SLOT_POSITIONS, .host = s->positions},
                                  {.slot = CLATTN_SLOT_KV_LENGTHS, .host = s->lengths},
                                  {.slot = CLATTN_SLOT_SHIFTS, .host = shifts}};
    clattn_step of = {.plan = m->shift, .bindings = bindings, .binding_count = 6};
    s->limit = (LONGEST + m->page_size - 1) / m->page_size;
    good(clattn_kv_cache_tables(m->cache, s->ids, s->count, s->limit, s->pages, NULL));
    for (int layer = 0; layer < LAYERS; layer++) {
        good(clattn_kv_cache_bind(m->cache, layer, 1, bindings + 5));
        f->event[layer] = kv_flights_submit(&m->flights, f, &of, 1);
    }
    kv_flights_take_off(&m->flights, f);
}

/* The windows of some sequences move, and their keys are rotated to where they are now. */
static void shift(model *m)
{
    static step s;
    int32_t shifts[IDS] = {0};
    clattn_kv_shift by;
    memset(&s, 0, sizeof s);
    clattn_kv_shift_init(&by);
    for (uint64_t id = 0; id < IDS; id++)
        if (m->sequence[id].exists && below(m, 2))
            s.ids[s.count++] = id;
    by.count = s.count;
    by.ids = s.ids;
    by.sink = SINK;
    by.window = below(m, 120);
    by.positions = s.positions;
    by.lengths = s.lengths;
    by.shifts = shifts;
    if (s.count == 0)
        return;
    clattn_status status = clattn_kv_cache_shift(m->cache, m->dispatcher, &by);
    for (int n = 0; n < FLIGHTS && status == CLATTN_ERR_BUSY; n++) {
        kv_flights_land_next(&m->flights);
        status = clattn_kv_cache_shift(m->cache, m->dispatcher, &by);
    }
    if (status != CLATTN_OK) {
        cr_assert_eq(status, CLATTN_ERR_OUT_OF_MEMORY, "%s", clattn_error_message());
        return;
    }
    run_shift(m, &s, shifts);
    for (uint32_t n = 0; n < by.count; n++) {
        kv_sequence *of = &m->sequence[s.ids[n]];
        const int64_t lost = lost_by(m, of, by.window);
        cr_assert_eq(shifts[n], -lost);
        kv_model_lose(of, gap_of(m), lost, true);
        m->shifted += lost > 0;
    }
}

static void change_books(model *m)
{
    const int id = below(m, IDS), from = below(m, IDS);
    kv_sequence *to = &m->sequence[id], *of = &m->sequence[from];
    const int64_t length = below(m, (int)of->length + 1);
    if (!to->exists && of->exists && below(m, 3)) {
        good(clattn_kv_cache_fork(m->cache, (uint64_t)id, (uint64_t)from, length));
        *to = *of;
        to->length = length;
        to->is_new = true;
    } else if (!to->exists) {
        good(clattn_kv_cache_add(m->cache, (uint64_t)id));
        to->exists = true;
        to->is_new = false;
        to->length = 0;
    } else if (below(m, 2)) {
        good(clattn_kv_cache_remove(m->cache, (uint64_t)id));
        to->exists = false;
    } else if (of->exists) {
        good(clattn_kv_cache_truncate(m->cache, (uint64_t)from, length));
        of->length = length;
    }
}

/* ---- all of it ------------------------------------------------------------------------------- */

static void random_steps(clattn_context *context, clattn_dtype dtype, int64_t page_size, int steps)
{
    static model m;
    clattn_kv_cache_info info = {.struct_size = sizeof info};
    const bool shifts = !kv_has_scales(dtype);
    set_up(&m, context, dtype, page_size);
    for (int n = 0; n < steps; n++) {
        rig_say("type %d, pages of %d, step %d", (int)dtype, (int)page_size, n);
        if (below(&m, 5) == 0)
            change_books(&m);
        if (below(&m, 8) == 0)
            evict(&m);
        if (shifts && below(&m, 8) == 0)
            shift(&m);
        take_step(&m);
        if (below(&m, 4) == 0)
            read_back(&m);
    }
    kv_flights_land_all(&m.flights);
    cr_assert(m.flights.attended > steps && m.evicted > 0 && (m.shifted > 0) == shifts &&
                  m.refused > 0,
              "%d, %d, %d, %d", m.flights.attended, m.evicted, m.shifted, m.refused);
    cr_assert_eq(m.flights.most_up, FLIGHTS);
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
    static const struct {
        clattn_dtype dtype;
        int64_t page_size;
    } caches[] = {{CLATTN_F32, 16}, {CLATTN_F16, 1}, {CLATTN_BF16, 64},
                  {CLATTN_F32, 5},  {CLATTN_I8, 16}, {CLATTN_I4, 5}};
    const char *steps = getenv("CLATTN_TEST_STEPS");
    clattn_context *context = rig_open();
    for (size_t n = 0; n < COUNT(caches); n++)
        random_steps(context, caches[n].dtype, caches[n].page_size,
                     (steps ? (int)strtol(steps, NULL, 10) : STEPS) / (int)COUNT(caches));
    rig_close(context);
}
