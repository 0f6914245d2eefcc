/* Rotary embedding against the formula in double precision: both pairings, part of the dimensions,
 * types, strides, positions; on every device. */
#include <clattn/layer.h>
#include <criterion/criterion.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "rig.h"
#include "tests/oracle/storage.h"

#define COUNT(array) (sizeof(array) / sizeof(array)[0])
enum { BATCH = 2, HEADS = 3, TOKENS = 70, POSITIONS = 5000 };

static const struct {
    int64_t head_dim, rotary_dim;
    uint32_t interleaved;
    double base;
    bool half, tokens_first;
} cases[] = {
    {64, 64, 0, 10000, false, false},   {64, 64, 1, 10000, false, true},
    {80, 32, 0, 500000, false, true},   {33, 2, 1, 10, false, false},
    {576, 576, 0, 10000, false, false}, {16, 8, 1, 10000, true, false},
};

static void good(clattn_status status)
{
    cr_assert_eq(status, CLATTN_OK, "%s: %s", rig_said(), clattn_error_message());
}

/* Element d of a rotated row. */
static double rotated(const float *x, int64_t d, size_t n, int64_t position)
{
    const int64_t pairs = cases[n].rotary_dim / 2;
    if (d >= 2 * pairs)
        return x[d];
    const int64_t pair = cases[n].interleaved ? d / 2 : d % pairs;
    const bool second = cases[n].interleaved ? d % 2 : d >= pairs;
    const int64_t first = cases[n].interleaved ? 2 * pair : pair;
    const double a = x[first], b = x[first + (cases[n].interleaved ? 1 : pairs)];
    const double angle =
        (double)position * pow(cases[n].base, -2.0 * (double)pair / (double)cases[n].rotary_dim);
    return second ? a * sin(angle) + b * cos(angle) : a * cos(angle) - b * sin(angle);
}

/* One case with its arrays. */
typedef struct rotation {
    clattn_rotary_desc desc;
    int64_t count;    /* elements of either tensor */
    float *x, *out;   /* (count) as the rows lie in memory */
    float *angles;    /* (POSITIONS, rotary_dim) */
    uint16_t *halves; /* (count) x, then out, where they are stored as float16 */
    uint64_t bytes, angle_bytes;
} rotation;

static const int32_t positions[BATCH] = {0, POSITIONS - TOKENS};

static void describe(rotation *r, size_t n)
{
    const int64_t dim = cases[n].head_dim;
    clattn_rotary_desc_init(&r->desc);
    r->desc.interleaved = cases[n].interleaved;
    r->desc.batch = BATCH;
    r->desc.n_head = HEADS;
    r->desc.n = TOKENS;
    r->desc.head_dim = dim;
    r->desc.rotary_dim = cases[n].rotary_dim;
    r->desc.n_positions = POSITIONS;
    clattn_tensor *q = &r->desc.tensor[CLATTN_SLOT_Q];
    q->dtype = cases[n].half ? CLATTN_F16 : CLATTN_F32;
    q->strided = 1;
    q->stride[0] = HEADS * TOKENS * dim;
    q->stride[1] = cases[n].tokens_first ? dim : TOKENS * dim;
    q->stride[2] = cases[n].tokens_first ? HEADS * dim : dim;
    q->stride[3] = 1;
    r->desc.tensor[CLATTN_SLOT_OUT] = *q;
}

static void make(rotation *r, size_t n)
{
    uint32_t state = 7;
    describe(r, n);
    r->count = BATCH * HEADS * TOKENS * cases[n].head_dim;
    r->bytes = (uint64_t)r->count * (cases[n].half ? sizeof *r->halves : sizeof *r->x);
    r->angle_bytes = (uint64_t)(POSITIONS * cases[n].rotary_dim) * sizeof *r->angles;
    r->x = malloc((size_t)r->count * sizeof *r->x);
    r->out = malloc((size_t)r->count * sizeof *r->out);
    r->halves = malloc((size_t)r->count * sizeof *r->halves);
    r->angles = malloc((size_t)r->angle_bytes);
    cr_assert(r->x && r->out && r->halves && r->angles);
    for (int64_t i = 0; i < r->count; i++) {
        r->x[i] = rig_number(&state);
        r->halves[i] = oracle_to_f16(r->x[i]);
        if (cases[n].half)
            r->x[i] = oracle_from_f16(r->halves[i]);
    }
    good(clattn_rotary_angles(POSITIONS, cases[n].rotary_dim, cases[n].base, NULL, r->angles));
}

static void compute(clattn_context *context, clattn_dispatcher *dispatcher, rotation *r, bool half)
{
    clattn_plan *plan;
    clattn_buffer *buffer[3];
    good(clattn_plan_rotary(context, &r->desc, &plan));
    good(clattn_buffer_create(context, r->bytes, &buffer[0]));
    good(clattn_buffer_create(context, r->bytes, &buffer[1]));
    good(clattn_buffer_create(context, r->angle_bytes, &buffer[2]));
    good(clattn_buffer_write(buffer[0], 0, half ? (void *)r->halves : (void *)r->x, r->bytes));
    good(clattn_buffer_write(buffer[2], 0, r->angles, r->angle_bytes));
    const clattn_binding bindings[] = {{.slot = CLATTN_SLOT_Q, .buffer = buffer[0]},
                                       {.slot = CLATTN_SLOT_OUT, .buffer = buffer[1]},
                                       {.slot = CLATTN_SLOT_ANGLES, .buffer = buffer[2]},
                                       {.slot = CLATTN_SLOT_POSITIONS, .host = positions}};
    const clattn_step step = {.plan = plan, .bindings = bindings, .binding_count = 4};
    clattn_submission submission;
    clattn_submission_init(&submission);
    submission.steps = &step;
    submission.step_count = 1;
    rig_submit(dispatcher, &submission);
    good(clattn_buffer_read(buffer[1], 0, half ? (void *)r->halves : (void *)r->out, r->bytes));
    clattn_plan_destroy(plan);
    for (int i = 0; i < 3; i++)
        good(clattn_buffer_destroy(buffer[i]));
}

static void check_row(const rotation *r, size_t n, int64_t row, int64_t position)
{
    for (int64_t d = 0; d < cases[n].head_dim; d++) {
        const double expected = rotated(r->x + row, d, n, position);
        const double got = cases[n].half ? oracle_from_f16(r->halves[row + d]) : r->out[row + d];
        cr_assert(fabs(got - expected) <= (cases[n].half ? 1e-3 : 1e-6),
                  "%s: element %d at position %d is %g, not %g", rig_said(), (int)d, (int)position,
                  got, expected);
    }
}

static void run_case(clattn_context *context, clattn_dispatcher *dispatcher, size_t n)
{
    rotation r;
    make(&r, n);
    compute(context, dispatcher, &r, cases[n].half);
    const int64_t *stride = r.desc.tensor[CLATTN_SLOT_Q].stride;
    for (int64_t b = 0; b < BATCH; b++)
        for (int64_t h = 0; h < HEADS; h++)
            for (int64_t i = 0; i < TOKENS; i++)
                check_row(&r, n, b * stride[0] + h * stride[1] + i * stride[2], positions[b] + i);
    free(r.x);
    free(r.out);
    free(r.halves);
    free(r.angles);
}

Test(rotary, follows_the_formula)
{
    clattn_context *context = rig_open();
    clattn_dispatcher *dispatcher;
    good(clattn_dispatcher_create(context, NULL, &dispatcher));
    for (size_t n = 0; n < COUNT(cases); n++) {
        rig_say("case %d", (int)n);
        run_case(context, dispatcher, n);
    }
    clattn_dispatcher_destroy(dispatcher);
    rig_close(context);
}

Test(rotary, angles_are_those_of_the_frequencies)
{
    static const double frequencies[] = {0.5, 2};
    float angles[3][2][2];
    good(clattn_rotary_angles(3, 4, 0, frequencies, &angles[0][0][0]));
    cr_expect_float_eq(angles[2][0][0], (float)cos(1.0), 1e-7);
    cr_expect_float_eq(angles[2][1][1], (float)sin(4.0), 1e-7);
    cr_expect_eq(clattn_rotary_angles(3, 3, 1, NULL, &angles[0][0][0]), CLATTN_ERR_ARGUMENT);
    cr_expect_eq(clattn_rotary_angles(-1, 4, 1, NULL, &angles[0][0][0]), CLATTN_ERR_ARGUMENT);
    cr_expect_eq(clattn_rotary_angles(3, 4, 0, NULL, &angles[0][0][0]), CLATTN_ERR_ARGUMENT);
    cr_expect_eq(clattn_rotary_angles(3, 4, 1, NULL, NULL), CLATTN_ERR_ARGUMENT);
}
