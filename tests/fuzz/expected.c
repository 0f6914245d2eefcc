/* Copies a problem's tensors into the oracle's form, lets it compute, and marks what it uses. */
#include "expected.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "chosen.h"
#include "differences.h"
#include "functions.h"
#include "tests/oracle/gradient.h"
#include "tests/oracle/plain.h"
#include "used.h"
#include "values.h"

/* The oracle's copy of a tensor, row-major over the slot's shape. */
typedef struct copy {
    const fuzz_problem *p;
    const fuzz_set *set;
    int slot;     /* where from */
    int layout;   /* the slot whose shape the copy has */
    int64_t skip; /* added to the third index in the copy: keys that lie before */
    float *to;
} copy;

/* Row-major over (.., sequence padded to its bound, ..). */
int64_t fuzz_expected_index(const fuzz_problem *p, int slot, const int64_t *at)
{
    int64_t shape[CLATTN_RANK_LIMIT], index = 0;
    fuzz_problem padded = *p;
    padded.ragged = false;
    const int rank = fuzz_shape(&padded, slot, shape);
    for (int d = 0; d < rank; d++)
        index = index * shape[d] + at[d];
    return index;
}

static void copy_element(void *context, const int64_t *at)
{
    const copy *c = context;
    const int64_t to[] = {at[0], at[1], at[2] + c->skip, at[3], at[4]};
    c->to[fuzz_expected_index(c->p, c->layout, to)] =
        (float)fuzz_load(&c->set->slot[c->slot], fuzz_element(c->p, c->set, c->slot, at));
}

static size_t count_of(const fuzz_problem *p, int slot)
{
    int64_t shape[CLATTN_RANK_LIMIT], count = 1;
    fuzz_problem padded = *p;
    padded.ragged = false;
    const int rank = fuzz_shape(&padded, slot, shape);
    for (int d = 0; d < rank; d++)
        count *= shape[d];
    return (size_t)count;
}

/* NULL where the slot takes no part. */
static float *floats_of(const fuzz_problem *p, const fuzz_set *set, int slot)
{
    if (!fuzz_has(p, slot))
        return NULL;
    copy c = {p, set, slot, slot, 0, fuzz_alloc(count_of(p, slot), sizeof(float))};
    fuzz_each(p, slot, copy_element, &c);
    return c.to;
}

/* Past and new rows, one after the other. */
static float *rows_of(const fuzz_problem *p, const fuzz_set *set, int past, int slot)
{
    const int present = slot == CLATTN_SLOT_K ? CLATTN_SLOT_PRESENT_K : CLATTN_SLOT_PRESENT_V;
    copy c = {p, set, past, present, 0, fuzz_alloc(count_of(p, present), sizeof(float))};
    if (fuzz_has(p, past))
        fuzz_each(p, past, copy_element, &c);
    c.slot = slot;
    c.skip = p->n_past;
    fuzz_each(p, slot, copy_element, &c);
    return c.to;
}

static int32_t *integers_of(const fuzz_problem *p, const fuzz_set *set, int slot)
{
    int64_t shape[CLATTN_RANK_LIMIT], at[CLATTN_RANK_LIMIT], n = 0;
    int32_t *to = fuzz_alloc(count_of(p, slot), sizeof *to);
    fuzz_shape(p, slot, shape);
    for (at[0] = 0; at[0] < shape[0]; at[0]++)
        for (at[1] = 0; at[1] < shape[1]; at[1]++)
            for (at[2] = 0; at[2] < shape[2]; at[2]++)
                for (at[3] = 0; at[3] < shape[3]; at[3]++)
                    to[n++] = (int32_t)fuzz_load_integer(&set->slot[slot],
                                                         fuzz_element(p, set, slot, at));
    return to;
}

static uint8_t *mask_of(const fuzz_problem *p, const fuzz_set *set)
{
    float *wide = floats_of(p, set, CLATTN_SLOT_MASK);
    if (!wide)
        return NULL;
    const size_t count = count_of(p, CLATTN_SLOT_MASK);
    uint8_t *mask = fuzz_alloc(count, 1);
    for (size_t n = 0; n < count; n++)
        mask[n] = wide[n] != 0;
    free(wide);
    return mask;
}

static void set_seed(const fuzz_problem *p, const fuzz_set *set, oracle_problem *o)
{
    const fuzz_memory *m = &set->slot[CLATTN_SLOT_SEED];
    o->dropout = p->dropout;
    if (!m->bytes)
        return;
    o->dropout_seed = (uint64_t)fuzz_load_integer(m, m->first);
    o->dropout_offset = (uint64_t)fuzz_load_integer(m, m->first + m->stride[0]);
}

/* Of all keys, past ones too. */
static int32_t *key_lengths_of(const fuzz_problem *p)
{
    int32_t *lengths = fuzz_alloc(FUZZ_BATCH_MOST, sizeof *lengths);
    if (!fuzz_has(p, CLATTN_SLOT_KV_LENGTHS)) {
        free(lengths);
        return NULL;
    }
    for (int b = 0; b < FUZZ_BATCH_MOST; b++)
        lengths[b] = p->kv_length[b] + (int32_t)(fuzz_has_ragged_keys(p) ? p->n_past : 0);
    return lengths;
}

static void set_inputs(const fuzz_problem *p, const fuzz_set *set, oracle_problem *o)
{
    const bool has_blocks = fuzz_has(p, CLATTN_SLOT_BLOCK_INDEX);
    o->q = floats_of(p, set, CLATTN_SLOT_Q);
    o->k = rows_of(p, set, CLATTN_SLOT_PAST_K, CLATTN_SLOT_K);
    o->v = rows_of(p, set, CLATTN_SLOT_PAST_V, CLATTN_SLOT_V);
    o->alibi = floats_of(p, set, CLATTN_SLOT_ALIBI);
    o->sink = floats_of(p, set, CLATTN_SLOT_SINK);
    o->bias = floats_of(p, set, CLATTN_SLOT_BIAS);
    o->mask = mask_of(p, set);
    o->q_lengths = fuzz_has(p, CLATTN_SLOT_Q_LENGTHS) ? p->q_length : NULL;
    o->kv_lengths = key_lengths_of(p);
    o->block_count = has_blocks ? integers_of(p, set, CLATTN_SLOT_BLOCK_COUNT) : NULL;
    o->block_index = has_blocks ? integers_of(p, set, CLATTN_SLOT_BLOCK_INDEX) : NULL;
    o->user = floats_of(p, set, CLATTN_SLOT_PARAMS);
    set_seed(p, set, o);
}

static oracle_problem oracle_of(const fuzz_problem *p, const fuzz_set *set)
{
    const fuzz_functions *functions = fuzz_functions_of(p->functions);
    const double root = 1 / sqrt((double)p->head_dim);
    oracle_problem o = {.batch = p->batch,
                        .n_head = p->n_head,
                        .n_kv_head = p->n_kv_head,
                        .n_q = p->n_q,
                        .n_kv = fuzz_keys(p),
                        .head_dim = p->head_dim,
                        .value_dim = p->value_dim,
                        .scale = p->has_scale ? (double)p->scale : root,
                        .causal = p->causal,
                        .causal_offset = p->align_offset,
                        .bottom_right = p->align == CLATTN_ALIGN_BOTTOM_RIGHT,
                        .has_window = p->has_window,
                        .window_left = p->window_left,
                        .window_right = p->window_right,
                        .softcap = (double)p->softcap,
                        .block_q = p->block_q,
                        .block_kv = p->block_kv,
                        .block_limit = p->block_limit,
                        .score_function = functions->score_function,
                        .mask_function = functions->mask_function,
                        .weights_dropped = p->weights_dropped,
                        .score_stage = (oracle_stage)p->score_stage};
    set_inputs(p, set, &o);
    return o;
}

static void free_inputs(oracle_problem *o)
{
    const void *const owned[] = {o->q,           o->k,          o->v,    o->alibi,
                                 o->sink,        o->bias,       o->mask, o->block_count,
                                 o->block_index, o->kv_lengths, o->user};
    for (size_t n = 0; n < sizeof owned / sizeof owned[0]; n++)
        free((void *)owned[n]);
}

/* Room for the outputs that the problem has; `only_out`: OUT alone, else all others. */
static void point(oracle_problem *o, double *const *to, bool has_out, bool has_others)
{
    o->out = has_out ? to[CLATTN_SLOT_OUT] : NULL;
    o->lse = has_others ? to[CLATTN_SLOT_LSE] : NULL;
    o->weights = has_others ? to[CLATTN_SLOT_WEIGHTS] : NULL;
    o->weights_mean = has_others ? to[CLATTN_SLOT_WEIGHTS_MEAN] : NULL;
    o->weights_sum = has_others ? to[CLATTN_SLOT_WEIGHTS_SUM] : NULL;
    o->scores = has_others ? to[CLATTN_SLOT_SCORES] : NULL;
}

static void keep(bool good)
{
    if (!good)
        fuzz_alloc(SIZE_MAX / 2, 1); /* ends the program */
}

/* OUT is measured in its own type, all other outputs in float32. */
static void compute(const fuzz_problem *p, oracle_problem *o, fuzz_expected *e)
{
    const oracle_type type = (oracle_type)p->tensor[CLATTN_SLOT_OUT].dtype;
    const size_t rows = (size_t)(p->batch * p->n_head * p->n_q);
    point(o, e->exact, true, true);
    o->spread = e->spread = fuzz_alloc(2 * rows, sizeof(double));
    if (o->scores)
        o->terms = e->terms = fuzz_alloc(rows * (size_t)o->n_kv, sizeof(double));
    if (e->lse)
        o->lse = e->lse;
    keep(oracle_attention(o));
    for (size_t n = 0; e->lse && e->exact[CLATTN_SLOT_LSE] && n < rows; n++)
        e->exact[CLATTN_SLOT_LSE][n] = e->lse[n];
    point(o, e->plain, true, type == ORACLE_F32);
    keep(oracle_plain(o, type));
    point(o, e->plain, false, true);
    if (type != ORACLE_F32 &&
        (o->lse || o->weights || o->weights_mean || o->weights_sum || o->scores))
        keep(oracle_plain(o, ORACLE_F32));
}

/* Of a draw OUT is one value, whatever the weights are. */
static void expect_chosen(const fuzz_problem *p, oracle_problem *o, fuzz_expected *e)
{
    const uint8_t *all = o->mask;
    e->lse = fuzz_alloc((size_t)(p->batch * p->n_head * p->n_q), sizeof *e->lse);
    fuzz_choose(p, o, e);
    free((void *)all);
    compute(p, o, e);
    if (p->sample)
        fuzz_draw(p, o, e);
}

static void copy_rounded(const float *from, double *to, size_t count, clattn_dtype dtype)
{
    for (size_t n = 0; to && n < count; n++)
        to[n] = (double)oracle_rounded((oracle_type)dtype, from[n]);
}

static void expect_present(const fuzz_problem *p, const oracle_problem *o, fuzz_expected *e)
{
    for (int slot = CLATTN_SLOT_PRESENT_K; slot <= CLATTN_SLOT_PRESENT_V; slot++) {
        const float *from = slot == CLATTN_SLOT_PRESENT_K ? o->k : o->v;
        const size_t count = count_of(p, slot);
        copy_rounded(from, e->exact[slot], count, p->tensor[slot].dtype);
        copy_rounded(from, e->plain[slot], count, p->tensor[slot].dtype);
    }
}

static void find_largest(const float *v, size_t count, fuzz_expected *e)
{
    for (size_t n = 0; n < count; n++)
        if (isfinite(v[n]) && fabs((double)v[n]) > e->largest_value)
            e->largest_value = fabs((double)v[n]);
}

static void expect_merge(const fuzz_problem *p, const fuzz_set *set, fuzz_expected *e)
{
    float *partial_out = floats_of(p, set, CLATTN_SLOT_PARTIAL_OUT);
    float *partial_lse = floats_of(p, set, CLATTN_SLOT_PARTIAL_LSE);
    float *sink = floats_of(p, set, CLATTN_SLOT_SINK);
    oracle_merge_problem o = {p->parts,
                              p->batch,
                              p->n_head,
                              p->n_q,
                              p->value_dim,
                              partial_out,
                              partial_lse,
                              sink,
                              e->exact[CLATTN_SLOT_OUT],
                              e->exact[CLATTN_SLOT_LSE]};
    oracle_merge(&o);
    o.out = e->plain[CLATTN_SLOT_OUT];
    o.lse = e->plain[CLATTN_SLOT_LSE];
    oracle_plain_merge(&o, (oracle_type)p->tensor[CLATTN_SLOT_OUT].dtype);
    find_largest(partial_out, count_of(p, CLATTN_SLOT_PARTIAL_OUT), e);
    fuzz_mark_merge(p, set, e);
    free(partial_out);
    free(partial_lse);
    free(sink);
}

/* One of the oracle's gradients and the slots that it is for. */
typedef struct gradient_part {
    int slot, past;                /* past -1: none */
    double *exact, *terms, *plain; /* (count) as the oracle has it, keys past and new together */
    size_t count;
} gradient_part;

#define PARTS 5

static size_t whole_count(const fuzz_problem *p, int slot)
{
    const size_t rows = (size_t)(p->batch * p->n_head * p->n_q), keys = (size_t)fuzz_keys(p);
    const size_t all_keys = (size_t)(p->batch * p->n_kv_head) * keys;
    switch (slot) {
    case CLATTN_SLOT_GRAD_Q:
        return rows * (size_t)p->head_dim;
    case CLATTN_SLOT_GRAD_K:
        return all_keys * (size_t)p->head_dim;
    case CLATTN_SLOT_GRAD_V:
        return all_keys * (size_t)p->value_dim;
    case CLATTN_SLOT_GRAD_BIAS:
        return rows * keys;
    default:
        return (size_t)p->n_head;
    }
}

/* Adds element n of the whole to where it belongs in the slot's own shape. */
static void add_bias(const fuzz_problem *p, const double *whole, double *to)
{
    int64_t at[CLATTN_RANK_LIMIT] = {0}, n = 0;
    const uint8_t sums = fuzz_bias_sums(p);
    for (at[0] = 0; at[0] < p->batch; at[0]++)
        for (at[1] = 0; at[1] < p->n_head; at[1]++)
            for (at[2] = 0; at[2] < p->n_q; at[2]++)
                for (at[3] = 0; at[3] < fuzz_keys(p); at[3]++) {
                    int64_t own[CLATTN_RANK_LIMIT] = {0};
                    for (int d = 0; d < 4; d++)
                        own[d] = sums >> d & 1 ? 0 : at[d];
                    to[fuzz_expected_index(p, CLATTN_SLOT_GRAD_BIAS, own)] += whole[n++];
                }
}

/* Rows of new keys, or of past ones, out of those of both. */
static void cut_keys(const fuzz_problem *p, int slot, bool past, const double *whole, double *to)
{
    const size_t dim = (size_t)(slot == CLATTN_SLOT_GRAD_K ? p->head_dim : p->value_dim);
    const size_t all = (size_t)fuzz_keys(p) * dim, before = (size_t)p->n_past * dim;
    const size_t own = past ? before : all - before;
    for (int64_t head = 0; head < p->batch * p->n_kv_head; head++)
        memcpy(to + (size_t)head * own, whole + (size_t)head * all + (past ? 0 : before),
               own * sizeof *to);
}

static void distribute(const fuzz_problem *p, const gradient_part *part, const double *whole,
                       double **to)
{
    const bool of_keys = part->past >= 0;
    if (to[part->slot] && of_keys)
        cut_keys(p, part->slot, false, whole, to[part->slot]);
    else if (to[part->slot] && part->slot == CLATTN_SLOT_GRAD_BIAS)
        add_bias(p, whole, to[part->slot]);
    else if (to[part->slot])
        memcpy(to[part->slot], whole, part->count * sizeof *whole);
    if (of_keys && to[part->past])
        cut_keys(p, part->slot, true, whole, to[part->past]);
}

/* The type that plain is in: that of OUT or of the gradient, whichever is coarser. */
static oracle_type plain_type(const fuzz_problem *p, int slot)
{
    const oracle_type out = (oracle_type)p->tensor[CLATTN_SLOT_OUT].dtype;
    const oracle_type own = (oracle_type)p->tensor[slot].dtype;
    return oracle_ulp(out) > oracle_ulp(own) ? out : own;
}

static void compute_gradient(const fuzz_problem *p, const oracle_problem *o,
                             const oracle_loss *loss, gradient_part *part, fuzz_expected *e)
{
    const oracle_gradients exact = {part[0].exact, part[1].exact, part[2].exact, part[3].exact,
                                    part[4].exact};
    const oracle_gradients terms = {part[0].terms, part[1].terms, part[2].terms, part[3].terms,
                                    part[4].terms};
    keep(oracle_gradient(o, loss, &exact, &terms));
    if (p->differences) {
        fuzz_random r = fuzz_random_of(p->seed, ~p->index);
        fuzz_differences(o, loss, &exact, &r, e->wrong, sizeof e->wrong);
    }
    for (int n = 0; n < PARTS; n++) {
        const oracle_gradients plain = {.q = n == 0 ? part[n].plain : NULL,
                                        .k = n == 1 ? part[n].plain : NULL,
                                        .v = n == 2 ? part[n].plain : NULL,
                                        .bias = n == 3 ? part[n].plain : NULL,
                                        .sink = n == 4 ? part[n].plain : NULL};
        if (fuzz_has(p, part[n].slot) || (part[n].past >= 0 && fuzz_has(p, part[n].past)))
            keep(oracle_plain_gradient(o, loss, plain_type(p, part[n].slot), &plain));
    }
}

static void expect_gradient(const fuzz_problem *p, const fuzz_set *set, const oracle_problem *o,
                            fuzz_expected *e)
{
    static const int slots[PARTS][2] = {{CLATTN_SLOT_GRAD_Q, -1},
                                        {CLATTN_SLOT_GRAD_K, CLATTN_SLOT_GRAD_PAST_K},
                                        {CLATTN_SLOT_GRAD_V, CLATTN_SLOT_GRAD_PAST_V},
                                        {CLATTN_SLOT_GRAD_BIAS, -1},
                                        {CLATTN_SLOT_GRAD_SINK, -1}};
    float *by_out = floats_of(p, set, CLATTN_SLOT_GRAD_OUT);
    float *by_lse = floats_of(p, set, CLATTN_SLOT_GRAD_LSE);
    const oracle_loss loss = {by_out, by_lse, fuzz_functions_of(p->functions)->score_gradient};
    gradient_part part[PARTS];
    for (int n = 0; n < PARTS; n++) {
        const size_t count = whole_count(p, slots[n][0]);
        double *room = fuzz_alloc(3 * count, sizeof *room);
        part[n] =
            (gradient_part){slots[n][0], slots[n][1], room, room + count, room + 2 * count, count};
    }
    compute_gradient(p, o, &loss, part, e);
    for (int slot = CLATTN_SLOT_GRAD_Q; slot < FUZZ_SLOTS; slot++)
        if (e->exact[slot])
            e->of_terms[slot] = fuzz_alloc(count_of(p, slot), sizeof(double));
    for (int n = 0; n < PARTS; n++) {
        distribute(p, &part[n], part[n].exact, e->exact);
        distribute(p, &part[n], part[n].terms, e->of_terms);
        distribute(p, &part[n], part[n].plain, e->plain);
        free(part[n].exact);
    }
    free(by_out);
    free(by_lse);
}

/* A tensor of rows of queries, from the oracle's. */
typedef struct forward {
    const fuzz_problem *p;
    fuzz_set *set;
    const double *from;
    int slot;
} forward;

static void store_forward(void *context, const int64_t *at)
{
    const forward *f = context;
    fuzz_store(&f->set->slot[f->slot], fuzz_element(f->p, f->set, f->slot, at),
               f->from[fuzz_expected_index(f->p, f->slot, at)]);
}

void fuzz_fill_forward(const fuzz_problem *p, fuzz_set *set)
{
    oracle_problem o = oracle_of(p, set);
    double *out = fuzz_alloc(count_of(p, CLATTN_SLOT_OUT), sizeof *out);
    double *lse = fuzz_alloc(count_of(p, CLATTN_SLOT_LSE), sizeof *lse);
    o.out = out;
    o.lse = lse;
    keep(oracle_attention(&o));
    forward f = {p, set, out, CLATTN_SLOT_OUT};
    fuzz_each(p, f.slot, store_forward, &f);
    f.from = lse;
    f.slot = CLATTN_SLOT_LSE;
    fuzz_each(p, f.slot, store_forward, &f);
    free(out);
    free(lse);
    free_inputs(&o);
}

void fuzz_expect(const fuzz_problem *p, const fuzz_set *set, fuzz_expected *e)
{
    *e = (fuzz_expected){0};
    for (int slot = 0; slot < FUZZ_SLOTS; slot++) {
        if (fuzz_has(p, slot) && !fuzz_is_written(p, slot))
            e->used[slot] = fuzz_alloc((size_t)set->slot[slot].elements, 1);
        if (!fuzz_has(p, slot) || !fuzz_is_written(p, slot))
            continue;
        e->exact[slot] = fuzz_alloc(count_of(p, slot), sizeof(double));
        e->plain[slot] = fuzz_alloc(count_of(p, slot), sizeof(double));
    }
    if (p->merge) {
        expect_merge(p, set, e);
        return;
    }
    oracle_problem o = oracle_of(p, set);
    if (p->gradient) {
        expect_gradient(p, set, &o, e);
        fuzz_mark(p, set, &o, e);
        free_inputs(&o);
        return;
    }
    fuzz_mark(p, set, &o, e);
    if (p->highest)
        expect_chosen(p, &o, e);
    else
        compute(p, &o, e);
    expect_present(p, &o, e);
    find_largest(o.v, count_of(p, CLATTN_SLOT_PRESENT_V), e);
    e->largest_value /= 1 - (double)p->dropout;
    free_inputs(&o);
}

void fuzz_expected_free(fuzz_expected *e)
{
    free(e->terms);
    free(e->spread);
    free(e->unsure);
    free(e->lse);
    for (int slot = 0; slot < FUZZ_SLOTS; slot++) {
        free(e->exact[slot]);
        free(e->plain[slot]);
        free(e->of_terms[slot]);
        free(e->used[slot]);
    }
}
