/* Keys and values as integers with scales: what append writes of them, and attention to them, in
 * pages and side by side, against the oracle on what the integers stand for. Every kernel, every
 * device. Pages held NaN before, and their scales too. */
#include <clattn/layer.h>
#include <criterion/criterion.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "rig.h"
#include "tests/shortened.h"
#include "tests/oracle/quantise.h"

#define COUNT(array) (sizeof(array) / sizeof(array)[0])
enum { LAST = 3, MOST_SCALES = 18 };

typedef struct quantised_shape {
    int64_t n_head, n_kv_head, n_q, length, head_dim, value_dim;
} quantised_shape;

static const quantised_shape shapes[] = {
    {4, 2, 1, 1030, 128, 128}, {3, 3, 1, 513, 64, 96}, {8, 1, 2, 600, 32, 80},
    {2, 1, 40, 77, 64, 48},    {2, 2, 3, 19, 2, 34},   {1, 1, 1, 1, 66, 32},
    {4, 1, 16, 520, 576, 64},
};

static const struct {
    clattn_dtype dtype;
    int64_t channels;
} types[] = {{CLATTN_I8, 0}, {CLATTN_I4, 0}, {CLATTN_I8, 32}, {CLATTN_I4, 32}};

/* A cache with one sequence, and what it should hold. */
typedef struct rig_cache {
    quantised_shape shape;
    clattn_dtype dtype;
    int64_t channels, page_size;
    bool options; /* window, softcap, ALiBi and sinks */
    clattn_context *context;
    clattn_dispatcher *dispatcher;
    clattn_kv_cache *cache;
    float *given[2];   /* K, V: (n_kv_head, length, dim) */
    float *meant[2];   /* what the integers stand for */
    uint8_t *bytes[2]; /* as the cache has them */
    float *scales[2];  /* (n_kv_head, length, groups) */
    float *q, *out, *again;
    float *weights; /* (n_head, n_q, length), or NULL: not wanted */
    double *expected, *expected_weights;
} rig_cache;

static const uint64_t id = 7;

/* With options; the window begins in another split of keys than the first. */
enum { WINDOW = 400 };
static const float softcap = 1.5f, slopes[] = {0.02f, 0.001f, 0, 0.3f}, sinks[] = {0.5f, -1, 2, 0};

static void good(clattn_status status)
{
    cr_assert_eq(status, CLATTN_OK, "%s: %s", rig_said(), clattn_error_message());
}

static int64_t dim_of(const rig_cache *c, int part)
{
    return part ? c->shape.value_dim : c->shape.head_dim;
}

static int64_t groups_of(const rig_cache *c, int part)
{
    return c->channels ? (dim_of(c, part) + c->channels - 1) / c->channels : 1;
}

static int64_t bytes_of(const rig_cache *c, int64_t elements)
{
    return c->dtype == CLATTN_I8 ? elements : elements / 2;
}

static int64_t rows_of(const rig_cache *c)
{
    return c->shape.n_kv_head * c->shape.length;
}

/* Rows of very different sizes, one of them 0. */
static void make_numbers(rig_cache *c)
{
    uint32_t state = 5;
    for (int part = 0; part < 2; part++)
        for (int64_t i = 0; i < rows_of(c); i++)
            for (int64_t d = 0; d < dim_of(c, part); d++)
                c->given[part][i * dim_of(c, part) + d] =
                    i % 7 == 3 ? 0 : ldexpf(rig_number(&state), (int)(i % 5) - 2);
    for (int64_t i = 0; i < c->shape.n_head * c->shape.n_q * c->shape.head_dim; i++)
        c->q[i] = rig_number(&state);
}

static void open_cache(rig_cache *c)
{
    clattn_kv_cache_desc desc;
    clattn_kv_cache_desc_init(&desc);
    desc.dtype = c->dtype;
    desc.scale_channels = c->channels;
    desc.layers = 2;
    desc.n_kv_head = c->shape.n_kv_head;
    desc.head_dim = c->shape.head_dim;
    desc.value_dim = c->shape.value_dim;
    desc.page_size = c->page_size;
    desc.pages = (c->shape.length + c->page_size - 1) / c->page_size + 1;
    good(clattn_dispatcher_create(c->context, NULL, &c->dispatcher));
    good(clattn_kv_cache_create(c->context, &desc, &c->cache));
    for (int part = 0; part < 2; part++) {
        const size_t count = (size_t)(rows_of(c) * dim_of(c, part));
        c->given[part] = malloc(count * sizeof(float));
        c->meant[part] = malloc(count * sizeof(float));
        c->bytes[part] = malloc(count);
        c->scales[part] = malloc((size_t)rows_of(c) * MOST_SCALES * sizeof(float));
        cr_assert(c->given[part] && c->meant[part] && c->bytes[part] && c->scales[part]);
    }
    const size_t rows = (size_t)(c->shape.n_head * c->shape.n_q);
    c->q = malloc(rows * (size_t)c->shape.head_dim * sizeof *c->q);
    c->out = malloc(rows * (size_t)c->shape.value_dim * sizeof *c->out);
    c->again = malloc(rows * (size_t)c->shape.value_dim * sizeof *c->again);
    c->expected = malloc(rows * (size_t)c->shape.value_dim * sizeof *c->expected);
    cr_assert(c->q && c->out && c->again && c->expected);
    make_numbers(c);
}

static void close_cache(rig_cache *c)
{
    clattn_kv_cache_destroy(c->cache);
    clattn_dispatcher_destroy(c->dispatcher);
    for (int part = 0; part < 2; part++) {
        free(c->given[part]);
        free(c->meant[part]);
        free(c->bytes[part]);
        free(c->scales[part]);
    }
    free(c->q);
    free(c->out);
    free(c->again);
    free(c->expected);
}

static clattn_buffer *filled(const rig_cache *c, const float *from, int64_t count)
{
    return rig_filled(c->context, from, (uint64_t)count * sizeof *from);
}

/* Tokens `begin` to `end` - 1 of what is given, to the end of the sequence. */
static void append(rig_cache *c, int64_t begin, int64_t end)
{
    const int64_t tokens = end - begin, limit = (c->shape.length - 1) / c->page_size + 1;
    int32_t *pages = calloc((size_t)limit, sizeof *pages), length;
    const int32_t position = (int32_t)begin;
    clattn_append_desc desc;
    clattn_plan *plan;
    clattn_append_desc_init(&desc);
    desc.batch = 1;
    desc.n_kv = tokens;
    good(clattn_kv_cache_describe_append(c->cache, c->shape.length, &desc));
    clattn_binding bindings[8] = {{.slot = CLATTN_SLOT_PAGES, .host = pages},
                                  {.slot = CLATTN_SLOT_POSITIONS, .host = &position}};
    for (int part = 0; part < 2; part++) {
        clattn_tensor *tensor = &desc.tensor[CLATTN_SLOT_K + part];
        const int64_t dim = dim_of(c, part);
        *tensor = (clattn_tensor){.strided = 1, .stride = {0, c->shape.length * dim, dim, 1}};
        bindings[2 + part] = (clattn_binding){.slot = (clattn_slot)(CLATTN_SLOT_K + part),
                                              .buffer = filled(c, c->given[part], rows_of(c) * dim),
                                              .offset = (uint64_t)(begin * dim) * sizeof(float)};
    }
    good(clattn_kv_cache_extend(c->cache, c->dispatcher, &id, &tokens, 1));
    good(clattn_kv_cache_tables(c->cache, &id, 1, limit, pages, &length));
    good(clattn_kv_cache_bind(c->cache, 1, 1, bindings + 4));
    good(clattn_kv_cache_bind_scales(c->cache, 1, bindings + 6));
    good(clattn_plan_append(c->context, &desc, &plan));
    rig_step(c->dispatcher, plan, bindings, 8);
    clattn_plan_destroy(plan);
    good(clattn_buffer_destroy(bindings[2].buffer));
    good(clattn_buffer_destroy(bindings[3].buffer));
    free(pages);
}

/* Every page and scale becomes NaN, as an earlier sequence may have left them. */
static void poison(rig_cache *c)
{
    for (int part = 0; part < 2; part++)
        for (int64_t i = 0; i < rows_of(c) * dim_of(c, part); i++)
            c->given[part][i] = NAN;
    good(clattn_kv_cache_add(c->cache, id));
    append(c, 0, c->shape.length);
    good(clattn_kv_cache_remove(c->cache, id));
    make_numbers(c);
}

static void read_back(rig_cache *c, int64_t count)
{
    const clattn_kv_range range = {id, 1, 0, count};
    good(clattn_kv_cache_read(c->cache, &range, c->bytes[0], c->bytes[1]));
    good(clattn_kv_cache_read_scales(c->cache, &range, c->scales[0], c->scales[1]));
}

static int integer_at(const rig_cache *c, int part, int64_t at)
{
    if (c->dtype == CLATTN_I8)
        return (int8_t)c->bytes[part][at];
    const int half = c->bytes[part][at / 2] >> (at % 2 ? 4 : 0) & 15;
    return half > 7 ? half - 16 : half;
}

/* What append has made of row i, against the formula; fills c->meant. */
static void check_row(rig_cache *c, int part, int64_t i)
{
    const int64_t dim = dim_of(c, part), groups = groups_of(c, part);
    const float *x = c->given[part] + i * dim;
    float left[576], scales[MOST_SCALES];
    int8_t integers[576];
    const oracle_integers to = {c->dtype == CLATTN_I8 ? 8 : 4, c->channels, integers, scales};
    oracle_quantise(&to, x, dim, left);
    for (int64_t d = 0; d < dim; d++) {
        const int64_t group = c->channels ? d / c->channels : 0;
        const float scale = c->scales[part][i * groups + group];
        const int n = integer_at(c, part, i * dim + d);
        c->meant[part][i * dim + d] = (float)n * scale;
        cr_assert(fabsf(scale - scales[group]) <= 1e-6f * scales[group],
                  "%s: row %d has scale %g, not %g", rig_said(), (int)i, (double)scale,
                  (double)scales[group]);
        cr_assert(fabsf((float)n * scale - x[d]) <= 0.5001f * scale,
                  "%s: element %d of row %d is %d * %g, not %g", rig_said(), (int)d, (int)i, n,
                  (double)scale, (double)x[d]);
    }
}

static void check_rows(rig_cache *c)
{
    for (int part = 0; part < 2; part++)
        for (int64_t i = 0; i < rows_of(c); i++)
            check_row(c, part, i);
}

/* What was there before more was appended is the same, byte by byte. */
static void check_not_again(rig_cache *c)
{
    const int64_t before = c->shape.length - LAST, size = bytes_of(c, c->shape.head_dim);
    uint8_t *first = malloc((size_t)(rows_of(c) * size));
    cr_assert_not_null(first);
    read_back(c, before);
    memcpy(first, c->bytes[0], (size_t)(c->shape.n_kv_head * before * size));
    append(c, before, c->shape.length);
    read_back(c, c->shape.length);
    for (int64_t h = 0; h < c->shape.n_kv_head; h++)
        cr_assert_eq(memcmp(first + h * before * size, c->bytes[0] + h * c->shape.length * size,
                            (size_t)(before * size)),
                     0, "%s: what was there has changed", rig_said());
    free(first);
}

/* ---- attention ------------------------------------------------------------------------------- */

static clattn_attention_desc describe(const rig_cache *c)
{
    clattn_attention_desc desc;
    clattn_attention_desc_init(&desc);
    desc.batch = 1;
    desc.n_head = c->shape.n_head;
    desc.n_kv_head = c->shape.n_kv_head;
    desc.n_q = c->shape.n_q;
    desc.n_kv = c->shape.length;
    desc.head_dim = c->shape.head_dim;
    desc.value_dim = c->shape.value_dim;
    desc.causal = 1;
    desc.align = CLATTN_ALIGN_BOTTOM_RIGHT;
    if (!c->options)
        return desc;
    desc.has_window = 1;
    desc.window_left = WINDOW;
    desc.softcap = softcap;
    desc.slots = CLATTN_SLOT_BIT(CLATTN_SLOT_ALIBI) | CLATTN_SLOT_BIT(CLATTN_SLOT_SINK);
    return desc;
}

static void attend_in_pages(rig_cache *c)
{
    const int64_t limit = (c->shape.length - 1) / c->page_size + 1;
    const int64_t rows = c->shape.n_head * c->shape.n_q;
    int32_t *pages = calloc((size_t)limit, sizeof *pages), length;
    clattn_plan *plan;
    clattn_attention_desc desc = describe(c);
    good(clattn_kv_cache_describe_attention(c->cache, &desc));
    good(clattn_kv_cache_tables(c->cache, &id, 1, limit, pages, &length));
    for (int64_t i = 0; i < rows * c->shape.value_dim; i++)
        c->out[i] = NAN;
    clattn_binding bindings[10] = {
        {.slot = CLATTN_SLOT_PAGES, .host = pages},
        {.slot = CLATTN_SLOT_KV_LENGTHS, .host = &length},
        {.slot = CLATTN_SLOT_Q, .buffer = filled(c, c->q, rows * c->shape.head_dim)},
        {.slot = CLATTN_SLOT_OUT, .buffer = filled(c, c->out, rows * c->shape.value_dim)}};
    good(clattn_kv_cache_bind(c->cache, 1, 0, bindings + 4));
    good(clattn_kv_cache_bind_scales(c->cache, 1, bindings + 6));
    bindings[8] = (clattn_binding){.slot = CLATTN_SLOT_ALIBI, .host = slopes};
    bindings[9] = (clattn_binding){.slot = CLATTN_SLOT_SINK, .host = sinks};
    good(clattn_plan_attention(c->context, &desc, &plan));
    rig_step(c->dispatcher, plan, bindings, c->options ? 10 : 8);
    good(clattn_buffer_read(bindings[3].buffer, 0, c->out,
                            (uint64_t)(rows * c->shape.value_dim) * sizeof *c->out));
    clattn_plan_destroy(plan);
    good(clattn_buffer_destroy(bindings[2].buffer));
    good(clattn_buffer_destroy(bindings[3].buffer));
    free(pages);
}

/* On host memory, with the integers and scales that were read back. */
static void attend_side_by_side(rig_cache *c, int64_t top_k)
{
    clattn_attention_desc desc = describe(c);
    desc.top_k = top_k;
    desc.tensor[CLATTN_SLOT_K].dtype = desc.tensor[CLATTN_SLOT_V].dtype = c->dtype;
    desc.scale_channels = c->channels;
    desc.slots |= CLATTN_SLOT_BIT(CLATTN_SLOT_K_SCALES) | CLATTN_SLOT_BIT(CLATTN_SLOT_V_SCALES);
    clattn_host_binding bindings[9] = {
        {CLATTN_SLOT_Q, 0, c->q},
        {CLATTN_SLOT_K, 0, c->bytes[0]},
        {CLATTN_SLOT_V, 0, c->bytes[1]},
        {CLATTN_SLOT_OUT, 0, c->again},
        {CLATTN_SLOT_K_SCALES, 0, c->scales[0]},
        {CLATTN_SLOT_V_SCALES, 0, c->scales[1]},
    };
    uint32_t count = 6;
    if (c->options) {
        bindings[count++] = (clattn_host_binding){CLATTN_SLOT_ALIBI, 0, (void *)(uintptr_t)slopes};
        bindings[count++] = (clattn_host_binding){CLATTN_SLOT_SINK, 0, (void *)(uintptr_t)sinks};
    }
    if (c->weights) {
        desc.slots |= CLATTN_SLOT_BIT(CLATTN_SLOT_WEIGHTS);
        bindings[count++] = (clattn_host_binding){CLATTN_SLOT_WEIGHTS, 0, c->weights};
    }
    good(clattn_run(c->context, &desc, bindings, count));
}

static void check_out(rig_cache *c, const float *out, const char *where)
{
    const quantised_shape *s = &c->shape;
    oracle_problem problem = {.batch = 1,
                              .n_head = s->n_head,
                              .n_kv_head = s->n_kv_head,
                              .n_q = s->n_q,
                              .n_kv = s->length,
                              .head_dim = s->head_dim,
                              .value_dim = s->value_dim,
                              .scale = 1 / sqrt((double)s->head_dim),
                              .causal = true,
                              .bottom_right = true,
                              .q = c->q,
                              .k = c->meant[0],
                              .v = c->meant[1],
                              .out = c->expected,
                              .weights = c->expected_weights};
    double most = 1;
    if (c->options) {
        problem.has_window = true;
        problem.window_left = WINDOW;
        problem.window_right = -1;
        problem.softcap = (double)softcap;
        problem.alibi = slopes;
        problem.sink = sinks;
    }
    cr_assert(oracle_attention(&problem));
    for (int64_t i = 0; i < s->n_head * s->n_q * s->value_dim; i++)
        most = fmax(most, fabs(c->expected[i]));
    for (int64_t i = 0; i < s->n_head * s->n_q * s->value_dim; i++)
        cr_assert(fabs((double)out[i] - c->expected[i]) <= RIG_BOUND * most,
                  "%s, %s: element %d is %g, not %g", rig_said(), where, (int)i, (double)out[i],
                  c->expected[i]);
}

static void run_one(rig_cache *c)
{
    const int64_t first = c->shape.length > LAST ? c->shape.length - LAST : c->shape.length;
    open_cache(c);
    poison(c);
    good(clattn_kv_cache_add(c->cache, id));
    append(c, 0, first);
    if (first < c->shape.length)
        check_not_again(c);
    read_back(c, c->shape.length);
    check_rows(c);
    attend_in_pages(c);
    check_out(c, c->out, "pages");
    attend_side_by_side(c, 0);
    cr_assert_eq(
        memcmp(c->out, c->again,
               (size_t)(c->shape.n_head * c->shape.n_q * c->shape.value_dim) * sizeof *c->out),
        0, "%s: side by side other bits", rig_said());
    if (c->page_size == 16 && c->shape.n_q <= 3 && !c->options) {
        attend_side_by_side(c, c->shape.length); /* all keys: the same by another operation */
        check_out(c, c->again, "top_k");
    }
    close_cache(c);
}

static void all_shapes(clattn_context *context, const char *kernel)
{
    static const int64_t sizes[] = {16, 1, 64};
    for (size_t n = 0; n < COUNT(shapes); n += is_shortened() ? 4 : 1)
        for (size_t t = 0; t < COUNT(types); t++)
            for (size_t i = (n + t) % 3; i < COUNT(sizes); i += n ? COUNT(sizes) : 1) {
                rig_cache c = {.context = context,
                               .shape = shapes[n],
                               .dtype = types[t].dtype,
                               .channels = types[t].channels,
                               .page_size = sizes[i]};
                rig_say("%s, shape %d, type %d, %d channels a scale, pages of %d", kernel, (int)n,
                        (int)types[t].dtype, (int)types[t].channels, (int)sizes[i]);
                run_one(&c);
            }
}

Test(quantised, agrees_with_the_oracle, .timeout = 840)
{
    rig_each_kernel(all_shapes);
}

static rig_cache of_type(clattn_context *context, quantised_shape shape, size_t t)
{
    return (rig_cache){.context = context,
                       .shape = shape,
                       .dtype = types[t].dtype,
                       .channels = types[t].channels,
                       .page_size = 16};
}

static void every_type_with_options(clattn_context *context, const char *kernel)
{
    for (size_t t = 0; t < COUNT(types); t++) {
        rig_cache c = of_type(context, (quantised_shape){4, 2, 2, 1030, 128, 128}, t);
        c.options = true;
        rig_say("%s, options, type %d, %d channels a scale", kernel, (int)c.dtype, (int)c.channels);
        run_one(&c);
    }
}

/* What becomes of scores and which keys are seen, over several splits. */
Test(quantised, with_options, .timeout = 840)
{
    rig_each_kernel(every_type_with_options);
}

/* The last token is visible to the last query alone. */
static void last_token_is_odd(clattn_context *context, const char *kernel)
{
    for (size_t t = 0; t < COUNT(types); t++)
        for (int values = 0; values < 2; values++) {
            rig_cache c = of_type(context, (quantised_shape){2, 1, 2, 40, 64, 64}, t);
            rig_say("%s, type %d, %d channels a scale", kernel, (int)c.dtype, (int)c.channels);
            open_cache(&c);
            c.given[1][(c.shape.length - 1) * 64 + 5] = values ? INFINITY : 1;
            c.given[0][(c.shape.length - 1) * 64 + 5] = values ? 1 : NAN;
            good(clattn_kv_cache_add(c.cache, id));
            append(&c, 0, c.shape.length);
            attend_in_pages(&c);
            for (int64_t h = 0; h < 2; h++)
                for (int64_t d = 0; d < 64; d++)
                    cr_assert(isfinite(c.out[(h * 2) * 64 + d]), "%s: it leaks", rig_said());
            cr_assert(!isfinite(c.out[64 + 5]) && !isfinite(c.out[3 * 64 + 5]), "%s: it is lost",
                      rig_said());
            close_cache(&c);
        }
}

/* Those that a program of its own computes have the integers' keys, too. */
static void every_weight(clattn_context *context, const char *kernel)
{
    enum { ROWS = 2 * 40, KEYS = 77 };
    static float weights[ROWS * KEYS];
    static double expected[ROWS * KEYS];
    for (size_t t = 0; t < COUNT(types); t += is_shortened() ? COUNT(types) - 1 : 1) {
        rig_cache c = of_type(context, (quantised_shape){2, 1, ROWS / 2, KEYS, 64, 48}, t);
        c.weights = weights;
        c.expected_weights = expected;
        rig_say("%s, weights, type %d, %d channels", kernel, (int)c.dtype, (int)c.channels);
        open_cache(&c);
        good(clattn_kv_cache_add(c.cache, id));
        append(&c, 0, KEYS);
        read_back(&c, KEYS);
        check_rows(&c); /* fills c.meant */
        attend_side_by_side(&c, 0);
        check_out(&c, c.again, "with weights");
        for (int i = 0; i < ROWS * KEYS; i++)
            cr_assert(fabs((double)weights[i] - expected[i]) <= RIG_BOUND, "%s: %d is %g, not %g",
                      rig_said(), i, (double)weights[i], expected[i]);
        close_cache(&c);
    }
}

Test(quantised, returns_weights, .timeout = 840)
{
    rig_each_kernel(every_weight);
}

/* A number that isn't finite shows, and only where it is visible. */
Test(quantised, not_a_number_shows)
{
    rig_each_kernel(last_token_is_odd);
}
