/* A violation of every rule about descriptions: its status, and that its sentence names what is
 * wrong. Rows are edits of a valid description, so that each shows what it changes. */
#include <criterion/criterion.h>
#include <math.h>
#include <string.h>

#include "problem/problem.h"
#include "rules_table.h"

/* A description to begin with, by what takes part. */
static clattn_attention_desc plain(void)
{
    clattn_attention_desc desc;
    clattn_attention_desc_init(&desc);
    desc.batch = 2;
    desc.n_head = 8;
    desc.n_kv_head = 2;
    desc.n_q = 5;
    desc.n_kv = 7;
    desc.head_dim = 16;
    desc.value_dim = 24;
    return desc;
}

static clattn_attention_desc ragged(void)
{
    clattn_attention_desc desc = plain();
    desc.ragged = 1;
    desc.total_q = 9;
    desc.total_kv = 12;
    desc.slots = BIT(Q_LENGTHS) | BIT(KV_LENGTHS);
    return desc;
}

static clattn_attention_desc everything(void)
{
    clattn_attention_desc desc = plain();
    desc.n_past = 3;
    desc.causal = 1;
    desc.has_window = 1;
    desc.align = CLATTN_ALIGN_BOTTOM_RIGHT;
    desc.softcap = 2;
    desc.dropout = 0.5f;
    desc.score_stage = CLATTN_SCORES_VISIBLE;
    desc.block_q = desc.block_kv = desc.block_limit = 2;
    desc.n_params = 3;
    desc.score_function = "float score";
    desc.flags = CLATTN_ATTENTION_WEIGHTS_DROPPED;
    for (int slot = CLATTN_SLOT_LSE; slot < CLATTN_SLOT_PARTIAL_OUT; slot++)
        desc.slots |= CLATTN_SLOT_BIT(slot);
    return desc;
}

static clattn_attention_desc (*const bases[])(void) = {plain, ragged, everything};

static void apply(void *desc, const rules_row *row)
{
    for (size_t i = 0; i < RULES_EDITS && row->edit[i].size; i++)
        memcpy((char *)desc + row->edit[i].offset, &row->edit[i].value, row->edit[i].size);
}

static void expect(const rules_row *row, clattn_status status, const clattn__problem *problem,
                   const clattn__problem *before)
{
    cr_expect_eq(status, row->status, "row \"%s\": status %d", row->says, (int)status);
    cr_expect(strncmp(clattn__message(), row->says, strlen(row->says)) == 0,
              "\"%s\" does not begin with \"%s\"", clattn__message(), row->says);
    cr_expect_eq(memcmp(problem, before, sizeof *problem), 0, "row \"%s\": result was written",
                 row->says);
}

static void refuse(const rules_row *row, clattn_attention_desc desc)
{
    clattn__problem problem, before;
    memset(&problem, 0x77, sizeof problem);
    memcpy(&before, &problem, sizeof problem);
    apply(&desc, row);
    clattn__fail(CLATTN_ERR_INTERNAL, "nothing was refused");
    expect(row, clattn__problem_init(&problem, &desc), &problem, &before);
}

Test(rules, bases_are_valid)
{
    for (size_t i = 0; i < sizeof bases / sizeof bases[0]; i++) {
        const clattn_attention_desc desc = bases[i]();
        clattn__problem problem;
        cr_assert_eq(clattn__problem_init(&problem, &desc), CLATTN_OK, "base %d: %s", (int)i,
                     clattn__message());
    }
}

Test(rules, every_violation_has_its_sentence)
{
    cr_assert(rules_row_count > 120, "%d rows", (int)rules_row_count);
    for (size_t i = 0; i < rules_row_count; i++)
        refuse(&rules_rows[i], bases[rules_rows[i].base]());
}

static clattn_append_desc append(void)
{
    clattn_append_desc desc;
    clattn_append_desc_init(&desc);
    desc.batch = 2;
    desc.n_kv_head = 3;
    desc.n_kv = 5;
    desc.head_dim = 8;
    desc.value_dim = 6;
    desc.page_size = 4;
    desc.n_pages = 9;
    desc.page_limit = 3;
    return desc;
}

Test(rules, append_has_rules_too)
{
    clattn_append_desc desc = append();
    clattn__problem problem, before;
    cr_assert_eq(clattn__problem_init_append(&problem, &desc), CLATTN_OK, "%s", clattn__message());
    for (size_t i = 0; i < rules_append_row_count; i++) {
        desc = append();
        memset(&problem, 0x77, sizeof problem);
        memset(&before, 0x77, sizeof before);
        apply(&desc, &rules_append_rows[i]);
        clattn__fail(CLATTN_ERR_INTERNAL, "nothing was refused");
        expect(&rules_append_rows[i], clattn__problem_init_append(&problem, &desc), &problem,
               &before);
    }
}

static clattn_additive_desc additive(void)
{
    clattn_additive_desc desc;
    clattn_additive_desc_init(&desc);
    desc.batch = desc.n_head = 2;
    desc.n_q = 5;
    desc.n_kv = 7;
    desc.channels = 12;
    desc.value_dim = 6;
    return desc;
}

Test(rules, additive_has_rules_too)
{
    static const clattn__kind kinds[] = {CLATTN__ADDITIVE, CLATTN__ADDITIVE_GRADIENT};
    clattn_additive_desc desc = additive();
    clattn__problem problem, before;
    desc.channels = desc.value_dim = 4096;
    cr_assert_eq(clattn__problem_init_additive(&problem, &desc, CLATTN__ADDITIVE), CLATTN_OK, "%s",
                 clattn__message());
    for (size_t i = 0; i < rules_additive_row_count; i++) {
        const rules_row *row = &rules_additive_rows[i];
        desc = additive();
        memset(&problem, 0x77, sizeof problem);
        memset(&before, 0x77, sizeof before);
        if (row->base)
            desc.slots = BIT(GRAD_Q);
        apply(&desc, row);
        clattn__fail(CLATTN_ERR_INTERNAL, "nothing was refused");
        expect(row, clattn__problem_init_additive(&problem, &desc, kinds[row->base]), &problem,
               &before);
    }
}

Test(rules, merge_has_rules_too)
{
    for (size_t i = 0; i < rules_merge_row_count; i++) {
        clattn_merge_desc desc;
        clattn__problem problem, before;
        memset(&problem, 0x77, sizeof problem);
        memset(&before, 0x77, sizeof before);
        clattn_merge_desc_init(&desc);
        desc.parts = 3;
        desc.batch = 2;
        desc.n_head = 4;
        desc.n_q = 5;
        desc.value_dim = 6;
        cr_assert_eq(clattn__problem_init_merge(&problem, &desc), CLATTN_OK, "%s",
                     clattn__message());
        memset(&problem, 0x77, sizeof problem);
        apply(&desc, &rules_merge_rows[i]);
        expect(&rules_merge_rows[i], clattn__problem_init_merge(&problem, &desc), &problem,
               &before);
    }
}

/* The same bases with gradients in the place of what the forward pass returns. */
static clattn_attention_desc with_gradients(int base)
{
    clattn_attention_desc desc = bases[base]();
    desc.slots &= ~(BIT(WEIGHTS) | BIT(WEIGHTS_MEAN) | BIT(WEIGHTS_SUM) | BIT(SCORES) |
                    BIT(PRESENT_K) | BIT(PRESENT_V));
    desc.slots |= BIT(LSE) | BIT(GRAD_Q) | BIT(GRAD_K) | BIT(GRAD_V);
    desc.score_stage = CLATTN_SCORES_SCALED;
    if (base == EVERYTHING) {
        desc.score_gradient = "float score_gradient";
        desc.slots |=
            BIT(GRAD_LSE) | BIT(GRAD_BIAS) | BIT(GRAD_SINK) | BIT(GRAD_PAST_K) | BIT(GRAD_PAST_V);
    }
    return desc;
}

Test(rules, gradients_have_rules_of_their_own)
{
    for (int base = PLAIN; base <= EVERYTHING; base++) {
        const clattn_attention_desc desc = with_gradients(base);
        clattn__problem problem;
        cr_assert_eq(clattn__problem_init_gradient(&problem, &desc), CLATTN_OK, "base %d: %s", base,
                     clattn__message());
    }
    for (size_t i = 0; i < rules_gradient_row_count; i++) {
        clattn_attention_desc desc = with_gradients(rules_gradient_rows[i].base);
        clattn__problem problem, before;
        memset(&problem, 0x77, sizeof problem);
        memcpy(&before, &problem, sizeof problem);
        apply(&desc, &rules_gradient_rows[i]);
        clattn__fail(CLATTN_ERR_INTERNAL, "nothing was refused");
        expect(&rules_gradient_rows[i], clattn__problem_init_gradient(&problem, &desc), &problem,
               &before);
    }
}

/* The same limits from inside: what is just allowed. */
Test(rules, limits_are_valid)
{
    clattn__problem problem;
    for (size_t i = 0; i < rules_valid_row_count; i++) {
        clattn_attention_desc desc = bases[rules_valid_rows[i].base]();
        apply(&desc, &rules_valid_rows[i]);
        cr_expect_eq(clattn__problem_init(&problem, &desc), CLATTN_OK, "%s: %s",
                     rules_valid_rows[i].says, clattn__message());
    }
}

/* Later versions' structs: longer, and usable while what is behind is 0. */
Test(rules, longer_descriptions)
{
    struct {
        clattn_attention_desc desc;
        unsigned char later[24];
    } attention = {.desc = everything(), .later = {0}};
    struct {
        clattn_merge_desc desc;
        unsigned char later[24];
    } merge = {.later = {0}};
    clattn__problem problem;
    clattn_merge_desc_init(&merge.desc);
    merge.desc.parts = merge.desc.n_head = merge.desc.value_dim = 1;
    attention.desc.struct_size = (uint32_t)sizeof attention;
    merge.desc.struct_size = (uint32_t)sizeof merge;
    cr_expect_eq(clattn__problem_init(&problem, &attention.desc), CLATTN_OK);
    cr_expect_eq(clattn__problem_init_merge(&problem, &merge.desc), CLATTN_OK);
    attention.later[23] = merge.later[0] = 1;
    cr_expect_eq(clattn__problem_init(&problem, &attention.desc), CLATTN_ERR_UNSUPPORTED);
    cr_expect(strstr(clattn__message(), "desc: has fields"), "%s", clattn__message());
    cr_expect_eq(clattn__problem_init_merge(&problem, &merge.desc), CLATTN_ERR_UNSUPPORTED);
    cr_expect(strstr(clattn__message(), "desc: has fields"), "%s", clattn__message());
    cr_expect_eq(clattn__problem_init_merge(&problem, NULL), CLATTN_ERR_ARGUMENT);
    cr_expect_eq(clattn__problem_init(&problem, NULL), CLATTN_ERR_ARGUMENT);
}

/* A text without an end within its limit is refused, not read to its end. */
Test(rules, long_texts)
{
    enum { MOST = 1 << 20 };
    static char text[MOST + 1];
    clattn_attention_desc desc = plain();
    clattn__problem problem;
    memset(text, ' ', MOST);
    desc.mask_function = text;
    cr_expect_eq(clattn__problem_init(&problem, &desc), CLATTN_ERR_ARGUMENT);
    cr_expect(strstr(clattn__message(), "mask_function: is longer"), "%s", clattn__message());
    text[MOST - 1] = 0;
    cr_expect_eq(clattn__problem_init(&problem, &desc), CLATTN_OK);
}

static clattn_rotary_desc rotary(void)
{
    clattn_rotary_desc desc;
    clattn_rotary_desc_init(&desc);
    desc.batch = desc.n_head = desc.n = 2;
    desc.head_dim = desc.rotary_dim = 8;
    desc.n_positions = 9;
    return desc;
}

Test(rules, rotary_has_rules_too)
{
    clattn_rotary_desc desc = rotary();
    clattn__problem problem, before;
    cr_assert_eq(clattn__problem_init_rotary(&problem, &desc), CLATTN_OK, "%s", clattn__message());
    desc.slots = CLATTN_SLOT_BIT(CLATTN_SLOT_TOKEN_POSITIONS); /* in the place of POSITIONS */
    cr_assert_eq(clattn__problem_init_rotary(&problem, &desc), CLATTN_OK, "%s", clattn__message());
    cr_assert(clattn__problem_has(&problem, CLATTN_SLOT_ANGLES) &&
              !clattn__problem_has(&problem, CLATTN_SLOT_POSITIONS));
    desc.slots = 0;
    desc.rotary_dim = desc.n_positions = 0;
    desc.rms_norm = 1;
    desc.rms_epsilon = 0x1p-90f;
    cr_assert_eq(clattn__problem_init_rotary(&problem, &desc), CLATTN_OK, "%s", clattn__message());
    cr_assert(!clattn__problem_has(&problem, CLATTN_SLOT_ANGLES) &&
              !clattn__problem_has(&problem, CLATTN_SLOT_POSITIONS));
    for (size_t i = 0; i < rules_rotary_row_count; i++) {
        desc = rotary();
        memset(&problem, 0x77, sizeof problem);
        memset(&before, 0x77, sizeof before);
        apply(&desc, &rules_rotary_rows[i]);
        clattn__fail(CLATTN_ERR_INTERNAL, "nothing was refused");
        expect(&rules_rotary_rows[i], clattn__problem_init_rotary(&problem, &desc), &problem,
               &before);
    }
}

static clattn_shift_desc shift(void)
{
    clattn_shift_desc desc;
    clattn_shift_desc_init(&desc);
    desc.batch = desc.n_kv_head = 2;
    desc.n_kv = 5;
    desc.head_dim = desc.rotary_dim = 8;
    desc.n_positions = desc.n_pages = 9;
    desc.page_size = 4;
    desc.page_limit = 3;
    return desc;
}

Test(rules, shift_has_rules_too)
{
    clattn_shift_desc desc = shift();
    clattn__problem problem, before;
    cr_assert_eq(clattn__problem_init_shift(&problem, &desc), CLATTN_OK, "%s", clattn__message());
    for (size_t i = 0; i < rules_shift_row_count; i++) {
        desc = shift();
        memset(&problem, 0x77, sizeof problem);
        memset(&before, 0x77, sizeof before);
        apply(&desc, &rules_shift_rows[i]);
        clattn__fail(CLATTN_ERR_INTERNAL, "nothing was refused");
        expect(&rules_shift_rows[i], clattn__problem_init_shift(&problem, &desc), &problem,
               &before);
    }
}
