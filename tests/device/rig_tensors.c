/* Tensors of the rig: where their elements are, what lies around them, and what is expected. */
#include <criterion/criterion.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "rig.h"

#define MARGIN 7        /* elements before and behind; odd, so that nothing is aligned to vectors */
#define GUARD  12345.0f /* around what is written */

const rig_layout rig_contiguous = {.name = "contiguous", .order = {0, 1, 2, 3}, .step = 1};

static const char *const slot_names[RIG_SLOTS] = {"q", "k", "v", "out", "lse", "weights"};

float rig_number(uint32_t *state)
{
    *state = *state * 1664525u + 1013904223u;
    return (float)(*state >> 8) * 0x1p-23f - 1.0f;
}

static bool is_written(int slot)
{
    return slot >= CLATTN_SLOT_OUT;
}

static void set_extents(const rig_shape *shape, int slot, rig_tensor *tensor)
{
    const bool of_keys = slot == CLATTN_SLOT_K || slot == CLATTN_SLOT_V;
    tensor->rank = slot == CLATTN_SLOT_LSE ? 3 : 4;
    tensor->extent[0] = shape->batch;
    tensor->extent[1] = of_keys ? shape->n_kv_head : shape->n_head;
    tensor->extent[2] = of_keys ? shape->n_kv : shape->n_q;
    switch (slot) {
    case CLATTN_SLOT_Q:
    case CLATTN_SLOT_K:
        tensor->extent[3] = shape->head_dim;
        break;
    case CLATTN_SLOT_WEIGHTS:
        tensor->extent[3] = shape->n_kv;
        break;
    case CLATTN_SLOT_LSE:
        tensor->extent[3] = 1;
        break;
    default:
        tensor->extent[3] = shape->value_dim;
    }
}

/* Strides from the innermost dimension outwards. */
static void set_strides(const rig_layout *layout, rig_tensor *tensor)
{
    int64_t step = layout->step;
    tensor->origin = MARGIN;
    for (int n = 3; n >= 0; n--) {
        const int d = layout->order[n];
        const int64_t extent = tensor->extent[d];
        if (d >= (int)tensor->rank)
            continue;
        if (layout->broadcast >> d & 1)
            continue;
        tensor->stride[d] = layout->reversed >> d & 1 ? -step : step;
        tensor->origin += step * layout->before[d];
        if (tensor->stride[d] < 0 && extent > 0)
            tensor->origin += step * (extent - 1);
        step *= layout->before[d] + extent + layout->behind[d];
    }
    tensor->count = step + 2 * MARGIN;
}

int64_t rig_index(const rig_tensor *tensor, const int64_t at[4])
{
    int64_t index = tensor->origin;
    for (int d = 0; d < 4; d++)
        index += at[d] * tensor->stride[d];
    return index;
}

/* What to do with element `index` of the memory, element number `n` of the tensor. */
typedef void (*visitor)(rig_tensor *tensor, int64_t index, int64_t n, void *user);

static int64_t for_each(rig_tensor *tensor, visitor visit, void *user)
{
    const int64_t *e = tensor->extent;
    int64_t at[4], n = 0;
    for (at[0] = 0; at[0] < e[0]; at[0]++)
        for (at[1] = 0; at[1] < e[1]; at[1]++)
            for (at[2] = 0; at[2] < e[2]; at[2]++)
                for (at[3] = 0; at[3] < e[3]; at[3]++)
                    visit(tensor, rig_index(tensor, at), n++, user);
    return n;
}

static void put_number(rig_tensor *tensor, int64_t index, int64_t n, void *user)
{
    (void)n;
    tensor->memory[index] = rig_number(user);
}

static void put_value(rig_tensor *tensor, int64_t index, int64_t n, void *user)
{
    (void)n;
    tensor->memory[index] = *(const float *)user;
}

static void take_value(rig_tensor *tensor, int64_t index, int64_t n, void *user)
{
    ((float *)user)[n] = tensor->memory[index];
}

static float *new_floats(int64_t count)
{
    float *data = calloc((size_t)count + 1, sizeof *data);
    cr_assert_not_null(data);
    return data;
}

static void fill(rig_tensor *tensor, int slot)
{
    uint32_t seed = 17u * (uint32_t)slot + 1;
    float nan = NAN;
    for (int64_t i = 0; i < tensor->count && !tensor->shared; i++)
        tensor->memory[i] = is_written(slot) ? GUARD : nan;
    if (is_written(slot))
        for_each(tensor, put_value, &nan);
    else
        for_each(tensor, put_number, &seed);
}

void rig_begin(rig_problem *problem, const rig_shape *shape, uint64_t slots)
{
    memset(problem, 0, sizeof *problem);
    problem->shape = *shape;
    problem->slots = slots;
}

void rig_lay_out(rig_problem *problem, clattn_slot slot, const rig_layout *layout)
{
    rig_tensor *tensor = &problem->tensor[slot];
    memset(tensor, 0, sizeof *tensor);
    set_extents(&problem->shape, (int)slot, tensor);
    set_strides(layout, tensor);
    tensor->memory = new_floats(tensor->count);
    tensor->before = new_floats(tensor->count);
    fill(tensor, (int)slot);
}

void rig_make(rig_problem *problem, const rig_shape *shape, uint64_t slots,
              const rig_layout *layout)
{
    rig_begin(problem, shape, slots);
    for (int slot = 0; slot < RIG_SLOTS; slot++)
        if (slot <= CLATTN_SLOT_OUT || (slots & CLATTN_SLOT_BIT(slot)))
            rig_lay_out(problem, (clattn_slot)slot, layout);
}

void rig_free(rig_problem *problem)
{
    for (int slot = 0; slot < RIG_SLOTS; slot++) {
        if (!problem->tensor[slot].shared)
            free(problem->tensor[slot].memory);
        free(problem->tensor[slot].before);
    }
    for (int i = 0; i < 3; i++)
        free(problem->input[i]);
    free(problem->expected.out);
    free(problem->expected.lse);
    free(problem->expected.weights);
    memset(problem, 0, sizeof *problem);
}

float *rig_gather(const rig_tensor *tensor, int64_t *count)
{
    rig_tensor view = *tensor;
    const int64_t *e = tensor->extent;
    float *data = new_floats(tensor->rank ? e[0] * e[1] * e[2] * e[3] : 0);
    const int64_t n = tensor->rank ? for_each(&view, take_value, data) : 0;
    if (count)
        *count = n;
    return data;
}

void rig_forget(rig_problem *problem)
{
    float nan = NAN;
    for (int slot = CLATTN_SLOT_OUT; slot < RIG_SLOTS; slot++)
        if (problem->tensor[slot].rank)
            for_each(&problem->tensor[slot], put_value, &nan);
}

static double *new_doubles(const rig_shape *of, int64_t columns)
{
    double *data = calloc((size_t)(of->batch * of->n_head * of->n_q * columns) + 1, sizeof(double));
    cr_assert_not_null(data);
    return data;
}

void rig_expect(rig_problem *problem)
{
    const rig_shape *of = &problem->shape;
    for (int slot = 0; slot < RIG_SLOTS; slot++) {
        rig_tensor *tensor = &problem->tensor[slot];
        if (tensor->rank)
            memcpy(tensor->before, tensor->memory, (size_t)tensor->count * sizeof(float));
        if (!is_written(slot))
            problem->input[slot] = rig_gather(tensor, NULL);
    }
    problem->expected = (oracle_problem){
        .batch = of->batch,
        .n_head = of->n_head,
        .n_kv_head = of->n_kv_head,
        .n_q = of->n_q,
        .n_kv = of->n_kv,
        .head_dim = of->head_dim,
        .value_dim = of->value_dim,
        .scale = problem->has_scale ? (double)problem->scale : 1.0 / sqrt((double)of->head_dim),
        .causal = of->align != CLATTN_ALIGN_NONE,
        .causal_offset = of->align == CLATTN_ALIGN_BOTTOM_RIGHT ? of->n_kv - of->n_q : 0,
        .q = problem->input[CLATTN_SLOT_Q],
        .k = problem->input[CLATTN_SLOT_K],
        .v = problem->input[CLATTN_SLOT_V],
        .out = new_doubles(of, of->value_dim),
        .lse = new_doubles(of, 1),
        .weights = new_doubles(of, of->n_kv),
    };
    cr_assert(oracle_attention(&problem->expected));
}

static void compare(const char *name, const float *x, const double *expected, int64_t count)
{
    double largest = 1;
    for (int64_t i = 0; i < count; i++)
        if (isfinite(expected[i]) && fabs(expected[i]) > largest)
            largest = fabs(expected[i]);
    for (int64_t i = 0; i < count; i++) {
        bool good = fabs(x[i] - expected[i]) <= RIG_BOUND * largest;
        if (isnan(expected[i]))
            good = isnan(x[i]);
        else if (isinf(expected[i]))
            good = (double)x[i] == expected[i];
        cr_assert(good, "%s: %s[%d of %d] is %.9g, not %.9g", rig_said(), name, (int)i, (int)count,
                  (double)x[i], expected[i]);
    }
}

/* With the outputs' elements NaN again, everything must be as it was before. */
static void check_surroundings(rig_problem *problem)
{
    rig_forget(problem);
    for (int slot = 0; slot < RIG_SLOTS; slot++) {
        const rig_tensor *tensor = &problem->tensor[slot];
        if (!tensor->rank)
            continue;
        for (int64_t i = 0; i < tensor->count; i++)
            cr_assert_eq(memcmp(tensor->memory + i, tensor->before + i, sizeof(float)), 0,
                         "%s: %s: element %d of the memory was overwritten with %g", rig_said(),
                         slot_names[slot], (int)(i - tensor->origin), (double)tensor->memory[i]);
    }
}

void rig_check(rig_problem *problem)
{
    const double *expected[RIG_SLOTS] = {
        [CLATTN_SLOT_OUT] = problem->expected.out,
        [CLATTN_SLOT_LSE] = problem->expected.lse,
        [CLATTN_SLOT_WEIGHTS] = problem->expected.weights,
    };
    for (int slot = CLATTN_SLOT_OUT; slot < RIG_SLOTS; slot++) {
        int64_t count;
        float *x = rig_gather(&problem->tensor[slot], &count);
        compare(slot_names[slot], x, expected[slot], count);
        free(x);
    }
    check_surroundings(problem);
}
