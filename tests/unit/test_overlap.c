/* Whether tensors share memory, against counting bytes: thousands of small random layouts. What
 * shares a byte must be found; slices of one larger tensor, however they lie, must be found apart.
 */
#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

#include "problem/dtype.h"
#include "problem/overlap.h"

#define COUNT(array) (sizeof(array) / sizeof(array)[0])
#define BIT(slot)    CLATTN_SLOT_BIT(CLATTN_SLOT_##slot)

enum { MEMORY = 1 << 16, MIDDLE = MEMORY / 2 };

static uint32_t next(uint32_t *state)
{
    *state = *state * 1664525u + 1013904223u;
    return *state >> 8;
}

static int64_t between(uint32_t *state, int64_t low, int64_t high)
{
    return low + (int64_t)(next(state) % (uint32_t)(high - low + 1));
}

/* Slots that are tried against each other: those of attention with 3 or 4 dimensions. */
static const clattn_slot tried[] = {
    CLATTN_SLOT_Q,         CLATTN_SLOT_K,      CLATTN_SLOT_V,      CLATTN_SLOT_OUT,
    CLATTN_SLOT_LSE,       CLATTN_SLOT_MASK,   CLATTN_SLOT_BIAS,   CLATTN_SLOT_WEIGHTS,
    CLATTN_SLOT_SCORES,    CLATTN_SLOT_PAST_K, CLATTN_SLOT_PAST_V, CLATTN_SLOT_PRESENT_K,
    CLATTN_SLOT_PRESENT_V,
};

/* Extents of at most 4 and types; half of the problems are ragged. */
static clattn_attention_desc describe(uint32_t *state)
{
    clattn_attention_desc desc;
    clattn_attention_desc_init(&desc);
    desc.batch = between(state, 1, 3);
    desc.n_kv_head = between(state, 1, 2);
    desc.n_head = desc.n_kv_head * between(state, 1, 2);
    desc.n_q = between(state, 0, 3);
    desc.n_kv = between(state, 1, 3);
    desc.head_dim = between(state, 1, 4);
    desc.value_dim = between(state, 1, 4);
    desc.slots = BIT(LSE) | BIT(MASK) | BIT(BIAS) | BIT(WEIGHTS) | BIT(SCORES);
    desc.ragged = next(state) % 2;
    if (desc.ragged) {
        desc.slots |= BIT(Q_LENGTHS) | BIT(KV_LENGTHS);
        desc.total_q = between(state, 1, 6);
        desc.total_kv = between(state, 1, 6);
    } else {
        desc.slots |= BIT(PAST_K) | BIT(PAST_V) | BIT(PRESENT_K) | BIT(PRESENT_V);
        desc.n_past = between(state, 0, 3);
    }
    for (size_t i = 0; i < COUNT(tried); i++)
        if (tried[i] <= CLATTN_SLOT_OUT || tried[i] >= CLATTN_SLOT_PAST_K)
            if (tried[i] != CLATTN_SLOT_SCORES)
                desc.tensor[tried[i]].dtype = (clattn_dtype)(next(state) % 3);
    return desc;
}

/* Steps for each dimension in a random order, with gaps; what is read may overlap itself. */
static void lay_out(const clattn__problem *shape, clattn_slot slot, uint32_t *state,
                    clattn_tensor *tensor)
{
    const clattn__slot_info *info = clattn__slot_get((uint32_t)slot);
    int64_t step = between(state, 1, 3);
    uint32_t left = (1u << info->rank) - 1;
    tensor->strided = 1;
    while (left) {
        const uint32_t dim = next(state) % info->rank;
        if (!(left >> dim & 1))
            continue;
        left &= ~(1u << dim);
        tensor->stride[dim] = next(state) % 3 ? step : -step;
        if (!info->written && next(state) % 4 == 0)
            tensor->stride[dim] = between(state, -5, 5);
        step *= clattn__slot_extent(shape, slot, dim);
        step += between(state, 0, 2) * between(state, 0, 2);
        step += step == 0;
    }
}

static void random_problem(uint32_t *state, clattn__problem *problem)
{
    clattn_attention_desc desc = describe(state);
    cr_assert_eq(clattn__problem_init(problem, &desc), CLATTN_OK, "%s", clattn__message());
    const clattn__problem shape = *problem;
    for (size_t i = 0; i < COUNT(tried); i++)
        lay_out(&shape, tried[i], state, &desc.tensor[tried[i]]);
    cr_assert_eq(clattn__problem_init(problem, &desc), CLATTN_OK, "%s", clattn__message());
}

/* Visits the address of every element. */
typedef void (*visitor)(int64_t at, int64_t size, const int64_t index[4], void *user);

static void each_element(const clattn__problem *problem, clattn_slot slot, int64_t at,
                         visitor visit, void *user)
{
    const int64_t size = clattn__dtype_get((clattn_dtype)problem->dtype[slot])->size;
    const uint32_t rank = clattn__slot_get((uint32_t)slot)->rank;
    int64_t extent[4] = {1, 1, 1, 1}, i[4];
    for (uint32_t d = 0; d < rank; d++)
        extent[d] = clattn__slot_extent(problem, slot, d);
    for (i[0] = 0; i[0] < extent[0]; i[0]++)
        for (i[1] = 0; i[1] < extent[1]; i[1]++)
            for (i[2] = 0; i[2] < extent[2]; i[2]++)
                for (i[3] = 0; i[3] < extent[3]; i[3]++) {
                    int64_t element = 0;
                    for (uint32_t d = 0; d < rank; d++)
                        element += i[d] * problem->layout[slot].stride[d];
                    visit(at + element * size, size, i, user);
                }
}

static void set_bytes(int64_t at, int64_t size, const int64_t index[4], void *user)
{
    (void)index;
    cr_assert(at >= 0 && at + size <= MEMORY);
    memset((unsigned char *)user + at, 1, (size_t)size);
}

/* The bytes that both have. */
static int shared_bytes(const clattn__problem *problem, clattn_slot a, int64_t a_at, clattn_slot b,
                        int64_t b_at)
{
    static unsigned char one[MEMORY], other[MEMORY];
    int count = 0;
    memset(one, 0, sizeof one);
    memset(other, 0, sizeof other);
    each_element(problem, a, a_at, set_bytes, one);
    each_element(problem, b, b_at, set_bytes, other);
    for (size_t i = 0; i < MEMORY; i++)
        count += one[i] & other[i];
    return count;
}

/* Whether each element of `from` is where its copy in `to` goes. */
typedef struct in_place {
    const clattn__problem *problem;
    clattn_slot to;
    int64_t to_at, past;
    bool same;
} in_place;

static void compare_place(int64_t at, int64_t size, const int64_t index[4], void *user)
{
    in_place *of = user;
    const int64_t *stride = of->problem->layout[of->to].stride;
    int64_t element = of->past * stride[2];
    for (int d = 0; d < 4; d++)
        element += index[d] * stride[d];
    of->same = of->same && at == of->to_at + element * size;
}

static bool is_in_place(const clattn__problem *problem, clattn_slot from, int64_t from_at,
                        clattn_slot to, int64_t to_at)
{
    const bool of_keys =
        to == CLATTN_SLOT_PRESENT_K && (from == CLATTN_SLOT_K || from == CLATTN_SLOT_PAST_K);
    const bool of_values =
        to == CLATTN_SLOT_PRESENT_V && (from == CLATTN_SLOT_V || from == CLATTN_SLOT_PAST_V);
    const bool is_new = from == CLATTN_SLOT_K || from == CLATTN_SLOT_V;
    in_place of = {problem, to, to_at, is_new ? problem->extent[CLATTN__N_PAST] : 0, true};
    if ((!of_keys && !of_values) || problem->dtype[from] != problem->dtype[to])
        return false;
    each_element(problem, from, from_at, compare_place, &of);
    return of.same;
}

static bool is_written(clattn_slot slot)
{
    return clattn__slot_get((uint32_t)slot)->written;
}

static bool collide(const clattn__problem *problem, clattn_slot a, int64_t a_at, clattn_slot b,
                    int64_t b_at)
{
    const bool found = clattn__slots_collide(problem, a, (uint64_t)a_at, b, (uint64_t)b_at);
    cr_assert_eq(found, clattn__slots_collide(problem, b, (uint64_t)b_at, a, (uint64_t)a_at),
                 "not the same the other way round");
    return found;
}

static void random_pair(const clattn__problem *problem, uint32_t *state, clattn_slot *a,
                        clattn_slot *b)
{
    do {
        *a = tried[next(state) % COUNT(tried)];
        *b = tried[next(state) % COUNT(tried)];
    } while (*a == *b || !clattn__problem_has(problem, *a) || !clattn__problem_has(problem, *b));
}

Test(overlap, what_shares_a_byte_is_found)
{
    uint32_t state = 1;
    int sharing = 0, apart = 0, doubtful = 0;
    for (int n = 0; n < 6000; n++) {
        clattn__problem problem;
        clattn_slot a, b;
        random_problem(&state, &problem);
        random_pair(&problem, &state, &a, &b);
        const int64_t a_at = MIDDLE + between(&state, -40, 40) * 4;
        const int64_t b_at = MIDDLE + between(&state, -40, 40) * (n % 2 ? 4 : 1);
        const int shared = shared_bytes(&problem, a, a_at, b, b_at);
        const bool harmless =
            is_in_place(&problem, a, a_at, b, b_at) || is_in_place(&problem, b, b_at, a, a_at);
        const bool found = collide(&problem, a, a_at, b, b_at);
        if (!is_written(a) && !is_written(b))
            cr_assert_not(found, "case %d: both are read", n);
        else if (shared && !harmless)
            cr_assert(found, "case %d: slots %d and %d share %d bytes", n, a, b, shared);
        else if (shared)
            cr_assert_not(found, "case %d: slot %d lies in place in %d", n, a, b);
        sharing += shared && found;
        apart += !shared && !found;
        doubtful += !shared && found;
    }
    cr_assert(sharing > 300 && apart > 300, "%d share, %d don't", sharing, apart);
    cr_assert(doubtful < apart, "%d of those apart were not told apart, %d were", doubtful, apart);
}

/* --- slices of a larger tensor ---------------------------------------------------------------- */

/* `parent` (n[0], n[1], n[2], n[3]) in a random order of dimensions, elements of 4 bytes; the two
 * tensors are cut out of it, apart in dimension `cut`. */
typedef struct slices {
    int64_t stride[4], n[4];
    int cut;
    int64_t before; /* indices of dimension `cut` before the first slice */
} slices;

static slices slices_of(uint32_t *state, const int64_t *a, const int64_t *b)
{
    slices made = {.cut = (int)(next(state) % 4), .before = between(state, 0, 2)};
    int64_t step = 1;
    uint32_t left = 15;
    for (int d = 0; d < 4; d++)
        made.n[d] = (a[d] > b[d] ? a[d] : b[d]) + between(state, 0, 2);
    made.n[made.cut] = made.before + a[made.cut] + b[made.cut] + between(state, 0, 2);
    while (left) {
        const uint32_t d = next(state) % 4;
        if (!(left >> d & 1))
            continue;
        left &= ~(1u << d);
        made.stride[d] = step;
        step *= made.n[d];
    }
    return made;
}

/* Dimensions may run backwards. Returns the element of index (0, 0, ...). */
static int64_t cut_out(const slices *of, const int64_t *extent, int64_t first, uint32_t *state,
                       int64_t *stride)
{
    int64_t at = first * of->stride[of->cut];
    for (int d = 0; d < 4; d++) {
        stride[d] = of->stride[d];
        if (d != of->cut)
            at += between(state, 0, of->n[d] - extent[d]) * of->stride[d];
        if (next(state) % 3)
            continue;
        stride[d] = -stride[d];
        at += (extent[d] - 1) * of->stride[d];
    }
    return at;
}

Test(overlap, slices_of_one_tensor_are_apart)
{
    uint32_t state = 7;
    int between_each_other = 0;
    for (int n = 0; n < 4000; n++) {
        clattn_attention_desc desc;
        clattn__problem problem;
        int64_t a_at, b_at, a[4], b[4];
        clattn_attention_desc_init(&desc);
        desc.batch = between(&state, 1, 3);
        desc.n_head = between(&state, 1, 4);
        desc.n_kv_head = 1;
        desc.n_q = between(&state, 1, 4);
        desc.n_kv = between(&state, 1, 4);
        desc.head_dim = between(&state, 1, 4);
        desc.value_dim = between(&state, 1, 4);
        cr_assert_eq(clattn__problem_init(&problem, &desc), CLATTN_OK);
        const clattn_slot other = n % 2 ? CLATTN_SLOT_Q : CLATTN_SLOT_V;
        for (uint32_t d = 0; d < 4; d++) {
            a[d] = clattn__slot_extent(&problem, CLATTN_SLOT_OUT, d);
            b[d] = clattn__slot_extent(&problem, other, d);
        }
        const slices cut = slices_of(&state, a, b);
        desc.tensor[CLATTN_SLOT_OUT].strided = desc.tensor[other].strided = 1;
        a_at = cut_out(&cut, a, cut.before, &state, desc.tensor[CLATTN_SLOT_OUT].stride);
        b_at = cut_out(&cut, b, cut.before + a[cut.cut], &state, desc.tensor[other].stride);
        cr_assert_eq(clattn__problem_init(&problem, &desc), CLATTN_OK, "%s", clattn__message());
        a_at = MIDDLE / 2 + 4 * a_at;
        b_at = MIDDLE / 2 + 4 * b_at;
        cr_assert_eq(shared_bytes(&problem, CLATTN_SLOT_OUT, a_at, other, b_at), 0);
        cr_assert_not(collide(&problem, CLATTN_SLOT_OUT, a_at, other, b_at),
                      "case %d: slices along dimension %d", n, cut.cut);
        /* One element further they meet, unless there is a gap. */
        const int64_t moved = b_at - 4 * cut.stride[cut.cut];
        if (shared_bytes(&problem, CLATTN_SLOT_OUT, a_at, other, moved)) {
            cr_assert(collide(&problem, CLATTN_SLOT_OUT, a_at, other, moved), "case %d", n);
            between_each_other++;
        }
    }
    cr_assert(between_each_other > 1000, "only %d", between_each_other);
}

/* Queries, keys, values and results as columns of one matrix (token, 4 * heads * dim). */
Test(overlap, packed_projections)
{
    enum { HEADS = 4, TOKENS = 50, DIM = 8, ROW = 4 * HEADS * DIM };
    clattn_attention_desc desc;
    clattn__problem problem;
    clattn_attention_desc_init(&desc);
    desc.batch = 3;
    desc.n_head = desc.n_kv_head = HEADS;
    desc.n_q = desc.n_kv = TOKENS;
    desc.head_dim = desc.value_dim = DIM;
    for (int slot = CLATTN_SLOT_Q; slot <= CLATTN_SLOT_OUT; slot++)
        desc.tensor[slot] = (clattn_tensor){.strided = 1, .stride = {TOKENS * ROW, DIM, ROW, 1}};
    cr_assert_eq(clattn__problem_init(&problem, &desc), CLATTN_OK);
    for (int64_t out = 0; out < ROW; out += DIM / 2)
        for (int slot = CLATTN_SLOT_Q; slot < CLATTN_SLOT_OUT; slot++) {
            const int64_t at = slot * HEADS * DIM;
            const bool apart = out >= at + HEADS * DIM || out + HEADS * DIM <= at;
            const bool found = clattn__slots_collide(&problem, CLATTN_SLOT_OUT, (uint64_t)out * 4,
                                                     (clattn_slot)slot, (uint64_t)at * 4);
            /* Beyond the last column OUT goes on in the next row. */
            if (out <= ROW - HEADS * DIM)
                cr_assert_eq(found, !apart, "slot %d, OUT at column %d", slot, (int)out);
            else if (!apart || out + HEADS * DIM > ROW + at)
                cr_assert(found, "slot %d, OUT at column %d", slot, (int)out);
        }
}

/* --- PRESENT in place ------------------------------------------------------------------------- */

/* PRESENT_K with PAST_K and K where their copies go, then each moved or changed a little. */
Test(overlap, present_in_place)
{
    static const clattn_slot sources[] = {CLATTN_SLOT_PAST_K, CLATTN_SLOT_K, CLATTN_SLOT_V,
                                          CLATTN_SLOT_PAST_V};
    uint32_t state = 3;
    int placed = 0, meeting = 0;
    for (int n = 0; n < 3000; n++) {
        clattn__problem problem;
        clattn_slot to = n % 2 ? CLATTN_SLOT_PRESENT_K : CLATTN_SLOT_PRESENT_V;
        const clattn_slot from = sources[next(&state) % COUNT(sources)];
        do {
            random_problem(&state, &problem);
        } while (problem.ragged);
        const int64_t size = clattn__dtype_get((clattn_dtype)problem.dtype[to])->size;
        const int64_t past = next(&state) % 2 ? problem.extent[CLATTN__N_PAST] : 0;
        if (next(&state) % 4)
            problem.dtype[from] = problem.dtype[to];
        for (uint32_t d = 0; d < 4; d++)
            if (clattn__slot_extent(&problem, from, d) > 1 && next(&state) % 10)
                problem.layout[from].stride[d] = problem.layout[to].stride[d];
        const int64_t at =
            MIDDLE + past * problem.layout[to].stride[2] * size + (next(&state) % 8 ? 0 : size);
        const bool harmless = is_in_place(&problem, from, at, to, MIDDLE);
        const int shared = shared_bytes(&problem, from, at, to, MIDDLE);
        const bool found = collide(&problem, from, at, to, MIDDLE);
        if (harmless)
            cr_assert_not(found, "case %d: slot %d lies in place in %d", n, from, to);
        else if (shared)
            cr_assert(found, "case %d: slot %d is written while it is read", n, from);
        placed += harmless && shared;
        meeting += !harmless && shared;
    }
    cr_assert(placed > 200 && meeting > 200, "%d in place, %d not", placed, meeting);
}

/* --- large numbers ---------------------------------------------------------------------------- */

/* Spans past 2^31, 2^32 and up to 2^58 elements. */
Test(overlap, huge_strides)
{
    for (int power = 20; power <= 56; power++)
        for (int64_t shift = -2; shift <= 2; shift++) {
            clattn_attention_desc desc;
            clattn__problem problem;
            const int64_t step = ((int64_t)1 << power) + 8;
            clattn_attention_desc_init(&desc);
            desc.batch = desc.n_q = 3;
            desc.n_head = desc.n_kv_head = desc.n_kv = 1;
            desc.head_dim = desc.value_dim = 2;
            desc.tensor[CLATTN_SLOT_OUT] =
                (clattn_tensor){.strided = 1, .stride = {step, 0, -4, 1}};
            desc.tensor[CLATTN_SLOT_Q] = (clattn_tensor){.strided = 1, .stride = {-step, 0, 4, 1}};
            cr_assert_eq(clattn__problem_init(&problem, &desc), CLATTN_OK);
            const uint64_t out = (uint64_t)1 << 62;
            /* Q's rows begin where OUT's third row of the last batch entry is. */
            const uint64_t q = out + (uint64_t)(4 * (2 * step - 8 + shift));
            const bool meet = shift > -2 && shift < 2;
            cr_expect_eq(clattn__slots_collide(&problem, CLATTN_SLOT_OUT, out, CLATTN_SLOT_Q, q),
                         meet, "2^%d, shift %d", power, (int)shift);
        }
}

/* The bytes of a span whose ends are far apart. */
Test(overlap, huge_spans)
{
    for (int power = 20; power <= 56; power++) {
        const int64_t step = (int64_t)1 << power;
        clattn_attention_desc desc;
        clattn__problem problem;
        int64_t low, high;
        clattn_attention_desc_init(&desc);
        desc.batch = desc.n_head = desc.n_kv_head = 2;
        desc.n_q = desc.n_kv = 1;
        desc.head_dim = desc.value_dim = 3;
        desc.slots = BIT(SCORES);
        desc.tensor[CLATTN_SLOT_K] = (clattn_tensor){.strided = 1, .stride = {step, -step, 7, 1}};
        cr_assert_eq(clattn__problem_init(&problem, &desc), CLATTN_OK, "%s", clattn__message());
        clattn__slot_span(&problem, CLATTN_SLOT_K, &low, &high);
        cr_expect_eq(low, -4 * step, "2^%d", power);
        cr_expect_eq(high, 4 * (step + 3), "2^%d", power);
    }
}
