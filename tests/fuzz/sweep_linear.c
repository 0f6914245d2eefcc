/* Random linear operations and their gradients, with weights packed or not. */
#include <criterion/criterion.h>
#include <stdlib.h>

#include "sweep.h"
#include "tests/device/linear_rig.h"
#include "tests/device/rig.h"
#include "tests/oracle/linear.h"

static clattn_context *contexts[LINEAR_FAMILIES];
static bool runs[LINEAR_FAMILIES];

static int64_t choose_extent(fuzz_random *r)
{
    if (fuzz_chance(r, 30))
        return FUZZ_PICK(r, 1, 2, 3, 5, 6, 7, 8, 15, 16, 17, 31, 32, 33, 63, 64, 65, 95, 96, 97);
    if (fuzz_chance(r, 10))
        return FUZZ_PICK(r, 127, 128, 129, 159, 160, 161, 320, 321, 511, 512, 513);
    return fuzz_between(r, 1, 60);
}

static linear_case choose_case(fuzz_random *r)
{
    linear_case c = {.batch = FUZZ_PICK(r, 1, 1, 1, 2, 3),
                     .rows = fuzz_chance(r, 3) ? 0 : choose_extent(r),
                     .in = choose_extent(r),
                     .out = choose_extent(r)};
    c.type = fuzz_chance(r, 70) ? ORACLE_F32 : fuzz_chance(r, 50) ? ORACLE_F16 : ORACLE_BF16;
    c.x = (linear_arrangement)fuzz_between(r, 0, LINEAR_FORMS - 1);
    c.w = (linear_arrangement)fuzz_between(r, 0, LINEAR_FORMS - 1);
    c.y = (linear_arrangement)fuzz_between(r, 0, LINEAR_FORMS - 1);
    c.bias = fuzz_chance(r, 60);
    c.accumulate = fuzz_chance(r, 30);
    return c;
}

/* The loss sum of y * dy. It is linear in each tensor, so that where one is written its values
 * don't matter to the gradient by it. */
typedef struct linear_loss {
    oracle_linear of;
    int64_t outputs;
} linear_loss;

static double loss_of(const void *of)
{
    const linear_loss *l = of;
    double sum = 0;
    oracle_linear_run(&l->of);
    for (int64_t n = 0; n < l->outputs; n++)
        sum += l->of.y[n] * (double)l->of.dy[n];
    return sum;
}

static int64_t count_of(const linear_array *a)
{
    return a->extent[0] * a->extent[1] * a->extent[2];
}

static void compare(const linear_trial *t, int role, fuzz_random *r)
{
    static const char *const names[LINEAR_ROLES] = {"x", "W", "b", "y"};
    const linear_case *c = t->of;
    linear_loss l = {.of = {.batch = c->batch, .rows = c->rows, .in = c->in, .out = c->out}};
    l.outputs = count_of(&t->array[LINEAR_Y]);
    l.of.x = t->array[LINEAR_X].plain;
    l.of.w = t->array[LINEAR_W].plain;
    l.of.b = t->array[LINEAR_B].plain;
    l.of.dy = t->array[LINEAR_Y].plain;
    l.of.y = malloc((size_t)(l.outputs + 1) * sizeof *l.of.y);
    cr_assert_not_null(l.of.y);
    const int64_t count = count_of(&t->array[role]);
    float *before = malloc((size_t)(count + 1) * sizeof *before);
    cr_assert_not_null(before);
    for (int64_t n = 0; n < count; n++)
        before[n] = t->array[role].plain[n];
    const sweep_gradient gradient = {names[role], t->array[role].plain, t->expected[role],
                                     c->accumulate ? before : NULL, count};
    sweep_compare(loss_of, &l, &gradient, 1e-5, r);
    free(before);
    free(l.of.y);
}

static void one(fuzz_random *r, bool differences)
{
    const linear_case c = choose_case(r);
    const uint32_t pass = (uint32_t)fuzz_between(r, differences ? 1 : 0, 2);
    const bool packed = pass < 2 && fuzz_chance(r, 30);
    for (size_t family = 0; family < LINEAR_FAMILIES; family++) {
        linear_trial t;
        if (!runs[family])
            continue;
        linear_begin(&t, &c, pass);
        (packed ? linear_run_packed : linear_run)(contexts[family], &t);
        linear_check(&t);
        if (differences && family == LINEAR_FAMILIES - 1)
            compare(&t, pass == 1 ? LINEAR_X : LINEAR_W, r);
        if (differences && family == LINEAR_FAMILIES - 1 && pass == 2 && c.bias)
            compare(&t, LINEAR_B, r);
        linear_end(&t);
    }
}

Test(sweep, linear)
{
    for (size_t family = 0; family < LINEAR_FAMILIES; family++) {
        contexts[family] = linear_open(family);
        runs[family] = linear_runs(contexts[family], family);
    }
    sweep("linear", 1, one);
    for (size_t family = 0; family < LINEAR_FAMILIES; family++)
        rig_close(contexts[family]);
}
