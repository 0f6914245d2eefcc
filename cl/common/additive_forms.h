/* How w . tanh(a + b + bias) is computed, of all families.
 *
 * tanh(x + b) = 1 - 2 / (1 + e^2x e^2b) with x = a + bias, so that exponentials of rows suffice,
 * and four channels share a division: w0 / d0 + w1 / d1 = (w0 d1 + w1 d0) / (d0 d1), twice. The
 * error of a term is about 2^-24 w, which is much where all terms are small; and large exponents
 * overflow. So each group of channels takes one of four forms, by the largest numbers of its rows:
 *    NEAR     |a| + |bias| and |b| within 0.3125: the polynomial of tanh, whose error is relative
 *    MIDDLE   within 5.5: as above; four of 1 + e^22 multiply to less than the largest float
 *    WIDE     within 20: the same with 1 + e^2(x + b) bounded by 2^28, where tanh is 1
 *    FAR      beyond, and NaN: tanh of the sum
 * NEAR and FAR add a, b and bias as a plain computation does. */
#ifndef CLATTN_ADDITIVE_FORMS_H
#define CLATTN_ADDITIVE_FORMS_H

#include "common/score.h"

#define GROUP 4 /* channels that share a division */

#define FORM_NEAR   0
#define FORM_MIDDLE 1
#define FORM_WIDE   2
#define FORM_FAR    3

#define NEAR_BOUND    0.3125f
#define MIDDLE_BOUND  5.5f
#define WIDE_BOUND    20.0f
#define MOST_DIVISOR  268435456.0f /* 2^28 */
#define LARGEST_SCORE 268435456.0f /* |w| beyond it is FAR: products with three divisors */

/* e^2(hi + lo) to within a unit in the last place; |hi| is taken as WIDE_BOUND at most, lo is what
 * rounding took from hi. Coefficients: Cephes, expf. */
INLINE vfloat exp_twice(vfloat hi, vfloat lo)
{
    const vfloat bound = WIDE_BOUND, shift = 12582912.0f + 127.0f;
    const vfloat low = hi < -bound ? -bound : hi;
    const vfloat x = 2.0f * (low > bound ? bound : low);
    const vfloat t = fma(x, (vfloat)(1.44269504f), shift);
    const vfloat n = t - shift;
    vfloat r = fma(n, (vfloat)(-0.693359375f), x);
    r = fma(n, (vfloat)(2.12194440e-4f), r);
    r = fma(lo, (vfloat)(2.0f), r);
    vfloat p = fma((vfloat)(1.9875691500e-4f), r, (vfloat)(1.3981999507e-3f));
    p = fma(p, r, (vfloat)(8.3334519073e-3f));
    p = fma(p, r, (vfloat)(4.1665795894e-2f));
    p = fma(p, r, (vfloat)(1.6666665459e-1f));
    p = fma(p, r, (vfloat)(5.0000001201e-1f));
    return (fma(p * r, r, r) + 1.0f) * as_vfloat(as_vint(t) << 23);
}

/* The form that a row's numbers need: `near` for FORM_NEAR, `wide` for the others. */
INLINE vint form_of(vfloat near, vfloat wide)
{
    const vint form = wide <= (vfloat)(MIDDLE_BOUND) ? (vint)(FORM_MIDDLE) : (vint)(FORM_WIDE);
    const vint all = wide <= (vfloat)(WIDE_BOUND) ? form : (vint)(FORM_FAR);
    return near <= (vfloat)(NEAR_BOUND) ? (vint)(FORM_NEAR) : all;
}

/* The sum of w / d of GROUP channels, by one division. */
INLINE vfloat sum_of_quotients(float4 w, vfloat d0, vfloat d1, vfloat d2, vfloat d3)
{
    const vfloat n01 = fma((vfloat)(w.s0), d1, w.s1 * d0), d01 = d0 * d1;
    const vfloat n23 = fma((vfloat)(w.s2), d3, w.s3 * d2), d23 = d2 * d3;
    return fma(n01, d23, n23 * d01) / (d01 * d23);
}

#endif
