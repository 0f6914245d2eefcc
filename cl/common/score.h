/* From products to scores, and which pairs are visible: the one definition of both, on vectors of
 * VEC keys (VEC 1: on one key). The order is that of the numerics contract: scale, softcap, ALiBi,
 * the caller's score function, bias, then visibility. */
#ifndef CLATTN_SCORE_H
#define CLATTN_SCORE_H

#include "common/item.h"
#include "common/random.h"
#include "common/softmax.h"
#include "common/types.h"

/* SCORE_FUNCTION, MASK_FUNCTION: 1 where the caller's texts are part of the program. */
#ifndef SCORE_FUNCTION
#define SCORE_FUNCTION 0
#endif
#ifndef MASK_FUNCTION
#define MASK_FUNCTION 0
#endif

/* SCORE_GRADIENT: 1 where the derivative of the caller's score function is, too. */
#ifndef SCORE_GRADIENT
#define SCORE_GRADIENT 0
#endif

/* Tensors of the options, as parameters and arguments of functions. */
#define OPTION_PARAMETERS                                                                          \
    __global const uchar *mask, __global const void *bias, __global const float *alibi,            \
        __global const int *q_lengths, __global const int *kv_lengths,                             \
        __global const int *block_count, __global const int *block_index,                          \
        __global const float *params, __global const long *seed, __global const int *pages,        \
        __global const float *k_scales, __global const float *v_scales
#define OPTION_ARGUMENTS                                                                           \
    mask, bias, alibi, q_lengths, kv_lengths, block_count, block_index, params, seed, pages,       \
        k_scales, v_scales

/* All queries and keys of one (batch, head). */
typedef struct pairs {
    __global const clattn_problem_row *row;
    uint flags;
    int batch, head;
    tokens queries, keys;
    long offset;                /* of the alignment */
    __global const uchar *mask; /* element (batch, head, 0, 0) */
    __global const void *bias;  /* the memory object */
    long bias_begin;            /* element (batch, head, 0, 0) */
    float slope;                /* of ALiBi */
    __global const float *params;
    __global const int *block_count; /* element (batch, head, 0) */
    __global const int *block_index; /* element (batch, head, 0, 0) */
    uint2 key;                       /* of the random words */
} pairs;

INLINE pairs pairs_init(__global const clattn_problem_row *row, const clattn_base *base, int batch,
                        int head, OPTION_PARAMETERS)
{
    pairs of;
    of.row = row;
    of.flags = row->flags;
    of.batch = batch;
    of.head = head;
    of.queries = queries_of(row, base, q_lengths, batch);
    of.keys = keys_of(row, base, kv_lengths, batch);
    of.offset = row->offset;
    if (of.flags & CLATTN_F_BOTTOM_RIGHT)
        of.offset += of.keys.count - of.queries.count;
    of.mask = mask + tensor_begin(row, base, CLATTN_T_MASK, batch, head);
    of.bias = bias;
    of.bias_begin = tensor_begin(row, base, CLATTN_T_BIAS, batch, head);
    of.slope = 0.0f;
    if (of.flags & CLATTN_F_ALIBI)
        of.slope = alibi[tensor_start(row, base, CLATTN_T_ALIBI) +
                         head * row->tensor[CLATTN_T_ALIBI].stride[0]];
    of.params = of.flags & CLATTN_F_PARAMS ? params + tensor_start(row, base, CLATTN_T_PARAMS) : 0;
    of.block_count = block_count + tensor_begin(row, base, CLATTN_T_BLOCK_COUNT, batch, head);
    of.block_index = block_index + tensor_begin(row, base, CLATTN_T_BLOCK_INDEX, batch, head);
    of.key = (uint2)(0);
    if (of.flags & CLATTN_F_DROPOUT) {
        __global const long *s = seed + tensor_start(row, base, CLATTN_T_SEED);
        of.key = philox_key((ulong)s[0], (ulong)s[row->tensor[CLATTN_T_SEED].stride[0]]);
    }
    return of;
}

/* The sink's logit for query i: -INFINITY without a sink, and beyond the batch entry's queries. */
INLINE float sink_of(const pairs *of, const clattn_base *base, __global const float *sink, int i)
{
    if (!(of->flags & CLATTN_F_SINK) || i >= of->queries.count)
        return -INFINITY;
    return sink[tensor_start(of->row, base, CLATTN_T_SINK) +
                of->head * of->row->tensor[CLATTN_T_SINK].stride[0]];
}

/* ---- bounds: keys_from(i) <= j < keys_to(i), neither descends with i ------------------------- */

INLINE int keys_from(const pairs *of, int i)
{
    return (int)clamp(i + of->offset - of->row->left, 0L, (long)of->keys.count);
}

INLINE int keys_to(const pairs *of, int i)
{
    return (int)clamp(i + of->offset + of->row->right + 1, 0L, (long)of->keys.count);
}

/* ---- runs: the keys that the block list gives to query i, as intervals ----------------------- */

typedef struct run {
    int begin, end; /* keys */
    int at;         /* next entry of the list */
    int last;       /* block that the run ends with */
} run;

INLINE run run_init(void)
{
    run r;
    r.begin = r.end = r.at = 0;
    r.last = -1;
    return r;
}

/* The next run of listed blocks, side by side, for query block `block`. Entries that don't ascend
 * are ignored. */
INLINE int next_blocks(const pairs *of, run *r, int block)
{
    __global const clattn_tensor_row *counts = &of->row->tensor[CLATTN_T_BLOCK_COUNT];
    __global const clattn_tensor_row *index = &of->row->tensor[CLATTN_T_BLOCK_INDEX];
    const int count = clamp(of->block_count[block * counts->stride[2]], 0, of->row->block_limit);
    const int blocks = (of->row->n_kv - 1) / of->row->block_kv + 1;
    int found = 0;
    for (; r->at < count; r->at++) {
        const int b = of->block_index[block * index->stride[2] + r->at * index->stride[3]];
        if (b <= r->last || b >= blocks)
            continue;
        if (found && b != r->last + 1)
            break;
        if (!found)
            r->begin = b * of->row->block_kv;
        r->last = b;
        found = 1;
    }
    if (found)
        r->end = (int)min((long)(r->last + 1) * of->row->block_kv, (long)of->row->n_kv);
    return found;
}

/* The next run of keys within [from, to) for queries of the block of query i; 0: no more. */
INLINE int next_run(const pairs *of, run *r, int i, int from, int to)
{
    if (!(of->flags & CLATTN_F_BLOCKS)) {
        r->begin = from;
        r->end = to;
        return r->at++ == 0 && from < to;
    }
    while (next_blocks(of, r, i / of->row->block_q)) {
        r->begin = max(r->begin, from);
        r->end = min(r->end, to);
        if (r->begin < r->end)
            return 1;
    }
    return 0;
}

/* ---- the caller's functions ------------------------------------------------------------------ */

#if SCORE_FUNCTION
INLINE vfloat call_score(const pairs *of, vfloat s, vint see, int i, int key)
{
    const int q = (int)(i + of->offset);
#ifdef CLATTN_SCORE_VECTOR
    return see ? clattn_user_score_vector(s, of->batch, of->head, q, LANES + key, of->params) : s;
#else
    float lane[VEC];
    int seen[VEC];
    store_vector(s, lane);
    store_vector(see, seen);
    UNROLL_LANES
    for (int c = 0; c < VEC; c++)
        if (seen[c])
            lane[c] = clattn_user_score(lane[c], of->batch, of->head, q, key + c, of->params);
    return load_vector(lane);
#endif
}
#endif

#if MASK_FUNCTION
INLINE vint call_visible(const pairs *of, vint see, int i, int key)
{
    const int q = (int)(i + of->offset);
#ifdef CLATTN_VISIBLE_VECTOR
    return see & clattn_user_visible_vector(of->batch, of->head, q, LANES + key, of->params);
#else
    int seen[VEC];
    store_vector(see, seen);
    UNROLL_LANES
    for (int c = 0; c < VEC; c++)
        if (seen[c] && !clattn_user_visible(of->batch, of->head, q, key + c, of->params))
            seen[c] = 0;
    return load_vector(seen);
#endif
}
#endif

/* ---- visibility ------------------------------------------------------------------------------ */

INLINE vint mask_lanes(const pairs *of, int i, int key, int count)
{
    __global const clattn_tensor_row *t = &of->row->tensor[CLATTN_T_MASK];
    __global const uchar *mask = of->mask + i * t->stride[2] + key * t->stride[3];
    if (t->stride[3] == 1 && count >= VEC)
        return convert_vint(load_bytes(mask)) != (vint)0;
    int lane[VEC];
    UNROLL_LANES
    for (int c = 0; c < VEC; c++)
        lane[c] = c < count && mask[c * t->stride[3]] ? -1 : 0;
    return load_vector(lane);
}

/* Which of the keys `key` + lane, all of them within [from, to), query i sees. */
INLINE vint visible_lanes(const pairs *of, int i, int key, int from, int to)
{
    const vint j = LANES + key;
    vint see = (j >= (vint)from) & (j < (vint)to);
    if (of->flags & CLATTN_F_MASK)
        see &= mask_lanes(of, i, key, of->keys.count - key);
#if MASK_FUNCTION
    see = call_visible(of, see, i, key);
#endif
    return see;
}

/* ---- scores ---------------------------------------------------------------------------------- */

EXP_OF_NONPOSITIVE(exp_of_lanes, vfloat, as_vfloat, as_vint)
EXP2_OF_NONPOSITIVE(exp2_of_lanes, vfloat, as_vfloat, as_vint)

/* tanh with a small relative error: a polynomial below TANH_NEAR (Cephes, tanhf), exponentials
 * elsewhere. */
#define TANH_NEAR 0.625f
INLINE vfloat tanh_near(vfloat x)
{
    const vfloat z = x * x;
    vfloat p = fma((vfloat)(-5.70498872745e-3f), z, (vfloat)(2.06390887954e-2f));
    p = fma(p, z, (vfloat)(-5.37397155531e-2f));
    p = fma(p, z, (vfloat)(1.33314422036e-1f));
    p = fma(p, z, (vfloat)(-3.33332819422e-1f));
    return fma(p * z, x, x);
}

INLINE vfloat tanh_of_lanes(vfloat x)
{
    const vfloat size = fabs(x), t = exp_of_lanes(-2.0f * size);
    const vfloat far = (1.0f - t) / (1.0f + t);
    return size < (vfloat)(TANH_NEAR) ? tanh_near(x) : copysign(far, x);
}

INLINE vfloat cap_scores(const pairs *of, vfloat s)
{
    if (of->flags & CLATTN_F_SOFTCAP)
        s = of->row->softcap * tanh_of_lanes(s * of->row->inverse_softcap);
    return s;
}

INLINE vfloat add_alibi(const pairs *of, vfloat s, int i, int key)
{
    const int far = 1 << 30; /* positions are clipped so that differences don't overflow */
    const int ahead = (int)clamp(i + of->offset - key, (long)-far, (long)far);
    return fma((vfloat)(-of->slope), fabs(convert_vfloat((vint)ahead - LANES)), s);
}

/* A bias of -INFINITY hides NaN and infinity too. */
INLINE vfloat with_bias(vfloat s, vfloat bias)
{
    return bias == (vfloat)(-INFINITY) ? bias : s + bias;
}

INLINE vfloat add_bias(const pairs *of, vfloat s, int i, int key)
{
    __global const clattn_tensor_row *t = &of->row->tensor[CLATTN_T_BIAS];
    return with_bias(
        s, gather_elements(of->bias, of->bias_begin + i * t->stride[2] + key * t->stride[3],
                           t->stride[3], of->keys.count - key, of->row->dtype[CLATTN_T_BIAS]));
}

/* From capped scores of query i with keys `key` + lane to final ones: -INFINITY where not
 * visible. */
INLINE vfloat finish_scores(const pairs *of, vfloat s, int i, int key, int from, int to)
{
    const vint see = visible_lanes(of, i, key, from, to);
    if (of->flags & CLATTN_F_ALIBI)
        s = add_alibi(of, s, i, key);
#if SCORE_FUNCTION
    s = call_score(of, s, see, i, key);
#endif
    if (of->flags & CLATTN_F_BIAS)
        s = add_bias(of, s, i, key);
    return see ? s : (vfloat)(-INFINITY);
}

/* ---- derivatives ----------------------------------------------------------------------------- */

#if SCORE_GRADIENT
INLINE vfloat call_score_gradient(const pairs *of, vfloat s, vint see, int i, int key)
{
    const int q = (int)(i + of->offset);
#ifdef CLATTN_SCORE_GRADIENT_VECTOR
    const vfloat d =
        clattn_user_score_gradient_vector(s, of->batch, of->head, q, LANES + key, of->params);
    return see ? d : (vfloat)(0.0f);
#else
    float lane[VEC];
    int seen[VEC];
    store_vector(s, lane);
    store_vector(see, seen);
    UNROLL_LANES
    for (int c = 0; c < VEC; c++)
        lane[c] = seen[c] ? clattn_user_score_gradient(lane[c], of->batch, of->head, q, key + c,
                                                       of->params)
                          : 0.0f;
    return load_vector(lane);
#endif
}
#endif

/* What a final score changes with the product it was made of, by the capped score of query i with
 * keys `key` + lane; `see`: which of them are visible. */
INLINE vfloat score_slopes(const pairs *of, vfloat s, vint see, int i, int key)
{
    vfloat slope = 1.0f;
    if (of->flags & CLATTN_F_SOFTCAP) {
        const vfloat t = s * of->row->inverse_softcap;
        slope = fma(-t, t, slope);
    }
#if SCORE_GRADIENT
    if (of->flags & CLATTN_F_ALIBI)
        s = add_alibi(of, s, i, key);
    slope *= call_score_gradient(of, s, see, i, key);
#endif
    return slope;
}

#if VEC == 1
/* Dropout of the weight of one pair. */
INLINE float drop_weight(const pairs *of, float w, int i, int j)
{
    uint word[4];
    random_words(word, j / 64, j % 16, i, of->head, of->batch, of->key);
    return word[j / 16 % 4] < of->row->drop_below ? 0.0f : w * of->row->kept;
}
#endif

#endif
