/* Attention to the keys of highest score, on numbers whose scores are exact and often equal: which
 * keys, in which order, their weights, what comes of them, and which of them is drawn. Every
 * kernel.
 */
#include <criterion/criterion.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "rig.h"
#include "tests/oracle/philox.h"

#define COUNT(array) (sizeof(array) / sizeof(array)[0])
enum { MOST_KEYS = 9100 };

static const struct {
    rig_shape shape;
    int64_t top_k;
    bool sink, sample;
} cases[] = {
    {{1, 1, 1, 1, 1, 1, 1, CLATTN_ALIGN_NONE}, 1, false, false},
    {{2, 4, 2, 7, 65, 8, 5, CLATTN_ALIGN_NONE}, 1, false, false},
    {{2, 4, 2, 7, 65, 8, 5, CLATTN_ALIGN_BOTTOM_RIGHT}, 8, true, false},
    {{1, 2, 1, 9, 6, 4, 4, CLATTN_ALIGN_BOTTOM_RIGHT}, 3, false, false}, /* rows without keys */
    {{1, 2, 2, 5, 40, 16, 16, CLATTN_ALIGN_TOP_LEFT}, 40, false, false},
    {{1, 2, 2, 5, 40, 16, 16, CLATTN_ALIGN_TOP_LEFT}, 47, true, false}, /* more than there are */
    {{1, 3, 1, 3, 300, 33, 17, CLATTN_ALIGN_NONE}, 300, false, false},
    {{2, 2, 1, 4, 0, 8, 8, CLATTN_ALIGN_NONE}, 2, false, false},
    {{1, 2, 2, 70, 0, 8, 8, CLATTN_ALIGN_NONE}, 2, true, false}, /* more queries: another way */
    /* several ranges of keys, lists that are cut often, and not at all */
    {{1, 2, 1, 2, 9000, 16, 16, CLATTN_ALIGN_NONE}, 1000, false, false},
    {{1, 2, 1, 1, 9001, 8, 8, CLATTN_ALIGN_NONE}, 1, true, false},
    {{1, 4, 2, 3, 4097, 20, 9, CLATTN_ALIGN_BOTTOM_RIGHT}, 33, false, false},
    {{1, 1, 1, 1, 4100, 8, 8, CLATTN_ALIGN_NONE}, 4099, false, false},
    {{2, 2, 1, 70, 211, 8, 16, CLATTN_ALIGN_BOTTOM_RIGHT}, 17, true, false},
    {{1, 1, 1, 67, 67, 65, 3, CLATTN_ALIGN_TOP_LEFT}, 5, false, false},
    /* draws */
    {{1, 3, 1, 17, 40, 16, 16, CLATTN_ALIGN_NONE}, 40, false, true},
    {{2, 2, 2, 7, 65, 8, 5, CLATTN_ALIGN_BOTTOM_RIGHT}, 8, true, true},
    {{1, 2, 1, 9, 6, 4, 4, CLATTN_ALIGN_BOTTOM_RIGHT}, 3, false, true},
    {{1, 4, 1, 70, 300, 8, 24, CLATTN_ALIGN_NONE}, 1000, true, true},
    {{1, 2, 1, 4, 0, 8, 8, CLATTN_ALIGN_NONE}, 2, false, true},
};
static const int64_t seeds[2] = {0x123456789abcdef, 77};

/* All tensors of a case. */
typedef struct top {
    const rig_shape *of;
    bool sample;
    int64_t top_k, rows;
    int64_t listed; /* indices of a query */
    float *q, *k, *v, *out, *lse, *weights, sink[4];
    int32_t *indices;
} top;

/* Whole numbers from -2 to 2. */
static float *whole_numbers(int64_t count, uint32_t seed)
{
    float *x = malloc((size_t)(count + 1) * sizeof *x);
    cr_assert_not_null(x);
    for (int64_t i = 0; i < count; i++)
        x[i] = floorf(rig_number(&seed) * 2.5f + 0.5f);
    return x;
}

static float *nans(int64_t count)
{
    float *x = malloc((size_t)(count + 1) * sizeof *x);
    cr_assert_not_null(x);
    for (int64_t i = 0; i < count; i++)
        x[i] = NAN;
    return x;
}

static void make(top *t, size_t n)
{
    const rig_shape *s = t->of = &cases[n].shape;
    t->top_k = cases[n].top_k;
    t->sample = cases[n].sample;
    t->listed = t->sample ? 1 : t->top_k;
    t->rows = s->batch * s->n_head * s->n_q;
    t->q = whole_numbers(t->rows * s->head_dim, 1);
    t->k = whole_numbers(s->batch * s->n_kv_head * s->n_kv * s->head_dim, 2);
    t->v = whole_numbers(s->batch * s->n_kv_head * s->n_kv * s->value_dim, 3);
    t->out = nans(t->rows * s->value_dim);
    t->lse = nans(t->rows);
    t->weights = nans(t->rows * s->n_kv);
    t->indices = malloc((size_t)(t->rows * t->listed + 1) * sizeof *t->indices);
    for (int h = 0; h < 4; h++)
        t->sink[h] = (float)h;
}

static void unmake(top *t)
{
    free(t->q);
    free(t->k);
    free(t->v);
    free(t->out);
    free(t->lse);
    free(t->weights);
    free(t->indices);
}

static void run(clattn_context *context, const top *t, bool sink)
{
    const rig_shape *s = t->of;
    clattn_attention_desc desc;
    clattn_attention_desc_init(&desc);
    desc.batch = s->batch;
    desc.n_head = s->n_head;
    desc.n_kv_head = s->n_kv_head;
    desc.n_q = s->n_q;
    desc.n_kv = s->n_kv;
    desc.head_dim = s->head_dim;
    desc.value_dim = s->value_dim;
    desc.causal = s->align != CLATTN_ALIGN_NONE;
    desc.align = s->align;
    desc.has_scale = 1;
    desc.scale = 0.5f;
    desc.top_k = t->top_k;
    desc.sample = t->sample;
    desc.slots = CLATTN_SLOT_BIT(CLATTN_SLOT_LSE) | CLATTN_SLOT_BIT(CLATTN_SLOT_WEIGHTS) |
                 CLATTN_SLOT_BIT(CLATTN_SLOT_INDICES);
    if (sink)
        desc.slots |= CLATTN_SLOT_BIT(CLATTN_SLOT_SINK);
    if (t->sample)
        desc.slots |= CLATTN_SLOT_BIT(CLATTN_SLOT_SEED);
    clattn_host_binding bindings[9] = {
        {CLATTN_SLOT_Q, 0, t->q},
        {CLATTN_SLOT_K, 0, t->k},
        {CLATTN_SLOT_V, 0, t->v},
        {CLATTN_SLOT_OUT, 0, t->out},
        {CLATTN_SLOT_LSE, 0, t->lse},
        {CLATTN_SLOT_WEIGHTS, 0, t->weights},
        {CLATTN_SLOT_INDICES, 0, t->indices},
    };
    uint32_t count = 7;
    if (sink)
        bindings[count++] = (clattn_host_binding){CLATTN_SLOT_SINK, 0, (float *)t->sink};
    if (t->sample)
        bindings[count++] = (clattn_host_binding){CLATTN_SLOT_SEED, 0, (int64_t *)seeds};
    cr_assert_eq(clattn_run(context, &desc, bindings, count), CLATTN_OK, "%s: %s", rig_said(),
                 clattn_error_message());
}

/* ---- what is expected ------------------------------------------------------------------------ */

/* One row: its keys in the order wanted, their number, and the sum of exponentials. */
typedef struct row {
    int64_t key[MOST_KEYS], count;
    double score[MOST_KEYS], lse;
} row;

/* The best that is left, the first of equals, again and again. */
static void choose(const top *t, const double *score, const bool *visible, row *r)
{
    static bool taken[MOST_KEYS];
    memset(taken, 0, sizeof taken);
    for (r->count = 0; r->count < t->top_k; r->count++) {
        int64_t best = -1;
        for (int64_t j = 0; j < t->of->n_kv; j++)
            if (visible[j] && !taken[j] && (best < 0 || score[j] > score[best]))
                best = j;
        if (best < 0)
            return;
        taken[best] = true;
        r->key[r->count] = best;
        r->score[r->count] = score[best];
    }
}

static void expect_row(const top *t, int64_t b, int64_t h, int64_t i, double sink, row *r)
{
    const rig_shape *s = t->of;
    const int64_t g = b * s->n_kv_head + h / (s->n_head / s->n_kv_head);
    const int64_t offset = s->align == CLATTN_ALIGN_BOTTOM_RIGHT ? s->n_kv - s->n_q : 0;
    static double score[MOST_KEYS];
    static bool visible[MOST_KEYS];
    double sum = exp(sink);
    for (int64_t j = 0; j < s->n_kv; j++) {
        visible[j] = s->align == CLATTN_ALIGN_NONE || j <= i + offset;
        score[j] = 0;
        for (int64_t d = 0; d < s->head_dim; d++)
            score[j] += 0.5 * (double)t->q[((b * s->n_head + h) * s->n_q + i) * s->head_dim + d] *
                        (double)t->k[(g * s->n_kv + j) * s->head_dim + d];
    }
    choose(t, score, visible, r);
    for (int64_t n = 0; n < r->count; n++)
        sum += exp(r->score[n]);
    r->lse = log(sum);
}

static void near(double x, double expected, double bound, const char *what, int64_t at)
{
    const bool same = x == expected || fabs(x - expected) <= bound;
    cr_assert(same, "%s: %s[%d] is %g, not %g", rig_said(), what, (int)at, x, expected);
}

/* Leaves of the row's keys and their weights those of the one that was drawn, which the number of
 * the query must hit: exactly, but for rounding. `weight` becomes what values are multiplied with.
 */
static void check_draw(const int64_t at[4], int32_t drawn, const row *r, double *weight)
{
    const uint32_t word = oracle_dropout_word((uint64_t)seeds[0], (uint64_t)seeds[1], at);
    const double number = (word >> 8) / 16777216.0;
    double before = 0;
    int64_t place = 0;
    while (place < r->count && r->key[place] != drawn)
        before += weight[r->key[place++]];
    const double after = place < r->count ? before + weight[r->key[place]] : 1;
    cr_assert(drawn == -1 || place < r->count, "%s: key %d isn't one of them", rig_said(), drawn);
    cr_assert(number > before - 1e-6 && number < after + 1e-6,
              "%s: %.9g isn't in %.9g to %.9g of key %d", rig_said(), number, before, after, drawn);
    for (int64_t n = 0; n < r->count; n++)
        weight[r->key[n]] = n == place;
}

static void check_weights(const top *t, int64_t at, const row *r, const double *weight)
{
    const int32_t drawn = t->indices[at * t->listed];
    near((double)t->lse[at], r->lse, 1e-5 + 1e-7 * (double)r->count, "lse", at);
    for (int64_t j = 0; j < t->of->n_kv; j++)
        near((double)t->weights[at * t->of->n_kv + j], !t->sample || j == drawn ? weight[j] : 0,
             1e-5, "weights", j);
}

static void check_row(const top *t, int64_t b, int64_t h, int64_t i, const row *r)
{
    const rig_shape *s = t->of;
    const int64_t at = (b * s->n_head + h) * s->n_q + i;
    const int64_t g = b * s->n_kv_head + h / (s->n_head / s->n_kv_head);
    static double weight[MOST_KEYS];
    memset(weight, 0, sizeof weight);
    for (int64_t n = 0; !t->sample && n < t->top_k; n++)
        cr_assert_eq(t->indices[at * t->top_k + n], n < r->count ? r->key[n] : -1,
                     "%s: query %d, place %d: key %d", rig_said(), (int)i, (int)n,
                     (int)t->indices[at * t->top_k + n]);
    for (int64_t n = 0; n < r->count; n++)
        weight[r->key[n]] = exp(r->score[n] - r->lse);
    check_weights(t, at, r, weight);
    if (t->sample)
        check_draw((int64_t[4]){b, h, i, 0}, t->indices[at], r, weight);
    for (int64_t d = 0; d < s->value_dim; d++) {
        double expected = 0;
        for (int64_t j = 0; j < s->n_kv; j++)
            expected += weight[j] * (double)t->v[(g * s->n_kv + j) * s->value_dim + d];
        near((double)t->out[at * s->value_dim + d], expected, 1e-5, "out", d);
    }
}

static void run_case(clattn_context *context, size_t n)
{
    top t;
    make(&t, n);
    run(context, &t, cases[n].sink);
    for (int64_t b = 0; b < t.of->batch; b++)
        for (int64_t h = 0; h < t.of->n_head; h++)
            for (int64_t i = 0; i < t.of->n_q; i++) {
                static row r;
                expect_row(&t, b, h, i, cases[n].sink ? (double)t.sink[h] : -(double)INFINITY, &r);
                check_row(&t, b, h, i, &r);
            }
    unmake(&t);
}

/* A context that has one kernel for this. */
static clattn_context *open_with(const char *kernel)
{
    clattn_context_options options;
    clattn_context *context;
    clattn_context_options_init(&options);
    options.kernel = kernel;
    rig_say("%s", kernel);
    cr_assert_eq(clattn_context_create(&options, &context), CLATTN_OK, "%s",
                 clattn_error_message());
    return context;
}

static const char *const kernels[] = {"top_k_reference", "top_k_simd"};

static void every_case(const char *kernel)
{
    clattn_context *context = open_with(kernel);
    for (size_t n = 0; n < COUNT(cases); n++) {
        rig_say("%s, case %d", kernel, (int)n);
        run_case(context, n);
    }
    rig_close(context);
}

Test(top_k, keys_weights_and_results, .timeout = 750)
{
    for (size_t n = 0; n < COUNT(kernels); n++)
        every_case(kernels[n]);
}

/* A NaN in a visible score shows, whatever k is; one that is hidden doesn't. */
static void check_nan(const char *kernel)
{
    const float q[2] = {1, 1}, k[3] = {3, NAN, 5}, v[3] = {1, 2, NAN};
    float out[2];
    int32_t indices[2];
    clattn_attention_desc desc;
    clattn_context *context = open_with(kernel);
    clattn_attention_desc_init(&desc);
    desc.batch = desc.n_head = desc.n_kv_head = desc.head_dim = desc.value_dim = desc.top_k = 1;
    desc.n_q = 2;
    desc.n_kv = 3;
    desc.causal = 1;
    desc.align = CLATTN_ALIGN_TOP_LEFT;
    desc.slots = CLATTN_SLOT_BIT(CLATTN_SLOT_INDICES);
    const clattn_host_binding bindings[] = {{CLATTN_SLOT_Q, 0, (float *)q},
                                            {CLATTN_SLOT_K, 0, (float *)k},
                                            {CLATTN_SLOT_V, 0, (float *)v},
                                            {CLATTN_SLOT_OUT, 0, out},
                                            {CLATTN_SLOT_INDICES, 0, indices}};
    cr_assert_eq(clattn_run(context, &desc, bindings, 5), CLATTN_OK, "%s", clattn_error_message());
    cr_assert(out[0] == 1 && indices[0] == 0, "%g", (double)out[0]);
    cr_assert(isnan(out[1]) && indices[1] == 1, "%g", (double)out[1]);
    rig_close(context);
}

Test(top_k, nan_shows)
{
    for (size_t n = 0; n < COUNT(kernels); n++)
        check_nan(kernels[n]);
}

/* Small weights and a large one, whose sum loses by each of the small ones when it begins with the
 * large. The plain computation, in the order of the keys, has the large one last. */
static void check_sum(const char *kernel)
{
    enum { N = 8193 };
    static float k[N], v[N];
    const float q = 1, small = -11.78039f; /* logarithm of 64.4 ulp of the large weight, 1 */
    float out, lse, plain = 0;
    double exact = 0;
    clattn_attention_desc desc;
    clattn_context *context = open_with(kernel);
    clattn_attention_desc_init(&desc);
    desc.batch = desc.n_head = desc.n_kv_head = desc.head_dim = desc.value_dim = desc.n_q = 1;
    desc.n_kv = desc.top_k = N;
    desc.slots = CLATTN_SLOT_BIT(CLATTN_SLOT_LSE);
    for (int j = 0; j < N; j++) {
        k[j] = j == N - 1 ? 0 : small;
        plain += expf(k[j]);
        exact += exp((double)k[j]);
    }
    const clattn_host_binding bindings[] = {{CLATTN_SLOT_Q, 0, (float *)&q},
                                            {CLATTN_SLOT_K, 0, k},
                                            {CLATTN_SLOT_V, 0, v},
                                            {CLATTN_SLOT_OUT, 0, &out},
                                            {CLATTN_SLOT_LSE, 0, &lse}};
    cr_assert_eq(clattn_run(context, &desc, bindings, 5), CLATTN_OK, "%s", clattn_error_message());
    const double bound = 2 * fabs((double)logf(plain) - log(exact)) + 0x1p-22;
    cr_assert_leq(fabs((double)lse - log(exact)), bound, "%s: %.9g, not %.9g; bound %g", kernel,
                  (double)lse, log(exact), bound);
    rig_close(context);
}

Test(top_k, small_weights_count)
{
    for (size_t n = 0; n < COUNT(kernels); n++)
        check_sum(kernels[n]);
}

/* ---- pages ----------------------------------------------------------------------------------- */

enum {
    PAGED_KEYS = 4999,
    PAGED_TOP = 33,
    PAGED_HEADS = 4,
    PAGED_KV = 2,
    PAGED_Q = 3,
    PAGED_DIM = 24
};
enum { PAGED_ROWS = PAGED_HEADS * PAGED_Q };

typedef struct paged_results {
    float out[PAGED_ROWS * PAGED_DIM], lse[PAGED_ROWS];
    int32_t indices[PAGED_ROWS * PAGED_TOP];
} paged_results;

/* Keys or values, side by side or, by a table, in pages between which lies NaN. */
static void *stored_numbers(clattn_dtype dtype, uint32_t seed, const int32_t *table, int64_t size,
                            int64_t pages)
{
    const size_t bytes = dtype == CLATTN_F32 ? 4 : 2;
    const int64_t rows = table ? pages * PAGED_KV * size : PAGED_KV * PAGED_KEYS;
    char *x = malloc((size_t)(rows * PAGED_DIM) * bytes);
    cr_assert_not_null(x);
    memset(x, 0xff, (size_t)(rows * PAGED_DIM) * bytes);
    for (int64_t h = 0; h < PAGED_KV; h++)
        for (int64_t j = 0; j < PAGED_KEYS; j++)
            for (int64_t d = 0; d < PAGED_DIM; d++) {
                const int64_t at =
                    table ? (table[j / size] * PAGED_KV + h) * size + j % size : h * PAGED_KEYS + j;
                const float value = floorf(rig_number(&seed) * 8) / 4; /* often equal scores */
                char *to = x + (size_t)(at * PAGED_DIM + d) * bytes;
                uint32_t bits;
                memcpy(&bits, &value, sizeof bits);
                bits >>= dtype == CLATTN_F32 ? 0 : 16;
                for (size_t n = 0; n < bytes; n++)
                    to[n] = (char)(bits >> 8 * n);
            }
    return x;
}

static void run_paged(clattn_context *context, clattn_dtype dtype, int64_t size, const float *q,
                      paged_results *to)
{
    const int64_t limit = size ? (PAGED_KEYS + size - 1) / size : 0;
    int32_t *table = size ? malloc((size_t)limit * sizeof *table) : NULL;
    clattn_attention_desc desc;
    clattn_attention_desc_init(&desc);
    desc.batch = 1;
    desc.n_head = PAGED_HEADS;
    desc.n_kv_head = PAGED_KV;
    desc.n_q = PAGED_Q;
    desc.n_kv = PAGED_KEYS;
    desc.head_dim = desc.value_dim = PAGED_DIM;
    desc.causal = 1;
    desc.align = CLATTN_ALIGN_BOTTOM_RIGHT;
    desc.top_k = PAGED_TOP;
    desc.tensor[CLATTN_SLOT_K].dtype = desc.tensor[CLATTN_SLOT_V].dtype = dtype;
    desc.slots = CLATTN_SLOT_BIT(CLATTN_SLOT_LSE) | CLATTN_SLOT_BIT(CLATTN_SLOT_INDICES) |
                 (size ? CLATTN_SLOT_BIT(CLATTN_SLOT_PAGES) : 0);
    desc.page_size = size;
    desc.page_limit = limit;
    desc.n_pages = size ? limit + 2 : 0;
    for (int64_t n = 0; n < limit; n++)
        table[n] = (int32_t)(limit - n);
    void *k = stored_numbers(dtype, 4, table, size, desc.n_pages);
    void *v = stored_numbers(dtype, 5, table, size, desc.n_pages);
    const clattn_host_binding bindings[] = {
        {CLATTN_SLOT_Q, 0, (float *)q}, {CLATTN_SLOT_K, 0, k},
        {CLATTN_SLOT_V, 0, v},          {CLATTN_SLOT_OUT, 0, to->out},
        {CLATTN_SLOT_LSE, 0, to->lse},  {CLATTN_SLOT_INDICES, 0, to->indices},
        {CLATTN_SLOT_PAGES, 0, table},
    };
    cr_assert_eq(clattn_run(context, &desc, bindings, size ? 7 : 6), CLATTN_OK, "%s: %s",
                 rig_said(), clattn_error_message());
    free(k);
    free(v);
    free(table);
}

static void every_page_size(const char *kernel)
{
    static const int64_t sizes[] = {1, 5, 16, 64};
    static const clattn_dtype dtypes[] = {CLATTN_F32, CLATTN_BF16};
    static paged_results plain, paged;
    clattn_context *context = open_with(kernel);
    float *q = whole_numbers(PAGED_ROWS * PAGED_DIM, 6);
    for (size_t t = 0; t < COUNT(dtypes); t++) {
        run_paged(context, dtypes[t], 0, q, &plain);
        cr_assert(plain.indices[0] >= 0 && plain.indices[PAGED_TOP - 1] >= 0 &&
                  !isnan(plain.out[0]));
        for (size_t n = 0; n < COUNT(sizes); n++) {
            rig_say("%s, type %d, pages of %d", kernel, (int)dtypes[t], (int)sizes[n]);
            memset(&paged, 0xff, sizeof paged);
            run_paged(context, dtypes[t], sizes[n], q, &paged);
            cr_assert_eq(memcmp(&plain, &paged, sizeof plain), 0, "%s: other bits", rig_said());
        }
    }
    free(q);
    rig_close(context);
}

/* The keys of highest score in pages are those that they are side by side, and so is the rest. */
Test(top_k, pages_have_the_same_bits, .timeout = 360)
{
    for (size_t n = 0; n < COUNT(kernels); n++)
        every_page_size(kernels[n]);
}
