/* Random extents and options. Layouts and contents of tensors are in generate_tensor.c; what must
 * not contradict each other is settled in settle.c. */
#include "generate.h"

#include "functions.h"
#include "generate_tensor.h"
#include "random.h"

/* How many of its options a problem uses, in percent for each. */
typedef struct flavour {
    int common;  /* causal, window, lse, lengths */
    int special; /* all others */
    int share;   /* of problems, percent */
} flavour;

static const flavour flavours[] = {{12, 0, 25}, {15, 7, 35}, {35, 25, 32}, {60, 60, 8}};

static const flavour *choose_flavour(fuzz_random *r)
{
    int64_t left = fuzz_between(r, 0, 99);
    const flavour *f = flavours;
    while (left >= f->share)
        left -= f++->share;
    return f;
}

static int64_t choose_length(fuzz_random *r)
{
    const int64_t way = fuzz_between(r, 0, 99);
    if (way < 3)
        return 0;
    if (way < 11)
        return 1;
    if (way < 36)
        return FUZZ_PICK(r, 2, 3, 4, 5, 6, 7, 8, 9, 12, 13, 15, 16, 17, 23, 24, 25, 31, 32, 33, 47,
                         48, 49, 63, 64, 65);
    if (way < 43)
        return FUZZ_PICK(r, 96, 97, 101, 127, 128, 129, 131, 191, 251, 255, 256, 257, 300);
    return fuzz_between(r, 1, 40);
}

static int64_t choose_keys(fuzz_random *r)
{
    return fuzz_chance(r, 3) ? FUZZ_PICK(r, 511, 512, 513, 600, 1025) : choose_length(r);
}

static int64_t choose_dim(fuzz_random *r)
{
    const int64_t way = fuzz_between(r, 0, 99);
    if (way < 25)
        return FUZZ_PICK(r, 1, 2, 3, 4, 7, 8, 15, 16, 17, 31, 32, 33, 48, 63, 64);
    if (way < 87)
        return fuzz_between(r, 1, 64);
    if (way < 95)
        return fuzz_between(r, 65, 80);
    if (way < 97)
        return fuzz_between(r, 81, 128);
    return way < 99 ? fuzz_between(r, 129, 256) : fuzz_between(r, 257, 576);
}

/* Multiply-adds of both products; what they take decides how many problems a second go. */
static int64_t work_of(const fuzz_problem *p)
{
    return p->batch * p->n_head * p->n_q * fuzz_keys(p) * (p->head_dim + p->value_dim + 8);
}

static void choose_extents(fuzz_problem *p, fuzz_random *r)
{
    p->batch = fuzz_chance(r, 2) ? 0 : FUZZ_PICK(r, 1, 1, 1, 2, 2, 3, 4);
    p->n_kv_head = FUZZ_PICK(r, 1, 1, 1, 2, 2, 3, 4);
    p->n_head = p->n_kv_head * FUZZ_PICK(r, 1, 1, 1, 2, 2, 3, 4, 8);
    p->n_q = choose_length(r);
    p->n_kv = choose_keys(r);
    p->head_dim = choose_dim(r);
    p->value_dim = fuzz_chance(r, 50) ? p->head_dim : choose_dim(r);
    while (work_of(p) > 1000000) {
        if (p->batch > 1)
            p->batch--;
        else if (p->n_head > p->n_kv_head)
            p->n_head = p->n_kv_head;
        else if (p->n_kv_head > 1)
            p->n_head = --p->n_kv_head;
        else if (p->n_q > 8)
            p->n_q = p->n_q * 2 / 3;
        else
            p->n_kv = p->n_kv * 2 / 3;
    }
}

static void choose_positions(fuzz_problem *p, fuzz_random *r, const flavour *f)
{
    p->causal = fuzz_chance(r, f->common + 5);
    p->has_window = fuzz_chance(r, f->special);
    p->align = (clattn_align)fuzz_between(r, 0, 3);
    p->align_offset = fuzz_chance(r, 90) ? fuzz_between(r, -40, 40)
                                         : FUZZ_PICK(r, -2147483647, 2147483647, 100000, -3000);
    p->window_left = fuzz_chance(r, 25) ? -1 : fuzz_between(r, 0, fuzz_chance(r, 50) ? 5 : 70);
    p->window_right = fuzz_chance(r, 25) ? -1 : fuzz_between(r, 0, fuzz_chance(r, 50) ? 5 : 70);
    if (fuzz_chance(r, 3))
        p->window_left = FUZZ_PICK(r, 2147483647, 100000);
}

static void choose_scores(fuzz_problem *p, fuzz_random *r, const flavour *f)
{
    static const float scales[] = {1, 0.125F, 0, -0.5F, 0.0883883F, 3};
    static const float caps[] = {0.5F, 2, 8, 30, 50, 0.01F};
    static const float rates[] = {0.1F, 0.5F, 0.9F, 0.25F, 1e-7F, 0.99F};
    p->has_scale = fuzz_chance(r, 40);
    p->scale = scales[fuzz_between(r, 0, 5)];
    p->softcap = caps[fuzz_between(r, 0, 5)];
    p->dropout = rates[fuzz_between(r, 0, 5)];
    p->softcap = fuzz_chance(r, f->special) ? p->softcap : 0;
    p->dropout = fuzz_chance(r, f->special) ? p->dropout : 0;
    p->weights_dropped = fuzz_chance(r, 40);
    p->score_stage = (clattn_score_stage)fuzz_between(r, 0, 3);
    const bool may = f->special && p->head_dim <= 64 && p->value_dim <= 64;
    p->functions = may && fuzz_chance(r, 20) ? (int)fuzz_between(r, 1, FUZZ_FUNCTIONS - 1) : 0;
}

static void choose_lengths(fuzz_problem *p, fuzz_random *r, const flavour *f)
{
    const bool full = fuzz_chance(r, 20);
    p->ragged = fuzz_chance(r, f->special / 2);
    p->n_past = fuzz_chance(r, f->special) ? fuzz_between(r, 1, p->n_kv / 2 + 1) : 0;
    p->n_kv -= p->n_past < p->n_kv ? p->n_past : 0;
    p->wild = fuzz_chance(r, 20);
    for (int b = 0; b < FUZZ_BATCH_MOST; b++) {
        const int64_t q = fuzz_between(r, 0, p->n_q), kv = fuzz_between(r, 0, fuzz_keys(p));
        p->q_length[b] = (int32_t)(full ? p->n_q : q);
        p->kv_length[b] = (int32_t)(full ? fuzz_keys(p) : kv);
        if (p->wild && fuzz_chance(r, 50)) {
            p->q_length[b] = (int32_t)FUZZ_PICK(r, -1, p->n_q + 1, INT32_MAX, INT32_MIN, 0);
            p->kv_length[b] = (int32_t)FUZZ_PICK(r, -5, fuzz_keys(p) + 3, INT32_MAX, INT32_MIN, 0);
        }
    }
    p->spare_q = fuzz_chance(r, 30) ? fuzz_between(r, 1, 5) : 0;
    p->spare_kv = fuzz_chance(r, 30) ? fuzz_between(r, 1, 5) : 0;
    p->block_q = fuzz_chance(r, 50) ? FUZZ_PICK(r, 1, 8, 16, 64) : fuzz_between(r, 1, 20);
    p->block_kv = fuzz_chance(r, 50) ? FUZZ_PICK(r, 1, 16, 32, 64) : fuzz_between(r, 1, 20);
    p->block_limit = fuzz_between(r, 1, fuzz_keys(p) / p->block_kv + 2);
}

static void choose_slots(fuzz_problem *p, fuzz_random *r, const flavour *f)
{
    static const uint8_t common[] = {CLATTN_SLOT_LSE, CLATTN_SLOT_Q_LENGTHS,
                                     CLATTN_SLOT_KV_LENGTHS};
    static const uint8_t special[] = {
        CLATTN_SLOT_WEIGHTS,     CLATTN_SLOT_MASK,      CLATTN_SLOT_BIAS,
        CLATTN_SLOT_ALIBI,       CLATTN_SLOT_SINK,      CLATTN_SLOT_BLOCK_INDEX,
        CLATTN_SLOT_PRESENT_K,   CLATTN_SLOT_PRESENT_V, CLATTN_SLOT_WEIGHTS_MEAN,
        CLATTN_SLOT_WEIGHTS_SUM, CLATTN_SLOT_SCORES};
    for (int slot = 0; slot <= CLATTN_SLOT_OUT; slot++)
        p->tensor[slot].present = true;
    for (size_t n = 0; n < sizeof common; n++)
        p->tensor[common[n]].present = fuzz_chance(r, f->common);
    for (size_t n = 0; n < sizeof special; n++)
        p->tensor[special[n]].present = fuzz_chance(r, f->special);
    p->tensor[CLATTN_SLOT_LSE].present |= fuzz_chance(r, 30);
}

static void choose_merge(fuzz_problem *p, fuzz_random *r)
{
    p->parts = fuzz_chance(r, 30) ? 1 : fuzz_between(r, 2, 9);
    p->tensor[CLATTN_SLOT_OUT].present = true;
    p->tensor[CLATTN_SLOT_PARTIAL_OUT].present = p->tensor[CLATTN_SLOT_PARTIAL_LSE].present = true;
    p->tensor[CLATTN_SLOT_LSE].present = fuzz_chance(r, 60);
    p->tensor[CLATTN_SLOT_SINK].present = fuzz_chance(r, 40);
}

/* Gradients of the same problem, most of them. */
static void choose_gradient(fuzz_problem *p, fuzz_random *r)
{
    p->gradient = fuzz_chance(r, 35) && !p->merge;
    for (int slot = CLATTN_SLOT_GRAD_LSE; slot < FUZZ_SLOTS; slot++)
        p->tensor[slot].present = fuzz_chance(r, slot == CLATTN_SLOT_GRAD_LSE ? 30 : 75);
}

/* How keys are stored, and chosen. */
static void choose_memory(fuzz_problem *p, fuzz_random *r)
{
    p->page_size = fuzz_chance(r, 25) ? FUZZ_PICK(r, 1, 2, 3, 5, 8, 16, 17, 32, 64, 600) : 0;
    p->tokens_first = fuzz_chance(r, 50);
    p->cascade = fuzz_chance(r, 50);
    p->highest = fuzz_chance(r, 25);
    p->integers = fuzz_chance(r, 30) ? (int)FUZZ_PICK(r, 8, 4) : 0;
    p->scale_channels = fuzz_chance(r, 40) ? 32 : 0;
    p->top_k = fuzz_chance(r, 60) ? fuzz_between(r, 1, fuzz_keys(p) + 1) : FUZZ_PICK(r, 1, 2, 4);
    p->sample = fuzz_chance(r, 30);
    p->rotated = fuzz_chance(r, 25);
}

void fuzz_generate(uint64_t seed, uint64_t index, fuzz_problem *p)
{
    fuzz_random r = fuzz_random_of(seed, index);
    const flavour *f = choose_flavour(&r);
    *p = (fuzz_problem){.seed = seed, .index = index, .merge = fuzz_chance(&r, 5)};
    choose_extents(p, &r);
    if (p->merge) {
        choose_merge(p, &r);
    } else {
        choose_positions(p, &r, f);
        choose_scores(p, &r, f);
        choose_lengths(p, &r, f);
        choose_slots(p, &r, f);
    }
    for (int slot = 0; slot < FUZZ_SLOTS; slot++)
        fuzz_generate_tensor(p, slot, &r);
    p->path = fuzz_chance(&r, 50) ? FUZZ_RUN : (fuzz_path)fuzz_between(&r, 1, FUZZ_PATHS - 1);
    p->host = fuzz_word(&r);
    p->poison = (fuzz_poison)fuzz_between(&r, 0, 2);
    p->poison_kind = (int)fuzz_between(&r, 0, 4);
    choose_gradient(p, &r);
    choose_memory(p, &r);
    fuzz_settle(p);
}

#define SMALL_WORK 6000

static bool is_tame(int slot, fuzz_values values)
{
    switch (values) {
    case FUZZ_UNIT:
    case FUZZ_SMALL:
    case FUZZ_ZERO:
    case FUZZ_SAME:
    case FUZZ_SPARSE:
    case FUZZ_INTEGERS:
        return true;
    default:
        return values == FUZZ_HIDING && slot == CLATTN_SLOT_BIAS;
    }
}

void fuzz_generate_smooth(uint64_t seed, uint64_t index, fuzz_problem *p)
{
    fuzz_generate(seed, index, p);
    while (!p->gradient || work_of(p) > SMALL_WORK || work_of(p) == 0) {
        index += (uint64_t)1 << 32;
        fuzz_generate(seed, index, p);
    }
    for (int slot = 0; slot < FUZZ_SLOTS; slot++)
        if (!is_tame(slot, p->tensor[slot].values))
            p->tensor[slot].values = FUZZ_UNIT;
    if (p->softcap > 0 && p->softcap < 0.5F)
        p->softcap = 0.5F;
    p->differences = true;
    fuzz_settle(p);
}
