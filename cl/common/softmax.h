/* The exponential of the softmax, and the steps of the online softmax that several kernels share.
 * Scores are in natural units. An invisible key has score -INFINITY. */
#ifndef CLATTN_SOFTMAX_H
#define CLATTN_SOFTMAX_H

/* 2^f for f in [-1/2, 1/2] by a polynomial of degree 5, minimax in the relative error: 1.5e-7 in
 * float. */
#define EXP2_OF_FRACTION(f, float_type)                                                            \
    fma(fma(fma(fma(fma((float_type)(1.32647267e-3f), f, (float_type)(9.67151268e-3f)), f,         \
                    (float_type)(5.55073375e-2f)),                                                 \
                f, (float_type)(0.240222421f)),                                                    \
            f, (float_type)(0.693146978f)),                                                        \
        f, (float_type)(1.0f))

/* e^d for d <= 0, NaN for NaN, and exactly 0 from -88.03 down (results below 2^-126 are flushed).
 * d log2(e) = n + f: adding and taking away 1.5 * 2^23 rounds to n, and 127 more makes the low bits
 * of the sum the exponent of 2^n. */
#define EXP_OF_NONPOSITIVE(name, float_type, as_float_type, as_int_type)                           \
    static inline float_type name(float_type d)                                                    \
    {                                                                                              \
        const float_type least = (float_type)(-88.03f);                                            \
        const float_type shift = (float_type)(12582912.0f + 127.0f);                               \
        const float_type log2e = (float_type)(1.44269504f);                                        \
        const float_type bounded = d < least ? least : d; /* NaN stays */                          \
        const float_type t = fma(bounded, log2e, shift);                                           \
        const float_type f = fma(bounded, log2e, shift - t);                                       \
        return EXP2_OF_FRACTION(f, float_type) * as_float_type(as_int_type(t) << 23);              \
    }

/* 2^x for x <= 0 in the same way, with sums in the place of two multiply-adds: a core adds in other
 * units than it multiplies in. Exactly 0 from -127 down. */
#define EXP2_OF_NONPOSITIVE(name, float_type, as_float_type, as_int_type)                          \
    static inline float_type name(float_type x)                                                    \
    {                                                                                              \
        const float_type least = (float_type)(-127.0f);                                            \
        const float_type shift = (float_type)(12582912.0f + 127.0f);                               \
        const float_type bounded = x < least ? least : x; /* NaN stays */                          \
        const float_type t = bounded + shift;                                                      \
        const float_type f = bounded - (t - shift);                                                \
        return EXP2_OF_FRACTION(f, float_type) * as_float_type(as_int_type(t) << 23);              \
    }

EXP_OF_NONPOSITIVE(exp_nonpositive, float, as_float, as_int)
EXP2_OF_NONPOSITIVE(exp2_nonpositive, float, as_float, as_int)

/* What scores are subtracted from: the maximum, or 0 where nothing is visible yet, so that
 * -INFINITY - m is never NaN. */
static inline float softmax_shift(float m)
{
    return m == -INFINITY ? 0.0f : m;
}

/* The score less what it is relative to, the maximum or an LSE; never above 0, where rounding of
 * large scores would take it. NaN stays. */
static inline float softmax_exponent(float s, float m)
{
    const float d = s - softmax_shift(m);
    return d > 0.0f ? 0.0f : d;
}

/* log of the sum of exponentials; -INFINITY where no key was visible. */
static inline float softmax_lse(float m, float l)
{
    return l == 0.0f ? -INFINITY : m + log(l);
}

/* 1 / l; 0 where no key was visible. NaN stays. */
static inline float softmax_normaliser(float l)
{
    return l == 0.0f ? 0.0f : 1.0f / l;
}

/* Maximum and sum of a row once the sink is in them, and the factor that makes sums of weights,
 * relative to the maximum without it, final. */
typedef struct softmax_end {
    float m, l, factor;
} softmax_end;

/* `sink`: its logit, -INFINITY: there is none. */
static inline softmax_end softmax_finish(float m, float l, float sink)
{
    softmax_end end;
    end.m = m;
    end.l = l;
    end.factor = softmax_normaliser(l);
    if (sink == -INFINITY)
        return end;
    end.m = sink > m ? sink : m;
    const float shift = softmax_shift(end.m);
    const float factor = exp_nonpositive(m - shift);
    end.l = l * factor + exp_nonpositive(sink - shift);
    end.factor = factor * softmax_normaliser(end.l);
    return end;
}

#endif
