/* Tensors that lie anywhere in memory: any order of dimensions, slices, packed QKV, negative
 * strides, stride 0, inner strides. What lies between the elements is NaN where it is read and
 * guarded where it is written. Every kernel, every device, host memory and buffers. */
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "rig.h"

enum { BATCH = 1, HEAD = 2, SEQUENCE = 4, DIM = 8 }; /* bits of rig_layout */

static const rig_layout layouts[] = {
    {"(B,H,S,D)", {0, 1, 2, 3}, .step = 1},
    {"(B,S,H,D)", {0, 2, 1, 3}, .step = 1},
    {"(S,B,H,D)", {2, 0, 1, 3}, .step = 1},
    {"(B,H,D,S)", {0, 1, 3, 2}, .step = 1},
    {"(D,S,H,B)", {3, 2, 1, 0}, .step = 1},
    {"slice", {0, 1, 2, 3}, {1, 2, 3, 5}, {2, 1, 4, 6}, .step = 1},
    {"slice of (B,S,H,D)", {0, 2, 1, 3}, {1, 1, 1, 16}, {1, 1, 1, 16}, .step = 1},
    {"every second", {0, 1, 2, 3}, .step = 2},
    {"every third of (B,S,H,D)", {0, 2, 1, 3}, {0, 0, 0, 1}, .step = 3},
    {"sequence backwards", {0, 1, 2, 3}, .step = 1, .reversed = SEQUENCE},
    {"dim backwards", {0, 1, 2, 3}, .step = 1, .reversed = DIM},
    {"all backwards, slice",
     {0, 2, 1, 3},
     {1, 1, 1, 1},
     {1, 1, 1, 1},
     .step = 2,
     .reversed = BATCH | HEAD | SEQUENCE | DIM},
};

/* For tensors that are read. */
static const rig_layout broadcasts[] = {
    {"one head", {0, 1, 2, 3}, .step = 1, .broadcast = HEAD},
    {"one batch entry", {0, 2, 1, 3}, .step = 1, .broadcast = BATCH},
    {"one head of all, backwards",
     {0, 1, 2, 3},
     .step = 1,
     .broadcast = BATCH | HEAD,
     .reversed = SEQUENCE},
    {"one row", {0, 1, 2, 3}, .step = 1, .broadcast = SEQUENCE},
    {"one number a row", {0, 1, 2, 3}, .step = 1, .broadcast = DIM},
    {"one number", {0, 1, 2, 3}, .step = 1, .broadcast = BATCH | HEAD | SEQUENCE | DIM},
};

static const rig_shape shapes[] = {
    {2, 4, 2, 7, 19, 16, 16, CLATTN_ALIGN_BOTTOM_RIGHT},
    {2, 3, 3, 50, 70, 33, 17, CLATTN_ALIGN_NONE},
    {2, 2, 1, 13, 65, 8, 96, CLATTN_ALIGN_TOP_LEFT},
};

#define COUNT(array) (sizeof(array) / sizeof(array)[0])

static const char *kernel_name;

/* Both ways; every kernel must take any strides. */
static void run_and_check(clattn_context *context, rig_problem *problem, const char *what)
{
    rig_expect(problem);
    rig_say("%s, %s, n_q %d, host memory", kernel_name, what, (int)problem->shape.n_q);
    cr_assert_eq(rig_run(context, problem), CLATTN_OK, "%s: %s", rig_said(),
                 clattn_error_message());
    rig_check(problem);
    rig_say("%s, %s, n_q %d, buffers", kernel_name, what, (int)problem->shape.n_q);
    cr_assert_eq(rig_run_staged(context, problem), CLATTN_OK, "%s: %s", rig_said(),
                 clattn_error_message());
    rig_check(problem);
    rig_free(problem);
}

static void all_tensors_alike(clattn_context *context, const char *kernel)
{
    kernel_name = kernel;
    for (size_t s = 0; s < COUNT(shapes); s++)
        for (size_t i = 0; i < COUNT(layouts); i++)
            for (int full = 0; full < 2; full++) {
                rig_problem problem;
                rig_make(&problem, &shapes[s], full ? RIG_FULL : 0, &layouts[i]);
                run_and_check(context, &problem, layouts[i].name);
            }
}

Test(layouts, all_tensors_alike)
{
    rig_each_kernel(all_tensors_alike);
}

/* One slot in each layout, the others contiguous: no kernel takes one tensor's strides for
 * another's. */
static void one_tensor_apart(clattn_context *context, const char *kernel)
{
    kernel_name = kernel;
    for (size_t i = 1; i < COUNT(layouts); i++)
        for (int slot = 0; slot < RIG_SLOTS; slot++) {
            char what[64];
            rig_problem problem;
            rig_begin(&problem, &shapes[1], RIG_FULL);
            for (int other = 0; other < RIG_SLOTS; other++)
                rig_lay_out(&problem, (clattn_slot)other,
                            other == slot ? &layouts[i] : &rig_contiguous);
            snprintf(what, sizeof what, "slot %d %s", slot, layouts[i].name);
            run_and_check(context, &problem, what);
        }
}

Test(layouts, one_tensor_apart)
{
    rig_each_kernel(one_tensor_apart);
}

/* Bit slot of `which`: this input is broadcast. */
static void broadcast_inputs(clattn_context *context, const char *kernel)
{
    kernel_name = kernel;
    for (size_t i = 0; i < COUNT(broadcasts); i++)
        for (int which = 1; which < 8; which++) {
            char what[64];
            rig_problem problem;
            rig_begin(&problem, &shapes[which % 3], RIG_FULL);
            for (int slot = 0; slot < RIG_SLOTS; slot++)
                rig_lay_out(&problem, (clattn_slot)slot,
                            which >> slot & 1 ? &broadcasts[i] : &rig_contiguous);
            snprintf(what, sizeof what, "inputs %d %s", which, broadcasts[i].name);
            run_and_check(context, &problem, what);
        }
}

Test(layouts, broadcast_inputs)
{
    rig_each_kernel(broadcast_inputs);
}

/* Where Q, K and V sit in one allocation: elements from one to the next of the three, and strides
 * of batch, head and sequence. */
typedef struct packing {
    const char *name;
    int64_t next, batch, head, sequence;
} packing;

static void pack(rig_problem *problem, const packing *how)
{
    const rig_shape *of = &problem->shape;
    rig_tensor *q = &problem->tensor[CLATTN_SLOT_Q];
    /* three tensors of this size, with the margins of one */
    const rig_layout room = {.order = {0, 1, 2, 3}, .behind = {2 * of->batch, 0, 0, 0}, .step = 1};
    rig_lay_out(problem, CLATTN_SLOT_Q, &room);
    for (int64_t i = 0; i < q->count; i++)
        q->memory[i] = (float)(i % 97) / 97 - 0.5f;
    for (int slot = 0; slot < 3; slot++) {
        rig_tensor *tensor = &problem->tensor[slot];
        const int64_t stride[4] = {how->batch, how->head, how->sequence, 1};
        if (slot > 0) {
            *tensor = *q;
            tensor->shared = true;
            tensor->before = malloc((size_t)q->count * sizeof(float));
            cr_assert_not_null(tensor->before);
        }
        memcpy(tensor->stride, stride, sizeof stride);
        tensor->origin = q->origin + slot * how->next;
    }
}

static void packed_inputs(clattn_context *context, const char *kernel)
{
    const int64_t h = 3, s = 53, d = 16;
    const rig_shape of = {2, h, h, s, s, d, d, CLATTN_ALIGN_TOP_LEFT};
    const packing packings[] = {
        {"(B,S,3,H,D)", h * d, s * 3 * h * d, d, 3 * h * d},
        {"(B,S,H,3,D)", d, s * 3 * h * d, 3 * d, 3 * h * d},
        {"(3,B,H,S,D)", 2 * h * s * d, h * s * d, s * d, d},
        {"(B,3,H,S,D)", h * s * d, 3 * h * s * d, s * d, d},
        {"(B,H,S,3,D)", d, 3 * h * s * d, 3 * s * d, 3 * d},
    };
    kernel_name = kernel;
    for (size_t i = 0; i < COUNT(packings); i++) {
        rig_problem problem;
        rig_begin(&problem, &of, RIG_FULL);
        pack(&problem, &packings[i]);
        for (int slot = CLATTN_SLOT_OUT; slot < RIG_SLOTS; slot++)
            rig_lay_out(&problem, (clattn_slot)slot, &layouts[i]);
        run_and_check(context, &problem, packings[i].name);
    }
}

Test(layouts, packed_inputs)
{
    rig_each_kernel(packed_inputs);
}
