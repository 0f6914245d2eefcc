/* Linear steps of a submission that need nothing of each other share launches: with parts of the
 * same buffers, of different sizes, they have the bits that they have one after the other. */
#include <criterion/criterion.h>
#include <string.h>

#include "linear_rig.h"
#include "rig.h"

enum { STEPS = 3, ROWS = 97, IN = 50, PART = 4900 + 3, BOUND = 4, PACK = 3, PASSES = 4 };
static const int64_t widths[STEPS] = {
    48, 33, 47}; /* fewer than ROWS and IN, and no less than a tile: kernels alike */
static const clattn_slot slots[BOUND] = {CLATTN_SLOT_X, CLATTN_SLOT_W, CLATTN_SLOT_B,
                                         CLATTN_SLOT_Y};

/* Memory of all steps: of each slot a buffer, in which each step has a part. */
typedef struct scene {
    clattn_context *context;
    clattn_plan *plan[STEPS];
    clattn_buffer *buffer[BOUND];
    clattn_binding binding[STEPS][BOUND];
    clattn_step step[STEPS];
    float before[BOUND][STEPS * PART];
    uint32_t bound;
} scene;

static void describe(uint32_t pass, int64_t width, clattn_linear_desc *desc)
{
    clattn_linear_desc_init(desc);
    desc->pass = pass == PACK ? CLATTN_LINEAR_FORWARD : (clattn_linear_pass)pass;
    desc->accumulate = pass != PACK;
    desc->batch = 1;
    desc->rows = ROWS;
    desc->in = IN;
    desc->out = width;
    if (pass != CLATTN_LINEAR_GRADIENT_X)
        desc->slots = CLATTN_SLOT_BIT(CLATTN_SLOT_B);
    if (pass == CLATTN_LINEAR_GRADIENT_W)
        desc->slots |= CLATTN_SLOT_BIT(CLATTN_SLOT_W);
}

/* What of the slots a pass has; where it packs, in the place of Y what is packed. */
static bool has(uint32_t pass, int slot)
{
    if (pass == PACK)
        return slots[slot] == CLATTN_SLOT_W || slots[slot] == CLATTN_SLOT_Y;
    return pass != CLATTN_LINEAR_GRADIENT_X || slots[slot] != CLATTN_SLOT_B;
}

static void bind_slot(scene *s, uint32_t pass, int slot)
{
    s->buffer[slot] = rig_filled(s->context, s->before[slot], sizeof s->before[slot]);
    if (!has(pass, slot))
        return;
    const bool packed = pass == PACK && slots[slot] == CLATTN_SLOT_Y;
    for (int i = 0; i < STEPS; i++)
        s->binding[i][s->bound] =
            (clattn_binding){.slot = packed ? CLATTN_SLOT_PACKED_W : slots[slot],
                             .buffer = s->buffer[slot],
                             .offset = (uint64_t)i * PART * sizeof(float)};
    s->bound++;
}

static void open_scene(scene *s, clattn_context *context, uint32_t pass)
{
    uint32_t state = 1 + pass;
    s->context = context;
    s->bound = 0;
    for (int slot = 0; slot < BOUND; slot++) {
        for (int n = 0; n < STEPS * PART; n++)
            s->before[slot][n] = rig_number(&state);
        bind_slot(s, pass, slot);
    }
    for (int i = 0; i < STEPS; i++) {
        clattn_linear_desc desc;
        describe(pass, widths[i], &desc);
        const clattn_status status = pass == PACK
                                         ? clattn_plan_linear_pack(context, &desc, &s->plan[i])
                                         : clattn_plan_linear(context, &desc, &s->plan[i]);
        cr_assert_eq(status, CLATTN_OK, "%s: %s", rig_said(), clattn_error_message());
        s->step[i] =
            (clattn_step){.plan = s->plan[i], .bindings = s->binding[i], .binding_count = s->bound};
    }
}

static void close_scene(scene *s)
{
    for (int i = 0; i < STEPS; i++)
        clattn_plan_destroy(s->plan[i]);
    for (int slot = 0; slot < BOUND; slot++)
        cr_assert_eq(clattn_buffer_destroy(s->buffer[slot]), CLATTN_OK);
}

/* Runs all steps, `together` in a submission; `after` gets all memory. Returns how many launches
 * that took. */
static uint64_t run(scene *s, bool together, float (*after)[STEPS * PART])
{
    clattn_dispatcher *dispatcher = rig_dispatcher(s->context);
    clattn_dispatcher_statistics made = {.struct_size = sizeof made};
    clattn_submission submission;
    for (int slot = 0; slot < BOUND; slot++)
        cr_assert_eq(
            clattn_buffer_write(s->buffer[slot], 0, s->before[slot], sizeof s->before[slot]),
            CLATTN_OK);
    clattn_submission_init(&submission);
    submission.step_count = together ? STEPS : 1;
    for (uint32_t i = 0; i < STEPS; i += submission.step_count) {
        submission.steps = &s->step[i];
        rig_submit(dispatcher, &submission);
    }
    cr_assert_eq(clattn_dispatcher_get_statistics(dispatcher, &made), CLATTN_OK);
    clattn_dispatcher_destroy(dispatcher);
    for (int slot = 0; slot < BOUND; slot++)
        cr_assert_eq(clattn_buffer_read(s->buffer[slot], 0, after[slot], sizeof after[slot]),
                     CLATTN_OK);
    return made.lane[0].launches;
}

/* Every pass writes something of each step. */
static void expect_changed(const scene *s, float (*after)[STEPS * PART])
{
    for (int i = 0; i < STEPS; i++) {
        int changed = 0;
        for (int slot = 0; slot < BOUND; slot++)
            changed += memcmp(s->before[slot] + i * PART, after[slot] + i * PART,
                              PART * sizeof(float)) != 0;
        cr_assert_geq(changed, 1, "%s: step %d wrote nothing", rig_said(), i);
    }
}

/* Steps with much scratch memory, each with its own if they shared launches, have launches of their
 * own: packed panels of 64 columns and this depth take 17 MB. */
Test(linear_shared, not_with_much_scratch_memory)
{
    enum { SIDE = 64, DEPTH = 66000, TWO = 2 };
    clattn_context *context = linear_open(0);
    clattn_linear_desc desc;
    clattn_plan *plan;
    uint64_t launches[TWO], scratch;
    clattn_linear_desc_init(&desc);
    desc.batch = 1;
    desc.rows = desc.out = SIDE;
    desc.in = DEPTH;
    if (!linear_runs(context, 0))
        cr_skip_test("the device has no kernel that packs");
    linear_good(clattn_plan_linear(context, &desc, &plan));
    linear_good(clattn_plan_workspace_size(plan, &scratch));
    cr_assert_gt(scratch, 16777216);
    clattn_buffer *in = rig_filled(context, NULL, 4 * SIDE * DEPTH),
                  *out = rig_filled(context, NULL, TWO * 4 * SIDE * SIDE);
    clattn_binding binding[TWO][3];
    clattn_step step[TWO];
    for (uint64_t i = 0; i < TWO; i++) {
        binding[i][0] = (clattn_binding){.slot = CLATTN_SLOT_X, .buffer = in};
        binding[i][1] = (clattn_binding){.slot = CLATTN_SLOT_W, .buffer = in};
        binding[i][2] =
            (clattn_binding){.slot = CLATTN_SLOT_Y, .buffer = out, .offset = i * 4 * SIDE * SIDE};
        step[i] = (clattn_step){.plan = plan, .bindings = binding[i], .binding_count = 3};
    }
    for (uint32_t count = 1; count <= TWO; count++) {
        clattn_dispatcher *dispatcher = rig_dispatcher(context);
        clattn_dispatcher_statistics made = {.struct_size = sizeof made};
        clattn_submission submission;
        clattn_submission_init(&submission);
        submission.steps = step;
        submission.step_count = count;
        rig_submit(dispatcher, &submission);
        linear_good(clattn_dispatcher_get_statistics(dispatcher, &made));
        launches[count - 1] = made.lane[0].launches;
        clattn_dispatcher_destroy(dispatcher);
    }
    cr_assert_eq(launches[1], 2 * launches[0]);
    linear_good(clattn_buffer_destroy(in));
    linear_good(clattn_buffer_destroy(out));
    clattn_plan_destroy(plan);
    rig_close(context);
}

Test(linear_shared, has_the_bits_of_single_steps)
{
    static scene s;
    static float apart[BOUND][STEPS * PART], together[BOUND][STEPS * PART];
    for (size_t family = 0; family < LINEAR_FAMILIES; family++) {
        clattn_context *context = linear_open(family);
        for (uint32_t pass = 0; pass < PASSES && linear_runs(context, family); pass++) {
            rig_say("%s, pass %d", linear_families[family], (int)pass);
            open_scene(&s, context, pass);
            const uint64_t single = run(&s, false, apart), shared = run(&s, true, together);
            expect_changed(&s, apart);
            cr_assert_arr_eq(apart, together, sizeof apart, "%s", rig_said());
            cr_assert_eq(single, STEPS * shared, "%s: %d launches and %d", rig_said(), (int)single,
                         (int)shared);
            close_scene(&s);
        }
        rig_close(context);
    }
}
