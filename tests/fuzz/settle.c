/* What a valid problem must fulfil, and what keeps its numbers within float32, so that the oracle's
 * answer is what float32 can reach. */
#include "functions.h"
#include "generate.h"

static void drop(fuzz_problem *p, int slot)
{
    p->tensor[slot].present = false;
}

static void set(fuzz_problem *p, int slot, bool present)
{
    p->tensor[slot].present = present;
}

static void settle_positions(fuzz_problem *p)
{
    if (p->align == CLATTN_ALIGN_NONE &&
        (p->causal || p->has_window || fuzz_has(p, CLATTN_SLOT_ALIBI)))
        p->align = CLATTN_ALIGN_BOTTOM_RIGHT;
    if (p->align != CLATTN_ALIGN_OFFSET)
        p->align_offset = 0;
    const bool is_far = p->align_offset > 1000 || p->align_offset < -1000;
    if (is_far && (p->functions || fuzz_has(p, CLATTN_SLOT_ALIBI)))
        p->align_offset %= 64;
    if (!p->has_window)
        p->window_left = p->window_right = 0;
}

/* In ragged problems lengths say where sequences lie; elsewhere they may be wild in buffers. */
static void settle_lengths(fuzz_problem *p)
{
    if (p->ragged) {
        set(p, CLATTN_SLOT_Q_LENGTHS, true);
        set(p, CLATTN_SLOT_KV_LENGTHS, true);
        drop(p, CLATTN_SLOT_PRESENT_K);
        drop(p, CLATTN_SLOT_PRESENT_V);
    } else {
        p->spare_q = p->spare_kv = 0;
    }
    if (p->ragged || p->path == FUZZ_RUN || !p->wild)
        p->wild = false;
    set(p, CLATTN_SLOT_PAST_K, p->n_past > 0);
    set(p, CLATTN_SLOT_PAST_V, p->n_past > 0);
    for (int b = 0; b < FUZZ_BATCH_MOST && !p->wild; b++) {
        const int32_t q = p->q_length[b], kv = p->kv_length[b];
        const int64_t most = p->ragged ? p->n_kv : fuzz_keys(p);
        p->q_length[b] = (int32_t)(q < 0 ? 0 : q > p->n_q ? p->n_q : q);
        p->kv_length[b] = (int32_t)(kv < 0 ? 0 : kv > most ? most : kv);
    }
}

/* Gradients have LSE, and nothing else that the forward pass returns. */
static void settle_gradient(fuzz_problem *p)
{
    static const int returned[] = {CLATTN_SLOT_WEIGHTS,     CLATTN_SLOT_WEIGHTS_MEAN,
                                   CLATTN_SLOT_WEIGHTS_SUM, CLATTN_SLOT_PRESENT_K,
                                   CLATTN_SLOT_PRESENT_V,   CLATTN_SLOT_SCORES};
    static const int of[][2] = {{CLATTN_SLOT_GRAD_BIAS, CLATTN_SLOT_BIAS},
                                {CLATTN_SLOT_GRAD_SINK, CLATTN_SLOT_SINK},
                                {CLATTN_SLOT_GRAD_PAST_K, CLATTN_SLOT_PAST_K},
                                {CLATTN_SLOT_GRAD_PAST_V, CLATTN_SLOT_PAST_V}};
    bool wants_any = false;
    for (size_t n = 0; n < sizeof returned / sizeof returned[0] && p->gradient; n++)
        drop(p, returned[n]);
    for (int slot = CLATTN_SLOT_GRAD_OUT; slot < FUZZ_SLOTS && !p->gradient; slot++)
        drop(p, slot);
    if (!p->gradient)
        return;
    set(p, CLATTN_SLOT_LSE, true);
    set(p, CLATTN_SLOT_GRAD_OUT, true);
    for (size_t n = 0; n < sizeof of / sizeof of[0]; n++)
        set(p, of[n][0], fuzz_has(p, of[n][0]) && fuzz_has(p, of[n][1]));
    for (int slot = CLATTN_SLOT_GRAD_Q; slot < FUZZ_SLOTS; slot++)
        wants_any |= fuzz_has(p, slot);
    if (!wants_any)
        set(p, CLATTN_SLOT_GRAD_Q, true);
}

static void settle_slots(fuzz_problem *p)
{
    settle_gradient(p);
    set(p, CLATTN_SLOT_BLOCK_COUNT, fuzz_has(p, CLATTN_SLOT_BLOCK_INDEX));
    if (!fuzz_has(p, CLATTN_SLOT_BLOCK_INDEX))
        p->block_q = p->block_kv = p->block_limit = 0;
    set(p, CLATTN_SLOT_PARAMS, fuzz_functions_of(p->functions)->n_params > 0);
    set(p, CLATTN_SLOT_SEED, p->dropout != 0 || p->sample);
    if (!fuzz_has(p, CLATTN_SLOT_SCORES))
        p->score_stage = CLATTN_SCORES_SCALED;
    if (p->dropout == 0)
        p->weights_dropped = false;
    if (p->path == FUZZ_RUN)
        p->host = 0;
    for (int slot = 0; slot < FUZZ_SLOTS; slot++) {
        if (!fuzz_slot_of(slot)->host || !fuzz_has(p, slot))
            p->host &= ~CLATTN_SLOT_BIT(slot);
        if (fuzz_slot_of(slot)->written && slot != CLATTN_SLOT_GRAD_BIAS)
            p->tensor[slot].broadcast = 0;
    }
    const uint64_t indexing =
        CLATTN_SLOT_BIT(CLATTN_SLOT_Q_LENGTHS) | CLATTN_SLOT_BIT(CLATTN_SLOT_KV_LENGTHS) |
        CLATTN_SLOT_BIT(CLATTN_SLOT_BLOCK_COUNT) | CLATTN_SLOT_BIT(CLATTN_SLOT_BLOCK_INDEX);
    if (p->wild)
        p->host &= ~indexing;
    /* Each batch entry has its own length, each list its own blocks. */
    for (int slot = 0; slot < FUZZ_SLOTS; slot++)
        if (indexing >> slot & 1)
            p->tensor[slot].broadcast = 0;
    p->tensor[CLATTN_SLOT_SEED].broadcast = 0;
    p->tensor[CLATTN_SLOT_PARAMS].strided = false; /* the caller's functions get a pointer */
}

static void calm(fuzz_problem *p, int slot, fuzz_values from)
{
    if (p->tensor[slot].values == from)
        p->tensor[slot].values = FUZZ_UNIT;
}

/* Scores of 1e20 and a bias of the lowest number leave float32 together; sums of 1e30 leave f16, or
 * whatever dropout scales up; a dropped weight times NaN is nobody's promise; an infinite value
 * times a weight that only float32 rounds to 0 is NaN there alone. */
static void settle_values(fuzz_problem *p)
{
    static const int keys[] = {CLATTN_SLOT_Q, CLATTN_SLOT_K, CLATTN_SLOT_PAST_K};
    static const int values[] = {CLATTN_SLOT_V, CLATTN_SLOT_PAST_V, CLATTN_SLOT_PARTIAL_OUT};
    const fuzz_values bias = p->tensor[CLATTN_SLOT_BIAS].values;
    const bool has_bias = fuzz_has(p, CLATTN_SLOT_BIAS);
    const bool is_low =
        has_bias && (bias == FUZZ_LOWEST || bias == FUZZ_EXTREMES || bias == FUZZ_ALL_LOWEST);
    bool is_tiny = false;
    for (int n = 0; n < 3; n++)
        is_tiny |= p->tensor[keys[n]].present && p->tensor[keys[n]].values == FUZZ_DENORMAL;
    for (int n = 0; n < 3; n++) {
        if (is_low || p->functions)
            calm(p, keys[n], FUZZ_HUGE);
        if (is_low || is_tiny)
            calm(p, keys[n], FUZZ_INFINITE);
        calm(p, values[n], FUZZ_INFINITE);
        if (p->dropout != 0)
            calm(p, values[n], FUZZ_NAN);
        if (p->dropout != 0 || p->tensor[CLATTN_SLOT_OUT].dtype == CLATTN_F16)
            calm(p, values[n], FUZZ_HUGE);
        if (p->tensor[CLATTN_SLOT_OUT].dtype == CLATTN_F16 && p->dropout > 0.95F)
            p->dropout = 0.9F;
    }
    calm(p, CLATTN_SLOT_Q, FUZZ_INFINITE);
    for (int slot = 0; slot < FUZZ_SLOTS && p->gradient; slot++) {
        calm(p, slot, FUZZ_HUGE); /* products of three leave float32 */
        calm(p, slot, FUZZ_INFINITE);
        if (p->tensor[slot].values == FUZZ_NAN && p->dropout != 0)
            calm(p, slot, FUZZ_NAN);
    }
}

/* Two elements in a byte need an even number of them; denormal numbers have no scales. */
static void settle_integers(fuzz_problem *p)
{
    if (!p->integers) {
        p->scale_channels = 0;
        return;
    }
    p->head_dim += p->integers == 4 && p->head_dim % 2;
    p->value_dim += p->integers == 4 && p->value_dim % 2;
    for (int slot = CLATTN_SLOT_K; slot <= CLATTN_SLOT_V; slot++) {
        p->tensor[slot].dtype = CLATTN_F32;
        p->tensor[slot].strided = false;
        calm(p, slot, FUZZ_DENORMAL);
    }
}

/* Pages and integers are made of K and V for the one call; what they and top_k can't be with, they
 * give way to. */
static void settle_memory(fuzz_problem *p)
{
    const bool other = p->merge || p->gradient;
    const bool present = fuzz_has(p, CLATTN_SLOT_PRESENT_K) || fuzz_has(p, CLATTN_SLOT_PRESENT_V);
    if (other || present || p->n_past || p->path != FUZZ_RUN)
        p->page_size = p->integers = 0;
    if (p->page_size == 0)
        p->tokens_first = p->cascade = false;
    settle_integers(p);
    if (other || present || p->dropout != 0 || fuzz_has(p, CLATTN_SLOT_WEIGHTS_MEAN) ||
        fuzz_has(p, CLATTN_SLOT_WEIGHTS_SUM) || fuzz_has(p, CLATTN_SLOT_SCORES))
        p->highest = false;
    p->sample = p->sample && p->highest;
    if (!p->highest)
        p->top_k = 0;
    else if (p->top_k < 1)
        p->top_k = 1;
    if (p->sample || p->dropout != 0)
        return;
    drop(p, CLATTN_SLOT_SEED);
    p->host &= ~CLATTN_SLOT_BIT(CLATTN_SLOT_SEED);
}

/* Angles of 0 leave numbers as they are, but not what is infinite, or its neighbour. */
static void settle_rotation(fuzz_problem *p)
{
    const fuzz_values values = p->tensor[CLATTN_SLOT_Q].values;
    if (p->merge || p->gradient || p->path != FUZZ_RUN || p->head_dim < 2 || values == FUZZ_NAN ||
        values == FUZZ_INFINITE || values == FUZZ_HIDING || values == FUZZ_EXTREMES)
        p->rotated = false;
}

void fuzz_settle(fuzz_problem *p)
{
    if (p->merge) {
        for (int slot = 0; slot < FUZZ_SLOTS; slot++)
            if (slot != CLATTN_SLOT_OUT && slot != CLATTN_SLOT_LSE && slot != CLATTN_SLOT_SINK &&
                slot != CLATTN_SLOT_PARTIAL_OUT && slot != CLATTN_SLOT_PARTIAL_LSE)
                drop(p, slot);
        p->tensor[CLATTN_SLOT_OUT].broadcast = p->tensor[CLATTN_SLOT_LSE].broadcast = 0;
        p->wild = false;
    } else {
        settle_positions(p);
        settle_lengths(p);
        settle_slots(p);
    }
    if (p->path == FUZZ_RUN || p->merge)
        p->host &= p->path == FUZZ_RUN ? 0 : CLATTN_SLOT_BIT(CLATTN_SLOT_SINK);
    if (!fuzz_has(p, CLATTN_SLOT_SINK))
        p->host &= ~CLATTN_SLOT_BIT(CLATTN_SLOT_SINK);
    settle_values(p);
    settle_memory(p);
    settle_rotation(p);
}
