/* The choices of generate_tensor.h. */
#include "generate_tensor.h"

static clattn_dtype choose_dtype(const fuzz_slot *slot, fuzz_random *r)
{
    if (!slot->is_float)
        return slot->dtype;
    return (clattn_dtype)FUZZ_PICK(r, CLATTN_F32, CLATTN_F32, CLATTN_F16, CLATTN_BF16);
}

static fuzz_values choose_values(int slot, fuzz_random *r)
{
    const bool is_input = slot == CLATTN_SLOT_Q || slot == CLATTN_SLOT_K || slot == CLATTN_SLOT_V ||
                          slot == CLATTN_SLOT_PAST_K || slot == CLATTN_SLOT_PAST_V ||
                          slot == CLATTN_SLOT_PARTIAL_OUT;
    if (slot == CLATTN_SLOT_BIAS && fuzz_chance(r, 60))
        return (fuzz_values)FUZZ_PICK(r, FUZZ_HIDING, FUZZ_LOWEST, FUZZ_EXTREMES, FUZZ_ALL_LOWEST,
                                      FUZZ_NAN, FUZZ_LARGE);
    if (slot == CLATTN_SLOT_PARTIAL_LSE)
        return (fuzz_values)FUZZ_PICK(r, FUZZ_HIDING, FUZZ_LARGE, FUZZ_UNIT, FUZZ_EXTREMES);
    if (slot == CLATTN_SLOT_SINK && fuzz_chance(r, 30))
        return (fuzz_values)FUZZ_PICK(r, FUZZ_HIDING, FUZZ_EXTREMES, FUZZ_LARGE);
    if (!is_input || fuzz_chance(r, 65))
        return FUZZ_UNIT;
    return (fuzz_values)FUZZ_PICK(r, FUZZ_SMALL, FUZZ_LARGE, FUZZ_HUGE, FUZZ_DENORMAL, FUZZ_ZERO,
                                  FUZZ_SAME, FUZZ_SPARSE, FUZZ_INTEGERS, FUZZ_NAN, FUZZ_INFINITE);
}

/* Half of the orders are row-major, so that other choices are seen alone, too. */
static void choose_order(fuzz_tensor *t, int rank, fuzz_random *r)
{
    for (int n = 0; n < rank; n++)
        t->order[n] = (uint8_t)(rank - 1 - n);
    if (fuzz_chance(r, 50))
        return;
    for (int n = rank - 1; n > 0; n--) {
        const int64_t other = fuzz_between(r, 0, n);
        const uint8_t d = t->order[n];
        t->order[n] = t->order[other];
        t->order[other] = d;
    }
}

void fuzz_generate_tensor(fuzz_problem *p, int slot, fuzz_random *r)
{
    const fuzz_slot *info = fuzz_slot_of(slot);
    fuzz_tensor *t = &p->tensor[slot];
    const int broadcast = slot == CLATTN_SLOT_MASK || slot == CLATTN_SLOT_BIAS ? 40 : 6;
    t->named = fuzz_chance(r, 50);
    t->dtype = choose_dtype(info, r);
    t->values = choose_values(slot, r);
    t->strided = fuzz_chance(r, 50);
    t->step = (uint8_t)(fuzz_chance(r, 80) ? 1 : fuzz_between(r, 2, 3));
    t->shift = (uint8_t)(fuzz_chance(r, 50) ? 0 : fuzz_between(r, 1, 9));
    choose_order(t, info->rank, r);
    for (int d = 0; d < info->rank; d++) {
        t->gap[d] = (uint8_t)(fuzz_chance(r, 75) ? 0 : fuzz_between(r, 1, 9));
        t->negative |= (uint8_t)(fuzz_chance(r, 10) << d);
        t->broadcast |= (uint8_t)(fuzz_chance(r, broadcast) << d);
    }
}
