/* The keys of highest score that a query attends to: each as a number, so that comparing numbers
 * compares scores and, where these are equal, keys. What is done once they are known: their
 * softmax, the draw of one of them, and what is returned of them. */
#ifndef CLATTN_CHOSEN_H
#define CLATTN_CHOSEN_H

#include "common/score.h"

/* A score above a key's: ascending bits of the score, NaN above all, and -0 as 0; below them the
 * key, the lower one above. */
typedef ulong chosen;

static inline chosen chosen_init(float score, int key)
{
    const uint bits = score == 0.0f ? 0 : as_uint(score); /* Mesa leaves out a sum with 0.0f */
    const uint ascending = bits & 0x80000000u ? ~bits : bits | 0x80000000u;
    return (ulong)(isnan(score) ? 0xffffffffu : ascending) << 32 | (uint)~key;
}

static inline float score_of(chosen x)
{
    const uint bits = (uint)(x >> 32);
    return as_float(bits & 0x80000000u ? bits & 0x7fffffffu : ~bits);
}

static inline int key_of(chosen x)
{
    return (int)~(uint)x;
}

/* A query's keys, in descending order, and their softmax. */
typedef struct choice {
    __global const chosen *top; /* (count) */
    int count;
    int drawn;      /* place of the one that was drawn; count: none, the sink was. -1: all stay */
    float m, shift; /* maximum, the sink's logit included */
    float l;        /* sum of exp(score - shift), likewise */
} choice;

static inline float exponential_of(const choice *c, int place)
{
    return exp(score_of(c->top[place]) - c->shift);
}

/* A number in [0, 1) that goes with query i: the word that dropout has for key 0. */
static inline float number_of_query(const pairs *of, int i)
{
    vuint word[4];
    random_words(word, 0, 0, i, of->head, of->batch, of->key);
#if VEC == 1
    return (float)(word[0] >> 8) * 0x1p-24f;
#else
    return (float)(word[0].s0 >> 8) * 0x1p-24f;
#endif
}

/* The first place at which the sum of exponentials so far is above the number's part of them all; a
 * NaN is the first. */
static int draw(const choice *c, float number)
{
    const float bound = number * c->l;
    float sum = 0.0f;
    if (isnan(c->l))
        return 0;
    for (int n = 0; n < c->count; n++) {
        sum += exponential_of(c, n);
        if (sum > bound)
            return n;
    }
    return c->count;
}

static choice choice_init(const pairs *of, int i, __global const chosen *top, int count,
                          float logit)
{
    choice c;
    int n = 0;
    c.top = top;
    c.count = count;
    while (n < count && isnan(score_of(top[n]))) /* the exponentials show it */
        n++;
    c.m = n < count && score_of(top[n]) > logit ? score_of(top[n]) : logit;
    c.shift = softmax_shift(c.m);
    c.l = 0.0f;
    /* The smallest first, which would be lost on a large sum; a draw goes through sums of its own
     * order, the last of which must be this one. */
    for (n = 0; n < count; n++)
        c.l += exponential_of(&c, of->row->sample ? n : count - 1 - n);
    c.l += logit == -INFINITY ? 0.0f : exp(logit - c.shift);
    c.drawn = of->row->sample ? draw(&c, number_of_query(of, i)) : -1;
    return c;
}

/* What value `place` is multiplied with before the sum is divided by l; in a draw what it counts.
 */
static inline float factor_of(const choice *c, int place)
{
    if (c->drawn < 0)
        return exponential_of(c, place);
    return isnan(c->l) ? c->l : c->drawn == place ? 1.0f : 0.0f;
}

/* What the sum of values is multiplied with. */
static inline float normaliser_of(const choice *c)
{
    return c->drawn < 0 ? softmax_normaliser(c->l) : 1.0f;
}

/* Whether value `place` takes part. */
static inline int takes_part(const choice *c, int place)
{
    return c->drawn < 0 || c->drawn == place;
}

/* WEIGHTS and INDICES of query i; of a draw those of the key that was drawn. */
static void write_choice(const pairs *of, int i, const clattn_base *base, const choice *c,
                         __global float *weights, __global int *indices)
{
    __global const clattn_problem_row *row = of->row;
    __global const clattn_tensor_row *w = &row->tensor[CLATTN_T_WEIGHTS];
    __global const clattn_tensor_row *t = &row->tensor[CLATTN_T_INDICES];
    if (row->flags & CLATTN_F_WEIGHTS) {
        weights +=
            tensor_begin(row, base, CLATTN_T_WEIGHTS, of->batch, of->head) + i * w->stride[2];
        for (int j = 0; j < row->n_kv; j++)
            weights[j * w->stride[3]] = 0.0f;
        for (int n = 0; n < c->count; n++)
            if (takes_part(c, n))
                weights[key_of(c->top[n]) * w->stride[3]] =
                    exponential_of(c, n) * softmax_normaliser(c->l);
    }
    if (row->flags & CLATTN_F_INDICES) {
        indices +=
            tensor_begin(row, base, CLATTN_T_INDICES, of->batch, of->head) + i * t->stride[2];
        const int places = c->drawn < 0 ? row->top_k : 1;
        for (int n = 0; n < places; n++) {
            const int place = c->drawn < 0 ? n : c->drawn;
            indices[n * t->stride[3]] = place < c->count ? key_of(c->top[place]) : -1;
        }
    }
}

#endif
