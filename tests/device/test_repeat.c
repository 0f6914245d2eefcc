/* The same bits: on repetition, alone or among batch mates, in one call or by submission, with
 * other work at the same time. */
#include <criterion/criterion.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "rig.h"

#define COUNT(array) (sizeof(array) / sizeof(array)[0])
#define REPETITIONS  20

static const rig_shape shapes[] = {
    {1, 1, 1, 1, 1, 1, 1, CLATTN_ALIGN_NONE},
    {2, 4, 2, 49, 65, 64, 64, CLATTN_ALIGN_BOTTOM_RIGHT},
    {1, 8, 8, 1, 777, 64, 64, CLATTN_ALIGN_NONE},
    {1, 2, 1, 100, 513, 33, 17, CLATTN_ALIGN_TOP_LEFT},
    {1, 4, 4, 130, 300, 128, 80, CLATTN_ALIGN_NONE},
};

/* The outputs of a run, contiguous. */
typedef struct outputs {
    float *x[RIG_SLOTS]; /* by slot; NULL: takes no part */
    int64_t count[RIG_SLOTS];
} outputs;

static void take(rig_problem *problem, outputs *of)
{
    memset(of, 0, sizeof *of);
    for (int slot = CLATTN_SLOT_OUT; slot < RIG_SLOTS; slot++)
        if (problem->tensor[slot].rank)
            of->x[slot] = rig_gather(&problem->tensor[slot], &of->count[slot]);
    rig_forget(problem);
}

static void finish(outputs *of)
{
    for (int slot = 0; slot < RIG_SLOTS; slot++)
        free(of->x[slot]);
}

/* `b` must have the bits of a part of `a`: those from batch entry `entry` on. */
static void expect_part(const outputs *a, const outputs *b, int64_t entry)
{
    for (int slot = 0; slot < RIG_SLOTS; slot++)
        for (int64_t i = 0; i < b->count[slot]; i++)
            cr_assert_eq(
                memcmp(a->x[slot] + entry * b->count[slot] + i, b->x[slot] + i, sizeof(float)), 0,
                "%s: slot %d, element %d: %.9g and %.9g", rig_said(), slot, (int)i,
                (double)a->x[slot][entry * b->count[slot] + i], (double)b->x[slot][i]);
}

static void run_and_take(clattn_context *context, rig_problem *problem, outputs *of)
{
    cr_assert_eq(rig_run(context, problem), CLATTN_OK, "%s: %s", rig_said(),
                 clattn_error_message());
    take(problem, of);
}

static void repeat(clattn_context *context, const char *kernel)
{
    for (size_t i = 0; i < COUNT(shapes); i++) {
        rig_problem problem;
        outputs first, again;
        rig_say("%s, shape %d", kernel, (int)i);
        rig_make(&problem, &shapes[i], i % 2 ? RIG_FULL : 0, &rig_contiguous);
        run_and_take(context, &problem, &first);
        for (int n = 1; n < REPETITIONS; n++) {
            if (n % 2)
                run_and_take(context, &problem, &again);
            else
                cr_assert_eq(rig_run_staged(context, &problem), CLATTN_OK);
            if (n % 2 == 0)
                take(&problem, &again);
            expect_part(&first, &again, 0);
            finish(&again);
        }
        finish(&first);
        rig_free(&problem);
    }
}

Test(repeat, in_one_call_and_by_submission)
{
    rig_each_kernel(repeat);
}

/* A problem with one batch entry that reads what entry `entry` of `all` reads. */
static void make_single(const rig_problem *all, int64_t entry, rig_problem *single)
{
    rig_shape shape = all->shape;
    shape.batch = 1;
    rig_make(single, &shape, all->slots, &rig_contiguous);
    for (int slot = 0; slot < CLATTN_SLOT_OUT; slot++) {
        int64_t whole, size;
        float *from = rig_gather(&all->tensor[slot], &whole);
        free(rig_gather(&single->tensor[slot], &size));
        memcpy(single->tensor[slot].memory + single->tensor[slot].origin, from + entry * size,
               (size_t)size * sizeof(float));
        free(from);
    }
}

static void batch_mates(clattn_context *context, const char *kernel)
{
    for (size_t i = 0; i < COUNT(shapes); i++) {
        rig_shape shape = shapes[i];
        rig_problem all, single;
        outputs together, alone;
        shape.batch = 5;
        rig_say("%s, shape %d", kernel, (int)i);
        rig_make(&all, &shape, RIG_FULL, &rig_contiguous);
        run_and_take(context, &all, &together);
        for (int64_t entry = 0; entry < shape.batch; entry++) {
            make_single(&all, entry, &single);
            run_and_take(context, &single, &alone);
            expect_part(&together, &alone, entry);
            finish(&alone);
            rig_free(&single);
        }
        finish(&together);
        rig_free(&all);
    }
}

Test(repeat, alone_and_among_batch_mates)
{
    rig_each_kernel(batch_mates);
}

/* NaN in one entry of the batch is nobody else's business. */
static void bad_batch_mate(clattn_context *context, const char *kernel)
{
    const rig_shape shape = {3, 2, 2, 50, 70, 40, 40, CLATTN_ALIGN_NONE};
    rig_problem problem;
    outputs good, bad;
    rig_say("%s, NaN in entry 1", kernel);
    rig_make(&problem, &shape, RIG_FULL, &rig_contiguous);
    run_and_take(context, &problem, &good);
    for (int slot = 0; slot < 3; slot++) {
        const int64_t at[4] = {1, 0, 0, 0};
        problem.tensor[slot].memory[rig_index(&problem.tensor[slot], at)] = NAN;
    }
    run_and_take(context, &problem, &bad);
    for (int slot = CLATTN_SLOT_OUT; slot < RIG_SLOTS; slot++) {
        const size_t entry = (size_t)good.count[slot] / 3;
        cr_assert(isnan(bad.x[slot][entry]), "%s: slot %d hides it", rig_said(), slot);
        cr_assert_eq(memcmp(good.x[slot], bad.x[slot], entry * sizeof(float)), 0);
        cr_assert_eq(
            memcmp(good.x[slot] + 2 * entry, bad.x[slot] + 2 * entry, entry * sizeof(float)), 0);
    }
    finish(&good);
    finish(&bad);
    rig_free(&problem);
}

Test(repeat, beside_a_batch_mate_with_nan)
{
    rig_each_kernel(bad_batch_mate);
}

/* Many submissions at once of one plan, each with outputs of its own. */
static void company(clattn_context *context, const char *kernel)
{
    enum { STAGES = 6 };
    rig_problem problem[STAGES];
    rig_stage stage[STAGES];
    outputs first, other;
    clattn_dispatcher *dispatcher[2];
    rig_say("%s, in company", kernel);
    for (int d = 0; d < 2; d++)
        cr_assert_eq(clattn_dispatcher_create(context, NULL, &dispatcher[d]), CLATTN_OK);
    for (int i = 0; i < STAGES; i++) {
        rig_make(&problem[i], &shapes[1], RIG_FULL, &rig_contiguous);
        cr_assert_eq(rig_stage_make(context, &problem[i], &stage[i]), CLATTN_OK);
    }
    for (int round = 0; round < 5; round++)
        for (int i = 0; i < STAGES; i++)
            cr_assert_eq(clattn_submit(dispatcher[i % 2], &stage[i].submission, NULL), CLATTN_OK);
    for (int d = 0; d < 2; d++) {
        cr_assert_eq(clattn_dispatcher_finish(dispatcher[d]), CLATTN_OK);
        clattn_dispatcher_destroy(dispatcher[d]);
    }
    rig_stage_fetch(&stage[0]);
    rig_expect(&problem[0]);
    take(&problem[0], &first);
    for (int i = 0; i < STAGES; i++) {
        if (i > 0) {
            rig_stage_fetch(&stage[i]);
            take(&problem[i], &other);
            expect_part(&first, &other, 0);
            finish(&other);
        }
        rig_stage_free(&stage[i]);
        rig_free(&problem[i]);
    }
    finish(&first);
}

Test(repeat, with_other_work_at_the_same_time)
{
    rig_each_kernel(company);
}
