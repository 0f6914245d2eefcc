/* Checks of lengths and block lists, each failure with the place of the value. */
#include "problem/values.h"

#include <inttypes.h>

static clattn_status check_lengths(const clattn__problem *problem, clattn_slot slot,
                                   clattn__extent bound, const int32_t *at)
{
    const char *name = clattn__slot_get((uint32_t)slot)->name;
    const int64_t step = problem->layout[slot].stride[0];
    for (int64_t b = 0; b < problem->extent[CLATTN__BATCH]; b++)
        if (at[b * step] < 0 || at[b * step] > problem->extent[bound])
            return clattn__fail(
                CLATTN_ERR_ARGUMENT,
                "%s: element %" PRId64 " is %" PRId32 ", must be 0 to %" PRId64 " (%s)", name, b,
                at[b * step], problem->extent[bound], clattn__extent_name(bound));
    return CLATTN_OK;
}

static clattn_status check_cumulative(const clattn__problem *problem, clattn_slot slot,
                                      clattn__extent bound, clattn__extent total, const int32_t *at)
{
    const char *name = clattn__slot_get((uint32_t)slot)->name;
    const int64_t step = problem->layout[slot].stride[0];
    const int64_t batch = problem->extent[CLATTN__BATCH];
    if (at[0] != 0)
        return clattn__fail(CLATTN_ERR_ARGUMENT, "%s: begins with %" PRId32 ", must begin with 0",
                            name, at[0]);
    for (int64_t b = 0; b < batch; b++) {
        const int64_t length = (int64_t)at[(b + 1) * step] - at[b * step];
        if (length < 0 || length > problem->extent[bound])
            return clattn__fail(
                CLATTN_ERR_ARGUMENT,
                "%s: sequence %" PRId64 " has %" PRId64 " tokens, must have 0 to %" PRId64 " (%s)",
                name, b, length, problem->extent[bound], clattn__extent_name(bound));
    }
    if (at[batch * step] > problem->extent[total])
        return clattn__fail(CLATTN_ERR_ARGUMENT,
                            "%s: ends with %" PRId32 ", must be at most %" PRId64 " (%s)", name,
                            at[batch * step], problem->extent[total], clattn__extent_name(total));
    return CLATTN_OK;
}

static clattn_status check_tokens(const clattn__problem *problem, const void *const *at)
{
    const struct {
        clattn_slot slot;
        clattn__extent bound, total;
        bool ragged; /* then the bound is that of what lies one after the other */
    } table[] = {
        {CLATTN_SLOT_Q_LENGTHS, CLATTN__N_Q, CLATTN__TOTAL_Q, problem->ragged},
        {CLATTN_SLOT_KV_LENGTHS,
         clattn__problem_has_ragged_keys(problem) ? CLATTN__N_NEW : CLATTN__N_KV, CLATTN__TOTAL_KV,
         clattn__problem_has_ragged_keys(problem)},
    };
    for (size_t i = 0; i < sizeof table / sizeof table[0]; i++) {
        const void *values = at[table[i].slot];
        if (values && table[i].ragged)
            CLATTN__TRY(
                check_cumulative(problem, table[i].slot, table[i].bound, table[i].total, values));
        else if (values)
            CLATTN__TRY(check_lengths(problem, table[i].slot, table[i].bound, values));
    }
    return CLATTN_OK;
}

/* Entries of one list: in range and ascending. */
static clattn_status check_list(const clattn__problem *problem, const int32_t *list, int32_t count,
                                int64_t query_block)
{
    const int64_t step = problem->layout[CLATTN_SLOT_BLOCK_INDEX].stride[3];
    const int64_t n_kv = problem->extent[CLATTN__N_KV];
    const int64_t blocks = (n_kv + problem->block_kv - 1) / problem->block_kv;
    int64_t last = -1;
    for (int64_t i = 0; i < count; i++) {
        const int32_t index = list[i * step];
        if (index < 0 || index >= blocks)
            return clattn__fail(CLATTN_ERR_ARGUMENT,
                                "BLOCK_INDEX: entry %" PRId64 " of query block %" PRId64
                                " is %" PRId32 ", must be 0 to %" PRId64,
                                i, query_block, index, blocks - 1);
        if (index <= last)
            return clattn__fail(CLATTN_ERR_ARGUMENT,
                                "BLOCK_INDEX: entry %" PRId64 " of query block %" PRId64
                                " is %" PRId32 " after %" PRId64 ", must ascend",
                                i, query_block, index, last);
        last = index;
    }
    return CLATTN_OK;
}

/* Indices of a dimension that differ in memory: 1 where the tensor is broadcast. */
static int64_t distinct(const clattn__problem *problem, uint32_t dim)
{
    const bool fixed = problem->layout[CLATTN_SLOT_BLOCK_COUNT].stride[dim] == 0 &&
                       problem->layout[CLATTN_SLOT_BLOCK_INDEX].stride[dim] == 0;
    const int64_t extent = clattn__slot_extent(problem, CLATTN_SLOT_BLOCK_COUNT, dim);
    return fixed && extent > 1 ? 1 : extent;
}

static clattn_status check_blocks(const clattn__problem *problem, const int32_t *counts,
                                  const int32_t *lists)
{
    const int64_t *c = problem->layout[CLATTN_SLOT_BLOCK_COUNT].stride;
    const int64_t *l = problem->layout[CLATTN_SLOT_BLOCK_INDEX].stride;
    const int64_t limit = problem->extent[CLATTN__BLOCK_LIMIT];
    for (int64_t b = 0; b < distinct(problem, 0); b++)
        for (int64_t h = 0; h < distinct(problem, 1); h++)
            for (int64_t i = 0; i < distinct(problem, 2); i++) {
                const int32_t count = counts[b * c[0] + h * c[1] + i * c[2]];
                if (count < 0 || count > limit)
                    return clattn__fail(CLATTN_ERR_ARGUMENT,
                                        "BLOCK_COUNT: query block %" PRId64 " has %" PRId32
                                        " entries, must have 0 to %" PRId64 " (block_limit)",
                                        i, count, limit);
                if (lists)
                    CLATTN__TRY(
                        check_list(problem, lists + b * l[0] + h * l[1] + i * l[2], count, i));
            }
    return CLATTN_OK;
}

static clattn_status check_page(const clattn__problem *problem, int64_t b, int64_t i, int32_t page)
{
    if (page < 0 || page >= problem->extent[CLATTN__N_PAGES])
        return clattn__fail(CLATTN_ERR_ARGUMENT,
                            "PAGES: page %" PRId64 " of entry %" PRId64 " is %" PRId32
                            ", must be 0 to %" PRId64,
                            i, b, page, problem->extent[CLATTN__N_PAGES] - 1);
    return CLATTN_OK;
}

/* Of each table the pages that hold tokens, as far as the host knows how many there are. */
static clattn_status check_pages(const clattn__problem *problem, const int32_t *pages,
                                 const int32_t *lengths)
{
    const int64_t *step = problem->layout[CLATTN_SLOT_PAGES].stride;
    const int64_t size = problem->extent[CLATTN__PAGE_SIZE];
    for (int64_t b = 0; pages && b < problem->extent[CLATTN__BATCH]; b++) {
        const int64_t tokens = lengths
                                   ? lengths[b * problem->layout[CLATTN_SLOT_KV_LENGTHS].stride[0]]
                                   : problem->extent[CLATTN__N_KV];
        if (!lengths && clattn__problem_has(problem, CLATTN_SLOT_KV_LENGTHS))
            break; /* they are in a buffer */
        for (int64_t i = 0; i * size < tokens; i++)
            CLATTN__TRY(check_page(problem, b, i, pages[b * step[0] + i * step[1]]));
    }
    return CLATTN_OK;
}

static clattn_status check_shifts(const clattn__problem *problem, const int32_t *shifts)
{
    const int64_t step = problem->layout[CLATTN_SLOT_SHIFTS].stride[0];
    const int64_t limit = problem->extent[CLATTN__N_POSITIONS];
    for (int64_t b = 0; shifts && b < problem->extent[CLATTN__BATCH]; b++)
        if (shifts[b * step] <= -limit || shifts[b * step] >= limit)
            return clattn__fail(CLATTN_ERR_ARGUMENT,
                                "SHIFTS: element %" PRId64 " is %" PRId32
                                ", must be less than n_positions, %" PRId64 ", either way",
                                b, shifts[b * step], limit);
    return CLATTN_OK;
}

/* Tokens that are written, and where: pages that exist, as far as the host knows. */
/* Tokens of a batch entry that are appended, as far as the host knows; 0 where their number is in a
 * buffer. */
static int64_t appended_tokens_of(const clattn__problem *problem, const int32_t *lengths, int64_t b)
{
    if (!clattn__problem_has(problem, CLATTN_SLOT_KV_LENGTHS))
        return problem->extent[CLATTN__N_KV];
    return lengths ? lengths[b * problem->layout[CLATTN_SLOT_KV_LENGTHS].stride[0]] : 0;
}

static clattn_status check_positions(const clattn__problem *problem, const void *const *at)
{
    const int32_t *positions = at[CLATTN_SLOT_POSITIONS], *pages = at[CLATTN_SLOT_PAGES];
    const clattn__layout *layout = problem->layout;
    const int64_t size = problem->extent[CLATTN__PAGE_SIZE];
    const bool by_place = problem->kind == CLATTN__APPEND &&
                          clattn__problem_has(problem, CLATTN_SLOT_ANGLES) &&
                          !clattn__problem_has(problem, CLATTN_SLOT_TOKEN_POSITIONS);
    for (int64_t b = 0; positions && b < problem->extent[CLATTN__BATCH]; b++) {
        const int64_t first = positions[b * layout[CLATTN_SLOT_POSITIONS].stride[0]];
        const int64_t count = appended_tokens_of(problem, at[CLATTN_SLOT_KV_LENGTHS], b);
        if (first < 0 || first + count > size * problem->extent[CLATTN__PAGE_LIMIT])
            return clattn__fail(CLATTN_ERR_ARGUMENT,
                                "POSITIONS: element %" PRId64 " is %" PRId64 ", %" PRId64
                                " tokens from there on aren't within page_size * page_limit",
                                b, first, count);
        const int64_t angles = problem->extent[CLATTN__N_POSITIONS];
        if (by_place && first + count > angles)
            return clattn__fail(CLATTN_ERR_ARGUMENT,
                                "POSITIONS: element %" PRId64 " is %" PRId64 ", %" PRId64
                                " tokens from there on have no ANGLES beyond n_positions, %" PRId64,
                                b, first, count, angles);
        const int64_t *step = layout[CLATTN_SLOT_PAGES].stride;
        for (int64_t i = first / size; pages && i * size < first + count; i++)
            CLATTN__TRY(check_page(problem, b, i, pages[b * step[0] + i * step[1]]));
    }
    return CLATTN_OK;
}

/* Queries of a batch entry as far as the host knows; 0 where their number is in a buffer. */
static int64_t queries_of(const clattn__problem *problem, const int32_t *lengths, int64_t b)
{
    const int64_t step = problem->layout[CLATTN_SLOT_Q_LENGTHS].stride[0];
    if (!clattn__problem_has(problem, CLATTN_SLOT_Q_LENGTHS))
        return problem->extent[CLATTN__N_Q];
    if (!lengths)
        return 0;
    return problem->ragged ? (int64_t)lengths[(b + 1) * step] - lengths[b * step]
                           : lengths[b * step];
}

/* All queries have angles. */
static clattn_status check_rotation(const clattn__problem *problem, const void *const *at)
{
    const int64_t step = problem->layout[CLATTN_SLOT_POSITIONS].stride[0];
    const int32_t *positions = at[CLATTN_SLOT_POSITIONS];
    for (int64_t b = 0; positions && b < problem->extent[CLATTN__BATCH]; b++) {
        const int64_t queries = queries_of(problem, at[CLATTN_SLOT_Q_LENGTHS], b);
        const int64_t most = problem->extent[CLATTN__N_POSITIONS] - queries;
        if (positions[b * step] < 0 || positions[b * step] > most)
            return clattn__fail(CLATTN_ERR_ARGUMENT,
                                "POSITIONS: element %" PRId64 " is %" PRId32
                                ", must be 0 to %" PRId64 ": n_positions, less %" PRId64 " tokens",
                                b, positions[b * step], most, queries);
    }
    return CLATTN_OK;
}

/* Tokens of a batch entry that are rotated, as queries_of. */
static int64_t rotated_tokens_of(const clattn__problem *problem, const void *const *at, int64_t b)
{
    return problem->kind == CLATTN__APPEND
               ? appended_tokens_of(problem, at[CLATTN_SLOT_KV_LENGTHS], b)
               : queries_of(problem, at[CLATTN_SLOT_Q_LENGTHS], b);
}

/* Each token that is rotated has an angle. */
static clattn_status check_token_positions(const clattn__problem *problem, const void *const *at)
{
    const int32_t *positions = at[CLATTN_SLOT_TOKEN_POSITIONS];
    const int32_t *lengths = problem->ragged ? at[CLATTN_SLOT_Q_LENGTHS] : NULL;
    const int64_t *step = problem->layout[CLATTN_SLOT_TOKEN_POSITIONS].stride;
    const int64_t limit = problem->extent[CLATTN__N_POSITIONS];
    for (int64_t b = 0; positions && b < problem->extent[CLATTN__BATCH]; b++) {
        const int64_t count = rotated_tokens_of(problem, at, b);
        const int64_t first =
            lengths ? lengths[b * problem->layout[CLATTN_SLOT_Q_LENGTHS].stride[0]] : 0;
        for (int64_t i = 0; i < count; i++) {
            const int32_t position = positions[b * step[0] + (first + i) * step[1]];
            if (position < 0 || position >= limit)
                return clattn__fail(CLATTN_ERR_ARGUMENT,
                                    "TOKEN_POSITIONS: token %" PRId64 " of entry %" PRId64
                                    " is at %" PRId32 ", must be 0 to %" PRId64
                                    ", less than n_positions",
                                    i, b, position, limit - 1);
        }
    }
    return CLATTN_OK;
}

clattn_status clattn__values_check(const clattn__problem *problem, const void *const *at)
{
    if (problem->kind == CLATTN__MERGE || clattn__problem_is_linear(problem) ||
        problem->extent[CLATTN__BATCH] == 0)
        return CLATTN_OK;
    if (problem->kind == CLATTN__SHIFT)
        CLATTN__TRY(check_shifts(problem, at[CLATTN_SLOT_SHIFTS]));
    CLATTN__TRY(check_tokens(problem, at));
    CLATTN__TRY(check_token_positions(problem, at));
    if (problem->kind == CLATTN__APPEND || problem->kind == CLATTN__SHIFT)
        return check_positions(problem, at);
    CLATTN__TRY(check_rotation(problem, at));
    CLATTN__TRY(check_pages(problem, at[CLATTN_SLOT_PAGES], at[CLATTN_SLOT_KV_LENGTHS]));
    if (!at[CLATTN_SLOT_BLOCK_COUNT])
        return CLATTN_OK;
    return check_blocks(problem, at[CLATTN_SLOT_BLOCK_COUNT], at[CLATTN_SLOT_BLOCK_INDEX]);
}
