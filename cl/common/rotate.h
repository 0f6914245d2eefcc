/* A row of queries or keys on its way: read, RMS normalised, rotated by its position; write_row of
 * types.h writes it. It is in private memory, x (ROW_MOST). The bits are the same for every VEC,
 * and so wherever a row is normalised and rotated. */
#ifndef CLATTN_ROTATE_H
#define CLATTN_ROTATE_H

#include "common/item.h"
#include "common/types.h"

/* Most elements of a row: a multiple of SQUARES. */
#define ROW_MOST 576

/* Sums that the sum of squares is made of: part of the numerics contract. */
#define SQUARES 16

/* ---- reading --------------------------------------------------------------------------------- */

INLINE void load_row(__global const void *from, long begin, long step, uint dtype, int dim,
                     float *x)
{
    int d = 0;
    for (; step == 1 && d + VEC <= dim; d += VEC)
        store_vector(load_elements(from, begin + d, dtype), x + d);
    for (; d < dim; d++)
        x[d] = load_element(from, begin + d * step, dtype);
}

/* ---- RMS normalisation ----------------------------------------------------------------------- */

/* How the rows of a head are normalised. */
typedef struct norm {
    int on;
    float epsilon;
    __global const void *weight; /* the memory object; 0: none */
    long begin, step;            /* of the head's weights, elements */
    uint dtype;
} norm;

INLINE norm norm_init(__global const clattn_problem_row *row, const clattn_base *base,
                      __global const void *weight, int head)
{
    __global const clattn_tensor_row *t = &row->tensor[CLATTN_T_RMS_WEIGHT];
    norm by;
    by.on = (row->flags & CLATTN_F_RMS_NORM) != 0;
    by.epsilon = row->rms_epsilon;
    by.weight = row->flags & CLATTN_F_RMS_WEIGHT ? weight : 0;
    by.begin = tensor_start(row, base, CLATTN_T_RMS_WEIGHT) + head * t->stride[0];
    by.step = t->stride[1];
    by.dtype = row->dtype[CLATTN_T_RMS_WEIGHT];
    return by;
}

/* The sum of squares of `by` times x (dim), which has zeros up to a multiple of SQUARES. Each sum
 * is of elements SQUARES apart, ascending; then the sums are added in halves. */
INLINE float sum_of_squares(const float *x, int dim, float by)
{
    vfloat sum[SQUARES / VEC];
    float lane[SQUARES];
    for (int i = 0; i < SQUARES / VEC; i++)
        sum[i] = 0.0f;
    for (int d = 0; d < dim; d += SQUARES)
        for (int i = 0; i < SQUARES / VEC; i++) {
            const vfloat v = by * load_vector(x + d + i * VEC);
            sum[i] = fma(v, v, sum[i]);
        }
    for (int i = 0; i < SQUARES / VEC; i++)
        store_vector(sum[i], lane + i * VEC);
    for (int left = SQUARES / 2; left > 0; left /= 2)
        for (int i = 0; i < left; i++)
            lane[i] += lane[i + left];
    return lane[0];
}

/* What a row is multiplied with, one after the other. */
typedef struct rms {
    float smaller, factor;
} rms;

/* 1 / sqrt(mean of the squares + epsilon). Rows whose squares don't fit float32 are made smaller
 * first; one that is not finite becomes NaN. */
INLINE rms rms_of(const float *x, int dim, float epsilon)
{
    const float least = 0x1p-70f;
    float mean = sum_of_squares(x, dim, 1.0f) / dim + epsilon;
    rms of;
    of.smaller = 1.0f;
    if (!(mean < 0x1p100f)) {
        of.smaller = least;
        mean = sum_of_squares(x, dim, least) / dim + epsilon * least * least;
    }
    of.factor = mean < INFINITY ? 1.0f / sqrt(mean) : NAN;
    return of;
}

INLINE void normalise_row(const norm *by, int dim, float *x)
{
    for (int d = dim; d % SQUARES != 0; d++)
        x[d] = 0.0f;
    const rms of = rms_of(x, dim, by->epsilon);
    for (int d = 0; d < dim; d += VEC) {
        vfloat v = of.smaller * load_vector(x + d) * of.factor;
        if (by->weight)
            v *=
                gather_elements(by->weight, by->begin + d * by->step, by->step, dim - d, by->dtype);
        store_vector(v, x + d);
    }
}

/* ---- rotary embedding ------------------------------------------------------------------------ */

/* The angles of all positions. */
typedef struct rotation {
    __global const float *angles;        /* of position 0; 0: none */
    long position_step, pair_step, sine; /* elements */
    int pairs, interleaved, last;        /* last: position that has angles */
} rotation;

INLINE rotation rotation_init(__global const clattn_problem_row *row, const clattn_base *base,
                              __global const float *angles)
{
    __global const clattn_tensor_row *t = &row->tensor[CLATTN_T_ANGLES];
    rotation by;
    by.angles = row->n_angles ? angles + tensor_start(row, base, CLATTN_T_ANGLES) : 0;
    by.position_step = t->stride[0];
    by.pair_step = t->stride[1];
    by.sine = t->stride[2];
    by.pairs = row->n_angles;
    by.interleaved = row->interleaved;
    by.last = row->n_positions - 1;
    return by;
}

/* Where the tokens of a batch entry are: one after the other, or each where it is said to be. */
typedef struct places {
    __global const int *given; /* of token 0; 0: none */
    long step;                 /* elements */
    long first;                /* of token 0 where none are given */
} places;

/* `token`: that of TOKEN_POSITIONS which is the entry's token 0. */
INLINE places places_init(__global const clattn_problem_row *row, const clattn_base *base,
                          __global const int *token_positions, int batch, int token, long first)
{
    __global const clattn_tensor_row *t = &row->tensor[CLATTN_T_TOKEN_POSITIONS];
    places of;
    of.given = 0;
    of.step = t->stride[1];
    of.first = first;
    if (row->flags & CLATTN_F_TOKEN_POSITIONS)
        of.given = token_positions + tensor_start(row, base, CLATTN_T_TOKEN_POSITIONS) +
                   batch * t->stride[0] + token * of.step;
    return of;
}

INLINE long place_of(const places *of, int i)
{
    return of->given ? of->given[i * of->step] : of->first + i;
}

/* Of a pair (a, b). Contracted by hand: compilers differ in how they do it. */
#define ROTATED_FIRST(a, b, c, s)  fma(a, c, -((b) * (s)))
#define ROTATED_SECOND(a, b, c, s) fma(a, s, (b) * (c))

#if VEC > 1
/* VEC pairs from pair n on, whose angles are at `angle`, cosine and sine side by side. */
INLINE void rotate_pairs(const rotation *by, __global const float *angle, float sign, int n,
                         float *x)
{
    const vfloat l = load_vector(angle), r = load_vector(angle + VEC);
    const vfloat c = (vfloat)(l.even, r.even), s = sign * (vfloat)(l.odd, r.odd);
    if (by->interleaved) {
        const vfloat xl = load_vector(x + 2 * n), xr = load_vector(x + 2 * n + VEC);
        const vfloat a = (vfloat)(xl.even, xr.even), b = (vfloat)(xl.odd, xr.odd);
        const vfloat first = ROTATED_FIRST(a, b, c, s), second = ROTATED_SECOND(a, b, c, s);
        vfloat left, right;
        left.even = first.lo;
        left.odd = second.lo;
        right.even = first.hi;
        right.odd = second.hi;
        store_vector(left, x + 2 * n);
        store_vector(right, x + 2 * n + VEC);
        return;
    }
    const vfloat a = load_vector(x + n), b = load_vector(x + n + by->pairs);
    store_vector(ROTATED_FIRST(a, b, c, s), x + n);
    store_vector(ROTATED_SECOND(a, b, c, s), x + n + by->pairs);
}
#endif

/* By the angles of a position, clamped to those that there are; below 0: backwards. */
INLINE void rotate_row(const rotation *by, long position, float *x)
{
    const long at = min(position < 0 ? -position : position, (long)by->last);
    const float sign = position < 0 ? -1.0f : 1.0f;
    __global const float *angle = by->angles + at * by->position_step;
    const int apart = by->interleaved ? 1 : by->pairs;
    int n = 0;
#if VEC > 1
    for (; by->pair_step == 2 && by->sine == 1 && n + VEC <= by->pairs; n += VEC)
        rotate_pairs(by, angle + 2 * n, sign, n, x);
#endif
    for (; n < by->pairs; n++) {
        const float c = angle[n * by->pair_step], s = sign * angle[n * by->pair_step + by->sine];
        const int d = by->interleaved ? 2 * n : n;
        const float a = x[d], b = x[d + apart];
        x[d] = ROTATED_FIRST(a, b, c, s);
        x[d + apart] = ROTATED_SECOND(a, b, c, s);
    }
}

#endif
