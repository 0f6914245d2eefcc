/* A row of queries or keys on its way: read, RMS normalised, rotated by its position, written. It
 * is in x (ROW_MOST), which one work-item has, or several as row_lanes.h has it: each does vectors
 * or pairs ROW_LANES apart, and sums, which are short, for itself. The bits are the same for every
 * VEC and WG_SIZE, and so wherever a row is normalised and rotated. */
#ifndef CLATTN_ROTATE_H
#define CLATTN_ROTATE_H

#include "common/item.h"
#include "common/row_lanes.h"
#include "common/types.h"

/* Most elements of a row: a multiple of SQUARES. */
#define ROW_MOST 576

/* Sums that the sum of squares is made of: part of the numerics contract. */
#define SQUARES 16

/* Rows of a group, those of teams of 16 in different banks. To be declared in the kernel. */
#if WG_SIZE > 1
#define ROW_STEP (ROW_MOST + ROW_LANES)
#define ROW_ARRAY(x)                                                                               \
    __local float x##_rows[ROW_TEAMS * ROW_STEP] __attribute__((aligned(64)));                     \
    __local float *const x = x##_rows + ROW_TEAM * ROW_STEP
#else
#define ROW_ARRAY(x) float x[ROW_MOST]
#endif

/* ---- reading and writing --------------------------------------------------------------------- */

/* With zeros up to a multiple of SQUARES. */
INLINE void load_row(__global const void *from, long begin, long step, uint dtype, int dim,
                     ROW_MEMORY float *x)
{
    const int whole = step == 1 ? dim / VEC * VEC : 0;
    for (int d = ROW_LANE * VEC; d < whole; d += ROW_LANES * VEC)
        store_vector(load_elements(from, begin + d, dtype), x + d);
    for (int d = whole + ROW_LANE; d < dim; d += ROW_LANES)
        x[d] = load_element(from, begin + d * step, dtype);
    for (int d = dim + ROW_LANE; d < (dim + SQUARES - 1) / SQUARES * SQUARES; d += ROW_LANES)
        x[d] = 0.0f;
}

INLINE void store_row(ROW_MEMORY const float *x, int dim, __global void *to, long begin, long step,
                      uint dtype)
{
    const int whole = step == 1 ? dim / VEC * VEC : 0;
    for (int d = ROW_LANE * VEC; d < whole; d += ROW_LANES * VEC)
        store_elements(load_vector(x + d), to, begin + d, dtype);
    for (int d = whole + ROW_LANE; d < dim; d += ROW_LANES)
        store_element(x[d], to, begin + d * step, dtype);
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
INLINE float sum_of_squares(ROW_MEMORY const float *x, int dim, float by)
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
INLINE rms rms_of(ROW_MEMORY const float *x, int dim, float epsilon)
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

INLINE void normalise_row(const norm *by, rms of, int dim, ROW_MEMORY float *x)
{
    for (int d = ROW_LANE * VEC; d < dim; d += ROW_LANES * VEC) {
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
                         ROW_MEMORY float *x)
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
INLINE void rotate_row(const rotation *by, long position, ROW_MEMORY float *x)
{
    const long at = min(position < 0 ? -position : position, (long)by->last);
    const float sign = position < 0 ? -1.0f : 1.0f;
    __global const float *angle = by->angles + at * by->position_step;
    const int apart = by->interleaved ? 1 : by->pairs;
    int whole = 0;
#if VEC > 1
    whole = by->pair_step == 2 && by->sine == 1 ? by->pairs / VEC * VEC : 0;
    for (int n = ROW_LANE * VEC; n < whole; n += ROW_LANES * VEC)
        rotate_pairs(by, angle + 2 * n, sign, n, x);
#endif
    for (int n = whole + ROW_LANE; n < by->pairs; n += ROW_LANES) {
        const float c = angle[n * by->pair_step], s = sign * angle[n * by->pair_step + by->sine];
        const int d = by->interleaved ? 2 * n : n;
        const float a = x[d], b = x[d + apart];
        x[d] = ROTATED_FIRST(a, b, c, s);
        x[d + apart] = ROTATED_SECOND(a, b, c, s);
    }
}

/* ---- both ------------------------------------------------------------------------------------ */

/* What happens to rows on their way. */
typedef struct way {
    norm by_norm;
    rotation by_angle;
} way;

/* A row that was loaded, if it is there; barriers are for all work-items of the group, whatever is
 * asked for. */
INLINE void turn_row(const way *by, int here, long position, int dim, ROW_MEMORY float *x)
{
    const int normalised = here && by->by_norm.on;
    rms of = {1.0f, 1.0f};
    ROW_BARRIER();
    if (normalised)
        of = rms_of(x, dim, by->by_norm.epsilon);
    ROW_BARRIER();
    if (normalised)
        normalise_row(&by->by_norm, of, dim, x);
    ROW_BARRIER();
    if (here && by->by_angle.angles)
        rotate_row(&by->by_angle, position, x);
    ROW_BARRIER();
}

#endif
