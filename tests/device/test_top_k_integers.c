/* The keys of highest score among keys that are stored as integers with scales: which keys, in
 * which order, their softmax and what comes of it, side by side and in pages. Integers and scales
 * are such that scores are exact and often equal. Pages that nobody has hold scales of NaN. Every
 * kernel. */
#include <criterion/criterion.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "rig.h"

#define COUNT(array) (sizeof(array) / sizeof(array)[0])
enum { BATCH = 2, MOST_KEYS = 4300 };

static const struct {
    int64_t n_head, n_kv_head, n_q, n_kv, head_dim, value_dim, top_k;
} shapes[] = {
    {4, 2, 3, 4300, 72, 34, 37}, /* several ranges of keys, ends of rows that are no vectors */
    {2, 1, 70, 90, 24, 66, 5},   /* more queries than share keys */
    {3, 1, 1, 33, 66, 64, 1},
    {1, 1, 1, 17, 2, 2, 20}, /* more than there are */
};

static const struct {
    clattn_dtype dtype;
    int64_t channels;
} types[] = {{CLATTN_I8, 0}, {CLATTN_I4, 0}, {CLATTN_I8, 32}, {CLATTN_I4, 32}};

/* Keys (part 0) and values (part 1) as they are given, whatever the memory they are put into. */
typedef struct integers {
    size_t shape, type;
    int8_t *n[2];    /* (batch, n_kv_head, n_kv, dim) */
    float *scale[2]; /* (batch, n_kv_head, n_kv, groups) powers of 2 */
    float *q;        /* (batch, n_head, n_q, head_dim) whole numbers */
    int32_t lengths[BATCH];
    int64_t rows; /* of keys, of a part */
    int64_t queries;
} integers;

/* What comes of it; (batch, n_head, n_q) rows. */
typedef struct results {
    float *out, *lse;
    int32_t *indices;
} results;

/* Memory of a part, side by side or in pages. */
typedef struct stored {
    uint8_t *bytes;
    float *scales;
} stored;

static int64_t dim_of(const integers *x, int part)
{
    return part ? shapes[x->shape].value_dim : shapes[x->shape].head_dim;
}

static int64_t groups_of(const integers *x, int part)
{
    const int64_t channels = types[x->type].channels;
    return channels ? (dim_of(x, part) + channels - 1) / channels : 1;
}

static void *room(int64_t count, size_t size)
{
    void *memory = malloc((size_t)(count + 1) * size);
    cr_assert_not_null(memory);
    return memory;
}

/* A whole number from -most to most. */
static int whole(uint32_t *state, int most)
{
    return (int)floorf((rig_number(state) + 1) / 2 * (float)(2 * most + 1)) - most;
}

static void make(integers *x)
{
    uint32_t state = 11;
    x->rows = BATCH * shapes[x->shape].n_kv_head * shapes[x->shape].n_kv;
    x->queries = BATCH * shapes[x->shape].n_head * shapes[x->shape].n_q;
    x->lengths[0] = (int32_t)shapes[x->shape].n_kv;
    x->lengths[1] = (int32_t)(shapes[x->shape].n_kv - shapes[x->shape].n_kv / 3);
    for (int part = 0; part < 2; part++) {
        const int64_t count = x->rows * dim_of(x, part), scales = x->rows * groups_of(x, part);
        x->n[part] = room(count, 1);
        x->scale[part] = room(scales, sizeof(float));
        for (int64_t i = 0; i < count; i++)
            x->n[part][i] = (int8_t)whole(&state, 7);
        for (int64_t i = 0; i < scales; i++)
            x->scale[part][i] = ldexpf(1, whole(&state, 1) - 1);
    }
    x->q = room(x->queries * dim_of(x, 0), sizeof *x->q);
    for (int64_t i = 0; i < x->queries * dim_of(x, 0); i++)
        x->q[i] = (float)whole(&state, 2);
}

static void unmake(integers *x)
{
    for (int part = 0; part < 2; part++) {
        free(x->n[part]);
        free(x->scale[part]);
    }
    free(x->q);
}

/* Row i of a part into row `to` of what is stored. */
static void store_row(const integers *x, int part, int64_t i, int64_t row, const stored *to)
{
    const int64_t dim = dim_of(x, part), groups = groups_of(x, part);
    const int8_t *from = x->n[part] + i * dim;
    memcpy(to->scales + row * groups, x->scale[part] + i * groups,
           (size_t)groups * sizeof *to->scales);
    for (int64_t d = 0; d < dim; d++)
        if (types[x->type].dtype == CLATTN_I8)
            to->bytes[row * dim + d] = (uint8_t)from[d];
        else if (d % 2 == 0)
            to->bytes[(row * dim + d) / 2] =
                (uint8_t)((from[d] & 15) | (uint8_t)((from[d + 1] & 15) << 4));
}

/* pages: the table (batch, limit) of `count` pages of `size` tokens, or size 0: side by side. */
static stored store(const integers *x, int part, const int32_t *pages, int64_t size, int64_t count)
{
    const int64_t heads = shapes[x->shape].n_kv_head, keys = shapes[x->shape].n_kv;
    const int64_t rows = size ? count * heads * size : x->rows;
    const int64_t limit = size ? (keys + size - 1) / size : 0;
    stored to = {room(rows * dim_of(x, part), 1), room(rows * groups_of(x, part), sizeof(float))};
    memset(to.bytes, 0x77, (size_t)(rows * dim_of(x, part)));
    for (int64_t i = 0; i < rows * groups_of(x, part); i++)
        to.scales[i] = NAN;
    for (int64_t i = 0; i < x->rows; i++) {
        const int64_t j = i % keys, h = i / keys % heads, b = i / keys / heads;
        if (j < x->lengths[b])
            store_row(x, part, i,
                      size ? (pages[b * limit + j / size] * heads + h) * size + j % size : i, &to);
    }
    return to;
}

static clattn_attention_desc describe(const integers *x, int64_t size, int64_t limit)
{
    clattn_attention_desc desc;
    clattn_attention_desc_init(&desc);
    desc.batch = BATCH;
    desc.n_head = shapes[x->shape].n_head;
    desc.n_kv_head = shapes[x->shape].n_kv_head;
    desc.n_q = shapes[x->shape].n_q;
    desc.n_kv = shapes[x->shape].n_kv;
    desc.head_dim = dim_of(x, 0);
    desc.value_dim = dim_of(x, 1);
    desc.has_scale = 1;
    desc.scale = 1 / 64.0f;
    desc.causal = 1;
    desc.align = CLATTN_ALIGN_BOTTOM_RIGHT;
    desc.top_k = shapes[x->shape].top_k;
    desc.tensor[CLATTN_SLOT_K].dtype = desc.tensor[CLATTN_SLOT_V].dtype = types[x->type].dtype;
    desc.scale_channels = types[x->type].channels;
    desc.slots = CLATTN_SLOT_BIT(CLATTN_SLOT_LSE) | CLATTN_SLOT_BIT(CLATTN_SLOT_INDICES) |
                 CLATTN_SLOT_BIT(CLATTN_SLOT_KV_LENGTHS) | CLATTN_SLOT_BIT(CLATTN_SLOT_K_SCALES) |
                 CLATTN_SLOT_BIT(CLATTN_SLOT_V_SCALES) |
                 (size ? CLATTN_SLOT_BIT(CLATTN_SLOT_PAGES) : 0);
    desc.page_size = size;
    desc.page_limit = limit;
    desc.n_pages = size ? BATCH * limit + 1 : 0;
    return desc;
}

static void run(clattn_context *context, integers *x, int64_t size, results *to)
{
    const int64_t limit = size ? (shapes[x->shape].n_kv + size - 1) / size : 0;
    const clattn_attention_desc desc = describe(x, size, limit);
    int32_t *pages = room(BATCH * limit, sizeof *pages);
    for (int64_t i = 0; i < BATCH * limit; i++)
        pages[i] = (int32_t)(BATCH * limit - i); /* page 0 is nobody's */
    const stored k = store(x, 0, pages, size, desc.n_pages);
    const stored v = store(x, 1, pages, size, desc.n_pages);
    const clattn_host_binding bindings[] = {
        {CLATTN_SLOT_Q, 0, x->q},
        {CLATTN_SLOT_K, 0, k.bytes},
        {CLATTN_SLOT_V, 0, v.bytes},
        {CLATTN_SLOT_OUT, 0, to->out},
        {CLATTN_SLOT_LSE, 0, to->lse},
        {CLATTN_SLOT_INDICES, 0, to->indices},
        {CLATTN_SLOT_KV_LENGTHS, 0, x->lengths},
        {CLATTN_SLOT_K_SCALES, 0, k.scales},
        {CLATTN_SLOT_V_SCALES, 0, v.scales},
        {CLATTN_SLOT_PAGES, 0, pages},
    };
    cr_assert_eq(clattn_run(context, &desc, bindings, size ? 10 : 9), CLATTN_OK, "%s: %s",
                 rig_said(), clattn_error_message());
    free(k.bytes);
    free(k.scales);
    free(v.bytes);
    free(v.scales);
    free(pages);
}

/* ---- what is expected ------------------------------------------------------------------------ */

/* Element d of row i of a part. */
static double element(const integers *x, int part, int64_t i, int64_t d)
{
    const int64_t channels = types[x->type].channels;
    return (double)x->n[part][i * dim_of(x, part) + d] *
           (double)x->scale[part][i * groups_of(x, part) + (channels ? d / channels : 0)];
}

static void near(double found, double expected, double bound, const char *what, int64_t at)
{
    cr_assert(found == expected || fabs(found - expected) <= bound, "%s: %s[%d] is %.9g, not %.9g",
              rig_said(), what, (int)at, found, expected);
}

/* Scores of query `at` with the keys that it sees; their number. */
static int64_t scores_of(const integers *x, int64_t at, int64_t first_row, double *score)
{
    const int64_t n_q = shapes[x->shape].n_q, b = at / n_q / shapes[x->shape].n_head;
    const int64_t seen = x->lengths[b] - n_q + at % n_q + 1;
    for (int64_t j = 0; j < seen; j++) {
        score[j] = 0;
        for (int64_t d = 0; d < dim_of(x, 0); d++)
            score[j] += (double)x->q[at * dim_of(x, 0) + d] * element(x, 0, first_row + j, d) / 64;
    }
    return seen < 0 ? 0 : seen;
}

/* The best that is left, the first of equals, again and again; their number. */
static int64_t choose(double *score, int64_t seen, int64_t top_k, int64_t *key, double *chosen)
{
    int64_t count = 0;
    for (; count < top_k && count < seen; count++) {
        int64_t best = 0;
        for (int64_t j = 1; j < seen; j++)
            if (score[j] > score[best])
                best = j;
        key[count] = best;
        chosen[count] = score[best];
        score[best] = -(double)INFINITY;
    }
    return count;
}

static void check_query(const integers *x, int64_t at, const results *found)
{
    static double score[MOST_KEYS], chosen[MOST_KEYS];
    static int64_t key[MOST_KEYS];
    const int64_t n_q = shapes[x->shape].n_q, n_head = shapes[x->shape].n_head;
    const int64_t top_k = shapes[x->shape].top_k, heads = shapes[x->shape].n_kv_head;
    const int64_t head = at / n_q % n_head / (n_head / heads), b = at / n_q / n_head;
    const int64_t first_row = (b * heads + head) * shapes[x->shape].n_kv;
    const int64_t seen = scores_of(x, at, first_row, score);
    const int64_t count = choose(score, seen, top_k, key, chosen);
    double sum = 0;
    for (int64_t n = 0; n < top_k; n++)
        cr_assert_eq(found->indices[at * top_k + n], n < count ? key[n] : -1,
                     "%s: query %d, place %d: key %d", rig_said(), (int)at, (int)n,
                     (int)found->indices[at * top_k + n]);
    for (int64_t n = 0; n < count; n++)
        sum += exp(chosen[n]);
    near((double)found->lse[at], log(sum), 1e-5, "lse", at);
    for (int64_t d = 0; d < dim_of(x, 1); d++) {
        double expected = 0;
        for (int64_t n = 0; n < count; n++)
            expected += exp(chosen[n]) / sum * element(x, 1, first_row + key[n], d);
        near((double)found->out[at * dim_of(x, 1) + d], expected, 7 * 1e-5, "out", d);
    }
}

/* ---- all of them ----------------------------------------------------------------------------- */

static results room_for(const integers *x)
{
    const int64_t out = x->queries * dim_of(x, 1);
    const int64_t indices = x->queries * shapes[x->shape].top_k;
    const results made = {room(out, sizeof(float)), room(x->queries, sizeof(float)),
                          room(indices, sizeof(int32_t))};
    memset(made.out, 0xff, (size_t)out * sizeof(float));
    memset(made.lse, 0xff, (size_t)x->queries * sizeof(float));
    memset(made.indices, 0xff, (size_t)indices * sizeof(int32_t));
    return made;
}

static void free_results(results *x)
{
    free(x->out);
    free(x->lse);
    free(x->indices);
}

static void same_bits(const integers *x, const results *a, const results *b)
{
    cr_assert(
        memcmp(a->out, b->out, (size_t)(x->queries * dim_of(x, 1)) * 4) == 0 &&
            memcmp(a->lse, b->lse, (size_t)x->queries * 4) == 0 &&
            memcmp(a->indices, b->indices, (size_t)(x->queries * shapes[x->shape].top_k) * 4) == 0,
        "%s: other bits", rig_said());
}

static void run_all(clattn_context *context, const char *kernel, integers *x)
{
    static const int64_t sizes[] = {1, 5, 16, 64};
    results plain = room_for(x);
    rig_say("%s, shape %d, type %d, side by side", kernel, (int)x->shape, (int)x->type);
    run(context, x, 0, &plain);
    for (int64_t at = 0; at < x->queries; at++)
        check_query(x, at, &plain);
    for (size_t n = 0; n < COUNT(sizes); n++) {
        results paged = room_for(x);
        rig_say("%s, shape %d, type %d, pages of %d", kernel, (int)x->shape, (int)x->type,
                (int)sizes[n]);
        run(context, x, sizes[n], &paged);
        same_bits(x, &plain, &paged);
        free_results(&paged);
    }
    free_results(&plain);
}

static void every_type(const char *kernel)
{
    clattn_context_options options;
    clattn_context *context;
    clattn_context_options_init(&options);
    options.kernel = kernel;
    cr_assert_eq(clattn_context_create(&options, &context), CLATTN_OK, "%s",
                 clattn_error_message());
    for (size_t shape = 0; shape < COUNT(shapes); shape++)
        for (size_t type = 0; type < COUNT(types); type++) {
            integers x = {.shape = shape, .type = type};
            make(&x);
            run_all(context, kernel, &x);
            unmake(&x);
        }
    rig_close(context);
}

Test(top_k_integers, reference, .timeout = 600)
{
    every_type("top_k_reference");
}

Test(top_k_integers, by_vectors, .timeout = 600)
{
    every_type("top_k_simd");
}
