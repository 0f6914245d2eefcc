/* The promise about accuracy (docs/numerics.md): the largest error against float64 is at most twice
 * that of the plain unfused computation, and 2 ulp of the largest value. Every kernel, every
 * device, many shapes and magnitudes.
 *
 * Both errors are the largest over several problems of a shape and magnitude. With scores of 1000
 * and more nearly every row is one value, and the error is that of the one row whose two best
 * scores happen to be close: their rounding, which is luck, in either computation. Over several
 * problems the luck evens out. */
#include <criterion/criterion.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "rig.h"
#include "tests/shortened.h"
#include "tests/oracle/plain.h"

#define COUNT(array) (sizeof(array) / sizeof(array)[0])

/* Fewer problems where there are many numbers in each. */
static const struct {
    rig_shape shape;
    uint32_t draws;
} cases[] = {
    {{1, 1, 1, 1, 1, 1, 1, CLATTN_ALIGN_NONE}, 8},
    {{2, 4, 2, 49, 65, 64, 64, CLATTN_ALIGN_BOTTOM_RIGHT}, 8},
    {{1, 4, 4, 30, 257, 32, 48, CLATTN_ALIGN_NONE}, 8},
    {{1, 2, 1, 97, 511, 33, 17, CLATTN_ALIGN_TOP_LEFT}, 3},
    {{1, 4, 1, 5, 1021, 128, 128, CLATTN_ALIGN_NONE}, 3},
    {{1, 2, 2, 1, 4096, 64, 64, CLATTN_ALIGN_NONE}, 4},
    {{1, 1, 1, 15, 150, 576, 256, CLATTN_ALIGN_BOTTOM_RIGHT}, 4},
    {{1, 2, 2, 131, 67, 16, 31, CLATTN_ALIGN_BOTTOM_RIGHT}, 12},
};

/* What inputs are multiplied with; with scale 1 and 64 dimensions scores are of the size of
 * 2.7 q k. `drift` is added to key j's first dimension, j times, so that the maximum keeps growing;
 * `shift` is added to every value. */
typedef struct magnitude {
    const char *name;
    float q, k, v, scale, drift, shift; /* scale 0: the usual one */
} magnitude;

static const magnitude magnitudes[] = {
    {"usual", 1, 1, 1, 0, 0, 0},
    {"equal weights", 1e-6f, 1e-6f, 1, 0, 0, 0},
    {"no scores at all", 0, 1, 1, 0, 0, 0},
    {"scores of 10", 2, 2, 1, 1, 0, 0},
    {"scores of 300", 10, 10, 1, 1, 0, 0},
    {"scores of 1e4", 60, 60, 1, 1, 0, 0},
    {"scores of 1e8", 1e4f, 1e4f, 1, 1, 0, 0},
    {"small scale", 1e10f, 1e10f, 1, 1e-20f, 0, 0},
    {"negative scale", 1, 1, 1, -3, 0, 0},
    {"growing maximum", 1, 1, 1, 1, 0.05f, 0},
    {"falling maximum", 1, 1, 1, 1, -0.05f, 0},
    {"large values", 1, 1, 1e30f, 0, 0, 0},
    {"small values", 1, 1, 1e-30f, 0, 0, 0},
    {"values around 1000", 1, 1, 1, 0, 0, 1000},
};

/* A seed and what the numbers become: x * factor + shift, and `drift` for each row. */
typedef struct filling {
    uint32_t seed;
    float factor, drift, shift;
} filling;

static void fill(rig_tensor *tensor, filling how)
{
    int64_t at[4];
    for (at[0] = 0; at[0] < tensor->extent[0]; at[0]++)
        for (at[1] = 0; at[1] < tensor->extent[1]; at[1]++)
            for (at[2] = 0; at[2] < tensor->extent[2]; at[2]++)
                for (at[3] = 0; at[3] < tensor->extent[3]; at[3]++)
                    tensor->memory[rig_index(tensor, at)] =
                        rig_number(&how.seed) * how.factor + how.shift +
                        (at[3] == 0 ? how.drift * (float)at[2] : 0);
}

static void make(rig_problem *problem, const rig_shape *shape, const magnitude *of, uint32_t draw)
{
    const uint32_t seed = 1000 * draw;
    rig_make(problem, shape, 0, &rig_contiguous);
    fill(&problem->tensor[CLATTN_SLOT_Q],
         (filling){seed + 1, of->q, 0, of->drift != 0 ? 1.0f : 0.0f});
    fill(&problem->tensor[CLATTN_SLOT_K], (filling){seed + 2, of->k, of->drift, 0});
    fill(&problem->tensor[CLATTN_SLOT_V], (filling){seed + 3, of->v, 0, of->shift});
    problem->has_scale = of->scale != 0;
    problem->scale = of->scale;
    rig_expect(problem);
}

/* The largest error of `count` elements; infinite where one is not a number. */
static double error_of(const float *x, const double *expected, int64_t count)
{
    double error = 0;
    for (int64_t i = 0; i < count; i++) {
        const double difference = fabs(x[i] - expected[i]);
        error = difference <= error ? error : isnan(difference) ? INFINITY : difference;
    }
    return error;
}

static double largest_value(const rig_problem *problem)
{
    const rig_shape *of = &problem->shape;
    double largest = 0;
    for (int64_t i = 0; i < of->batch * of->n_kv_head * of->n_kv * of->value_dim; i++) {
        const double v = fabs((double)problem->input[CLATTN_SLOT_V][i]);
        largest = v > largest ? v : largest;
    }
    return largest;
}

/* The largest of the problems so far. */
typedef struct errors {
    double kernel, plain, value;
} errors;

static void draw(clattn_context *context, rig_problem *problem, errors *largest)
{
    int64_t count;
    cr_assert_eq(rig_run(context, problem), CLATTN_OK, "%s: %s", rig_said(),
                 clattn_error_message());
    float *x = rig_gather(&problem->tensor[CLATTN_SLOT_OUT], &count);
    largest->kernel = fmax(largest->kernel, error_of(x, problem->expected.out, count));
    oracle_problem plain = problem->expected;
    plain.lse = plain.weights = NULL;
    plain.out = malloc(((size_t)count + 1) * sizeof *plain.out);
    cr_assert(plain.out && oracle_plain(&plain, ORACLE_F32));
    for (int64_t i = 0; i < count; i++)
        x[i] = (float)plain.out[i];
    largest->plain = fmax(largest->plain, error_of(x, problem->expected.out, count));
    free(plain.out);
    largest->value = fmax(largest->value, largest_value(problem));
    free(x);
}

static void keep_the_promise(clattn_context *context, const char *kernel)
{
    for (size_t s = 0; s < COUNT(cases); s++)
        for (size_t m = 0; m < COUNT(magnitudes); m += is_shortened() ? 5 : 1) {
            errors largest = {0, 0, 0};
            rig_say("%s, shape %d, %s", kernel, (int)s, magnitudes[m].name);
            for (uint32_t n = 0; n < cases[s].draws; n++) {
                rig_problem problem;
                make(&problem, &cases[s].shape, &magnitudes[m], n);
                draw(context, &problem, &largest);
                rig_free(&problem);
            }
            const double allowed = 2 * largest.plain + 2 * oracle_ulp(ORACLE_F32) * largest.value;
            cr_assert(largest.kernel <= allowed, "%s: error %.3g, allowed %.3g", rig_said(),
                      largest.kernel, allowed);
        }
}

Test(bound, every_kernel_keeps_the_promise)
{
    rig_each_kernel(keep_the_promise);
}
