/* See stored.h. A scale has 16 bits, so that its products with integers of 8 bits are exact, and
 * the largest number that shares it is an integer of the largest size: from the products both come
 * back. */
#include "stored.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "values.h"

bool fuzz_is_stored(const fuzz_problem *p)
{
    return p->page_size || p->integers;
}

/* ---- integers -------------------------------------------------------------------------------- */

static int64_t dim_of(const fuzz_problem *p, int slot)
{
    return slot == CLATTN_SLOT_K ? p->head_dim : p->value_dim;
}

static int64_t groups_of(const fuzz_problem *p, int slot)
{
    const int64_t channels = p->scale_channels;
    return p->integers && channels ? (dim_of(p, slot) + channels - 1) / channels : 1;
}

/* Elements of a row that share a scale. */
static int64_t group_size(const fuzz_problem *p, int slot)
{
    return p->scale_channels ? p->scale_channels : dim_of(p, slot);
}

static double most_of(const fuzz_problem *p)
{
    return p->integers == 8 ? 127 : 7;
}

/* The largest absolute value of x (count); NaN or infinite where one of them is. */
static double largest_of(const double *x, int64_t count)
{
    double largest = 0;
    for (int64_t n = 0; n < count; n++)
        largest = isnan(largest) || fabs(x[n]) <= largest ? largest : fabs(x[n]);
    return largest;
}

/* Numbers below this one become 0: scales are normal numbers. */
#define LEAST 1e-30

static void round_group(double *x, int64_t count, double most)
{
    const double largest = largest_of(x, count);
    int exponent;
    const double mantissa = frexp(largest / most, &exponent);
    const double scale = ldexp(rint(ldexp(mantissa, 16)), exponent - 16);
    for (int64_t n = 0; n < count; n++)
        if (!isfinite(largest))
            x[n] = (double)NAN;
        else
            x[n] = largest < LEAST ? 0 : fmin(fmax(rint(x[n] / scale), -most), most) * scale;
}

typedef struct rounding {
    const fuzz_problem *p;
    fuzz_set *set;
    int slot;
} rounding;

static void load_row(const fuzz_problem *p, const fuzz_set *set, int slot, const int64_t *row,
                     double *x)
{
    int64_t at[CLATTN_RANK_LIMIT] = {row[0], row[1], row[2]};
    for (; at[3] < dim_of(p, slot); at[3]++)
        x[at[3]] = fuzz_load(&set->slot[slot], fuzz_element(p, set, slot, at));
}

static void round_row(void *context, const int64_t *row)
{
    const rounding *of = context;
    const int64_t dim = dim_of(of->p, of->slot), size = group_size(of->p, of->slot);
    int64_t at[CLATTN_RANK_LIMIT] = {row[0], row[1], row[2]};
    double x[576];
    if (row[3] != 0)
        return;
    load_row(of->p, of->set, of->slot, row, x);
    for (int64_t d = 0; d < dim; d += size)
        round_group(x + d, d + size < dim ? size : dim - d, most_of(of->p));
    for (; at[3] < dim; at[3]++)
        fuzz_store(&of->set->slot[of->slot], fuzz_element(of->p, of->set, of->slot, at), x[at[3]]);
}

void fuzz_make_integers(const fuzz_problem *p, fuzz_set *set)
{
    for (int slot = CLATTN_SLOT_K; slot <= CLATTN_SLOT_V; slot++) {
        rounding of = {p, set, slot};
        fuzz_each(p, slot, round_row, &of);
    }
}

/* A row as integers and their scales, which may be poison. */
static void store_integers(const fuzz_problem *p, int slot, const double *x, unsigned char *to,
                           float *scales)
{
    const int64_t dim = dim_of(p, slot), size = group_size(p, slot);
    for (int64_t begin = 0; begin < dim; begin += size) {
        const int64_t end = begin + size < dim ? begin + size : dim;
        const double scale = largest_of(x + begin, end - begin) / most_of(p);
        scales[begin / size] = (float)scale;
        for (int64_t d = begin; d < end; d++) {
            const int n = !isfinite(scale) ? 1 : scale > 0 ? (int)rint(x[d] / scale) : 0;
            if (p->integers == 8)
                to[d] = (unsigned char)(n & 255);
            else
                to[d / 2] = (unsigned char)(d % 2 ? to[d / 2] | (n & 15) << 4 : n & 15);
        }
    }
}

/* ---- rows ------------------------------------------------------------------------------------ */

static void describe_pages(const fuzz_problem *p, clattn_attention_desc *desc)
{
    desc->slots |= CLATTN_SLOT_BIT(CLATTN_SLOT_PAGES);
    desc->cascade = p->cascade;
    desc->page_size = p->page_size;
    desc->page_limit = p->n_kv ? (p->n_kv + p->page_size - 1) / p->page_size : 1;
    desc->n_pages = p->batch * desc->page_limit + 1; /* one is nobody's */
}

/* Strides of what has `width` elements a row. */
static void describe_tensor(const fuzz_problem *p, int64_t width, clattn_tensor *tensor)
{
    tensor->strided = p->page_size > 0;
    if (!tensor->strided)
        return;
    tensor->stride[3] = 1;
    tensor->stride[2] = p->tokens_first ? p->n_kv_head * width : width;
    tensor->stride[1] = p->tokens_first ? width : p->page_size * width;
    tensor->stride[0] = p->n_kv_head * p->page_size * width;
}

static int64_t count_rows(const fuzz_problem *p, const clattn_attention_desc *desc)
{
    const int64_t tokens = p->page_size ? desc->n_pages * p->page_size
                           : p->ragged  ? fuzz_total(p, false)
                                        : p->batch * p->n_kv;
    return tokens * p->n_kv_head;
}

/* Where the row of token j of a head is among all rows. */
static int64_t place(const fuzz_problem *p, const clattn_attention_desc *desc, const int32_t *table,
                     const int64_t *at)
{
    const int64_t heads = p->n_kv_head, h = at[1], size = p->page_size;
    int64_t token = at[2];
    if (size) {
        const int64_t page = table[at[0] * desc->page_limit + token / size];
        return p->tokens_first ? (page * size + token % size) * heads + h
                               : (page * heads + h) * size + token % size;
    }
    if (!p->ragged)
        return (at[0] * heads + h) * p->n_kv + token;
    for (int64_t b = 0; b < at[0]; b++)
        token += p->kv_length[b];
    return token * heads + h;
}

typedef struct copying {
    const fuzz_problem *p;
    const fuzz_set *set;
    const clattn_attention_desc *desc;
    const fuzz_stored *stored;
    int slot;
} copying;

static void copy_row(void *context, const int64_t *at)
{
    const copying *c = context;
    const int part = c->slot - CLATTN_SLOT_K;
    const int64_t dim = dim_of(c->p, c->slot);
    const fuzz_memory *m = &c->set->slot[c->slot];
    unsigned char *to = c->stored->rows[part];
    double x[576];
    if (at[3] != 0)
        return;
    const int64_t row = place(c->p, c->desc, c->stored->table, at);
    if (c->p->integers) {
        load_row(c->p, c->set, c->slot, at, x);
        store_integers(c->p, c->slot, x, to + row * dim * c->p->integers / 8,
                       c->stored->scales[part] + row * groups_of(c->p, c->slot));
        return;
    }
    const int64_t size = fuzz_size_of(m->dtype);
    int64_t from[CLATTN_RANK_LIMIT] = {at[0], at[1], at[2]};
    for (; from[3] < dim; from[3]++)
        memcpy(to + (row * dim + from[3]) * size,
               m->bytes + fuzz_element(c->p, c->set, c->slot, from) * size, (size_t)size);
}

static void store(const fuzz_problem *p, const fuzz_set *set, int slot, clattn_attention_desc *desc,
                  fuzz_stored *stored)
{
    const int part = slot - CLATTN_SLOT_K;
    const int64_t rows = count_rows(p, desc), dim = dim_of(p, slot), groups = groups_of(p, slot);
    const int64_t bits = p->integers ? p->integers : 8 * fuzz_size_of(set->slot[slot].dtype);
    const size_t bytes = (size_t)(rows * dim * bits / 8);
    copying c = {p, set, desc, stored, slot};
    stored->rows[part] = fuzz_alloc(bytes, 1);
    memset(stored->rows[part], 0xff, bytes);
    describe_tensor(p, dim, &desc->tensor[slot]);
    if (p->integers) {
        const int scales = CLATTN_SLOT_K_SCALES + part;
        desc->tensor[slot].dtype = p->integers == 8 ? CLATTN_I8 : CLATTN_I4;
        desc->slots |= CLATTN_SLOT_BIT(scales);
        describe_tensor(p, groups, &desc->tensor[scales]);
        stored->scales[part] = fuzz_alloc((size_t)(rows * groups), sizeof(float));
        memset(stored->scales[part], 0xff, (size_t)(rows * groups) * sizeof(float));
    }
    fuzz_each(p, slot, copy_row, &c);
}

void fuzz_stored_make(const fuzz_problem *p, const fuzz_set *set, clattn_attention_desc *desc,
                      fuzz_stored *stored)
{
    *stored = (fuzz_stored){0};
    if (p->page_size) {
        describe_pages(p, desc);
        const int64_t count = p->batch * desc->page_limit;
        stored->table = fuzz_alloc((size_t)count, sizeof *stored->table);
        for (int64_t n = 0; n < count; n++)
            stored->table[n] = (int32_t)(count - n);
    }
    desc->scale_channels = p->integers ? p->scale_channels : 0;
    store(p, set, CLATTN_SLOT_K, desc, stored);
    store(p, set, CLATTN_SLOT_V, desc, stored);
}

void fuzz_stored_free(fuzz_stored *stored)
{
    for (int part = 0; part < 2; part++) {
        free(stored->rows[part]);
        free(stored->scales[part]);
    }
    free(stored->table);
}
