/* Overlap of strided tensors: first their whole spans, then their residues modulo a stride. */
#include "problem/overlap.h"

/* One tensor as bytes. */
typedef struct bytes {
    uint64_t at;  /* of element (0, 0, ...) */
    int64_t size; /* of an element */
    uint32_t rank;
    int64_t step[CLATTN_RANK_LIMIT]; /* bytes, never negative: see bytes_of */
    int64_t extent[CLATTN_RANK_LIMIT];
} bytes;

/* Negative strides are turned round, so that the address becomes the lowest one. */
static bytes bytes_of(const clattn__problem *problem, clattn_slot slot, uint64_t at)
{
    bytes of = {.at = at, .rank = clattn__slot_get((uint32_t)slot)->rank};
    const clattn__dtype_info *dtype = clattn__dtype_get((clattn_dtype)problem->dtype[slot]);
    of.size = dtype->size;
    for (uint32_t dim = 0; dim < of.rank; dim++) {
        of.extent[dim] = clattn__slot_extent(problem, slot, dim);
        of.step[dim] = clattn__dtype_bytes(dtype->dtype, problem->layout[slot].stride[dim]);
        if (dtype->elements > 1 && dim == of.rank - 1) { /* side by side: see rules_scales.c */
            of.extent[dim] /= dtype->elements;
            of.step[dim] = of.size;
        }
        if (of.step[dim] < 0) {
            of.step[dim] = -of.step[dim];
            of.at -= (uint64_t)of.step[dim] * (uint64_t)(of.extent[dim] - 1);
        }
    }
    return of;
}

/* Bytes from the lowest one to the end, of the dimensions whose step is no multiple of `modulus`;
 * modulus 0: of all. */
static int64_t reach(const bytes *of, int64_t modulus)
{
    int64_t sum = of->size;
    for (uint32_t dim = 0; dim < of->rank; dim++)
        if (of->extent[dim] > 1 && (modulus == 0 || of->step[dim] % modulus != 0))
            sum += of->step[dim] * (of->extent[dim] - 1);
    return sum;
}

/* Whether the residues of all elements modulo `modulus` are apart. */
static bool apart_modulo(const bytes *a, const bytes *b, int64_t modulus)
{
    const int64_t a_reach = reach(a, modulus), b_reach = reach(b, modulus);
    if (a_reach > modulus || b_reach > modulus)
        return false;
    const uint64_t circle = (uint64_t)modulus;
    const uint64_t ahead = (b->at % circle + circle - a->at % circle) % circle;
    return ahead >= (uint64_t)a_reach && ahead + (uint64_t)b_reach <= circle;
}

static bool apart_by_a_step(const bytes *a, const bytes *b)
{
    const bytes *both[] = {a, b};
    for (int i = 0; i < 2; i++)
        for (uint32_t dim = 0; dim < both[i]->rank; dim++)
            if (both[i]->extent[dim] > 1 && both[i]->step[dim] > 0 &&
                apart_modulo(a, b, both[i]->step[dim]))
                return true;
    return false;
}

static bool is_empty(const bytes *of)
{
    for (uint32_t dim = 0; dim < of->rank; dim++)
        if (of->extent[dim] == 0)
            return true;
    return false;
}

/* Whether `from` lies where its copy in `to` goes: PAST_K and K in PRESENT_K, and so on. */
static bool is_in_place(const clattn__problem *problem, clattn_slot from, uint64_t from_at,
                        clattn_slot to, uint64_t to_at)
{
    static const struct {
        clattn_slot from, to;
        bool after_past;
    } copies[] = {
        {CLATTN_SLOT_PAST_K, CLATTN_SLOT_PRESENT_K, false},
        {CLATTN_SLOT_PAST_V, CLATTN_SLOT_PRESENT_V, false},
        {CLATTN_SLOT_K, CLATTN_SLOT_PRESENT_K, true},
        {CLATTN_SLOT_V, CLATTN_SLOT_PRESENT_V, true},
    };
    const int64_t *step = problem->layout[to].stride;
    for (size_t i = 0; problem->kind == CLATTN__ATTENTION && i < sizeof copies / sizeof copies[0];
         i++) {
        if (copies[i].from != from || copies[i].to != to ||
            problem->dtype[from] != problem->dtype[to])
            continue;
        const int64_t size = clattn__dtype_get((clattn_dtype)problem->dtype[to])->size;
        const int64_t past = copies[i].after_past ? problem->extent[CLATTN__N_PAST] : 0;
        bool same = from_at == to_at + (uint64_t)(past * step[2] * size);
        for (uint32_t dim = 0; dim < 4; dim++)
            if (clattn__slot_extent(problem, from, dim) > 1)
                same = same && problem->layout[from].stride[dim] == step[dim];
        return same;
    }
    return false;
}

bool clattn__slots_collide(const clattn__problem *problem, clattn_slot a, uint64_t a_at,
                           clattn_slot b, uint64_t b_at)
{
    if (!clattn__problem_writes(problem, a) && !clattn__problem_writes(problem, b))
        return false;
    const bytes one = bytes_of(problem, a, a_at), other = bytes_of(problem, b, b_at);
    if (is_empty(&one) || is_empty(&other))
        return false;
    if (one.at + (uint64_t)reach(&one, 0) <= other.at ||
        other.at + (uint64_t)reach(&other, 0) <= one.at)
        return false;
    return !apart_by_a_step(&one, &other) && !is_in_place(problem, a, a_at, b, b_at) &&
           !is_in_place(problem, b, b_at, a, a_at);
}
