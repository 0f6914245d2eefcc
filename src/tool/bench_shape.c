/* What a shape of clattn bench means: its text, its description, what it counts. */
#include "tool/bench_shape.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "tool/options.h"

static const bench_dtype dtypes[] = {
    {"f32", CLATTN_F32, 4},
};

const bench_dtype *bench_dtype_get(int choice)
{
    return &dtypes[choice > 0 ? choice - 1 : 0];
}

/* A whole number from `least` to 2^31 - 1, with a comma before it unless it is the first. */
static bool take_number(const char **text, bool first, int64_t least, int64_t *number)
{
    const char *at = *text;
    char *end;
    if (!first && *at++ != ',')
        return false;
    if (*at < '0' || *at > '9')
        return false;
    *number = strtoll(at, &end, 10);
    *text = end;
    return *number >= least && *number <= INT32_MAX;
}

bool bench_shape_parse(const char *text, bench_shape *shape)
{
    int64_t causal = 0;
    int64_t *const extents[] = {&shape->batch, &shape->n_head, &shape->n_kv_head,
                                &shape->n_q,   &shape->n_kv,   &shape->head_dim};
    const char *at = text;
    bool good = true;
    for (size_t i = 0; good && i < sizeof extents / sizeof extents[0]; i++)
        good = take_number(&at, i == 0, 1, extents[i]);
    if (good && *at)
        good = take_number(&at, false, 0, &causal) && causal <= 1;
    shape->causal = causal == 1;
    if (good && *at == 0)
        return true;
    usage_error("--shape",
                "'%s' is not " BENCH_SHAPE_FORM ": whole numbers from 1 to %" PRId32
                ", causal 0 or 1",
                text, (int32_t)INT32_MAX);
    return false;
}

void bench_shape_print(const bench_shape *shape, char *text, size_t capacity)
{
    snprintf(text, capacity,
             "%" PRId64 ",%" PRId64 ",%" PRId64 ",%" PRId64 ",%" PRId64 ",%" PRId64 ",%d",
             shape->batch, shape->n_head, shape->n_kv_head, shape->n_q, shape->n_kv,
             shape->head_dim, shape->causal);
}

void bench_shape_describe(const bench_shape *shape, const bench_dtype *dtype,
                          clattn_attention_desc *desc)
{
    clattn_attention_desc_init(desc);
    desc->batch = shape->batch;
    desc->n_head = shape->n_head;
    desc->n_kv_head = shape->n_kv_head;
    desc->n_q = shape->n_q;
    desc->n_kv = shape->n_kv;
    desc->head_dim = desc->value_dim = shape->head_dim;
    desc->causal = shape->causal;
    desc->align = shape->causal ? CLATTN_ALIGN_BOTTOM_RIGHT : CLATTN_ALIGN_NONE;
    desc->tensor[CLATTN_SLOT_K].dtype = desc->tensor[CLATTN_SLOT_V].dtype = dtype->dtype;
}

bool bench_shape_is_decode(const bench_shape *shape)
{
    return shape->n_q == 1;
}

/* Pairs of a query and a key that it sees, of one head: query i sees i + 1 + n_kv - n_q keys. */
static double visible_pairs(const bench_shape *shape)
{
    const double n_q = (double)shape->n_q, n_kv = (double)shape->n_kv;
    if (!shape->causal)
        return n_q * n_kv;
    return n_kv >= n_q ? n_q * (n_kv - n_q) + n_q * (n_q + 1) / 2 : n_kv * (n_kv + 1) / 2;
}

double bench_shape_operations(const bench_shape *shape)
{
    return 2 * visible_pairs(shape) * (double)shape->batch * (double)shape->n_head * 2 *
           (double)shape->head_dim;
}

double bench_shape_elements(const bench_shape *shape, clattn_slot slot)
{
    const bool keys = slot == CLATTN_SLOT_K || slot == CLATTN_SLOT_V;
    return (double)shape->batch * (double)shape->head_dim *
           (keys ? (double)shape->n_kv_head * (double)shape->n_kv
                 : (double)shape->n_head * (double)shape->n_q);
}

double bench_shape_kv_bytes(const bench_shape *shape, const bench_dtype *dtype)
{
    return dtype->bytes * (bench_shape_elements(shape, CLATTN_SLOT_K) +
                           bench_shape_elements(shape, CLATTN_SLOT_V));
}
