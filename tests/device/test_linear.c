/* Linear projections and their gradients against double precision: sizes about every block, types,
 * layouts, biases, adding to what is there, packed weights; on every kernel. Whatever must not be
 * read is NaN, and what must not be written stays what it was. */
#include <clattn/layer.h>
#include <criterion/criterion.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "rig.h"
#include "tests/oracle/linear.h"
#include "tests/oracle/storage.h"

#define COUNT(array) (sizeof(array) / sizeof(array)[0])
#define MARGIN       24 /* elements before and behind a tensor */
#define GUARD        1234.0f

/* How a matrix lies in memory. */
typedef enum arrangement { PLAIN, TURNED, GAPS, BACKWARDS, FORMS } arrangement;

typedef struct linear_case {
    int64_t batch, rows, in, out;
    oracle_type type;
    arrangement x, w, y;
    bool bias, accumulate;
} linear_case;

static const linear_case cases[] = {
    {1, 1, 1, 1, ORACLE_F32, PLAIN, PLAIN, PLAIN, true, false},
    {2, 7, 5, 3, ORACLE_F32, PLAIN, PLAIN, PLAIN, false, false},
    {1, 6, 128, 64, ORACLE_F32, PLAIN, PLAIN, PLAIN, true, false},
    {1, 5, 127, 63, ORACLE_F32, TURNED, PLAIN, PLAIN, true, true},
    {1, 97, 129, 65, ORACLE_F32, PLAIN, TURNED, PLAIN, true, false},
    {3, 33, 16, 113, ORACLE_F32, PLAIN, PLAIN, TURNED, false, true},
    {2, 50, 300, 40, ORACLE_F32, GAPS, GAPS, GAPS, true, true},
    {2, 40, 50, 600, ORACLE_F32, BACKWARDS, PLAIN, BACKWARDS, true, false},
    {2, 96, 64, 96, ORACLE_F32, TURNED, TURNED, TURNED, true, false},
    {1, 512, 40, 17, ORACLE_F32, PLAIN, PLAIN, PLAIN, true, false},
    {1, 3, 257, 1031, ORACLE_F32, PLAIN, PLAIN, PLAIN, true, true},
    {2, 31, 130, 48, ORACLE_F16, PLAIN, PLAIN, PLAIN, true, false},
    {2, 31, 48, 130, ORACLE_BF16, GAPS, TURNED, TURNED, true, true},
    {0, 4, 5, 6, ORACLE_F32, PLAIN, PLAIN, PLAIN, true, false},
    {2, 0, 5, 6, ORACLE_F32, PLAIN, PLAIN, PLAIN, true, true},
};

/* A tensor in a larger allocation. Its elements are also there contiguous, as floats. */
typedef struct array {
    int64_t extent[3], stride[3]; /* batch, row, column */
    int64_t origin, count;        /* elements: of (0, 0, 0) in memory, of memory */
    oracle_type type;
    void *memory, *before; /* (count) of the type */
    float *plain;          /* (extents) */
} array;

static float get(const array *a, const void *memory, int64_t at)
{
    if (a->type == ORACLE_F32)
        return ((const float *)memory)[at];
    const uint16_t bits = ((const uint16_t *)memory)[at];
    return a->type == ORACLE_F16 ? oracle_from_f16(bits) : oracle_from_bf16(bits);
}

static void set(const array *a, int64_t at, float value)
{
    if (a->type == ORACLE_F32)
        ((float *)a->memory)[at] = value;
    else
        ((uint16_t *)a->memory)[at] =
            a->type == ORACLE_F16 ? oracle_to_f16(value) : oracle_to_bf16(value);
}

static size_t size_of(const array *a)
{
    return a->type == ORACLE_F32 ? 4 : 2;
}

static int64_t index_of(const array *a, int64_t n)
{
    const int64_t column = n % a->extent[2], row = n / a->extent[2] % a->extent[1];
    return a->origin + n / a->extent[2] / a->extent[1] * a->stride[0] + row * a->stride[1] +
           column * a->stride[2];
}

static int64_t elements(const array *a)
{
    return a->extent[0] * a->extent[1] * a->extent[2];
}

static void lay_out(array *a, arrangement form)
{
    const int64_t rows = a->extent[1], columns = a->extent[2], gap = form == GAPS ? 3 : 0;
    a->stride[1] = form == TURNED ? 1 : columns + gap;
    a->stride[2] = form == TURNED ? rows : 1;
    a->stride[0] = rows * (columns + gap) + 2 * gap;
    a->origin = MARGIN;
    a->count = 2 * MARGIN + (a->extent[0] + 1) * (a->stride[0] + 1);
    if (form == BACKWARDS) {
        a->stride[1] = -a->stride[1];
        a->origin += (rows - 1) * columns;
    }
}

/* Numbers, with `around` in all other places. */
static array make(const int64_t extent[3], oracle_type type, arrangement form, float around,
                  uint32_t seed)
{
    array a = {.type = type};
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

static void finish(array *a)
{
    free(a->memory);
    free(a->before);
    free(a->plain);
}

/* The tensors of a case: x, W, b, y. */
enum { X, W, B, Y, ROLES };
static const clattn_slot slots[ROLES] = {CLATTN_SLOT_X, CLATTN_SLOT_W, CLATTN_SLOT_B,
                                         CLATTN_SLOT_Y};
static const bool written[3][ROLES] = {{[Y] = true}, {[X] = true}, {[W] = true, [B] = true}};

typedef struct trial {
    const linear_case *of;
    uint32_t pass;
    array array[ROLES];
    double *expected[ROLES];
    clattn_linear_desc desc;
} trial;

static bool takes_part(const trial *t, int role)
{
    return role != B || (t->of->bias && t->pass != CLATTN_LINEAR_GRADIENT_X);
}

static void describe(trial *t)
{
    const linear_case *of = t->of;
    clattn_linear_desc_init(&t->desc);
    t->desc.pass = (clattn_linear_pass)t->pass;
    t->desc.accumulate = of->accumulate;
    t->desc.batch = of->batch;
    t->desc.rows = of->rows;
    t->desc.in = of->in;
    t->desc.out = of->out;
    t->desc.slots = takes_part(t, B) ? CLATTN_SLOT_BIT(CLATTN_SLOT_B) : 0;
    if (t->pass == CLATTN_LINEAR_GRADIENT_W)
        t->desc.slots |= CLATTN_SLOT_BIT(CLATTN_SLOT_W);
    for (int role = 0; role < ROLES; role++) {
        clattn_tensor *tensor = &t->desc.tensor[slots[role]];
        const int64_t *stride = t->array[role].stride;
        const int skipped = role == B ? 2 : role == W ? 1 : 0;
        tensor->dtype = (clattn_dtype)t->array[role].type;
        tensor->strided = 1;
        memcpy(tensor->stride, stride + skipped, (size_t)(3 - skipped) * sizeof *stride);
    }
}

static void expect(trial *t)
{
    const linear_case *of = t->of;
    oracle_linear oracle = {.batch = of->batch, .rows = of->rows, .in = of->in, .out = of->out};
    oracle.x = t->array[X].plain;
    oracle.w = t->array[W].plain;
    oracle.b = takes_part(t, B) && t->pass == 0 ? t->array[B].plain : NULL;
    oracle.dy = t->array[Y].plain;
    for (int role = 0; role < ROLES; role++)
        t->expected[role] =
            calloc((size_t)elements(&t->array[role]) + 1, sizeof *t->expected[role]);
    oracle.y = t->pass == 0 ? t->expected[Y] : NULL;
    oracle.dx = t->pass == 1 ? t->expected[X] : NULL;
    oracle.dw = t->pass == 2 ? t->expected[W] : NULL;
    oracle.db = t->pass == 2 ? t->expected[B] : NULL;
    oracle_linear_run(&oracle);
    for (int role = 0; t->of->accumulate && role < ROLES; role++)
        for (int64_t n = 0; n < elements(&t->array[role]); n++)
            t->expected[role][n] += (double)t->array[role].plain[n];
}

static void begin(trial *t, const linear_case *of, uint32_t pass)
{
    const int64_t extents[ROLES][3] = {{of->batch, of->rows, of->in},
                                       {1, of->out, of->in},
                                       {1, 1, of->out},
                                       {of->batch, of->rows, of->out}};
    const arrangement forms[ROLES] = {of->x, of->w, PLAIN, of->y};
    *t = (trial){.of = of, .pass = pass};
    for (int role = 0; role < ROLES; role++)
        t->array[role] = make(extents[role], of->type, forms[role],
                              written[pass][role] ? GUARD : NAN, (uint32_t)role + 1);
    describe(t);
    expect(t);
    /* What is written without looking holds NaN. */
    for (int role = 0; role < ROLES; role++)
        for (int64_t n = 0; n < elements(&t->array[role]); n++)
            if (written[pass][role] && !of->accumulate)
                set(&t->array[role], index_of(&t->array[role], n), NAN);
    for (int role = 0; role < ROLES; role++)
        memcpy(t->array[role].before, t->array[role].memory,
               (size_t)t->array[role].count * size_of(&t->array[role]));
}

static void end(trial *t)
{
    for (int role = 0; role < ROLES; role++) {
        finish(&t->array[role]);
        free(t->expected[role]);
    }
}

static void check_values(const trial *t, int role)
{
    const array *a = &t->array[role];
    double largest = 1;
    for (int64_t n = 0; n < elements(a); n++)
        largest = fmax(largest, fabs(t->expected[role][n]));
    const double bound = largest * (RIG_BOUND + (a->type ? oracle_ulp(a->type) : 0));
    for (int64_t n = 0; n < elements(a); n++) {
        const double got = (double)get(a, a->memory, index_of(a, n));
        cr_assert(fabs(got - t->expected[role][n]) <= bound,
                  "%s: tensor %d, element %d is %g, not %g", rig_said(), role, (int)n, got,
                  t->expected[role][n]);
    }
}

static void check_around(const trial *t, int role)
{
    const array *a = &t->array[role];
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

static void check(const trial *t)
{
    for (int role = 0; role < ROLES; role++) {
        if (written[t->pass][role] && takes_part(t, role))
            check_values(t, role);
        check_around(t, role);
    }
}

static void good(clattn_status status)
{
    cr_assert_eq(status, CLATTN_OK, "%s: %s", rig_said(), clattn_error_message());
}

static void run_on_host(clattn_context *context, trial *t)
{
    clattn_host_binding bindings[ROLES];
    uint32_t count = 0;
    for (int role = 0; role < ROLES; role++)
        if (takes_part(t, role))
            bindings[count++] =
                (clattn_host_binding){slots[role], 0,
                                      (char *)t->array[role].memory +
                                          (size_t)t->array[role].origin * size_of(&t->array[role])};
    good(clattn_linear(context, &t->desc, bindings, count));
}

/* Each family of kernels: of the three passes, and of packing. */
static const char *const families[] = {
    "linear_simd,linear_x_simd,linear_w_simd",
    "linear_reference,linear_x_reference,linear_w_reference",
};

static clattn_context *open_family(size_t family)
{
    clattn_context *context;
    clattn_context_options options;
    clattn_context_options_init(&options);
    options.device = "0";
    options.kernel = families[family];
    good(clattn_context_create(&options, &context));
    return context;
}

Test(linear, follows_the_formula)
{
    for (size_t family = 0; family < COUNT(families); family++) {
        clattn_context *context = open_family(family);
        for (size_t n = 0; n < COUNT(cases); n++)
            for (uint32_t pass = 0; pass < 3; pass++) {
                trial t;
                rig_say("%s, case %d, pass %d", families[family], (int)n, (int)pass);
                begin(&t, &cases[n], pass);
                run_on_host(context, &t);
                check(&t);
                end(&t);
            }
        rig_close(context);
    }
}

/* A buffer with what an array has. */
static clattn_buffer *buffer_of(clattn_context *context, const array *a)
{
    clattn_buffer *buffer;
    const uint64_t size = (uint64_t)a->count * size_of(a);
    good(clattn_buffer_create(context, size, &buffer));
    good(clattn_buffer_write(buffer, 0, a->memory, size));
    return buffer;
}

/* Packs the weights in one step and uses them in the next; W isn't bound there. */
static void run_packed(clattn_context *context, trial *t)
{
    uint64_t size;
    clattn_plan *pack, *plan;
    clattn_buffer *buffer[ROLES], *packed;
    clattn_dispatcher *dispatcher;
    good(clattn_plan_linear_pack(context, &t->desc, &pack));
    good(clattn_linear_packed_size(&t->desc, &size));
    t->desc.slots |= CLATTN_SLOT_BIT(CLATTN_SLOT_PACKED_W);
    good(clattn_plan_linear(context, &t->desc, &plan));
    good(clattn_buffer_create(context, size, &packed));
    clattn_binding bindings[ROLES + 1] = {{.slot = CLATTN_SLOT_PACKED_W, .buffer = packed}};
    clattn_binding pack_bindings[2] = {{.slot = CLATTN_SLOT_PACKED_W, .buffer = packed}};
    uint32_t count = 1;
    for (int role = 0; role < ROLES; role++) {
        const array *a = &t->array[role];
        buffer[role] = buffer_of(context, a);
        const clattn_binding made = {.slot = slots[role],
                                     .buffer = buffer[role],
                                     .offset = (uint64_t)a->origin * size_of(a)};
        if (role == W)
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
    good(clattn_dispatcher_create(context, NULL, &dispatcher));
    rig_submit(dispatcher, &submission);
    clattn_dispatcher_destroy(dispatcher);
    for (int role = 0; role < ROLES; role++) {
        const array *a = &t->array[role];
        good(clattn_buffer_read(buffer[role], 0, a->memory, (uint64_t)a->count * size_of(a)));
        good(clattn_buffer_destroy(buffer[role]));
    }
    good(clattn_buffer_destroy(packed));
    clattn_plan_destroy(pack);
    clattn_plan_destroy(plan);
}

Test(linear, reads_packed_weights)
{
    for (size_t family = 0; family < COUNT(families); family++) {
        clattn_context *context = open_family(family);
        for (size_t n = 0; n < COUNT(cases); n++)
            for (uint32_t pass = 0; pass < 2; pass++) {
                trial t;
                rig_say("%s, packed, case %d, pass %d", families[family], (int)n, (int)pass);
                begin(&t, &cases[n], pass);
                run_packed(context, &t);
                check(&t);
                end(&t);
            }
        rig_close(context);
    }
}

/* Sums don't depend on how the result is cut, nor on which factor is packed. */
Test(linear, gives_the_same_bits_in_every_company)
{
    enum { IN = 200, OUT = 150, ROWS = 300 };
    static float x[ROWS][IN], w[OUT][IN], one[1][OUT], all[ROWS][OUT], again[ROWS][OUT];
    clattn_context *context = open_family(0);
    uint32_t seed = 5;
    for (int i = 0; i < ROWS; i++)
        for (int k = 0; k < IN; k++)
            x[i][k] = rig_number(&seed);
    for (int j = 0; j < OUT; j++)
        for (int k = 0; k < IN; k++)
            w[j][k] = rig_number(&seed);
    clattn_linear_desc desc;
    clattn_linear_desc_init(&desc);
    desc.batch = 1;
    desc.in = IN;
    desc.out = OUT;
    desc.rows = ROWS;
    const clattn_host_binding whole[] = {
        {CLATTN_SLOT_X, 0, x}, {CLATTN_SLOT_W, 0, w}, {CLATTN_SLOT_Y, 0, all}};
    good(clattn_linear(context, &desc, whole, 3));
    desc.rows = 1;
    for (int row = 0; row < ROWS; row += 23) {
        const clattn_host_binding single[] = {
            {CLATTN_SLOT_X, 0, x[row]}, {CLATTN_SLOT_W, 0, w}, {CLATTN_SLOT_Y, 0, one}};
        good(clattn_linear(context, &desc, single, 3));
        cr_assert_arr_eq(one[0], all[row], sizeof one[0], "row %d", row);
    }
    rig_close(context);
    context = open_family(1);
    desc.rows = ROWS;
    const clattn_host_binding other[] = {
        {CLATTN_SLOT_X, 0, x}, {CLATTN_SLOT_W, 0, w}, {CLATTN_SLOT_Y, 0, again}};
    good(clattn_linear(context, &desc, other, 3));
    cr_assert_arr_eq(again, all, sizeof all, "linear_reference adds in another order");
    rig_close(context);
}
