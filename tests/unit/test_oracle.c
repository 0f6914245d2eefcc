/* The oracle itself, against numbers that are computed by hand, and its random numbers against the
 * known answers that Random123 publishes for Philox4x32-10. */
#include <criterion/criterion.h>
#include <math.h>
#include <string.h>

#include "tests/oracle/oracle.h"
#include "tests/oracle/philox.h"
#include "tests/oracle/plain.h"

#define CLOSE 1e-6 /* inputs are logarithms rounded to float */
#define MOST  24   /* elements of an output here */

/* Scores of every query are log 1, log 2, log 5, log 8: weights 1, 2, 5 and 8 of 16. */
static const float ones[4] = {1, 1, 1, 1};
static const float logs[4] = {0, 0.69314718F, 1.60943791F, 2.07944154F};
static const float values[4] = {1, 10, 100, 1000};

typedef struct outputs {
    double out[MOST], lse[MOST], weights[MOST], mean[MOST], sum[MOST], scores[MOST];
} outputs;

/* n_q queries over n_kv of the keys, one head; all outputs go to *to. */
static oracle_problem problem_of(int64_t n_q, int64_t n_kv, outputs *to)
{
    const oracle_problem p = {.batch = 1,
                              .n_head = 1,
                              .n_kv_head = 1,
                              .n_q = n_q,
                              .n_kv = n_kv,
                              .head_dim = 1,
                              .value_dim = 1,
                              .scale = 1,
                              .q = ones,
                              .k = logs,
                              .v = values,
                              .out = to->out,
                              .lse = to->lse,
                              .weights = to->weights,
                              .weights_mean = to->mean,
                              .weights_sum = to->sum,
                              .scores = to->scores};
    for (int n = 0; n < MOST; n++)
        to->out[n] = to->lse[n] = to->weights[n] = to->mean[n] = to->sum[n] = to->scores[n] = NAN;
    return p;
}

static void expect(const char *what, const double *x, const double *expected, int count)
{
    for (int n = 0; n < count; n++) {
        if (isinf(expected[n]))
            cr_assert_eq(x[n], expected[n], "%s[%d] is %g", what, n, x[n]);
        else
            cr_assert(fabs(x[n] - expected[n]) <= CLOSE * fmax(1, fabs(expected[n])),
                      "%s[%d] is %.9g, not %.9g", what, n, x[n], expected[n]);
    }
}

#define EXPECT(x, ...)                                                                             \
    expect(#x, x, (const double[]){__VA_ARGS__},                                                   \
           (int)(sizeof((const double[]){__VA_ARGS__}) / sizeof(double)))

Test(oracle, softmax_of_logarithms)
{
    outputs to;
    const oracle_problem p = problem_of(1, 4, &to);
    cr_assert(oracle_attention(&p));
    EXPECT(to.weights, 1. / 16, 2. / 16, 5. / 16, 8. / 16);
    EXPECT(to.out, (1 * 1 + 2 * 10 + 5 * 100 + 8 * 1000) / 16.);
    EXPECT(to.lse, log(16));
    EXPECT(to.scores, 0, log(2), log(5), log(8));
}

Test(oracle, scale_and_softcap)
{
    outputs to;
    oracle_problem p = problem_of(1, 3, &to);
    p.scale = 2;
    cr_assert(oracle_attention(&p));
    EXPECT(to.weights, 1. / 30, 4. / 30, 25. / 30);
    p.scale = 1;
    p.softcap = log(3); /* tanh of half a logarithm: (x - 1) / (x + 1) */
    p.k = (const float[]){0, 1.20694896F /* log(3)^2 */, 0};
    p.score_stage = ORACLE_CAPPED;
    cr_assert(oracle_attention(&p));
    EXPECT(to.scores, 0, log(3) * (9. - 1) / (9 + 1), 0); /* tanh(log 3) = 0.8 */
    EXPECT(to.lse, log(2 + pow(3, 0.8)));
}

Test(oracle, alibi_counts_from_the_aligned_key)
{
    outputs to;
    oracle_problem p = problem_of(1, 4, &to);
    p.alibi = (const float[]){0.69314718F}; /* halves the weight at each step */
    p.causal_offset = 2;
    cr_assert(oracle_attention(&p));
    EXPECT(to.weights, .25 / 10.25, 1 / 10.25, 5 / 10.25, 4 / 10.25);
}

Test(oracle, bias_is_added_and_hides_where_it_is_infinite)
{
    outputs to;
    oracle_problem p = problem_of(1, 4, &to);
    p.bias = (const float[]){0.69314718F, -INFINITY, 0, -3.4e38F};
    p.score_stage = ORACLE_VISIBLE;
    p.v = (const float[]){1, NAN, 10, 100};
    cr_assert(oracle_attention(&p));
    EXPECT(to.weights, 2. / 7, 0, 5. / 7, 0);
    EXPECT(to.out, 52. / 7);
    cr_assert_eq(to.scores[1], -INFINITY);
    cr_assert(isfinite(to.scores[3]));
}

/* The logarithm of their sum is one of them, and yet each weight is a half. */
Test(oracle, equal_scores_of_any_size)
{
    outputs to;
    oracle_problem p = problem_of(1, 2, &to);
    p.bias = (const float[]){-3.4e38F, -3.4e38F};
    cr_assert(oracle_attention(&p));
    EXPECT(to.weights, .5, .5);
    EXPECT(to.out, 5.5);
}

Test(oracle, mask_lengths_and_nan_behind_them)
{
    outputs to;
    oracle_problem p = problem_of(2, 4, &to);
    p.mask = (const uint8_t[]){1, 0, 1, 1, 0, 1, 0, 0};
    p.kv_lengths = (const int32_t[]){3};
    p.k = (const float[]){0, logs[1], logs[2], NAN};
    p.v = (const float[]){1, 10, 100, NAN};
    cr_assert(oracle_attention(&p));
    EXPECT(to.weights, 1. / 6, 0, 5. / 6, 0, 0, 1, 0, 0);
    EXPECT(to.out, 501. / 6, 10);
    EXPECT(to.sum, 1. / 6, 1, 5. / 6, 0);
    EXPECT(to.scores, 0, log(2), log(5), -INFINITY, 0, log(2), log(5), -INFINITY);
    p.kv_lengths = (const int32_t[]){9};
    cr_assert(oracle_attention(&p));
    cr_assert(isnan(to.out[0]) && isnan(to.lse[0]));
    EXPECT(to.lse + 1, log(2));
}

Test(oracle, queries_from_their_length_on_give_nothing)
{
    outputs to;
    oracle_problem p = problem_of(3, 2, &to);
    p.q_lengths = (const int32_t[]){1};
    p.sink = (const float[]){logs[2]};
    cr_assert(oracle_attention(&p));
    EXPECT(to.lse, log(8), -INFINITY, -INFINITY);
    EXPECT(to.out, 21. / 8, 0, 0);
    EXPECT(to.weights, 1. / 8, 2. / 8, 0, 0, 0, 0);
    EXPECT(to.scores, 0, log(2), -INFINITY, -INFINITY, -INFINITY, -INFINITY);
}

Test(oracle, causal_and_window_around_the_aligned_key)
{
    outputs to;
    oracle_problem p = problem_of(2, 4, &to);
    p.causal = true;
    p.bottom_right = true; /* offset 2 */
    cr_assert(oracle_attention(&p));
    EXPECT(to.lse, log(8), log(16));
    p.kv_lengths = (const int32_t[]){3}; /* offset 1 */
    cr_assert(oracle_attention(&p));
    EXPECT(to.lse, log(3), log(8));
    p.q_lengths = (const int32_t[]){1}; /* offset 2 */
    cr_assert(oracle_attention(&p));
    EXPECT(to.lse, log(8), -INFINITY);
    p = problem_of(2, 4, &to);
    p.has_window = true;
    p.window_left = 1;
    p.window_right = 0;
    p.causal_offset = 1;
    cr_assert(oracle_attention(&p));
    EXPECT(to.weights, 1. / 3, 2. / 3, 0, 0, 0, 2. / 7, 5. / 7, 0);
    p.window_left = -1;
    p.causal_offset = -1;
    cr_assert(oracle_attention(&p));
    EXPECT(to.lse, -INFINITY, 0);
    EXPECT(to.out, 0, 1);
}

Test(oracle, sink_takes_part_in_the_sum_alone)
{
    outputs to;
    oracle_problem p = problem_of(1, 2, &to);
    p.sink = (const float[]){logs[2]};
    cr_assert(oracle_attention(&p));
    EXPECT(to.weights, 1. / 8, 2. / 8);
    EXPECT(to.lse, log(8));
    p.kv_lengths = (const int32_t[]){0};
    cr_assert(oracle_attention(&p));
    EXPECT(to.lse, log(5));
    EXPECT(to.out, 0);
}

Test(oracle, block_lists)
{
    outputs to;
    oracle_problem p = problem_of(3, 4, &to);
    p.block_q = 2;
    p.block_kv = 3;
    p.block_limit = 3;
    p.block_count = (const int32_t[]){1, 3};
    p.block_index = (const int32_t[]){1, 0, 0, -1, 0, 7};
    cr_assert(oracle_attention(&p));
    EXPECT(to.lse, log(8), log(8), log(8));
    EXPECT(to.weights, 0, 0, 0, 1, 0, 0, 0, 1, 1. / 8, 2. / 8, 5. / 8, 0);
    p.block_index = (const int32_t[]){7, 1, 0, 1, 0, 0}; /* 7 doesn't count, so 1 is the first */
    p.block_count = (const int32_t[]){3, 9};
    cr_assert(oracle_attention(&p));
    EXPECT(to.lse, log(8), log(8), log(8));
}

static double plus_position(const void *user, double s, const int64_t at[4])
{
    return s +
           (double)*(const float *)user * (double)(1000 * at[0] + 100 * at[1] + 10 * at[2] + at[3]);
}

static bool not_the_aligned(const void *user, const int64_t at[4])
{
    return user && at[2] != at[3];
}

Test(oracle, functions_of_the_caller)
{
    outputs to;
    const float step = 0.5F;
    oracle_problem p = problem_of(2, 3, &to);
    p.batch = 1;
    p.n_head = 2;
    p.n_q = 1;
    p.causal_offset = 1;
    p.score_function = plus_position;
    p.mask_function = not_the_aligned;
    p.score_stage = ORACLE_VISIBLE;
    p.user = &step;
    cr_assert(oracle_attention(&p));
    EXPECT(to.scores, 5, -INFINITY, log(5) + 6, 55, -INFINITY, log(5) + 56);
}

Test(oracle, heads_share_keys_and_their_weights_are_averaged)
{
    outputs to;
    oracle_problem p = problem_of(1, 2, &to);
    p.n_head = 4;
    p.n_kv_head = 2;
    p.q = (const float[]){1, 0, 1, 2};
    p.k = (const float[]){0, logs[1], 0, logs[1]};
    cr_assert(oracle_attention(&p));
    EXPECT(to.weights, 1. / 3, 2. / 3, .5, .5, 1. / 3, 2. / 3, .2, .8);
    EXPECT(to.out, 7, 5.5, 700, 820);
    EXPECT(to.mean, (2. / 3 + .7) / 4, (4. / 3 + 1.3) / 4);
}

Test(oracle, dropout_keeps_what_its_words_say)
{
    outputs to;
    oracle_problem p = problem_of(2, 4, &to);
    p.dropout = 0.5F;
    p.dropout_seed = 0x123456789abcdef0;
    p.dropout_offset = 0xfedcba9876543210;
    cr_assert(oracle_attention(&p));
    EXPECT(to.lse, log(16), log(16));
    EXPECT(to.weights, 1. / 16, 2. / 16, 5. / 16, 8. / 16);
    static const double weight[4] = {1. / 16, 2. / 16, 5. / 16, 8. / 16};
    int kept = 0;
    for (int i = 0; i < 2; i++) {
        double out = 0;
        for (int j = 0; j < 4; j++) {
            const int64_t at[4] = {0, 0, i, j};
            const uint32_t word = oracle_dropout_word(p.dropout_seed, p.dropout_offset, at);
            out += word >> 31 ? 2 * weight[j] * (double)values[j] : 0;
            kept += word >> 31 ? 1 : 0;
        }
        expect("out", to.out + i, &out, 1);
    }
    cr_assert(kept > 0 && kept < 8, "the words decide nothing: %d kept", kept);
    p.weights_dropped = true;
    cr_assert(oracle_attention(&p));
    for (int j = 0; j < 4; j++)
        cr_assert(to.weights[j] == 0 || fabs(to.weights[j] - 2 * weight[j]) <= CLOSE);
}

Test(oracle, philox_known_answers)
{
    static const uint32_t known[3][10] = {
        {0, 0, 0, 0, 0, 0, 0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8},
        {0xffffffff, 0xffffffff, 0xffffffff, 0xffffffff, 0xffffffff, 0xffffffff, 0x408f276d,
         0x41c83b0e, 0xa20bc7c6, 0x6d5451fd},
        {0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344, 0xa4093822, 0x299f31d0, 0xd16cfe09,
         0x94fdcceb, 0x5001e420, 0x24126ea1},
    };
    for (int n = 0; n < 3; n++) {
        uint32_t word[4];
        oracle_philox(known[n], known[n] + 4, word);
        cr_assert_arr_eq(word, known[n] + 6, sizeof word, "answer %d", n);
    }
}

Test(oracle, dropout_word_by_position)
{
    /* Seed and offset 0: key' are the first two words of the first known answer. */
    static const uint32_t key[2] = {0x6627e8d5, 0xe169c58d};
    static const int64_t at[][4] = {{0, 0, 0, 0}, {3, 2, 5, 63}, {1, 7, 0, 64}, {0, 1, 9, 1000}};
    for (size_t n = 0; n < sizeof at / sizeof at[0]; n++) {
        const int64_t j = at[n][3];
        const uint32_t counter[4] = {(uint32_t)(16 * (j / 64) + j % 16), (uint32_t)at[n][2],
                                     (uint32_t)at[n][1], (uint32_t)at[n][0]};
        uint32_t word[4];
        oracle_philox(counter, key, word);
        cr_assert_eq(oracle_dropout_word(0, 0, at[n]), word[j % 64 / 16]);
    }
    cr_assert(oracle_dropout_keeps(0x80000000, 0.5F));
    cr_assert_not(oracle_dropout_keeps(0x7fffffff, 0.5F));
    cr_assert(oracle_dropout_keeps(0, 0));
}

Test(oracle, merging)
{
    /* Parts over {1, 2} and {5, 8} of the sixteenths, and an empty one that holds NaN. */
    const float partial_out[] = {21.F / 3, NAN, 8500.F / 13};
    const float partial_lse[] = {1.09861229F, -INFINITY, 2.56494936F};
    double out, lse;
    oracle_merge_problem p = {3, 1, 1, 1, 1, partial_out, partial_lse, NULL, &out, &lse};
    oracle_merge(&p);
    EXPECT(&out, 8521. / 16);
    EXPECT(&lse, log(16));
    p.sink = (const float[]){logs[3]};
    oracle_merge(&p);
    EXPECT(&out, 8521. / 24);
    EXPECT(&lse, log(24));
    p.parts = 1;
    p.partial_lse++;
    oracle_merge(&p);
    EXPECT(&out, 0);
    EXPECT(&lse, log(8));
}

Test(plain, agrees_where_numbers_are_exact)
{
    outputs to;
    oracle_problem p = problem_of(2, 2, &to);
    p.k = (const float[]){0, 0};
    p.v = (const float[]){1, 4};
    for (oracle_type type = ORACLE_F32; type <= ORACLE_BF16; type++) {
        cr_assert(oracle_plain(&p, type));
        EXPECT(to.out, 2.5, 2.5);
        EXPECT(to.weights, .5, .5, .5, .5);
        EXPECT(to.mean, .5, .5, .5, .5);
        EXPECT(to.sum, 1, 1);
        EXPECT(to.lse, log(2), log(2));
    }
}

Test(plain, rounds_to_the_type)
{
    outputs to;
    oracle_problem p = problem_of(1, 3, &to);
    p.k = (const float[]){1000.3F, 0, 100000};
    p.mask = (const uint8_t[]){1, 1, 0};
    cr_assert(oracle_plain(&p, ORACLE_F16));
    cr_assert_eq(to.scores[0], 1000.5); /* steps of 0.5 */
    cr_assert_eq(to.scores[2], 65504);
    cr_assert(oracle_plain(&p, ORACLE_BF16));
    cr_assert_eq(to.scores[0], 1000); /* steps of 4 */
    p.k = logs;
    p.mask = NULL;
    cr_assert(oracle_plain(&p, ORACLE_BF16));
    for (int j = 0; j < 3; j++)
        cr_assert_eq((float)to.weights[j], oracle_rounded(ORACLE_BF16, (float)to.weights[j]));
}

/* Every number of 16 bits survives, and what lies between two goes to the nearer or the even. */
Test(storage, every_narrow_number)
{
    for (uint32_t bits = 0; bits < 0x10000; bits++) {
        const float half = oracle_from_f16((uint16_t)bits),
                    brain = oracle_from_bf16((uint16_t)bits);
        if (!isnan(half))
            cr_assert_eq(oracle_to_f16(half), bits);
        if (!isnan(brain))
            cr_assert_eq(oracle_to_bf16(brain), bits);
    }
    for (uint16_t bits = 0; bits < 0x7bff; bits++) {
        const float low = oracle_from_f16(bits), high = oracle_from_f16(bits + 1);
        const float middle = (low + high) / 2;
        cr_assert(low < high);
        cr_assert_eq(oracle_to_f16(middle), bits + (bits & 1));
        cr_assert_eq(oracle_to_f16(-nextafterf(middle, low)), bits | 0x8000);
        cr_assert_eq(oracle_to_f16(nextafterf(middle, high)), bits + 1);
    }
    cr_assert_eq(oracle_from_f16(0x3c00), 1);
    cr_assert_eq(oracle_from_f16(0x0001), 0x1p-24F);
    cr_assert_eq(oracle_to_f16(65519), 0x7bff);
    cr_assert_eq(oracle_to_f16(65520), 0x7c00);
    cr_assert_eq(oracle_to_bf16(1 + 0x1p-8F), 0x3f80);
    cr_assert_eq(oracle_to_bf16(1 + 0x3p-8F), 0x3f82);
    cr_assert_eq(oracle_to_bf16(0x1.fffffep127F), 0x7f80);
    cr_assert(isnan(oracle_from_f16(oracle_to_f16(NAN))));
    cr_assert(isnan(oracle_from_bf16(oracle_to_bf16(NAN))));
}
