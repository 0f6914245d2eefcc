/* Rules about RMS normalisation and rotary embedding: as an operation, of keys that are appended or
 * shifted, and of the queries of attention. */
#include <inttypes.h>
#include <stddef.h>

#include "problem/rules.h"

#define RANGE(desc, field, least, most)                                                            \
    {                                                                                              \
#field, offsetof(desc, field), least, most                                                 \
    }

static bool has(uint64_t slots, clattn_slot slot)
{
    return (slots & CLATTN_SLOT_BIT(slot)) != 0;
}

/* ---- the fields ------------------------------------------------------------------------------ */

static clattn_status check_angles(const clattn__rotation *rotation)
{
    if (rotation->interleaved > 1)
        return clattn__fail(CLATTN_ERR_ARGUMENT, "interleaved: is %" PRIu32 ", must be 0 or 1",
                            rotation->interleaved);
    if (rotation->rotary_dim < 2 || rotation->rotary_dim % 2 ||
        rotation->rotary_dim > rotation->head_dim)
        return clattn__fail(CLATTN_ERR_ARGUMENT,
                            "rotary_dim: is %" PRId64 ", must be even and 2 to head_dim, %" PRId64,
                            rotation->rotary_dim, rotation->head_dim);
    if (rotation->n_positions < 1 || rotation->n_positions > INT32_MAX)
        return clattn__fail(CLATTN_ERR_ARGUMENT,
                            "n_positions: is %" PRId64 ", must be 1 to 2147483647",
                            rotation->n_positions);
    return CLATTN_OK;
}

static clattn_status check_norm(const clattn__rotation *rotation)
{
    const float epsilon = rotation->rms_epsilon;
    if (rotation->rms_norm > 1)
        return clattn__fail(CLATTN_ERR_ARGUMENT, "rms_norm: is %" PRIu32 ", must be 0 or 1",
                            rotation->rms_norm);
    if (!rotation->rms_norm && epsilon != 0)
        return clattn__fail(CLATTN_ERR_ARGUMENT, "rms_epsilon: is %g, but rms_norm is 0",
                            (double)epsilon);
    if (!rotation->rms_norm && has(rotation->slots, CLATTN_SLOT_RMS_WEIGHT))
        return clattn__fail(CLATTN_ERR_ARGUMENT, "slots: RMS_WEIGHT takes part, but rms_norm is 0");
    if (rotation->rms_norm && !(epsilon >= 0x1p-90f && epsilon <= 0x1p90f))
        return clattn__fail(CLATTN_ERR_ARGUMENT, "rms_epsilon: is %g, must be 2^-90 to 2^90",
                            (double)epsilon);
    return CLATTN_OK;
}

clattn_status clattn__rules_check_rotation(const clattn__rotation *rotation, bool rotated)
{
    if (!rotated && has(rotation->slots, CLATTN_SLOT_TOKEN_POSITIONS))
        return clattn__fail(CLATTN_ERR_ARGUMENT,
                            "slots: TOKEN_POSITIONS takes part, but ANGLES does not");
    if (!rotated && (rotation->rotary_dim || rotation->n_positions || rotation->interleaved))
        return clattn__fail(CLATTN_ERR_ARGUMENT,
                            "rotary_dim: is %" PRId64 ", n_positions %" PRId64
                            ", interleaved %" PRIu32 ", but ANGLES does not take part",
                            rotation->rotary_dim, rotation->n_positions, rotation->interleaved);
    if (rotated)
        CLATTN__TRY(check_angles(rotation));
    return check_norm(rotation);
}

/* ---- rotary embedding as an operation -------------------------------------------------------- */

uint64_t clattn__rules_rotary_slots(const clattn_rotary_desc *desc)
{
    if (desc->rotary_dim == 0 && desc->rms_norm)
        return 0;
    const bool each = has(desc->slots, CLATTN_SLOT_TOKEN_POSITIONS);
    return CLATTN_SLOT_BIT(CLATTN_SLOT_ANGLES) |
           CLATTN_SLOT_BIT(each ? CLATTN_SLOT_TOKEN_POSITIONS : CLATTN_SLOT_POSITIONS);
}

clattn_status clattn__rules_check_rotary(const clattn_rotary_desc *desc)
{
    static const clattn__range ranges[] = {
        RANGE(clattn_rotary_desc, batch, 0, INT32_MAX),
        RANGE(clattn_rotary_desc, n_head, 1, INT32_MAX),
        RANGE(clattn_rotary_desc, n, 0, INT32_MAX),
        RANGE(clattn_rotary_desc, head_dim, 1, 576),
    };
    static const uint64_t named =
        CLATTN_SLOT_BIT(CLATTN_SLOT_RMS_WEIGHT) | CLATTN_SLOT_BIT(CLATTN_SLOT_TOKEN_POSITIONS);
    const uint64_t unnamed = clattn__rules_rotary_slots(desc);
    CLATTN__TRY(clattn__rules_check_ranges(desc, ranges, sizeof ranges / sizeof ranges[0]));
    CLATTN__TRY(clattn__rules_check_optional(CLATTN__ROTARY, desc->slots));
    if (desc->slots & ~named)
        return clattn__fail(CLATTN_ERR_ARGUMENT,
                            "slots: POSITIONS and ANGLES take part by rotary_dim; name RMS_WEIGHT "
                            "and TOKEN_POSITIONS only");
    CLATTN__TRY(clattn__rules_check_rotation(&CLATTN__ROTATION_OF(desc), unnamed != 0));
    return clattn__rules_check_tensors(CLATTN__ROTARY, desc->slots | unnamed, desc->tensor);
}

/* ---- keys that get other positions ----------------------------------------------------------- */

clattn_status clattn__rules_check_shift(const clattn_shift_desc *desc)
{
    static const clattn__range ranges[] = {
        RANGE(clattn_shift_desc, batch, 0, INT32_MAX),
        RANGE(clattn_shift_desc, n_kv_head, 1, INT32_MAX),
        RANGE(clattn_shift_desc, n_kv, 0, INT32_MAX),
        RANGE(clattn_shift_desc, head_dim, 1, 576),
        RANGE(clattn_shift_desc, page_size, 1, INT32_MAX),
        RANGE(clattn_shift_desc, n_pages, 1, INT32_MAX),
        RANGE(clattn_shift_desc, page_limit, 1, INT32_MAX),
    };
    const clattn_dtype dtype = desc->tensor[CLATTN_SLOT_PRESENT_K].dtype;
    const clattn__rotation rotation = {.head_dim = desc->head_dim,
                                       .rotary_dim = desc->rotary_dim,
                                       .n_positions = desc->n_positions,
                                       .interleaved = desc->interleaved};
    CLATTN__TRY(clattn__rules_check_ranges(desc, ranges, sizeof ranges / sizeof ranges[0]));
    CLATTN__TRY(clattn__rules_check_rotation(&rotation, true));
    CLATTN__TRY(clattn__rules_check_tensors(CLATTN__SHIFT, 0, desc->tensor));
    if (clattn__dtype_is_quantised(dtype))
        return clattn__fail(CLATTN_ERR_UNSUPPORTED,
                            "PRESENT_K: is of type %s, which can't be rotated: what is quantised "
                            "is never quantised again",
                            clattn__dtype_get(dtype)->name);
    return CLATTN_OK;
}

/* ---- the queries of attention ---------------------------------------------------------------- */

/* Positions that are not given are those of the alignment; all must have angles. */
static clattn_status check_implied_positions(const clattn_attention_desc *desc)
{
    int64_t most = desc->n_q;
    if (desc->align == CLATTN_ALIGN_NONE)
        return clattn__fail(
            CLATTN_ERR_ARGUMENT,
            "align: rotation of queries without POSITIONS or TOKEN_POSITIONS needs it");
    if (desc->align_offset < 0)
        return clattn__fail(
            CLATTN_ERR_ARGUMENT,
            "align_offset: is %" PRId64
            ", must be at least 0 for rotation of queries without POSITIONS or TOKEN_POSITIONS",
            desc->align_offset);
    if (desc->align == CLATTN_ALIGN_BOTTOM_RIGHT && desc->n_past + desc->n_kv > most)
        most = desc->n_past + desc->n_kv; /* else the first query is as far below 0 */
    if (desc->align == CLATTN_ALIGN_OFFSET)
        most += desc->align_offset;
    if (most > desc->n_positions)
        return clattn__fail(CLATTN_ERR_ARGUMENT,
                            "n_positions: is %" PRId64 ", but queries may be at position %" PRId64,
                            desc->n_positions, most - 1);
    return CLATTN_OK;
}

clattn_status clattn__rules_check_query_rotation(const clattn_attention_desc *desc,
                                                 clattn__kind kind)
{
    const bool rotated = has(desc->slots, CLATTN_SLOT_ANGLES);
    const bool given = has(desc->slots, CLATTN_SLOT_POSITIONS);
    const bool each = has(desc->slots, CLATTN_SLOT_TOKEN_POSITIONS);
    const double elements =
        (desc->ragged ? (double)desc->total_q : (double)desc->batch * (double)desc->n_q) *
        (double)desc->n_head * (double)desc->head_dim;
    if (desc->padding != 0)
        return clattn__fail(CLATTN_ERR_ARGUMENT, "padding: is %" PRIu32 ", must be 0",
                            desc->padding);
    CLATTN__TRY(clattn__rules_check_rotation(&CLATTN__ROTATION_OF(desc), rotated));
    if (given && !rotated)
        return clattn__fail(CLATTN_ERR_ARGUMENT,
                            "slots: POSITIONS takes part, but ANGLES does not");
    if (given && each)
        return clattn__fail(CLATTN_ERR_ARGUMENT,
                            "slots: POSITIONS and TOKEN_POSITIONS take part; name one of them");
    if (rotated && !given && !each)
        CLATTN__TRY(check_implied_positions(desc));
    if (!rotated && !desc->rms_norm)
        return CLATTN_OK;
    if (kind == CLATTN__GRADIENT)
        return clattn__fail(CLATTN_ERR_UNSUPPORTED, "rms_norm: is 1, must be 0 for gradients");
    if (elements > 0x1p58)
        return clattn__fail(CLATTN_ERR_UNSUPPORTED,
                            "rotary_dim: %g elements of queries are more than can be rotated",
                            elements);
    return CLATTN_OK;
}
