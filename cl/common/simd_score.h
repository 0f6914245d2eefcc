/* The options on a register tile of scores, for the simd family: each step of score.h on all of its
 * vectors at once, so that what the options are is asked once a tile, and masks are paid for only
 * where they hide some of a tile's pairs. */
#ifndef CLATTN_SIMD_SCORE_H
#define CLATTN_SIMD_SCORE_H

#include "common/panels.h"
#include "common/prefetch.h"
#include "common/score.h"

/* ROWS: queries of a register tile. ROWS * COLS + COLS + 1 vectors should fit the registers. */
#ifndef ROWS
#define ROWS 6
#endif

/* Keys of a row tile: all that some row sees are in [from, to), those that every row sees in
 * [all_from, all_to). */
typedef struct tile_keys {
    int from, to, all_from, all_to;
} tile_keys;

/* What hides pairs of a tile. */
#define TILE_HIDDEN 1 /* the mask, or the caller's predicate, hides all */
#define TILE_MASKED 2 /* the mask hides some */
#define TILE_EDGE   4 /* bounds hide some */

/* What follows the panel at `key` for queries i and on. */
INLINE lines next_lines(const pairs *of, int i, int key)
{
    __global const clattn_tensor_row *bias = &of->row->tensor[CLATTN_T_BIAS];
    __global const clattn_tensor_row *mask = &of->row->tensor[CLATTN_T_MASK];
    const uint dtype = of->row->dtype[CLATTN_T_BIAS];
    const int next = key + PANEL, size = (int)size_of(dtype);
    if (of->flags & CLATTN_F_BIAS && bias->stride[3] == 1)
        return lines_at(
            (size_t)element_at(of->bias, of->bias_begin + i * bias->stride[2] + next, dtype),
            bias->stride[2] * size, ROWS, PANEL * size);
    if (of->flags & CLATTN_F_MASK && mask->stride[3] == 1)
        return lines_at((size_t)(of->mask + i * mask->stride[2] + next), mask->stride[2], ROWS,
                        PANEL);
    return no_lines();
}

/* Queries first..last of a tile with the panel at `key`: TILE_HIDDEN, TILE_MASKED or 0. */
INLINE int mask_of_tile(const pairs *of, int first, int last, int key)
{
    __global const clattn_tensor_row *t = &of->row->tensor[CLATTN_T_MASK];
    if (t->stride[3] != 1 || key + PANEL > of->keys.count)
        return TILE_MASKED;
    vbytes most = 0, least = 255;
    for (int i = first; i <= last; i++) {
        __global const uchar *mask = of->mask + i * t->stride[2] + key;
#pragma unroll
        for (int c = 0; c < PANEL; c += VEC) {
            const vbytes x = load_bytes(mask + c);
            most = max(most, x);
            least = min(least, x);
        }
    }
    if (!any(convert_vint(most) != (vint)(0)))
        return TILE_HIDDEN;
    return any(convert_vint(least) == (vint)(0)) ? TILE_MASKED : 0;
}

/* ---- steps on a tile in registers: queries i.. with the keys `key` + 0..PANEL-1 -----------------
 */

INLINE int reaches_beyond_near(const pairs *of, vfloat s[ROWS][COLS])
{
    vfloat size = 0.0f;
#pragma unroll
    for (int r = 0; r < ROWS; r++)
#pragma unroll
        for (int c = 0; c < COLS; c++)
            size = larger(fabs(s[r][c]), size);
    return largest_lane(size) * of->row->inverse_softcap >= TANH_NEAR;
}

/* The polynomial alone where it reaches; else through memory, because all of tanh for all of a tile
 * would be long. */
INLINE void cap_tile(const pairs *of, vfloat s[ROWS][COLS])
{
    const float softcap = of->row->softcap, inverse = of->row->inverse_softcap;
    vfloat lanes[ROWS * COLS];
    if (reaches_beyond_near(of, s)) {
#pragma unroll
        for (int r = 0; r < ROWS; r++)
#pragma unroll
            for (int c = 0; c < COLS; c++)
                lanes[r * COLS + c] = s[r][c];
        for (int i = 0; i < ROWS * COLS; i++)
            lanes[i] = softcap * tanh_of_lanes(lanes[i] * inverse);
#pragma unroll
        for (int r = 0; r < ROWS; r++)
#pragma unroll
            for (int c = 0; c < COLS; c++)
                s[r][c] = lanes[r * COLS + c];
        return;
    }
#pragma unroll
    for (int r = 0; r < ROWS; r++)
#pragma unroll
        for (int c = 0; c < COLS; c++)
            s[r][c] = softcap * tanh_near(s[r][c] * inverse);
}

INLINE void add_alibi_tile(const pairs *of, int i, int key, vfloat s[ROWS][COLS])
{
#pragma unroll
    for (int r = 0; r < ROWS; r++)
#pragma unroll
        for (int c = 0; c < COLS; c++)
            s[r][c] = add_alibi(of, s[r][c], i + r, key + c * VEC);
}

/* A bias in float, its keys side by side. */
INLINE void add_bias_tile(const pairs *of, int i, int key, vfloat s[ROWS][COLS])
{
    const long step = of->row->tensor[CLATTN_T_BIAS].stride[2];
    __global const float *bias = (__global const float *)of->bias + of->bias_begin + i * step + key;
#pragma unroll
    for (int r = 0; r < ROWS; r++, bias += step)
#pragma unroll
        for (int c = 0; c < COLS; c++)
            s[r][c] = with_bias(s[r][c], load_vector(bias + c * VEC));
}

/* A mask whose keys are side by side. */
INLINE void mask_tile(const pairs *of, int i, int key, vfloat s[ROWS][COLS])
{
    const long step = of->row->tensor[CLATTN_T_MASK].stride[2];
    __global const uchar *mask = of->mask + i * step + key;
#pragma unroll
    for (int r = 0; r < ROWS; r++, mask += step)
#pragma unroll
        for (int c = 0; c < COLS; c++) {
            const vint see = convert_vint(load_bytes(mask + c * VEC)) != (vint)(0);
            s[r][c] = see ? s[r][c] : (vfloat)(-INFINITY);
        }
}

INLINE void hide_beyond(const pairs *of, int i, int key, const tile_keys *keys,
                        vfloat s[ROWS][COLS])
{
#pragma unroll
    for (int r = 0; r < ROWS; r++) {
        const int from = max(keys_from(of, i + r), keys->from);
        const int to = min(keys_to(of, i + r), keys->to);
#pragma unroll
        for (int c = 0; c < COLS; c++) {
            const vint j = LANES + (key + c * VEC);
            const vint see = (j >= (vint)from) & (j < (vint)to);
            s[r][c] = see ? s[r][c] : (vfloat)(-INFINITY);
        }
    }
}

/* Whether some score isn't -INFINITY. */
INLINE int some_visible(vfloat s[ROWS][COLS])
{
    vint alive = 0;
#pragma unroll
    for (int r = 0; r < ROWS; r++)
#pragma unroll
        for (int c = 0; c < COLS; c++)
            alive |= s[r][c] != (vfloat)(-INFINITY);
    return any(alive);
}

#endif
