/* Offsets beyond 2^31 and 2^32: a mask with more elements than that, and every tensor with two rows
 * (heads, batch entries) that are more than 2^32 bytes apart. The memory is only promised by the
 * system, not touched but where elements are. Spans that no buffer has are refused. */
#include <criterion/criterion.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "roomy_opencl.h"
#include "tests/for_attention.h"
#include "tests/shortened.h"
#include "tests/oracle/oracle.h"
#include "tests/oracle/storage.h"

#define COUNT(array) (sizeof(array) / sizeof(array)[0])
#define BIT(slot)    CLATTN_SLOT_BIT(CLATTN_SLOT_##slot)

/* Runs body for every kernel for attention and every device that can; says why others can't. */
typedef void (*large_body)(clattn_context *context, const char *kernel);

static void each_roomy_kernel(uint64_t size, large_body body)
{
    uint32_t devices = 0;
    const char *reason = "there is no device";
    int ran = 0;
    void *memory = malloc(size);
    free(memory);
    if (!memory)
        cr_skip_test("the system promises no %.1f GiB", (double)size / 0x1p30);
    cr_assert_eq(clattn_device_list(NULL, NULL, 0, &devices), CLATTN_OK);
    for (uint32_t device = 0; device < devices; device++)
        for (uint32_t n = 0; n < clattn_kernel_count(); n++) {
            clattn_context *context = roomy_open(device, clattn_kernel_name(n), size, &reason);
            if (context && is_for_attention(context, clattn_kernel_name(n))) {
                body(context, clattn_kernel_name(n));
                ran++;
            }
            cr_assert_eq(clattn_context_destroy(context), CLATTN_OK);
        }
    if (!ran)
        cr_skip_test("%s", reason);
}

/* --- a mask of more than 2^31 elements -------------------------------------------------------- */

/* Most batch entries are empty, and few of the keys are there: only offsets are large. */
enum { BATCH = 5, QUERIES = 1 << 14, KEYS = 1 << 15, SEEN = 40, DIM = 2, LAST = BATCH - 1 };
#define MASK_BYTES ((uint64_t)BATCH * QUERIES * KEYS)

static bool sees(int64_t i, int64_t j)
{
    return (7 * i + 3 * j + i / 64) % 5 < 2;
}

static float number(int64_t n)
{
    return (float)(n * 37 % 101) / 50.0f - 1.0f;
}

typedef struct masked {
    unsigned char *mask; /* (BATCH, 1, QUERIES, KEYS) */
    float *q, *out;      /* (BATCH, 1, QUERIES, DIM) */
    float *k, *v;        /* (BATCH, 1, KEYS, DIM) */
} masked;

static float *new_numbers(int64_t count)
{
    float *made = malloc((size_t)count * sizeof *made);
    cr_assert_not_null(made);
    for (int64_t n = 0; n < count; n++)
        made[n] = number(n);
    return made;
}

static void make_masked(masked *m)
{
    m->mask = calloc(MASK_BYTES, 1);
    cr_assert_not_null(m->mask);
    for (int64_t i = 0; i < QUERIES; i++)
        for (int64_t j = 0; j < SEEN; j++)
            m->mask[((int64_t)LAST * QUERIES + i) * KEYS + j] = sees(i, j);
    m->q = new_numbers((int64_t)BATCH * QUERIES * DIM);
    m->out = new_numbers((int64_t)BATCH * QUERIES * DIM);
    m->k = new_numbers((int64_t)BATCH * KEYS * DIM);
    m->v = new_numbers((int64_t)BATCH * KEYS * DIM);
}

static clattn_status run_masked(clattn_context *context, const masked *m)
{
    int32_t q_lengths[BATCH] = {[LAST] = QUERIES}, kv_lengths[BATCH] = {[LAST] = SEEN};
    clattn_attention_desc desc;
    clattn_attention_desc_init(&desc);
    desc.batch = BATCH;
    desc.n_head = desc.n_kv_head = 1;
    desc.n_q = QUERIES;
    desc.n_kv = KEYS;
    desc.head_dim = desc.value_dim = DIM;
    desc.slots = BIT(MASK) | BIT(Q_LENGTHS) | BIT(KV_LENGTHS);
    const clattn_host_binding bindings[] = {
        {CLATTN_SLOT_Q, 0, m->q},
        {CLATTN_SLOT_K, 0, m->k},
        {CLATTN_SLOT_V, 0, m->v},
        {CLATTN_SLOT_OUT, 0, m->out},
        {CLATTN_SLOT_MASK, 0, m->mask},
        {CLATTN_SLOT_Q_LENGTHS, 0, q_lengths},
        {CLATTN_SLOT_KV_LENGTHS, 0, kv_lengths},
    };
    return clattn_run(context, &desc, bindings, COUNT(bindings));
}

static void check_masked(const masked *m, const char *kernel)
{
    uint8_t *mask = malloc(QUERIES * SEEN);
    double *expected = malloc(sizeof(double) * QUERIES * DIM);
    const int64_t rows = (int64_t)LAST * QUERIES * DIM, keys = (int64_t)LAST * KEYS * DIM;
    for (int64_t n = 0; n < QUERIES * SEEN; n++)
        mask[n] = sees(n / SEEN, n % SEEN);
    const oracle_problem problem = {.batch = 1,
                                    .n_head = 1,
                                    .n_kv_head = 1,
                                    .n_q = QUERIES,
                                    .n_kv = SEEN,
                                    .head_dim = DIM,
                                    .value_dim = DIM,
                                    .scale = sqrt(0.5),
                                    .q = m->q + rows,
                                    .k = m->k + keys,
                                    .v = m->v + keys,
                                    .mask = mask,
                                    .out = expected};
    cr_assert(oracle_attention(&problem));
    for (int64_t n = 0; n < QUERIES * DIM; n++)
        cr_assert(fabs((double)m->out[rows + n] - expected[n]) <= 1e-5, "%s: query %d: %g, not %g",
                  kernel, (int)(n / DIM), (double)m->out[rows + n], expected[n]);
    for (int64_t n = 0; n < rows; n++)
        cr_assert_eq(m->out[n], 0.0f, "%s: empty entries give 0", kernel);
    free(expected);
    free(mask);
}

static void large_mask(clattn_context *context, const char *kernel)
{
    masked m;
    if (is_for_few_queries(kernel))
        return; /* a mask of that size for 16 queries has 2^27 keys, which take gigabytes more */
    make_masked(&m);
    cr_assert_eq(run_masked(context, &m), CLATTN_OK, "%s: %s", kernel, clattn_error_message());
    check_masked(&m, kernel);
    free(m.mask);
    free(m.q);
    free(m.out);
    free(m.k);
    free(m.v);
}

Test(large, a_mask_of_more_than_2_31_elements)
{
    cr_assert(MASK_BYTES > (uint64_t)1 << 31);
    each_roomy_kernel(MASK_BYTES, large_mask);
}

/* --- rows far apart --------------------------------------------------------------------------- */

enum { SIDE = 2, DEPTH = 17, ALL_KEYS = 2 * SIDE };
#define FAR_BYTES (((int64_t)1 << 32) + 4096)

/* Extents of the last two dimensions, the others have SIDE; bytes of an element. */
static const struct {
    clattn_slot slot;
    int64_t rows, depth;
    int size;
    bool written;
} far_slots[] = {
    {CLATTN_SLOT_Q, SIDE, DEPTH, 2, false},
    {CLATTN_SLOT_K, SIDE, DEPTH, 2, false},
    {CLATTN_SLOT_V, SIDE, DEPTH, 2, false},
    {CLATTN_SLOT_PAST_K, SIDE, DEPTH, 2, false},
    {CLATTN_SLOT_PAST_V, SIDE, DEPTH, 2, false},
    {CLATTN_SLOT_MASK, SIDE, ALL_KEYS, 1, false},
    {CLATTN_SLOT_BIAS, SIDE, ALL_KEYS, 2, false},
    {CLATTN_SLOT_OUT, SIDE, DEPTH, 2, true},
    {CLATTN_SLOT_LSE, SIDE, 1, 4, true},
    {CLATTN_SLOT_PRESENT_K, ALL_KEYS, DEPTH, 2, true},
    {CLATTN_SLOT_PRESENT_V, ALL_KEYS, DEPTH, 2, true},
    {CLATTN_SLOT_WEIGHTS, SIDE, ALL_KEYS, 4, true},
    {CLATTN_SLOT_WEIGHTS_MEAN, ALL_KEYS, 1, 4, true},
    {CLATTN_SLOT_WEIGHTS_SUM, ALL_KEYS, 1, 4, true},
    {CLATTN_SLOT_SCORES, SIDE, ALL_KEYS, 4, true},
};

/* Weights and scores come last: kernels for few queries return none. */
enum { FEW_SLOTS = 11 };

/* One of the first three dimensions is far, unless `far` is -1. */
typedef struct far_tensor {
    unsigned char *memory; /* owned */
    int64_t extent[4], stride[4], origin;
    int size; /* bytes of an element */
} far_tensor;

static void lay_out(size_t slot, int far, int sign, far_tensor *t)
{
    const int64_t extent[] = {SIDE, SIDE, far_slots[slot].rows, far_slots[slot].depth};
    int64_t step = 1;
    memset(t, 0, sizeof *t);
    memcpy(t->extent, extent, sizeof extent);
    t->size = far_slots[slot].size;
    const int64_t distance = FAR_BYTES / t->size;
    for (int d = 3; d >= 0; d--) {
        t->stride[d] = d == far ? sign * distance : step;
        step *= d == far ? 1 : extent[d];
    }
    const int64_t reach = far < 0 ? 0 : distance * (extent[far] - 1);
    t->origin = sign < 0 ? reach : 0;
    t->memory = calloc((size_t)((step + reach) * t->size), 1);
    cr_assert_not_null(t->memory);
}

static int64_t count_of(const far_tensor *t)
{
    return t->extent[0] * t->extent[1] * t->extent[2] * t->extent[3];
}

static unsigned char *element(const far_tensor *t, int64_t n)
{
    int64_t index = t->origin;
    for (int d = 3; d >= 0; n /= t->extent[d], d--)
        index += n % t->extent[d] * t->stride[d];
    return t->memory + index * t->size;
}

static void fill(clattn_slot slot, const far_tensor *t)
{
    for (int64_t n = 0; n < count_of(t); n++) {
        const uint16_t half = oracle_to_f16(number(n * (int)(slot + 3)));
        if (slot == CLATTN_SLOT_MASK)
            *element(t, n) = n % 5 != 0;
        else if (t->size == 2)
            memcpy(element(t, n), &half, sizeof half);
    }
}

static void describe_far(clattn_attention_desc *desc, size_t slots)
{
    clattn_attention_desc_init(desc);
    desc->batch = desc->n_head = desc->n_kv_head = desc->n_q = desc->n_kv = desc->n_past = SIDE;
    desc->head_dim = desc->value_dim = DEPTH;
    for (size_t i = 0; i < slots; i++)
        if (far_slots[i].slot > CLATTN_SLOT_OUT)
            desc->slots |= CLATTN_SLOT_BIT(far_slots[i].slot);
}

/* The first `slots` take part, one of them is far; all outputs, one after the other, go to
 * `results`. Returns how many bytes. */
static size_t run_far(clattn_context *context, size_t slots, size_t slot, int far, int sign,
                      unsigned char *results)
{
    far_tensor tensor[COUNT(far_slots)];
    clattn_host_binding bindings[COUNT(far_slots)];
    clattn_attention_desc desc;
    size_t size = 0;
    describe_far(&desc, slots);
    for (size_t i = 0; i < slots; i++) {
        clattn_tensor *layout = &desc.tensor[far_slots[i].slot];
        lay_out(i, i == slot ? far : -1, i == slot ? sign : 1, &tensor[i]);
        fill(far_slots[i].slot, &tensor[i]);
        layout->strided = 1;
        layout->dtype = tensor[i].size == 2 ? CLATTN_F16 : CLATTN_F32;
        memcpy(layout->stride, tensor[i].stride, sizeof tensor[i].stride);
        bindings[i] = (clattn_host_binding){far_slots[i].slot, 0,
                                            tensor[i].memory + tensor[i].origin * tensor[i].size};
    }
    cr_assert_eq(clattn_run(context, &desc, bindings, (uint32_t)slots), CLATTN_OK, "%s",
                 clattn_error_message());
    for (size_t i = 0; i < slots; i++) {
        for (int64_t n = 0; far_slots[i].written && n < count_of(&tensor[i]); n++) {
            memcpy(results + size, element(&tensor[i], n), (size_t)tensor[i].size);
            size += (size_t)tensor[i].size;
        }
        free(tensor[i].memory);
    }
    return size;
}

static void far_apart(clattn_context *context, const char *kernel)
{
    unsigned char near[4096], far[4096];
    const size_t slots = is_for_few_queries(kernel) ? FEW_SLOTS : COUNT(far_slots);
    const size_t size = run_far(context, slots, 0, -1, 1, near);
    cr_assert(size > 500);
    for (size_t i = 0; i < slots; i++)
        for (int dim = 0; dim < 3; dim++)
            for (int sign = -1; sign <= 1; sign += 2) {
                if (dim == 2 && far_slots[i].rows > SIDE)
                    continue; /* several times the distance */
                if (is_shortened() && 2 * dim + (sign < 0) != (int)(i % 4))
                    continue; /* shadows of gigabytes take their time */
                cr_assert_eq(run_far(context, slots, i, dim, sign, far), size);
                cr_assert_eq(memcmp(near, far, size), 0,
                             "%s: slot %d, dimension %d, sign %d: other results", kernel,
                             (int)far_slots[i].slot, dim, sign);
            }
}

Test(large, rows_more_than_2_32_bytes_apart)
{
    each_roomy_kernel((uint64_t)FAR_BYTES + 4096, far_apart);
}

/* --- spans that no buffer has ----------------------------------------------------------------- */

static void refuse(clattn_context *context, clattn_dispatcher *dispatcher, clattn_buffer *buffer,
                   int64_t stride)
{
    clattn_attention_desc desc;
    clattn_plan *plan;
    clattn_submission submission;
    clattn_attention_desc_init(&desc);
    desc.batch = SIDE;
    desc.n_head = desc.n_kv_head = desc.n_q = desc.n_kv = desc.head_dim = desc.value_dim = 1;
    for (int slot = CLATTN_SLOT_Q; slot <= CLATTN_SLOT_OUT; slot++)
        desc.tensor[slot] = (clattn_tensor){.strided = 1, .stride = {1, 1, 1, 1}};
    desc.tensor[CLATTN_SLOT_K].stride[0] = stride;
    cr_assert_eq(clattn_plan_attention(context, &desc, &plan), CLATTN_OK, "%s",
                 clattn_error_message());
    clattn_binding bindings[4];
    for (int slot = CLATTN_SLOT_Q; slot <= CLATTN_SLOT_OUT; slot++)
        bindings[slot] =
            (clattn_binding){(clattn_slot)slot, 0, buffer, 2048 + 64 * (uint64_t)slot, NULL};
    const clattn_step step = {.plan = plan, .bindings = bindings, .binding_count = 4};
    clattn_submission_init(&submission);
    submission.steps = &step;
    submission.step_count = 1;
    cr_expect_eq(clattn_submit(dispatcher, &submission, NULL), CLATTN_ERR_ARGUMENT, "stride %g",
                 (double)stride);
    cr_expect(strncmp(clattn_error_message(), stride > 0 ? "K: needs" : "K: negative strides", 8) ==
                  0,
              "stride %g: %s", (double)stride, clattn_error_message());
    clattn_plan_destroy(plan);
}

Test(large, spans_beyond_the_buffer)
{
    clattn_context *context;
    clattn_dispatcher *dispatcher;
    clattn_buffer *buffer;
    cr_assert_eq(clattn_context_create(NULL, &context), CLATTN_OK, "%s", clattn_error_message());
    cr_assert_eq(clattn_dispatcher_create(context, NULL, &dispatcher), CLATTN_OK);
    cr_assert_eq(clattn_buffer_create(context, 4096, &buffer), CLATTN_OK);
    for (int power = 10; power <= 58; power++) {
        refuse(context, dispatcher, buffer, (int64_t)1 << power);
        refuse(context, dispatcher, buffer, -((int64_t)1 << power));
    }
    cr_assert_eq(clattn_dispatcher_finish(dispatcher), CLATTN_OK);
    clattn_dispatcher_destroy(dispatcher);
    cr_assert_eq(clattn_buffer_destroy(buffer), CLATTN_OK);
    cr_assert_eq(clattn_context_destroy(context), CLATTN_OK);
}
