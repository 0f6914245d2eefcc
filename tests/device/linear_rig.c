/* See linear_rig.h. */
#include "linear_rig.h"

#include <criterion/criterion.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "rig.h"
#include "tests/oracle/linear.h"

#define MARGIN 24 /* elements before and behind a tensor */
#define GUARD  1234.0f

static float get(const linear_array *a, const void *memory, int64_t at)
{
    if (a->type == ORACLE_F32)
        return ((const float *)memory)[at];
    const uint16_t bits = ((const uint16_t *)memory)[at];
    return a->type == ORACLE_F16 ? oracle_from_f16(bits) : oracle_from_bf16(bits);
}

static void set(const linear_array *a, int64_t at, float value)
{
    if (a->type == ORACLE_F32)
        ((float *)a->memory)[at] = value;
    else
        ((uint16_t *)a->memory)[at] =
            a->type == ORACLE_F16 ? oracle_to_f16(value) : oracle_to_bf16(value);
}

static size_t size_of(const linear_array *a)
{
    return a->type == ORACLE_F32 ? 4 : 2;
}

static int64_t index_of(const linear_array *a, int64_t n)
{
    const int64_t column = n % a->extent[2], row = n / a->extent[2] % a->extent[1];
    return a->origin + n / a->extent[2] / a->extent[1] * a->stride[0] + row * a->stride[1] +
           column * a->stride[2];
}

static int64_t elements(const linear_array *a)
{
    return a->extent[0] * a->extent[1] * a->extent[2];
}

static void lay_out(linear_array *a, linear_arrangement form)
{
    const int64_t rows = a->extent[1], columns = a->extent[2], gap = form == GAPS ? 3 : 0;
    a->stride[1] = form == TURNED ? 1 : columns + gap;
    a->stride[2] = form == TURNED ? rows : 1;
    a->stride[0] = rows * (columns + gap) + 2 * gap;
    a->origin = MARGIN;
    a->count = 2 * MARGIN + (a->extent[0] + 1) * (a->stride[0] + 1);
    if (form == BACKWARDS) {
        a->stride[1] = -a->stride[1];
        a->origin += rows > 0 ? (rows - 1) * columns : 0;
    }
}

/* Numbers, with `around` in all other places. */
static linear_array make(const int64_t extent[3], oracle_type type, linear_arrangement form,
                         float around, uint32_t seed)
{
    linear_array a = {.type = type};
    memcpy(a.extent, extent, sizeof a.extent);
    lay_out(&a, form);
    a.memory = malloc((size_t)a.count * size_of(&a));
    a.before = malloc((size_t)a.count * size_of(&a));
    a.plain = malloc((size_t)(elements(&a) + 1) * sizeof *a.plain);
    cr_assert(a.memory && a.before && a.plain);
    for (int64_t i = 0; i < a.count; i++)
        set(&a, i, around);
    for (int64_t n = 0; n < elements(&a); n++) {
        set(&a, index_of(&a, n), rig_number(&seed));
        a.plain[n] = get(&a, a.memory, index_of(&a, n));
    }
    return a;
}

static void finish(linear_array *a)
{
    free(a->memory);
    free(a->before);
    free(a->plain);
}

static const clattn_slot slots[LINEAR_ROLES] = {CLATTN_SLOT_X, CLATTN_SLOT_W, CLATTN_SLOT_B,
                                                CLATTN_SLOT_Y};
static const bool written[3][LINEAR_ROLES] = {
    {[LINEAR_Y] = true}, {[LINEAR_X] = true}, {[LINEAR_W] = true, [LINEAR_B] = true}};

static bool takes_part(const linear_trial *t, int role)
{
    return role != LINEAR_B || (t->of->bias && t->pass != CLATTN_LINEAR_GRADIENT_X);
}

static void describe(linear_trial *t)
{
    const linear_case *of = t->of;
    clattn_linear_desc_init(&t->desc);
    t->desc.pass = (clattn_linear_pass)t->pass;
    t->desc.accumulate = of->accumulate;
    t->desc.batch = of->batch;
    t->desc.rows = of->rows;
    t->desc.in = of->in;
    t->desc.out = of->out;
    t->desc.slots = takes_part(t, LINEAR_B) ? CLATTN_SLOT_BIT(CLATTN_SLOT_B) : 0;
    if (t->pass == CLATTN_LINEAR_GRADIENT_W)
        t->desc.slots |= CLATTN_SLOT_BIT(CLATTN_SLOT_W);
    for (int role = 0; role < LINEAR_ROLES; role++) {
        clattn_tensor *tensor = &t->desc.tensor[slots[role]];
        const int64_t *stride = t->array[role].stride;
        const int skipped = role == LINEAR_B ? 2 : role == LINEAR_W ? 1 : 0;
        tensor->dtype = (clattn_dtype)t->array[role].type;
        tensor->strided = 1;
        memcpy(tensor->stride, stride + skipped, (size_t)(3 - skipped) * sizeof *stride);
    }
}

/* What is written, by the oracle; from: the tensors' elements, to: by role, made here. */
static void compute(const linear_trial *t, float *const from[LINEAR_ROLES], bool plain,
                    double *to[LINEAR_ROLES])
{
    const linear_case *of = t->of;
    oracle_linear oracle = {.batch = of->batch, .rows = of->rows, .in = of->in, .out = of->out};
    oracle.accumulate = of->accumulate;
    oracle.plain = plain;
    oracle.type = of->type;
    oracle.x = from[LINEAR_X];
    oracle.w = from[LINEAR_W];
    oracle.b = takes_part(t, LINEAR_B) && t->pass == 0 ? from[LINEAR_B] : NULL;
    oracle.dy = from[LINEAR_Y];
    for (int role = 0; role < LINEAR_ROLES; role++) {
        to[role] = calloc((size_t)elements(&t->array[role]) + 1, sizeof *to[role]);
        cr_assert_not_null(to[role]);
        for (int64_t n = 0; of->accumulate && n < elements(&t->array[role]); n++)
            to[role][n] = (double)from[role][n];
    }
    oracle.y = t->pass == 0 ? to[LINEAR_Y] : NULL;
    oracle.dx = t->pass == 1 ? to[LINEAR_X] : NULL;
    oracle.dw = t->pass == 2 ? to[LINEAR_W] : NULL;
    oracle.db = t->pass == 2 ? to[LINEAR_B] : NULL;
    oracle_linear_run(&oracle);
}

static void expect(linear_trial *t)
{
    float *from[LINEAR_ROLES], *sizes[LINEAR_ROLES];
    for (int role = 0; role < LINEAR_ROLES; role++) {
        const int64_t count = elements(&t->array[role]);
        from[role] = t->array[role].plain;
        sizes[role] = malloc((size_t)(count + 1) * sizeof *sizes[role]);
        cr_assert_not_null(sizes[role]);
        for (int64_t n = 0; n < count; n++)
            sizes[role][n] = fabsf(from[role][n]);
    }
    compute(t, from, false, t->expected);
    compute(t, from, true, t->plain);
    compute(t, sizes, false, t->terms);
    for (int role = 0; role < LINEAR_ROLES; role++)
        free(sizes[role]);
}

void linear_begin(linear_trial *t, const linear_case *of, uint32_t pass)
{
    const int64_t extents[LINEAR_ROLES][3] = {{of->batch, of->rows, of->in},
                                              {1, of->out, of->in},
                                              {1, 1, of->out},
                                              {of->batch, of->rows, of->out}};
    const linear_arrangement forms[LINEAR_ROLES] = {of->x, of->w, PLAIN, of->y};
    *t = (linear_trial){.of = of, .pass = pass};
    for (int role = 0; role < LINEAR_ROLES; role++)
        t->array[role] = make(extents[role], of->type, forms[role],
                              written[pass][role] ? GUARD : NAN, (uint32_t)role + 1);
    describe(t);
    expect(t);
    /* What is written without looking holds NaN. */
    for (int role = 0; role < LINEAR_ROLES; role++)
        for (int64_t n = 0; n < elements(&t->array[role]); n++)
            if (written[pass][role] && !of->accumulate)
                set(&t->array[role], index_of(&t->array[role], n), NAN);
    for (int role = 0; role < LINEAR_ROLES; role++)
        memcpy(t->array[role].before, t->array[role].memory,
               (size_t)t->array[role].count * size_of(&t->array[role]));
}

void linear_end(linear_trial *t)
{
    for (int role = 0; role < LINEAR_ROLES; role++) {
        finish(&t->array[role]);
        free(t->expected[role]);
        free(t->plain[role]);
        free(t->terms[role]);
    }
}

/* The contract of docs/numerics.md. In fewer than 16 elements the plain computation may happen to
 * be exact: there its error counts as at least what rounding does to sums of such terms. */
static double allowed(const linear_trial *t, int role)
{
    const linear_case *of = t->of;
    const linear_array *a = &t->array[role];
    const int64_t depths[] = {of->in, of->out, of->batch * of->rows};
    double largest = 0, plain = 0, terms = 0;
    for (int64_t n = 0; n < elements(a); n++) {
        const double expected = t->expected[role][n];
        largest = fmax(largest, fabs(expected));
        plain = fmax(plain, fabs(t->plain[role][n] - expected));
        terms = fmax(terms, t->terms[role][n]);
    }
    if (elements(a) < 16)
        plain = fmax(plain, 0x1p-24 * terms * (1 + sqrt((double)depths[t->pass]) / 2));
    return 3 * plain + 4 * oracle_ulp(a->type) * largest;
}

static void check_values(const linear_trial *t, int role)
{
    const linear_array *a = &t->array[role];
    const double bound = allowed(t, role);
    for (int64_t n = 0; n < elements(a); n++) {
        const double got = (double)get(a, a->memory, index_of(a, n));
        cr_assert(fabs(got - t->expected[role][n]) <= bound,
                  "%s: tensor %d, element %d is %.9g, not %.9g (allowed %.3g)", rig_said(), role,
                  (int)n, got, t->expected[role][n], bound);
    }
}

static void check_around(const linear_trial *t, int role)
{
    const linear_array *a = &t->array[role];
    char *inside = calloc((size_t)a->count, 1);
    cr_assert_not_null(inside);
    for (int64_t n = 0; n < elements(a); n++)
        inside[index_of(a, n)] = written[t->pass][role] && takes_part(t, role);
    for (int64_t i = 0; i < a->count; i++)
        cr_assert(inside[i] || memcmp((char *)a->memory + (size_t)i * size_of(a),
                                      (char *)a->before + (size_t)i * size_of(a), size_of(a)) == 0,
                  "%s: tensor %d: place %d changed", rig_said(), role, (int)i);
    free(inside);
}

void linear_check(const linear_trial *t)
{
    for (int role = 0; role < LINEAR_ROLES; role++) {
        if (written[t->pass][role] && takes_part(t, role))
            check_values(t, role);
        check_around(t, role);
    }
}

void linear_good(clattn_status status)
{
    cr_assert_eq(status, CLATTN_OK, "%s: %s", rig_said(), clattn_error_message());
}

void linear_run(clattn_context *context, linear_trial *t)
{
    clattn_host_binding bindings[LINEAR_ROLES];
    uint32_t count = 0;
    for (int role = 0; role < LINEAR_ROLES; role++)
        if (takes_part(t, role))
            bindings[count++] =
                (clattn_host_binding){slots[role], 0,
                                      (char *)t->array[role].memory +
                                          (size_t)t->array[role].origin * size_of(&t->array[role])};
    linear_good(clattn_linear(context, &t->desc, bindings, count));
}

/* Each family of kernels: of the three passes, and of packing. */
const char *const linear_families[LINEAR_FAMILIES] = {
    "linear_simd,linear_x_simd,linear_w_simd",
    "linear_tile,linear_x_tile,linear_w_tile",
    "linear_reference,linear_x_reference,linear_w_reference",
};

clattn_context *linear_open(size_t family)
{
    clattn_context *context;
    clattn_context_options options;
    clattn_context_options_init(&options);
    options.device = "0";
    options.kernel = linear_families[family];
    linear_good(clattn_context_create(&options, &context));
    return context;
}

bool linear_runs(clattn_context *context, size_t family)
{
    clattn_linear_desc desc;
    clattn_plan *plan;
    clattn_linear_desc_init(&desc);
    desc.batch = desc.rows = desc.in = desc.out = 1;
    const clattn_status status = clattn_plan_linear(context, &desc, &plan);
    if (status == CLATTN_OK)
        clattn_plan_destroy(plan);
    cr_assert(status == CLATTN_OK || (family == 0 && status == CLATTN_ERR_UNSUPPORTED), "%s: %s",
              linear_families[family], clattn_error_message());
    return status == CLATTN_OK;
}

/* A buffer with what an array has. */
static clattn_buffer *buffer_of(clattn_context *context, const linear_array *a)
{
    clattn_buffer *buffer;
    const uint64_t size = (uint64_t)a->count * size_of(a);
    linear_good(clattn_buffer_create(context, size, &buffer));
    linear_good(clattn_buffer_write(buffer, 0, a->memory, size));
    return buffer;
}

/* Packs the weights in one step and uses them in the next; W isn't bound there. */
void linear_run_packed(clattn_context *context, linear_trial *t)
{
    uint64_t size;
    clattn_plan *pack, *plan;
    clattn_buffer *buffer[LINEAR_ROLES], *packed;
    clattn_dispatcher *dispatcher;
    linear_good(clattn_plan_linear_pack(context, &t->desc, &pack));
    linear_good(clattn_linear_packed_size(&t->desc, &size));
    t->desc.slots |= CLATTN_SLOT_BIT(CLATTN_SLOT_PACKED_W);
    linear_good(clattn_plan_linear(context, &t->desc, &plan));
    linear_good(clattn_buffer_create(context, size, &packed));
    clattn_binding bindings[LINEAR_ROLES + 1] = {{.slot = CLATTN_SLOT_PACKED_W, .buffer = packed}};
    clattn_binding pack_bindings[2] = {{.slot = CLATTN_SLOT_PACKED_W, .buffer = packed}};
    uint32_t count = 1;
    for (int role = 0; role < LINEAR_ROLES; role++) {
        const linear_array *a = &t->array[role];
        buffer[role] = buffer_of(context, a);
        const clattn_binding made = {.slot = slots[role],
                                     .buffer = buffer[role],
                                     .offset = (uint64_t)a->origin * size_of(a)};
        if (role == LINEAR_W)
            pack_bindings[1] = made;
        else if (takes_part(t, role))
            bindings[count++] = made;
    }
    const clattn_step steps[] = {{.plan = pack, .bindings = pack_bindings, .binding_count = 2},
                                 {.plan = plan, .bindings = bindings, .binding_count = count}};
    clattn_submission submission;
    clattn_submission_init(&submission);
    submission.steps = steps;
    submission.step_count = 2;
    linear_good(clattn_dispatcher_create(context, NULL, &dispatcher));
    rig_submit(dispatcher, &submission);
    clattn_dispatcher_destroy(dispatcher);
    for (int role = 0; role < LINEAR_ROLES; role++) {
        const linear_array *a = &t->array[role];
        linear_good(
            clattn_buffer_read(buffer[role], 0, a->memory, (uint64_t)a->count * size_of(a)));
        linear_good(clattn_buffer_destroy(buffer[role]));
    }
    linear_good(clattn_buffer_destroy(packed));
    clattn_plan_destroy(pack);
    clattn_plan_destroy(plan);
}
