/* Rows of test_rules.c: what is changed in a valid description, and what must follow. */
#ifndef TESTS_UNIT_RULES_TABLE_H
#define TESTS_UNIT_RULES_TABLE_H

#include <stddef.h>
#include <stdint.h>

#include <clattn/layer.h>

#define RULES_EDITS 5
#define BIT(slot)   CLATTN_SLOT_BIT(CLATTN_SLOT_##slot)

/* A field that gets a value. */
typedef struct rules_edit {
    size_t offset, size; /* size 0: nothing */
    union {
        int64_t integer; /* its first bytes, little-endian or `size` 8 */
        uint32_t word;
        float real;
        const char *text;
    } value;
} rules_edit;

/* How tables write edits; each defines DESC, the description whose fields it names. */
#define FIELD(field, member, x)                                                                    \
    {                                                                                              \
        offsetof(DESC, field), sizeof(((DESC *)0)->field),                                         \
        {                                                                                          \
            .member = x                                                                            \
        }                                                                                          \
    }
#define WORD(field, x) FIELD(field, word, (uint32_t)(x))
#define LONG(field, x) FIELD(field, integer, x)
#define REAL(field, x) FIELD(field, real, x)
#define TEXT(field, x) FIELD(field, text, x)
#define SLOTS(bits)    LONG(slots, (int64_t)(bits))

#define DTYPE(name, x)   WORD(tensor[CLATTN_SLOT_##name].dtype, x)
#define STRIDED(name)    WORD(tensor[CLATTN_SLOT_##name].strided, 1)
#define STEP(name, d, x) LONG(tensor[CLATTN_SLOT_##name].stride[d], x)

#define BAD CLATTN_ERR_ARGUMENT
#define NOT CLATTN_ERR_UNSUPPORTED
#define P31 ((int64_t)1 << 31)
#define P58 ((int64_t)1 << 58)

/* Which description is edited. */
enum { PLAIN, RAGGED, EVERYTHING };

typedef struct rules_row {
    int base;
    clattn_status status;
    const char *says; /* how the sentence begins */
    rules_edit edit[RULES_EDITS];
} rules_row;

extern const rules_row rules_rows[];
extern const size_t rules_row_count;
extern const rules_row rules_merge_rows[]; /* of a clattn_merge_desc */
extern const size_t rules_merge_row_count;
extern const rules_row rules_additive_rows[];
extern const size_t rules_additive_row_count;
extern const rules_row rules_append_rows[]; /* of a clattn_append_desc */
extern const size_t rules_append_row_count;
extern const rules_row rules_rotary_rows[]; /* of a clattn_rotary_desc */
extern const size_t rules_rotary_row_count;
extern const rules_row rules_shift_rows[]; /* of a clattn_shift_desc */
extern const size_t rules_shift_row_count;
extern const rules_row rules_gradient_rows[]; /* of gradients, whose bases have GRAD_Q to GRAD_V */
extern const size_t rules_gradient_row_count;
extern const rules_row rules_valid_rows[]; /* `says`: what is just valid */
extern const size_t rules_valid_row_count;

#endif
