/* A split of the keys and a few queries, as decoding has them: scores, softmax, values, each read
 * once from where the caller has them, in the type that they are stored in. */
#ifndef CLATTN_DECODE_SPLIT_H
#define CLATTN_DECODE_SPLIT_H

#include "common/decode_scores.h"
#include "common/decode_values.h"

/* Products of a row into weights relative to their largest score. With care invisible pairs are
 * marked. */
INLINE void softmax_row(const decode *x, int r, int careful)
{
    const pairs *of = &x->of[r];
    const int i = x->i[r], from = max(keys_from(of, i), x->from);
    const int to = i < of->queries.count ? min(keys_to(of, i), x->to) : from;
    float *p = x->p + r * CLATTN_SPLIT - x->begin;
    vfloat most = -INFINITY, sum = 0.0f;
    for (int key = x->from / VEC * VEC; key < x->to; key += VEC) {
        const vfloat s = finish_scores(of, cap_scores(of, load_vector(p + key)), i, key, from, to);
        store_vector(s, p + key);
        most = larger(s, most);
    }
    x->m[r] = largest_lane(most);
    const float shift = softmax_shift(x->m[r]);
    for (int key = x->from / VEC * VEC; key < x->to; key += VEC) {
        const vfloat s = load_vector(p + key);
        vfloat w = exp_of_lanes(s - shift);
        sum += w;
#if ROW_SCALES
        w *= load_vector(x->v_scale + key - x->begin);
#endif
        store_vector(careful && s == (vfloat)(-INFINITY) ? (vfloat)(INVISIBLE) : w, p + key);
    }
    x->l[r] = sum_of_lanes(sum);
}

#endif
