/* The steps of shrink.h: each takes one thing away and is kept if the failure stays. */
#include "shrink.h"

#include <string.h>

#include "generate.h"

#define MOST_STEPS 400

static void simple_options(fuzz_problem *p, int which)
{
    bool *const switches[] = {&p->ragged,     &p->has_scale,       &p->causal,
                              &p->has_window, &p->weights_dropped, &p->wild};
    if (which < 6)
        *switches[which] = false;
    if (which == 6)
        p->softcap = 0;
    if (which == 7)
        p->dropout = 0;
    if (which == 8)
        p->functions = 0;
    if (which == 9)
        p->n_past = 0;
    if (which == 10)
        p->path = FUZZ_RUN;
    if (which == 11)
        p->poison = FUZZ_CLEAN;
    if (which == 12)
        p->align = CLATTN_ALIGN_NONE;
    if (which == 13)
        p->host = 0;
    if (which == 14)
        p->align = CLATTN_ALIGN_TOP_LEFT;
    if (which == 15)
        p->poison = FUZZ_POISON;
    if (which == 16)
        p->page_size = 0;
    if (which == 17)
        p->highest = false;
    if (which == 18)
        p->rotated = false;
    if (which == 19)
        p->integers = 0;
    if (which == 20)
        p->scale_channels = 0;
    if (which == 21)
        p->sample = false;
    if (which == 22)
        p->top_k = fuzz_keys(p);
}
#define OPTIONS 23

static int64_t smaller(int64_t x, int64_t least, int way)
{
    const int64_t ways[] = {least, x / 2, x - x / 4, x - 1};
    return ways[way] < least ? least : ways[way];
}
#define WAYS 4

static void simple_extent(fuzz_problem *p, int which, int way)
{
    int64_t *const extents[] = {&p->n_q,      &p->n_kv,    &p->head_dim, &p->value_dim,
                                &p->n_past,   &p->batch,   &p->parts,    &p->block_q,
                                &p->block_kv, &p->spare_q, &p->spare_kv};
    static const int64_t least[] = {0, 0, 1, 1, 0, 0, 1, 1, 1, 0, 0};
    const int64_t group = p->n_head / p->n_kv_head;
    if (which < 11) {
        const int64_t before = *extents[which];
        *extents[which] = before > least[which] ? smaller(before, least[which], way) : before;
    } else if (which == 11) {
        p->n_kv_head = smaller(p->n_kv_head, 1, way);
        p->n_head = p->n_kv_head * group;
    } else {
        p->n_head = p->n_kv_head * smaller(group, 1, way);
    }
}
#define EXTENTS 13

static void simple_tensor(fuzz_problem *p, int slot, int which)
{
    fuzz_tensor *t = &p->tensor[slot];
    if (which == 0 && slot > CLATTN_SLOT_OUT && slot != CLATTN_SLOT_PARTIAL_OUT &&
        slot != CLATTN_SLOT_PARTIAL_LSE)
        t->present = false;
    if (which == 1)
        t->strided = false;
    if (which == 2 && t->dtype <= CLATTN_BF16)
        t->dtype = CLATTN_F32;
    if (which == 3)
        t->values = FUZZ_UNIT;
    if (which == 4)
        t->shift = 0;
    if (which == 5)
        t->broadcast = 0;
    if (which == 6)
        t->negative = 0;
    if (which == 7)
        memset(t->gap, 0, sizeof t->gap);
    if (which == 8)
        t->step = 1;
}
#define TENSOR_WAYS 9

#define STEPS (FUZZ_SLOTS * TENSOR_WAYS + OPTIONS + EXTENTS * WAYS + 2 * FUZZ_BATCH_MOST)

static void step(fuzz_problem *p, int n)
{
    if (n < OPTIONS) {
        simple_options(p, n);
    } else if ((n -= OPTIONS) < EXTENTS * WAYS) {
        simple_extent(p, n / WAYS, n % WAYS);
    } else if ((n -= EXTENTS * WAYS) < FUZZ_SLOTS * TENSOR_WAYS) {
        simple_tensor(p, n % FUZZ_SLOTS, n / FUZZ_SLOTS);
    } else {
        n -= FUZZ_SLOTS * TENSOR_WAYS;
        int32_t *length = n % 2 ? &p->q_length[n / 2] : &p->kv_length[n / 2];
        *length = (int32_t)(n % 2 ? p->n_q : fuzz_keys(p));
    }
    fuzz_settle(p);
}

void fuzz_shrink(fuzz_problem *p, fuzz_fails fails, void *context)
{
    int kept = 0;
    bool is_changed = true;
    while (is_changed && kept < MOST_STEPS) {
        is_changed = false;
        for (int n = 0; n < STEPS; n++) {
            fuzz_problem candidate;
            memcpy(&candidate, p, sizeof candidate);
            step(&candidate, n);
            if (memcmp(&candidate, p, sizeof candidate) == 0 || !fails(context, &candidate))
                continue;
            memcpy(p, &candidate, sizeof candidate);
            is_changed = true;
            kept++;
        }
    }
}
