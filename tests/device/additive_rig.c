/* See additive_rig.h. */
#include "additive_rig.h"

#include <criterion/criterion.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "rig.h"

#define GUARD 64 /* bytes before and behind a tensor */

static const clattn_slot read_slots[] = {CLATTN_SLOT_Q,        CLATTN_SLOT_K,
                                         CLATTN_SLOT_V,        CLATTN_SLOT_W_SCORE,
                                         CLATTN_SLOT_GRAD_OUT, CLATTN_SLOT_CHANNEL_BIAS,
                                         CLATTN_SLOT_GRAD_LSE};
static const clattn_slot written_slots[] = {
    CLATTN_SLOT_OUT,    CLATTN_SLOT_LSE,    CLATTN_SLOT_WEIGHTS,      CLATTN_SLOT_GRAD_Q,
    CLATTN_SLOT_GRAD_K, CLATTN_SLOT_GRAD_V, CLATTN_SLOT_GRAD_W_SCORE, CLATTN_SLOT_GRAD_CHANNEL_BIAS,
};
#define COUNT(array) (sizeof(array) / sizeof(array)[0])

static void good(clattn_status status)
{
    cr_assert_eq(status, CLATTN_OK, "%s: %s", rig_said(), clattn_error_message());
}

static void *allocate(size_t size)
{
    void *data = calloc(1, size + 1);
    cr_assert_not_null(data);
    return data;
}

/* ---- shapes ---------------------------------------------------------------------------------- */

static bool is_parameter(clattn_slot slot)
{
    return slot >= CLATTN_SLOT_W_SCORE && slot <= CLATTN_SLOT_GRAD_CHANNEL_BIAS;
}

static uint32_t shape_of(const additive_form *f, clattn_slot slot, int64_t extent[4])
{
    const bool of_keys = slot == CLATTN_SLOT_K || slot == CLATTN_SLOT_V ||
                         slot == CLATTN_SLOT_GRAD_K || slot == CLATTN_SLOT_GRAD_V;
    const bool of_values = slot == CLATTN_SLOT_V || slot == CLATTN_SLOT_GRAD_V ||
                           slot == CLATTN_SLOT_OUT || slot == CLATTN_SLOT_GRAD_OUT;
    const bool of_scores = slot == CLATTN_SLOT_WEIGHTS || slot == CLATTN_SLOT_MASK;
    if (is_parameter(slot)) {
        extent[0] = f->n_head;
        extent[1] = f->channels;
        return 2;
    }
    extent[0] = f->batch;
    extent[1] = f->n_head;
    extent[2] = of_keys ? f->n_kv : f->n_q;
    extent[3] = of_scores ? f->n_kv : of_values ? f->value_dim : f->channels;
    return slot == CLATTN_SLOT_LSE || slot == CLATTN_SLOT_GRAD_LSE ? 3 : 4;
}

static int64_t count_of(const additive_form *f, clattn_slot slot)
{
    int64_t extent[4], count = 1;
    for (uint32_t rank = shape_of(f, slot, extent); rank-- > 0;)
        count *= extent[rank];
    return count;
}

static bool has_dtype(clattn_slot slot)
{
    return slot != CLATTN_SLOT_LSE && slot != CLATTN_SLOT_WEIGHTS && slot != CLATTN_SLOT_GRAD_LSE;
}

static clattn_dtype dtype_of(const additive_form *f, clattn_slot slot)
{
    if (slot == CLATTN_SLOT_MASK)
        return CLATTN_BOOL;
    return has_dtype(slot) ? f->dtype : CLATTN_F32;
}

static size_t size_of(clattn_dtype dtype)
{
    return dtype == CLATTN_F32 ? 4 : dtype == CLATTN_BOOL ? 1 : 2;
}

/* ---- inputs ---------------------------------------------------------------------------------- */

static float rounded(clattn_dtype dtype, float x)
{
    return oracle_rounded((oracle_type)dtype, x);
}

static float size_of_numbers(const additive_form *f, clattn_slot slot)
{
    if (slot == CLATTN_SLOT_W_SCORE)
        return f->w_size > 0 ? f->w_size : 1;
    if (slot == CLATTN_SLOT_Q || slot == CLATTN_SLOT_K || slot == CLATTN_SLOT_CHANNEL_BIAS)
        return f->size > 0 ? f->size : 1;
    return 1;
}

static void make_inputs(additive_problem *p)
{
    const additive_form *f = &p->form;
    for (size_t n = 0; n < COUNT(read_slots); n++) {
        const clattn_slot slot = read_slots[n];
        uint32_t state = f->seed * 77 + (uint32_t)slot;
        if ((slot == CLATTN_SLOT_CHANNEL_BIAS && !f->bias) ||
            (slot == CLATTN_SLOT_GRAD_LSE && !f->by_lse))
            continue;
        p->value[slot] = allocate((size_t)p->count[slot] * sizeof(float));
        for (int64_t i = 0; i < p->count[slot]; i++)
            p->value[slot][i] =
                rounded(dtype_of(f, slot), size_of_numbers(f, slot) * rig_number(&state));
    }
}

void additive_make(const additive_form *form, additive_problem *p)
{
    uint32_t state = form->seed + 5;
    memset(p, 0, sizeof *p);
    p->form = *form;
    for (size_t n = 0; n < COUNT(read_slots); n++)
        p->count[read_slots[n]] = count_of(form, read_slots[n]);
    for (size_t n = 0; n < COUNT(written_slots); n++) {
        const clattn_slot slot = written_slots[n];
        p->count[slot] = count_of(form, slot);
        if (form->forward ? slot < CLATTN_SLOT_GRAD_OUT
                          : slot != CLATTN_SLOT_GRAD_CHANNEL_BIAS || form->bias)
            p->value[slot] = allocate((size_t)p->count[slot] * sizeof(float));
    }
    make_inputs(p);
    p->count[CLATTN_SLOT_MASK] = count_of(form, CLATTN_SLOT_MASK);
    if (form->mask)
        p->mask = allocate((size_t)p->count[CLATTN_SLOT_MASK]);
    for (int64_t i = 0; form->mask && i < p->count[CLATTN_SLOT_MASK]; i++)
        p->mask[i] = rig_number(&state) > -0.4f;
    for (int64_t b = 0; b < form->batch && b < 8; b++) {
        p->q_lengths[b] = (int32_t)(form->n_q * (b + 1) / (form->batch + 1));
        p->kv_lengths[b] = (int32_t)(form->n_kv * (b + 1) / (form->batch + 1));
    }
}

void additive_free(additive_problem *p)
{
    for (int slot = 0; slot < CLATTN_SLOT_LIMIT; slot++)
        free(p->value[slot]);
    free(p->mask);
    memset(p, 0, sizeof *p);
}

/* ---- memory ---------------------------------------------------------------------------------- */

/* One slot's memory on host and device. */
typedef struct tensor {
    clattn_slot slot;
    clattn_dtype dtype;
    uint32_t rank;
    int64_t extent[4], stride[4], origin; /* elements */
    size_t size;                          /* bytes, with guards */
    unsigned char *host;
    clattn_buffer *buffer;
} tensor;

static void lay_out(const additive_form *f, clattn_slot slot, tensor *t)
{
    int64_t step = f->layout == ADDITIVE_STEPS ? 2 : 1;
    memset(t, 0, sizeof *t);
    t->slot = slot;
    t->dtype = dtype_of(f, slot);
    t->rank = shape_of(f, slot, t->extent);
    for (uint32_t n = 0; n < t->rank; n++) {
        const uint32_t d = f->layout == ADDITIVE_REVERSED ? n : t->rank - 1 - n;
        const bool backwards = f->layout == ADDITIVE_STEPS && d == t->rank - 2;
        t->stride[d] = backwards ? -step : step;
        if (backwards && t->extent[d] > 0)
            t->origin += step * (t->extent[d] - 1);
        step *= t->extent[d] > 0 ? t->extent[d] : 1;
    }
    t->size = (size_t)step * size_of(t->dtype) + 2 * GUARD;
    t->origin += GUARD / (int64_t)size_of(t->dtype);
}

/* Address of element number n in the order of the slot's shape. */
static unsigned char *element(const tensor *t, int64_t n)
{
    int64_t at = t->origin;
    for (uint32_t d = t->rank; d-- > 0; n /= t->extent[d])
        at += n % t->extent[d] * t->stride[d];
    return t->host + at * (int64_t)size_of(t->dtype);
}

static void put(const tensor *t, int64_t n, float x)
{
    const uint16_t half = t->dtype == CLATTN_F16 ? oracle_to_f16(x) : oracle_to_bf16(x);
    const uint8_t byte = x != 0;
    const void *from = t->dtype == CLATTN_F32    ? (const void *)&x
                       : t->dtype == CLATTN_BOOL ? (const void *)&byte
                                                 : (const void *)&half;
    memcpy(element(t, n), from, size_of(t->dtype));
}

static float get(const tensor *t, int64_t n)
{
    float x;
    uint16_t half;
    if (t->dtype == CLATTN_F32) {
        memcpy(&x, element(t, n), sizeof x);
        return x;
    }
    memcpy(&half, element(t, n), sizeof half);
    return t->dtype == CLATTN_F16 ? oracle_from_f16(half) : oracle_from_bf16(half);
}

/* Memory with the values, or NaN everywhere, on the device. */
static void make_tensor(clattn_context *context, const additive_problem *p, clattn_slot slot,
                        bool written, tensor *t)
{
    lay_out(&p->form, slot, t);
    t->host = allocate(t->size);
    memset(t->host, 0xff, t->size); /* NaN in every type */
    for (int64_t n = 0; !written && n < p->count[slot]; n++)
        put(t, n, slot == CLATTN_SLOT_MASK ? p->mask[n] : p->value[slot][n]);
    good(clattn_buffer_create(context, t->size, &t->buffer));
    good(clattn_buffer_write(t->buffer, 0, t->host, t->size));
}

static void fetch(additive_problem *p, tensor *t)
{
    good(clattn_buffer_read(t->buffer, 0, t->host, t->size));
    for (int64_t n = 0; n < p->count[t->slot]; n++)
        p->value[t->slot][n] = get(t, n);
    for (int64_t n = 0; n < p->count[t->slot]; n++)
        memset(element(t, n), 0xff, size_of(t->dtype));
    for (size_t i = 0; i < t->size; i++)
        cr_assert_eq(t->host[i], 0xff, "%s: slot %d: a byte around the tensor was written",
                     rig_said(), (int)t->slot);
}

/* ---- running --------------------------------------------------------------------------------- */

typedef struct run {
    additive_problem *p;
    tensor tensor[24];
    uint32_t count;
    clattn_additive_desc desc;
    clattn_plan *plan[2];
    clattn_binding binding[2][24];
    clattn_step step[2];
} run;

static void add_tensor(clattn_context *context, run *r, clattn_slot slot, bool written)
{
    tensor *t = &r->tensor[r->count++];
    make_tensor(context, r->p, slot, written, t);
    r->desc.tensor[slot].dtype = t->dtype;
    r->desc.tensor[slot].strided = 1;
    memcpy(r->desc.tensor[slot].stride, t->stride, sizeof t->stride);
}

static void describe(const additive_problem *p, clattn_additive_desc *d)
{
    const additive_form *f = &p->form;
    clattn_additive_desc_init(d);
    d->batch = f->batch;
    d->n_head = f->n_head;
    d->n_q = f->n_q;
    d->n_kv = f->n_kv;
    d->channels = f->channels;
    d->value_dim = f->value_dim;
    if (f->bias)
        d->slots |= CLATTN_SLOT_BIT(CLATTN_SLOT_CHANNEL_BIAS);
    if (f->mask)
        d->slots |= CLATTN_SLOT_BIT(CLATTN_SLOT_MASK);
    if (f->q_lengths)
        d->slots |= CLATTN_SLOT_BIT(CLATTN_SLOT_Q_LENGTHS);
    if (f->kv_lengths)
        d->slots |= CLATTN_SLOT_BIT(CLATTN_SLOT_KV_LENGTHS);
}

/* Whether a slot is one of the forward pass (0) or of the gradients (1). */
static bool takes_part(clattn_slot slot, int step)
{
    if (slot == CLATTN_SLOT_WEIGHTS)
        return step == 0;
    return step == 1 || slot < CLATTN_SLOT_GRAD_OUT || slot == CLATTN_SLOT_W_SCORE ||
           slot == CLATTN_SLOT_CHANNEL_BIAS;
}

static bool is_optional(clattn_slot slot, int step)
{
    return slot == CLATTN_SLOT_WEIGHTS || (slot == CLATTN_SLOT_LSE && step == 0) ||
           slot == CLATTN_SLOT_GRAD_W_SCORE || slot == CLATTN_SLOT_GRAD_CHANNEL_BIAS ||
           (slot >= CLATTN_SLOT_GRAD_LSE && slot <= CLATTN_SLOT_GRAD_V);
}

static void add_lengths(const run *r, clattn_binding *to, uint32_t *count)
{
    if (r->p->form.q_lengths)
        to[(*count)++] = (clattn_binding){.slot = CLATTN_SLOT_Q_LENGTHS, .host = r->p->q_lengths};
    if (r->p->form.kv_lengths)
        to[(*count)++] = (clattn_binding){.slot = CLATTN_SLOT_KV_LENGTHS, .host = r->p->kv_lengths};
}

static void make_step(clattn_context *context, run *r, int step)
{
    clattn_additive_desc desc = r->desc;
    uint32_t count = 0;
    for (uint32_t n = 0; n < r->count; n++) {
        const tensor *t = &r->tensor[n];
        if (!takes_part(t->slot, step))
            continue;
        r->binding[step][count++] =
            (clattn_binding){.slot = t->slot,
                             .buffer = t->buffer,
                             .offset = (uint64_t)t->origin * size_of(t->dtype)};
        if (is_optional(t->slot, step))
            desc.slots |= CLATTN_SLOT_BIT(t->slot);
    }
    add_lengths(r, r->binding[step], &count);
    good(step ? clattn_plan_additive_gradient(context, &desc, &r->plan[step])
              : clattn_plan_additive(context, &desc, &r->plan[step]));
    r->step[step] =
        (clattn_step){.plan = r->plan[step], .bindings = r->binding[step], .binding_count = count};
}

void additive_run(clattn_context *context, clattn_dispatcher *dispatcher, additive_problem *p)
{
    static run r;
    clattn_submission submission;
    memset(&r, 0, sizeof r);
    r.p = p;
    describe(p, &r.desc);
    for (size_t n = 0; n < COUNT(read_slots); n++)
        if (p->value[read_slots[n]])
            add_tensor(context, &r, read_slots[n], false);
    if (p->mask)
        add_tensor(context, &r, CLATTN_SLOT_MASK, false);
    const uint32_t first_written = r.count;
    for (size_t n = 0; n < COUNT(written_slots); n++)
        if (p->value[written_slots[n]])
            add_tensor(context, &r, written_slots[n], true);
    clattn_submission_init(&submission);
    submission.steps = r.step;
    submission.step_count = p->form.forward ? 1 : 2;
    for (uint32_t n = 0; n < submission.step_count; n++)
        make_step(context, &r, (int)n);
    rig_submit(dispatcher, &submission);
    for (uint32_t n = 0; n < r.count; n++) {
        if (n >= first_written)
            fetch(p, &r.tensor[n]);
        good(clattn_buffer_destroy(r.tensor[n].buffer));
        free(r.tensor[n].host);
    }
    clattn_plan_destroy(r.plan[0]);
    clattn_plan_destroy(r.plan[1]);
}

/* ---- comparison ------------------------------------------------------------------------------ */

void additive_expect(const additive_problem *p, bool plain, additive_expected *e)
{
    const additive_form *f = &p->form;
    for (int slot = 0; slot < CLATTN_SLOT_LIMIT; slot++)
        e->value[slot] = NULL;
    for (size_t n = 0; n < COUNT(written_slots); n++)
        if (p->value[written_slots[n]])
            e->value[written_slots[n]] =
                allocate((size_t)p->count[written_slots[n]] * sizeof(double));
    const oracle_additive oracle = {
        .batch = f->batch,
        .n_head = f->n_head,
        .n_q = f->n_q,
        .n_kv = f->n_kv,
        .channels = f->channels,
        .value_dim = f->value_dim,
        .q = p->value[CLATTN_SLOT_Q],
        .k = p->value[CLATTN_SLOT_K],
        .v = p->value[CLATTN_SLOT_V],
        .w_score = p->value[CLATTN_SLOT_W_SCORE],
        .bias = p->value[CLATTN_SLOT_CHANNEL_BIAS],
        .mask = p->mask,
        .q_lengths = f->q_lengths ? p->q_lengths : NULL,
        .kv_lengths = f->kv_lengths ? p->kv_lengths : NULL,
        .by_out = p->value[CLATTN_SLOT_GRAD_OUT],
        .by_lse = p->value[CLATTN_SLOT_GRAD_LSE],
        .out = e->value[CLATTN_SLOT_OUT],
        .lse = e->value[CLATTN_SLOT_LSE],
        .weights = e->value[CLATTN_SLOT_WEIGHTS],
        .grad_q = e->value[CLATTN_SLOT_GRAD_Q],
        .grad_k = e->value[CLATTN_SLOT_GRAD_K],
        .grad_v = e->value[CLATTN_SLOT_GRAD_V],
        .grad_w_score = e->value[CLATTN_SLOT_GRAD_W_SCORE],
        .grad_bias = e->value[CLATTN_SLOT_GRAD_CHANNEL_BIAS],
        .plain = plain,
        .type = (oracle_type)f->dtype,
    };
    cr_assert(oracle_additive_compute(&oracle));
}

void additive_expected_free(additive_expected *e)
{
    for (int slot = 0; slot < CLATTN_SLOT_LIMIT; slot++)
        free(e->value[slot]);
}

double additive_error(const float *x, const double *expected, int64_t count, double *largest)
{
    double error = 0;
    *largest = 0;
    for (int64_t i = 0; i < count; i++)
        if (isfinite(expected[i])) {
            const double own = fabs((double)x[i] - expected[i]);
            error = own > error ? own : isnan(own) ? INFINITY : error;
            *largest = fabs(expected[i]) > *largest ? fabs(expected[i]) : *largest;
        }
    return error;
}

static void check_slot(const additive_problem *p, clattn_slot slot, const double *expected,
                       double scale)
{
    const bool gradient = slot >= CLATTN_SLOT_GRAD_Q;
    const double unit = has_dtype(slot) ? oracle_ulp((oracle_type)p->form.dtype) : 0;
    double largest;
    additive_error(p->value[slot], expected, p->count[slot], &largest);
    const double bound = ((gradient ? 5e-5 : 1e-5) * scale + (gradient ? 16 : 1) * unit) *
                         (largest > 1 ? largest : 1);
    for (int64_t i = 0; i < p->count[slot]; i++) {
        const double x = (double)p->value[slot][i];
        bool close = fabs(x - expected[i]) <= bound;
        if (!isfinite(expected[i]))
            close = isnan(expected[i]) ? isnan(x) : x == expected[i];
        cr_assert(close, "%s: slot %d: element %d of %d is %.9g, not %.9g", rig_said(), (int)slot,
                  (int)i, (int)p->count[slot], x, expected[i]);
    }
}

void additive_check(const additive_problem *p, double scale)
{
    additive_expected e;
    additive_expect(p, false, &e);
    for (size_t n = 0; n < COUNT(written_slots); n++)
        if (e.value[written_slots[n]])
            check_slot(p, written_slots[n], e.value[written_slots[n]], scale);
    additive_expected_free(&e);
}

static const char *family = "";

const char *additive_family(void)
{
    return family;
}

void additive_each_kernel(additive_body body)
{
    static const char *const families[] = {
        "additive_simd,additive_gradient_simd", "additive_tile,additive_gradient_tile",
        "additive_tile,additive_gradient_reference", "additive_reference,additive_gradient_tile",
        "additive_reference,additive_gradient_reference"};
    for (size_t n = 0; n < COUNT(families); n++) {
        clattn_context_options options;
        clattn_context *context;
        clattn_dispatcher *dispatcher;
        clattn_context_options_init(&options);
        options.kernel = families[n];
        good(clattn_context_create(&options, &context));
        good(clattn_dispatcher_create(context, NULL, &dispatcher));
        family = families[n];
        rig_say("%s", family);
        body(context, dispatcher);
        clattn_dispatcher_destroy(dispatcher);
        good(clattn_context_destroy(context));
    }
}
