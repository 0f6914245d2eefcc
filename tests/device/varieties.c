/* The table of varieties.h, and what makes problems of its rows. */
#include "varieties.h"

#include <criterion/criterion.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "tests/for_attention.h"
#include "tests/fuzz/functions.h"

#define MOST_TARGETS 32

fuzz_target variety_target[MOST_TARGETS];
uint32_t variety_targets;

#define BIT                VARIETY_BIT
#define TOP                CLATTN_ALIGN_TOP_LEFT
#define BOTTOM             CLATTN_ALIGN_BOTTOM_RIGHT
#define VALUES(slot, kind) .tensor[CLATTN_SLOT_##slot].values = FUZZ_##kind

/* Columns: name, slots, storage, block, and what differs from an empty problem. */
const variety varieties[] = {
    {"plain", 0, VARIETY_F32, 0, {.index = 0}},
    {"gaps", 0, VARIETY_GAPS, 0, {.index = 0}},
    {"f16", 0, VARIETY_F16, 0, {.index = 0}},
    {"bf16", 0, VARIETY_BF16, 0, {.index = 0}},
    {"causal", 0, VARIETY_F32, 0, {.causal = true, .align = BOTTOM}},
    {"causal, top left", 0, VARIETY_GAPS, 0, {.causal = true, .align = TOP}},
    {"causal, offset",
     0,
     VARIETY_MIXED,
     0,
     {.causal = true, .align = CLATTN_ALIGN_OFFSET, .align_offset = -11}},
    {"window",
     0,
     VARIETY_F32,
     0,
     {.has_window = true, .align = BOTTOM, .window_left = 9, .window_right = 5}},
    {"window of one key", 0, VARIETY_F32, 0, {.has_window = true, .align = TOP}},
    {"window to the left",
     0,
     VARIETY_BF16,
     0,
     {.has_window = true, .align = TOP, .window_left = 40, .window_right = -1}},
    {"lengths", BIT(Q_LENGTHS) | BIT(KV_LENGTHS), VARIETY_F32, 0, {.index = 0}},
    {"lengths, causal",
     BIT(Q_LENGTHS) | BIT(KV_LENGTHS),
     VARIETY_GAPS,
     0,
     {.causal = true, .align = BOTTOM}},
    {"key lengths", BIT(KV_LENGTHS), VARIETY_F16, 0, {.index = 0}},
    {"ragged", 0, VARIETY_F32, 0, {.ragged = true, .spare_q = 3, .spare_kv = 5}},
    {"ragged, causal",
     0,
     VARIETY_GAPS,
     0,
     {.ragged = true, .spare_kv = 20, .causal = true, .align = BOTTOM}},
    {"ragged, past",
     0,
     VARIETY_F32,
     0,
     {.ragged = true, .spare_kv = 5, .n_past = 19, .causal = true, .align = BOTTOM}},
    {"ragged, mixed past", 0, VARIETY_MIXED, 0, {.ragged = true, .n_past = 33}},
    {"ragged, pages",
     0,
     VARIETY_F32,
     0,
     {.ragged = true, .spare_q = 3, .page_size = 16, .causal = true, .align = BOTTOM}},
    {"ragged, odd pages",
     BIT(MASK),
     VARIETY_BF16,
     0,
     {.ragged = true, .page_size = 5, .tokens_first = true}},
    {"mask", BIT(MASK), VARIETY_F32, 0, {.index = 0}},
    {"shared mask", BIT(MASK), VARIETY_SHARED, 0, {.index = 0}},
    {"mask, causal", BIT(MASK), VARIETY_GAPS, 0, {.causal = true, .align = BOTTOM}},
    {"mask, softcap 1", BIT(MASK), VARIETY_F32, 0, {.softcap = 1, VALUES(Q, LARGE)}},
    {"mask, softcap 2", BIT(MASK), VARIETY_MIXED, 0, {.softcap = 2}},
    {"mask, softcap 5",
     BIT(MASK) | BIT(KV_LENGTHS),
     VARIETY_GAPS,
     0,
     {.softcap = 5, VALUES(Q, LARGE)}},
    {"mask, tiny softcap", BIT(MASK), VARIETY_F32, 0, {.softcap = 1.2e-38F, VALUES(Q, SPARSE)}},
    {"causal, softcap 2", 0, VARIETY_F32, 0, {.softcap = 2, .causal = true, .align = BOTTOM}},
    {"bias", BIT(BIAS), VARIETY_F32, 0, {.index = 0}},
    {"hiding bias", BIT(BIAS), VARIETY_F32, 0, {VALUES(BIAS, HIDING)}},
    {"hiding bias, softcap 5", BIT(BIAS), VARIETY_GAPS, 0, {.softcap = 5, VALUES(BIAS, HIDING)}},
    {"lowest bias", BIT(BIAS) | BIT(MASK), VARIETY_SHARED, 0, {VALUES(BIAS, LOWEST)}},
    {"half bias", BIT(BIAS), VARIETY_F16, 0, {VALUES(BIAS, HIDING)}},
    {"alibi", BIT(ALIBI) | BIT(KV_LENGTHS), VARIETY_F32, 0, {.causal = true, .align = BOTTOM}},
    {"sink", BIT(SINK) | BIT(MASK), VARIETY_F32, 0, {.index = 0}},
    {"sink, lengths", BIT(SINK) | BIT(Q_LENGTHS) | BIT(KV_LENGTHS), VARIETY_BF16, 0, {.index = 0}},
    {"blocks", 0, VARIETY_F32, 16, {.index = 0}},
    {"odd blocks, causal", BIT(KV_LENGTHS), VARIETY_GAPS, 13, {.causal = true, .align = BOTTOM}},
    {"blocks, mask", BIT(MASK), VARIETY_F16, 48, {.index = 0}},
    {"past", 0, VARIETY_F32, 0, {.n_past = 19, .causal = true, .align = BOTTOM}},
    {"past, present", BIT(PRESENT_K) | BIT(PRESENT_V), VARIETY_MIXED, 0, {.n_past = 33}},
    {"past, lengths", BIT(KV_LENGTHS), VARIETY_GAPS, 0, {.n_past = 7}},
    {"score function", 0, VARIETY_F32, 0, {.functions = 1}},
    {"mask function", BIT(MASK), VARIETY_F32, 0, {.functions = 2}},
    {"both functions", BIT(KV_LENGTHS), VARIETY_BF16, 0, {.functions = 3}},
    {"dropout", BIT(MASK), VARIETY_F32, 0, {.dropout = 0.3F}},
    {"dropped weights",
     BIT(KV_LENGTHS),
     VARIETY_F32,
     0,
     {.dropout = 0.6F, .weights_dropped = true}},
    {"scores", BIT(SCORES) | BIT(MASK), VARIETY_F32, 0, {.score_stage = CLATTN_SCORES_VISIBLE}},
    {"early scores",
     BIT(SCORES) | BIT(KV_LENGTHS),
     VARIETY_F32,
     0,
     {.score_stage = CLATTN_SCORES_CAPPED, .softcap = 2, .causal = true, .align = BOTTOM}},
};
const size_t variety_count = sizeof varieties / sizeof varieties[0];

static void set_types(fuzz_problem *p, variety_storage storage)
{
    static const clattn_dtype mixed[] = {CLATTN_F16, CLATTN_BF16, CLATTN_F16, CLATTN_F32};
    for (int slot = 0; slot < FUZZ_SLOTS; slot++) {
        fuzz_tensor *t = &p->tensor[slot];
        t->dtype = fuzz_slot_of(slot)->dtype;
        if (!fuzz_slot_of(slot)->is_float)
            continue;
        if (storage == VARIETY_F16)
            t->dtype = CLATTN_F16;
        if (storage == VARIETY_BF16)
            t->dtype = CLATTN_BF16;
        if (storage == VARIETY_MIXED)
            t->dtype = mixed[slot % 4];
    }
}

/* The innermost dimension is not always the last one. */
static void set_layout(fuzz_problem *p, int slot, variety_storage storage)
{
    fuzz_tensor *t = &p->tensor[slot];
    const int rank = fuzz_slot_of(slot)->rank;
    t->step = 1;
    for (int n = 0; n < rank; n++)
        t->order[n] = (uint8_t)(rank - 1 - n);
    if (storage == VARIETY_SHARED && (slot == CLATTN_SLOT_MASK || slot == CLATTN_SLOT_BIAS)) {
        t->strided = true;
        t->broadcast = slot == CLATTN_SLOT_MASK ? 2 : 1;
    }
    if (storage != VARIETY_GAPS || slot == CLATTN_SLOT_PARAMS)
        return;
    t->strided = true;
    t->shift = (uint8_t)(slot % 5);
    t->step = (uint8_t)(1 + (slot % 3 == 1));
    t->negative = (uint8_t)(slot % 4 == 2 ? 4 : 0);
    for (int n = 0; n < rank; n++)
        t->gap[n] = (uint8_t)((slot + n) % 4);
}

static void set_lengths(fuzz_problem *p)
{
    const int64_t most = fuzz_has_ragged_keys(p) ? p->n_kv : fuzz_keys(p);
    const int32_t n_q = (int32_t)p->n_q, keys = (int32_t)most;
    const int32_t q[] = {n_q, n_q / 2 + 1, n_q > 1}, kv[] = {keys / 2 + 1, keys - 1, keys};
    for (int b = 0; b < 3; b++) {
        p->q_length[b] = q[b] < n_q ? q[b] : n_q;
        p->kv_length[b] = kv[b] < keys ? kv[b] : keys;
    }
}

static uint64_t needed_slots(const variety *of, const fuzz_problem *p)
{
    uint64_t slots = BIT(Q) | BIT(K) | BIT(V) | BIT(OUT) | of->slots;
    if (p->ragged)
        slots |= BIT(Q_LENGTHS) | BIT(KV_LENGTHS);
    if (p->n_past)
        slots |= BIT(PAST_K) | BIT(PAST_V);
    if (of->block)
        slots |= BIT(BLOCK_COUNT) | BIT(BLOCK_INDEX);
    if (fuzz_functions_of(p->functions)->n_params)
        slots |= BIT(PARAMS);
    if (p->dropout != 0)
        slots |= BIT(SEED);
    return slots;
}

void variety_make(const variety *of, const variety_size *size, uint64_t slots, uint64_t index,
                  fuzz_problem *p)
{
    static const fuzz_path paths[] = {FUZZ_RUN, FUZZ_OWN, FUZZ_SHARED};
    *p = of->p;
    p->seed = 20240607;
    p->index = index;
    p->batch = 3;
    p->n_head = 2;
    p->n_kv_head = 1;
    p->n_q = size->n_q;
    p->n_kv = size->n_kv;
    p->head_dim = size->head_dim;
    p->value_dim = size->value_dim;
    p->block_q = p->block_kv = of->block;
    if (of->block)
        p->block_limit = (fuzz_keys(p) + of->block - 1) / of->block;
    set_types(p, of->storage);
    set_lengths(p);
    slots |= needed_slots(of, p);
    for (int slot = 0; slot < FUZZ_SLOTS; slot++) {
        p->tensor[slot].present = slots >> slot & 1;
        set_layout(p, slot, of->storage);
    }
    p->path = p->page_size ? FUZZ_RUN : paths[index % 3];
}

void variety_take_gradient(fuzz_problem *p)
{
    static const int of[][2] = {{CLATTN_SLOT_BIAS, CLATTN_SLOT_GRAD_BIAS},
                                {CLATTN_SLOT_SINK, CLATTN_SLOT_GRAD_SINK},
                                {CLATTN_SLOT_PAST_K, CLATTN_SLOT_GRAD_PAST_K},
                                {CLATTN_SLOT_PAST_V, CLATTN_SLOT_GRAD_PAST_V}};
    p->gradient = true;
    p->page_size = 0;
    p->score_stage = CLATTN_SCORES_SCALED;
    for (int slot = CLATTN_SLOT_LSE; slot < FUZZ_SLOTS; slot++)
        if (fuzz_slot_of(slot)->written)
            p->tensor[slot].present = false;
    p->tensor[CLATTN_SLOT_LSE].present = p->tensor[CLATTN_SLOT_GRAD_OUT].present = true;
    p->tensor[CLATTN_SLOT_GRAD_LSE].present = p->index % 2;
    for (int slot = CLATTN_SLOT_GRAD_Q; slot <= CLATTN_SLOT_GRAD_V; slot++)
        p->tensor[slot].present = true;
    for (size_t n = 0; n < sizeof of / sizeof of[0]; n++)
        p->tensor[of[n][1]].present = p->tensor[of[n][0]].present;
}

static clattn_context *open_context(uint32_t device, const char *kernel)
{
    char selector[16];
    clattn_context *context;
    clattn_context_options options;
    clattn_context_options_init(&options);
    snprintf(selector, sizeof selector, "%u", (unsigned)device);
    options.device = selector;
    options.kernel = kernel;
    cr_assert_eq(clattn_context_create(&options, &context), CLATTN_OK, "%s",
                 clattn_error_message());
    return context;
}

/* Whether the kernel, or with NULL any, has a part in attention or in its gradients. */
static bool is_of(const char *kernel, bool gradients)
{
    return !kernel || (strncmp(kernel, "gradient", 8) == 0) == gradients;
}

/* Whether the kernel (NULL: whichever is chosen) is one for attention, or for its plain gradients.
 */
static bool plans_attention(clattn_context *context, const char *kernel, bool gradients)
{
    fuzz_problem p;
    clattn_attention_desc desc;
    clattn_plan *plan = NULL;
    clattn_plan_info info = {.struct_size = sizeof info};
    variety_make(&varieties[0], &(variety_size){4, 4, 64, 64}, 0, 0, &p);
    if (gradients)
        variety_take_gradient(&p);
    fuzz_describe(&p, &desc);
    const clattn_status status = gradients ? clattn_plan_attention_gradient(context, &desc, &plan)
                                           : clattn_plan_attention(context, &desc, &plan);
    cr_assert(status == CLATTN_OK || status == CLATTN_ERR_UNSUPPORTED, "%s",
              clattn_error_message());
    if (status == CLATTN_OK)
        cr_assert_eq(clattn_plan_get_info(plan, &info), CLATTN_OK);
    clattn_plan_destroy(plan);
    return status == CLATTN_OK && (!kernel || strcmp(info.kernel, kernel) == 0);
}

/* kernel NULL: all of them, which must accept everything. */
static void open_target(uint32_t device, const char *kernel, bool gradients)
{
    fuzz_target t = {.kernel = kernel ? kernel : "all kernels", .device = device};
    if (!is_of(kernel, gradients))
        return;
    t.must_accept = !kernel || strstr(kernel, "_reference");
    t.context = open_context(device, kernel);
    if (!plans_attention(t.context, kernel, gradients)) {
        cr_assert_eq(clattn_context_destroy(t.context), CLATTN_OK);
        return;
    }
    cr_assert_eq(clattn_dispatcher_create(t.context, NULL, &t.dispatcher), CLATTN_OK);
    cr_assert(variety_targets < MOST_TARGETS);
    variety_target[variety_targets++] = t;
}

static uint32_t device_count(void)
{
    uint32_t devices = 0;
    cr_assert_eq(clattn_device_list(NULL, NULL, 0, &devices), CLATTN_OK, "%s",
                 clattn_error_message());
    cr_assert(devices > 0);
    return devices;
}

static void open_all(bool gradients)
{
    const uint32_t devices = device_count();
    for (uint32_t device = 0; device < devices; device++)
        for (uint32_t n = 0; n < clattn_kernel_count(); n++)
            if (!is_left_out(clattn_kernel_name(n)))
                open_target(device, clattn_kernel_name(n), gradients);
    cr_assert(variety_targets > 0);
}

void variety_open(void)
{
    open_all(false);
}

void variety_open_gradients(void)
{
    open_all(true);
}

void variety_open_kernel(const char *kernel, bool gradients)
{
    const uint32_t devices = device_count();
    for (uint32_t device = 0; device < devices; device++)
        open_target(device, kernel, gradients);
    cr_assert(variety_targets > 0, "no device runs %s", kernel);
}

void variety_open_devices(void)
{
    const uint32_t devices = device_count();
    for (uint32_t device = 0; device < devices; device++)
        open_target(device, NULL, false);
}

void variety_close(void)
{
    for (uint32_t n = 0; n < variety_targets; n++) {
        const fuzz_target *t = &variety_target[n];
        cr_assert(t->ran > 0, "%s on device %u declined everything", t->kernel,
                  (unsigned)t->device);
        clattn_dispatcher_destroy(t->dispatcher);
        cr_assert_eq(clattn_context_destroy(t->context), CLATTN_OK);
    }
    variety_targets = 0;
}

static bool has_nan(const fuzz_problem *p, const double *out)
{
    const int64_t count = p->batch * p->n_head * p->n_q * p->value_dim;
    for (int64_t n = 0; n < count; n++)
        if (isnan(out[n]))
            return true;
    return false;
}

bool variety_check(const fuzz_problem *p, const fuzz_set *set, const char *name)
{
    fuzz_expected e;
    fuzz_verdict verdict;
    fuzz_expect(p, set, &e);
    for (uint32_t n = 0; n < variety_targets; n++) {
        fuzz_target *t = &variety_target[n];
        const fuzz_outcome outcome = fuzz_check(t, p, set, &e, &verdict);
        cr_assert(outcome == FUZZ_PASSED || (outcome == FUZZ_DECLINED && !t->must_accept),
                  "%s on device %u, %s, %d queries, %d keys, poison %d: %s", t->kernel,
                  (unsigned)t->device, name, (int)p->n_q, (int)p->n_kv, p->poison_kind,
                  verdict.why);
        t->ran += outcome == FUZZ_PASSED;
    }
    const bool nan_shows = !p->gradient && has_nan(p, e.exact[CLATTN_SLOT_OUT]);
    fuzz_expected_free(&e);
    return nan_shows;
}
