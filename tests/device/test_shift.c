/* Windows that move: keys that are rotated again in the pages of a cache, against the formula in
 * double precision; sequences that share the pages keep what they have. */
#include <clattn/layer.h>
#include <criterion/criterion.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "rig.h"
#include "tests/oracle/rotary.h"
#include "tests/oracle/storage.h"

#define COUNT(array) (sizeof(array) / sizeof(array)[0])
enum { LAYERS = 2, HEADS = 2, LENGTH = 150, MOST = 2048, SINK = 6, MOST_DIM = 576 };

static const struct shape {
    int64_t head_dim, rotary_dim, page_size, window;
    uint32_t interleaved;
    clattn_dtype type;
} shapes[] = {
    {64, 64, 16, 70, 0, CLATTN_F32},   {64, 64, 16, 71, 1, CLATTN_F16},
    {40, 24, 1, 1, 0, CLATTN_F32},     {33, 2, 5, 33, 1, CLATTN_BF16},
    {576, 66, 7, 100, 0, CLATTN_F32},  {8, 8, 64, 0, 0, CLATTN_BF16},
    {128, 128, 4, 120, 1, CLATTN_F32},
};

/* A cache whose sequences begin with the same tokens. */
typedef struct subject {
    const struct shape *shape;
    clattn_context *context;
    clattn_dispatcher *dispatcher;
    clattn_kv_cache *cache;
    clattn_buffer *x, *angles;
    clattn_plan *append, *shift;
    float *plain; /* (head, LENGTH, dim): keys before they are rotated, and values */
    int64_t pages;
} subject;

static void good(clattn_status status)
{
    cr_assert_eq(status, CLATTN_OK, "%s: %s", rig_said(), clattn_error_message());
}

static void make_plans(subject *s)
{
    const struct shape *shape = s->shape;
    clattn_append_desc append;
    clattn_shift_desc shift;
    clattn_append_desc_init(&append);
    append.batch = 1;
    append.n_kv = LENGTH;
    append.slots = CLATTN_SLOT_BIT(CLATTN_SLOT_ANGLES);
    append.rotary_dim = shape->rotary_dim;
    append.interleaved = shape->interleaved;
    append.n_positions = MOST;
    good(clattn_kv_cache_describe_append(s->cache, MOST, &append));
    good(clattn_plan_append(s->context, &append, &s->append));
    clattn_shift_desc_init(&shift);
    shift.batch = 2;
    shift.rotary_dim = shape->rotary_dim;
    shift.interleaved = shape->interleaved;
    shift.n_positions = MOST;
    good(clattn_kv_cache_describe_shift(s->cache, MOST, &shift));
    good(clattn_plan_shift(s->context, &shift, &s->shift));
}

static void set_up(subject *s, clattn_context *context, const struct shape *shape, int64_t pages)
{
    const int64_t count = HEADS * LENGTH * shape->head_dim;
    const uint64_t angle_bytes = (uint64_t)(MOST * shape->rotary_dim) * sizeof(float);
    float *angles = malloc(angle_bytes);
    uint32_t state = 3;
    clattn_kv_cache_desc desc;
    memset(s, 0, sizeof *s);
    s->shape = shape;
    s->context = context;
    s->pages = pages;
    s->plain = malloc((size_t)count * sizeof *s->plain);
    cr_assert(angles && s->plain);
    for (int64_t i = 0; i < count; i++)
        s->plain[i] = rig_number(&state);
    good(clattn_rotary_angles(MOST, shape->rotary_dim, 10000, NULL, angles));
    clattn_kv_cache_desc_init(&desc);
    desc.dtype = shape->type;
    desc.layers = LAYERS;
    desc.n_kv_head = HEADS;
    desc.head_dim = desc.value_dim = shape->head_dim;
    desc.page_size = shape->page_size;
    desc.pages = pages;
    good(clattn_dispatcher_create(context, NULL, &s->dispatcher));
    good(clattn_kv_cache_create(context, &desc, &s->cache));
    s->x = rig_filled(context, s->plain, (uint64_t)count * sizeof *s->plain);
    s->angles = rig_filled(context, angles, angle_bytes);
    free(angles);
    make_plans(s);
}

static void tear_down(subject *s)
{
    clattn_plan_destroy(s->append);
    clattn_plan_destroy(s->shift);
    clattn_kv_cache_destroy(s->cache);
    clattn_dispatcher_destroy(s->dispatcher);
    good(clattn_buffer_destroy(s->x));
    good(clattn_buffer_destroy(s->angles));
    free(s->plain);
}

/* Appends all tokens of `plain` to a sequence, rotated by their places. */
static void append(subject *s, uint64_t id)
{
    const int64_t tokens = LENGTH;
    static int32_t pages[MOST];
    int32_t length;
    good(clattn_kv_cache_extend(s->cache, s->dispatcher, &id, &tokens, 1));
    good(clattn_kv_cache_tables(s->cache, &id, 1, (MOST - 1) / s->shape->page_size + 1, pages,
                                &length));
    const int32_t position = length - LENGTH;
    clattn_binding bindings[7] = {{.slot = CLATTN_SLOT_K, .buffer = s->x},
                                  {.slot = CLATTN_SLOT_V, .buffer = s->x},
                                  {.slot = CLATTN_SLOT_ANGLES, .buffer = s->angles},
                                  {.slot = CLATTN_SLOT_PAGES, .host = pages},
                                  {.slot = CLATTN_SLOT_POSITIONS, .host = &position}};
    for (int64_t layer = 0; layer < LAYERS; layer++) {
        good(clattn_kv_cache_bind(s->cache, layer, 1, bindings + 5));
        rig_step(s->dispatcher, s->append, bindings, 7);
    }
}

/* How the windows of two sequences have moved, as clattn_kv_cache_shift says it. */
typedef struct window_move {
    int32_t positions[2], lengths[2], shifts[2];
} window_move;

/* Moves the windows of both sequences and rotates their keys, layer by layer. */
static clattn_status move_windows(subject *s, const uint64_t ids[2], int64_t window,
                                  window_move *to)
{
    static int32_t pages[2 * MOST];
    clattn_kv_shift by;
    clattn_kv_shift_init(&by);
    by.ids = ids;
    by.count = 2;
    by.sink = SINK;
    by.window = window;
    by.positions = to->positions;
    by.lengths = to->lengths;
    by.shifts = to->shifts;
    const clattn_status status = clattn_kv_cache_shift(s->cache, s->dispatcher, &by);
    if (status != CLATTN_OK)
        return status;
    good(clattn_kv_cache_tables(s->cache, ids, 2, (MOST - 1) / s->shape->page_size + 1, pages,
                                NULL));
    clattn_binding bindings[7] = {{.slot = CLATTN_SLOT_ANGLES, .buffer = s->angles},
                                  {.slot = CLATTN_SLOT_PAGES, .host = pages},
                                  {.slot = CLATTN_SLOT_POSITIONS, .host = to->positions},
                                  {.slot = CLATTN_SLOT_KV_LENGTHS, .host = to->lengths},
                                  {.slot = CLATTN_SLOT_SHIFTS, .host = to->shifts}};
    for (int64_t layer = 0; layer < LAYERS; layer++) {
        good(clattn_kv_cache_bind(s->cache, layer, 1, bindings + 5));
        rig_step(s->dispatcher, s->shift, bindings, 6);
    }
    return CLATTN_OK;
}

/* ---- what a sequence has --------------------------------------------------------------------- */

static float element(const subject *s, const void *data, int64_t i)
{
    if (s->shape->type == CLATTN_F32)
        return ((const float *)data)[i];
    const uint16_t bits = ((const uint16_t *)data)[i];
    return s->shape->type == CLATTN_F16 ? oracle_from_f16(bits) : oracle_from_bf16(bits);
}

/* Half a unit of the type for a number below 2, for each time that it was rounded. */
static double bound_of(const subject *s, int rotations)
{
    static const double units[] = {0x1p-23, 0x1p-11, 0x1p-8};
    return units[s->shape->type] * rotations;
}

/* What a sequence has been through. */
typedef struct history {
    int64_t gap_begin, gap; /* tokens lost */
    int64_t moved;          /* positions by which keys are elsewhere than where they are counted */
} history;

/* The larger of two errors; NaN is the largest. */
static double larger(double a, double b)
{
    return a > b || isnan(a) ? a : b;
}

/* The largest error of the keys of token `index`, of (head, length, dim). */
static double check_token(const subject *s, const void *k, const void *v, int64_t index,
                          const history *of)
{
    const int64_t length = LENGTH - of->gap;
    const int64_t number = index < of->gap_begin ? index : index + of->gap;
    const int64_t dim = s->shape->head_dim;
    const oracle_rotation by = {s->shape->rotary_dim, s->shape->interleaved, 10000};
    double expected[MOST_DIM], worst = 0;
    for (int64_t h = 0; h < HEADS; h++) {
        const float *x = s->plain + (h * LENGTH + number) * dim;
        for (int64_t d = 0; d < dim; d++)
            expected[d] = (double)x[d];
        oracle_rotate(&by, (double)(index + of->moved), expected);
        for (int64_t d = 0; d < dim; d++) {
            const int64_t at = (h * length + index) * dim + d;
            cr_assert(isfinite(element(s, k, at)), "%s: key of token %d", rig_said(), (int)index);
            worst = larger(worst, fabs((double)element(s, k, at) - expected[d]));
            cr_assert(fabs((double)(element(s, v, at) - x[d])) <= bound_of(s, 1),
                      "%s: values of token %d", rig_said(), (int)index);
        }
    }
    return worst;
}

/* The largest error of a sequence's keys, in all layers. */
static double check_sequence(const subject *s, uint64_t id, const history *of)
{
    const int64_t length = LENGTH - of->gap;
    const size_t bytes = (size_t)(HEADS * length * s->shape->head_dim) * sizeof(float);
    void *k = malloc(bytes + 1), *v = malloc(bytes + 1);
    double worst = 0;
    cr_assert(k && v);
    for (int64_t layer = 0; layer < LAYERS; layer++) {
        const clattn_kv_range range = {id, layer, 0, length};
        good(clattn_kv_cache_read(s->cache, &range, k, v));
        for (int64_t i = 0; i < length; i++)
            worst = larger(worst, check_token(s, k, v, i, of));
    }
    free(k);
    free(v);
    return worst;
}

static const history whole;

/* Whether a move has done this: tokens `begin` to `end` - 1 of `length` go, if there are any. */
static void check_move(const window_move *by, int n, int64_t begin, int64_t end, int64_t length)
{
    const bool any = end > begin;
    cr_assert(by->positions[n] == (any ? begin : 0) && by->shifts[n] == (any ? begin - end : 0) &&
                  by->lengths[n] == (any ? length - end : 0),
              "%s: sequence %d: %d keys from %d on by %d", rig_said(), n, (int)by->lengths[n],
              (int)by->positions[n], (int)by->shifts[n]);
}

/* Moves the windows of sequences 1 and 3, which have the same tokens and have lost `lost` of them,
 * and checks both. *lost then counts what goes, too; `rotations`: how often keys were rotated. */
static void move_both(subject *s, int64_t window, int64_t *lost, int rotations)
{
    static const uint64_t ids[] = {1, 3};
    const int64_t size = s->shape->page_size, begin = (SINK + size - 1) / size * size;
    const int64_t length = LENGTH - *lost, end = (length - window) / size * size;
    window_move by;
    good(move_windows(s, ids, window, &by));
    *lost += end > begin ? end - begin : 0;
    const history of = {begin, *lost, 0};
    for (int n = 0; n < 2; n++) {
        check_move(&by, n, begin, end, length);
        const double worst = check_sequence(s, ids[n], &of);
        cr_assert(worst <= bound_of(s, rotations), "%s: sequence %d: %g", rig_said(), n, worst);
    }
}

static void run_shape(clattn_context *context, const struct shape *shape)
{
    static const uint64_t ids[] = {1, 2};
    const int64_t size = shape->page_size, begin = (SINK + size - 1) / size * size;
    const int64_t end = (LENGTH - shape->window) / size * size, pages = (LENGTH - 1) / size + 1;
    int64_t lost = 0;
    window_move by;
    subject s;
    set_up(&s, context, shape, 3 * pages);
    good(clattn_kv_cache_add(s.cache, 1));
    append(&s, 1);
    good(clattn_kv_cache_fork(s.cache, 2, 1, begin + 1)); /* too short to lose anything */
    good(clattn_kv_cache_fork(s.cache, 3, 1, LENGTH));
    good(move_windows(&s, ids, shape->window, &by));
    check_move(&by, 0, begin, end, LENGTH);
    check_move(&by, 1, 0, 0, 0);
    const history shifted = {begin, end - begin, 0};
    double worst = check_sequence(&s, 1, &shifted);
    cr_assert(worst <= bound_of(&s, 2), "%s: %g", rig_said(), worst);
    worst = check_sequence(&s, 3, &whole);
    cr_assert(worst <= bound_of(&s, 1), "%s: the fork's keys changed by %g", rig_said(), worst);
    good(clattn_kv_cache_remove(s.cache, 1));
    good(clattn_kv_cache_fork(s.cache, 1, 3, LENGTH)); /* both share everything */
    move_both(&s, shape->window, &lost, 2);
    move_both(&s, shape->window / 2, &lost, 3);
    tear_down(&s);
}

Test(shift, keys_are_where_they_are_counted)
{
    clattn_context *context = rig_open();
    for (size_t n = 0; n < COUNT(shapes); n++) {
        rig_say("shape %d", (int)n);
        run_shape(context, &shapes[n]);
    }
    rig_close(context);
}

/* ---- what shifting again and again does to keys ---------------------------------------------- */

/* Shifts all keys of a sequence by -`step` positions, `times` times. */
static void shift_often(subject *s, uint64_t id, int32_t step, int times)
{
    static int32_t pages[MOST];
    static const int32_t none[2];
    const int32_t lengths[2] = {LENGTH, 0}, shifts[2] = {-step, 0};
    clattn_binding bindings[7] = {{.slot = CLATTN_SLOT_ANGLES, .buffer = s->angles},
                                  {.slot = CLATTN_SLOT_PAGES, .host = pages},
                                  {.slot = CLATTN_SLOT_POSITIONS, .host = none},
                                  {.slot = CLATTN_SLOT_KV_LENGTHS, .host = lengths},
                                  {.slot = CLATTN_SLOT_SHIFTS, .host = shifts}};
    good(clattn_kv_cache_tables(s->cache, &id, 1, (MOST - 1) / s->shape->page_size + 1, pages,
                                NULL));
    for (int64_t layer = 0; layer < LAYERS; layer++) {
        good(clattn_kv_cache_bind(s->cache, layer, 1, bindings + 5));
        for (int i = 0; i < times; i++)
            rig_step(s->dispatcher, s->shift, bindings, 6);
    }
}

/* 1024 positions in steps, as a key goes through a window of 1024 tokens; docs/numerics.md has the
 * bound, and what was found. */
Test(shift, errors_add_up)
{
    static const struct {
        clattn_dtype type;
        int times;
    } rows[] = {{CLATTN_F32, 1},   {CLATTN_F32, 64}, {CLATTN_F16, 1},  {CLATTN_F16, 4},
                {CLATTN_F16, 16},  {CLATTN_F16, 64}, {CLATTN_BF16, 1}, {CLATTN_BF16, 4},
                {CLATTN_BF16, 16}, {CLATTN_BF16, 64}};
    enum { SIZE = 16, DIM = 128 };
    clattn_context *context = rig_open();
    for (size_t n = 0; n < COUNT(rows); n++) {
        const struct shape shape = {DIM, DIM, SIZE, 0, 0, rows[n].type};
        const history moved = {0, 0, -1024};
        subject s;
        set_up(&s, context, &shape, MOST / SIZE);
        good(clattn_kv_cache_add(s.cache, 1));
        append(&s, 1);
        shift_often(&s, 1, 1024 / rows[n].times, rows[n].times);
        const double worst = check_sequence(&s, 1, &moved);
        fprintf(stderr, "type %d, %d times: %.2e\n", (int)rows[n].type, rows[n].times, worst);
        cr_expect(worst <= 1.5 * bound_of(&s, rows[n].times + 1), "type %d, %d times: %g",
                  (int)rows[n].type, rows[n].times, worst);
        tear_down(&s);
    }
    rig_close(context);
}

/* ---- what is refused ------------------------------------------------------------------------- */

/* Pages that are shared must be copied: where there are none, nothing changes. */
Test(shift, needs_pages_for_what_is_shared)
{
    static const uint64_t ids[] = {1, 3};
    const struct shape *shape = &shapes[0];
    const int64_t pages = (LENGTH - 1) / shape->page_size + 1;
    window_move by;
    clattn_context *context = rig_open();
    clattn_kv_cache_info info = {.struct_size = sizeof info};
    subject s;
    set_up(&s, context, shape, 2 * pages - 2);
    good(clattn_kv_cache_add(s.cache, 1));
    good(clattn_kv_cache_add(s.cache, 3));
    append(&s, 1);
    good(clattn_kv_cache_fork(s.cache, 2, 1, LENGTH));
    const int64_t needed = pages - (LENGTH - shape->window) / shape->page_size;
    while (1) { /* until one too few are left */
        good(clattn_kv_cache_get_info(s.cache, &info));
        if (info.free_pages < needed)
            break;
        good(clattn_kv_cache_extend(s.cache, s.dispatcher, ids + 1, &shape->page_size, 1));
    }
    cr_assert_eq(move_windows(&s, ids, shape->window, &by), CLATTN_ERR_OUT_OF_MEMORY);
    cr_assert(check_sequence(&s, 1, &whole) <= bound_of(&s, 1));
    cr_assert(check_sequence(&s, 2, &whole) <= bound_of(&s, 1));
    good(clattn_kv_cache_get_info(s.cache, &info));
    cr_assert_eq(info.free_pages, needed - 1);
    good(clattn_kv_cache_truncate(s.cache, 3, 0));
    good(move_windows(&s, ids, shape->window, &by));
    tear_down(&s);
    rig_close(context);
}

Test(shift, arguments)
{
    static const uint64_t ids[] = {1, 1};
    int32_t some[2];
    clattn_context *context = rig_open();
    clattn_kv_shift by;
    subject s;
    set_up(&s, context, &shapes[0], 64);
    good(clattn_kv_cache_add(s.cache, 1));
    append(&s, 1);
    clattn_kv_shift_init(&by);
    good(clattn_kv_cache_shift(s.cache, s.dispatcher, &by));
    const clattn_kv_shift whole_one = {sizeof by, 2, ids, 0, 10, some, some, some};
    const struct {
        clattn_kv_shift by;
        const char *says;
    } rows[] = {
        {{0, 1, ids, 0, 10, some, some, some}, "shift: struct_size is 0"},
        {{sizeof by, 1, NULL, 0, 10, some, some, some}, "ids: "},
        {{sizeof by, 1, ids, 0, 10, NULL, some, some}, "positions: "},
        {{sizeof by, 1, ids, 0, 10, some, NULL, some}, "lengths: "},
        {{sizeof by, 1, ids, 0, 10, some, some, NULL}, "shifts: "},
        {{sizeof by, 1, ids, -1, 10, some, some, some}, "sink: is -1"},
        {{sizeof by, 1, ids, 0, -10, some, some, some}, "window: is -10"},
        {whole_one, "sequences[1]: 1 is there twice"},
    };
    for (size_t i = 0; i < COUNT(rows); i++) {
        cr_expect_eq(clattn_kv_cache_shift(s.cache, s.dispatcher, &rows[i].by),
                     CLATTN_ERR_ARGUMENT);
        cr_expect(strncmp(clattn_error_message(), rows[i].says, strlen(rows[i].says)) == 0, "%s",
                  clattn_error_message());
    }
    cr_assert(check_sequence(&s, 1, &whole) <= bound_of(&s, 1));
    cr_expect_eq(clattn_kv_cache_shift(s.cache, s.dispatcher, NULL), CLATTN_ERR_ARGUMENT);
    tear_down(&s);
    rig_close(context);
}

Test(shift, integers_are_never_rotated_again)
{
    static const clattn_dtype types[] = {CLATTN_I8, CLATTN_I4};
    clattn_context *context = rig_open();
    clattn_dispatcher *dispatcher;
    good(clattn_dispatcher_create(context, NULL, &dispatcher));
    for (int i = 0; i < 2; i++) {
        clattn_kv_cache_desc desc;
        clattn_kv_cache *cache;
        clattn_shift_desc shift;
        clattn_kv_shift by;
        clattn_kv_cache_desc_init(&desc);
        clattn_shift_desc_init(&shift);
        clattn_kv_shift_init(&by);
        desc.dtype = types[i];
        desc.layers = desc.n_kv_head = desc.page_size = desc.pages = 1;
        desc.head_dim = desc.value_dim = 8;
        good(clattn_kv_cache_create(context, &desc, &cache));
        cr_expect_eq(clattn_kv_cache_describe_shift(cache, 9, &shift), CLATTN_ERR_UNSUPPORTED);
        cr_expect_eq(clattn_kv_cache_shift(cache, dispatcher, &by), CLATTN_ERR_UNSUPPORTED);
        cr_expect(strstr(clattn_error_message(), "never quantised again"), "%s",
                  clattn_error_message());
        clattn_kv_cache_destroy(cache);
    }
    clattn_dispatcher_destroy(dispatcher);
    rig_close(context);
}
