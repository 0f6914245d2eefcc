/* The rules that a description must keep, each with its own sentence. */
#ifndef CLATTN_PROBLEM_RULES_H
#define CLATTN_PROBLEM_RULES_H

#include "problem/problem.h"

/* One rule about the description of attention. */
typedef clattn_status (*clattn__desc_rule)(const clattn_attention_desc *desc);

/* Rules about the fields, and about which slots they need: rules_fields.c, rules_slots.c. */
clattn_status clattn__rules_check_fields(const clattn_attention_desc *desc);
clattn_status clattn__rules_check_slots(const clattn_attention_desc *desc, clattn__kind kind);
/* What gradients need besides: rules_gradient.c. */
clattn_status clattn__rules_check_gradient(const clattn_attention_desc *desc);
clattn_status clattn__rules_check_merge(const clattn_merge_desc *desc);
clattn_status clattn__rules_check_rotary(const clattn_rotary_desc *desc);
clattn_status clattn__rules_check_shift(const clattn_shift_desc *desc);
clattn_status clattn__rules_check_linear(const clattn_linear_desc *desc, clattn__kind kind);
clattn_status clattn__rules_check_additive(const clattn_additive_desc *desc, clattn__kind kind);
clattn_status clattn__rules_check_append(const clattn_append_desc *desc);

/* What several descriptions say about rows that are normalised and rotated, and the rules about it:
 * rules_rotary.c. */
typedef struct clattn__rotation {
    uint64_t slots;
    int64_t head_dim, rotary_dim, n_positions;
    uint32_t interleaved, rms_norm;
    float rms_epsilon;
} clattn__rotation;
#define CLATTN__ROTATION_OF(desc)                                                                  \
    (clattn__rotation)                                                                             \
    {                                                                                              \
        (desc)->slots, (desc)->head_dim, (desc)->rotary_dim, (desc)->n_positions,                  \
            (desc)->interleaved, (desc)->rms_norm, (desc)->rms_epsilon                             \
    }
/* `rotated`: angles take part, and the fields that go with them are not 0. */
clattn_status clattn__rules_check_rotation(const clattn__rotation *rotation, bool rotated);
/* The slots of a rotary operation that take part by rotary_dim, without being named. */
uint64_t clattn__rules_rotary_slots(const clattn_rotary_desc *desc);
/* Rotation of queries by attention. */
clattn_status clattn__rules_check_query_rotation(const clattn_attention_desc *desc,
                                                 clattn__kind kind);

/* Which tensors may be integers with scales, and what goes with them: rules_scales.c. */
clattn_status clattn__rules_check_scales(clattn__kind kind, uint64_t slots,
                                         const clattn_tensor *tensors, int64_t channels);
/* A tensor with two elements in a byte begins its rows with a byte. */
clattn_status clattn__rules_check_halves(const clattn__problem *problem,
                                         const clattn__slot_info *info);

/* Rules about the layouts, once strides are filled in: rules_layout.c. */
clattn_status clattn__rules_check_layouts(const clattn__problem *problem);

/* Pieces that rules of several kinds of operation share. */

typedef struct clattn__range {
    const char *name;
    size_t offset; /* of an int64_t in the description */
    int64_t least, most;
} clattn__range;
clattn_status clattn__rules_check_ranges(const void *desc, const clattn__range *ranges,
                                         size_t count);

/* `slots` names optional slots of this kind only. */
clattn_status clattn__rules_check_optional(clattn__kind kind, uint64_t slots);

/* Types and switches of all tensors that take part; tensors (CLATTN_SLOT_LIMIT) */
clattn_status clattn__rules_check_tensors(clattn__kind kind, uint64_t slots,
                                          const clattn_tensor *tensors);

#endif
