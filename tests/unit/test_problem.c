/* Descriptions and their rules: defaults, layouts, and a violation of every rule. */
#include <criterion/criterion.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "problem/problem.h"

static clattn_attention_desc valid(void)
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

Test(problem, defaults)
{
    const clattn_attention_desc desc = valid();
    clattn__problem problem;
    cr_assert_eq(clattn__problem_init(&problem, &desc), CLATTN_OK);
    cr_assert_eq(problem.scale, 0.25f);
    cr_assert_eq(problem.slots, 0xFu);
    const int64_t *q = problem.layout[CLATTN_SLOT_Q].stride;
    cr_assert(q[0] == 8 * 5 * 16 && q[1] == 5 * 16 && q[2] == 16 && q[3] == 1);
    const int64_t *v = problem.layout[CLATTN_SLOT_V].stride;
    cr_assert(v[0] == 2 * 7 * 24 && v[1] == 7 * 24 && v[2] == 24 && v[3] == 1);
    int64_t low, high;
    clattn__slot_span(&problem, CLATTN_SLOT_OUT, &low, &high);
    cr_assert(low == 0 && high == 4 * 2 * 8 * 5 * 24);
}

/* Queries are (token, head, dim), keys in pages what they are without. */
Test(problem, ragged_queries_of_pages)
{
    clattn_attention_desc desc = valid();
    clattn__problem problem;
    desc.ragged = 1;
    desc.total_q = 9;
    desc.page_size = 4;
    desc.n_pages = 5;
    desc.page_limit = 2;
    desc.slots = CLATTN_SLOT_BIT(CLATTN_SLOT_PAGES) | CLATTN_SLOT_BIT(CLATTN_SLOT_Q_LENGTHS) |
                 CLATTN_SLOT_BIT(CLATTN_SLOT_KV_LENGTHS);
    cr_assert_eq(clattn__problem_init(&problem, &desc), CLATTN_OK, "%s", clattn__message());
    const int64_t *q = problem.layout[CLATTN_SLOT_Q].stride;
    cr_assert(q[0] == 0 && q[1] == 16 && q[2] == 8 * 16 && q[3] == 1);
    const int64_t *k = problem.layout[CLATTN_SLOT_K].stride;
    cr_assert(k[0] == 2 * 4 * 16 && k[1] == 4 * 16 && k[2] == 16 && k[3] == 1);
    cr_assert_eq(clattn__slot_extent(&problem, CLATTN_SLOT_Q_LENGTHS, 0), 3);
    cr_assert_eq(clattn__slot_extent(&problem, CLATTN_SLOT_KV_LENGTHS, 0), 2);
}

Test(problem, causal_is_a_bound_to_the_right)
{
    clattn_attention_desc desc = valid();
    clattn__problem problem;
    desc.causal = 1;
    desc.align = CLATTN_ALIGN_BOTTOM_RIGHT;
    cr_assert_eq(clattn__problem_init(&problem, &desc), CLATTN_OK);
    cr_assert(problem.bottom_right == 1 && problem.offset == 0);
    cr_assert(problem.left == CLATTN__UNLIMITED && problem.right == 0);
    desc.align = CLATTN_ALIGN_OFFSET;
    desc.align_offset = -3;
    cr_assert_eq(clattn__problem_init(&problem, &desc), CLATTN_OK);
    cr_assert(problem.bottom_right == 0 && problem.offset == -3);
    desc.has_window = 1;
    desc.window_left = 7;
    desc.window_right = 9;
    cr_assert_eq(clattn__problem_init(&problem, &desc), CLATTN_OK);
    cr_assert(problem.left == 7 && problem.right == 0, "causal is narrower than the window");
}

Test(problem, equal_descriptions_make_equal_bytes)
{
    clattn_attention_desc desc = valid();
    clattn__problem one, other;
    memset(&one, 0x55, sizeof one);
    memset(&other, 0xAA, sizeof other);
    cr_assert_eq(clattn__problem_init(&one, &desc), CLATTN_OK);
    desc.align = CLATTN_ALIGN_TOP_LEFT;                       /* means nothing without causal */
    desc.tensor[CLATTN_SLOT_WEIGHTS].dtype = (clattn_dtype)7; /* takes no part */
    cr_assert_eq(clattn__problem_init(&other, &desc), CLATTN_OK);
    cr_assert_eq(memcmp(&one, &other, sizeof one), 0);
}

/* Gradients of two batch entries of 4 heads, 3 queries, 5 keys, with biases. */
static clattn_attention_desc with_bias_gradient(void)
{
    clattn_attention_desc desc;
    clattn_attention_desc_init(&desc);
    desc.batch = 2;
    desc.n_head = desc.n_kv_head = 4;
    desc.n_q = 3;
    desc.n_kv = 5;
    desc.head_dim = desc.value_dim = 8;
    desc.slots = CLATTN_SLOT_BIT(CLATTN_SLOT_LSE) | CLATTN_SLOT_BIT(CLATTN_SLOT_BIAS) |
                 CLATTN_SLOT_BIT(CLATTN_SLOT_GRAD_BIAS);
    return desc;
}

Test(problem, gradients_of_biases_are_summed_where_biases_are_shared)
{
    clattn_attention_desc desc = with_bias_gradient();
    clattn__problem problem;
    int64_t low, high;
    cr_assert_eq(clattn__problem_init_gradient(&problem, &desc), CLATTN_OK);
    cr_assert_eq(problem.bias_sums, 0);
    clattn__slot_span(&problem, CLATTN_SLOT_GRAD_BIAS, &low, &high);
    cr_assert_eq(high, 2 * 4 * 3 * 5 * 4);
    desc.tensor[CLATTN_SLOT_BIAS].strided = 1; /* (1, n_head, n_q, 1) */
    desc.tensor[CLATTN_SLOT_BIAS].stride[1] = 3;
    desc.tensor[CLATTN_SLOT_BIAS].stride[2] = 1;
    cr_assert_eq(clattn__problem_init_gradient(&problem, &desc), CLATTN_OK);
    cr_assert_eq(problem.bias_sums, 1 | 8);
    const int64_t *stride = problem.layout[CLATTN_SLOT_GRAD_BIAS].stride;
    cr_assert(stride[0] == 0 && stride[1] == 3 && stride[2] == 1 && stride[3] == 0);
    desc.tensor[CLATTN_SLOT_GRAD_BIAS].strided = 1; /* its own strides decide */
    desc.tensor[CLATTN_SLOT_GRAD_BIAS].stride[2] = 2;
    cr_assert_eq(clattn__problem_init_gradient(&problem, &desc), CLATTN_OK);
    cr_assert_eq(problem.bias_sums, 1 | 2 | 8);
    clattn__slot_span(&problem, CLATTN_SLOT_GRAD_BIAS, &low, &high);
    cr_assert_eq(high, (2 * 2 + 1) * 4);
}

/* A sum over nothing is 0, which has to be written. */
Test(problem, gradients_are_empty_only_where_nothing_is_written)
{
    clattn_attention_desc desc = with_bias_gradient();
    clattn__problem problem;
    desc.batch = 0;
    cr_assert_eq(clattn__problem_init_gradient(&problem, &desc), CLATTN_OK);
    cr_assert(clattn__problem_is_empty(&problem));
    desc.tensor[CLATTN_SLOT_BIAS].strided = 1;
    cr_assert_eq(clattn__problem_init_gradient(&problem, &desc), CLATTN_OK);
    cr_assert_not(clattn__problem_is_empty(&problem));
    desc.batch = 2;
    desc.n_q = 0;
    desc.slots = CLATTN_SLOT_BIT(CLATTN_SLOT_LSE) | CLATTN_SLOT_BIT(CLATTN_SLOT_GRAD_Q);
    cr_assert_eq(clattn__problem_init_gradient(&problem, &desc), CLATTN_OK);
    cr_assert(clattn__problem_is_empty(&problem));
    desc.slots |= CLATTN_SLOT_BIT(CLATTN_SLOT_GRAD_K);
    cr_assert_eq(clattn__problem_init_gradient(&problem, &desc), CLATTN_OK);
    cr_assert_not(clattn__problem_is_empty(&problem));
    cr_assert(clattn__problem_writes(&problem, CLATTN_SLOT_GRAD_K));
    cr_assert_not(clattn__problem_writes(&problem, CLATTN_SLOT_OUT));
    cr_assert_not(clattn__problem_writes(&problem, CLATTN_SLOT_LSE));
}

Test(problem, negative_strides_span_below_element_zero)
{
    clattn_attention_desc desc = valid();
    desc.tensor[CLATTN_SLOT_K] = (clattn_tensor){.strided = 1, .stride = {1000, 200, -16, 1}};
    clattn__problem problem;
    int64_t low, high;
    cr_assert_eq(clattn__problem_init(&problem, &desc), CLATTN_OK);
    clattn__slot_span(&problem, CLATTN_SLOT_K, &low, &high);
    cr_assert(low == -4 * 16 * 6 && high == 4 * (1000 + 200 + 15 + 1));
}

Test(problem, empty_tensors_span_nothing)
{
    clattn_attention_desc desc = valid();
    desc.n_kv = 0;
    clattn__problem problem;
    int64_t low, high;
    cr_assert_eq(clattn__problem_init(&problem, &desc), CLATTN_OK);
    clattn__slot_span(&problem, CLATTN_SLOT_V, &low, &high);
    cr_assert(low == 0 && high == 0);
    cr_assert_not(clattn__problem_is_empty(&problem));
    desc.n_q = 0;
    cr_assert_eq(clattn__problem_init(&problem, &desc), CLATTN_OK);
    cr_assert(clattn__problem_is_empty(&problem));
}

/* One violation of each rule: what is changed, the status, and what the sentence must name. */
typedef struct violation {
    const char *name;
    void (*change)(clattn_attention_desc *desc);
    clattn_status status;
    const char *names;
} violation;

#define VIOLATION(rule, assignment)                                                                \
    static void rule(clattn_attention_desc *desc)                                                  \
    {                                                                                              \
        assignment;                                                                                \
    }

VIOLATION(small_struct, desc->struct_size = 8)
VIOLATION(huge_struct, desc->struct_size = 1u << 30)
VIOLATION(reserved, desc->reserved = 1)
VIOLATION(batch_negative, desc->batch = -1)
VIOLATION(batch_large, desc->batch = (int64_t)1 << 31)
VIOLATION(no_head, desc->n_head = 0)
VIOLATION(no_kv_head, desc->n_kv_head = 0)
VIOLATION(n_q_negative, desc->n_q = -3)
VIOLATION(n_q_large, desc->n_q = INT64_MAX)
VIOLATION(n_kv_negative, desc->n_kv = INT64_MIN)
VIOLATION(n_kv_large, desc->n_kv = (int64_t)1 << 40)
VIOLATION(head_dim_zero, desc->head_dim = 0)
VIOLATION(head_dim_large, desc->head_dim = 577)
VIOLATION(value_dim_zero, desc->value_dim = 0)
VIOLATION(value_dim_large, desc->value_dim = 600)
VIOLATION(heads_do_not_divide, desc->n_kv_head = 3)
VIOLATION(more_kv_heads, desc->n_kv_head = 16)
VIOLATION(has_scale_two, desc->has_scale = 2)
VIOLATION(scale_nan, (desc->has_scale = 1, desc->scale = NAN))
VIOLATION(scale_inf, (desc->has_scale = 1, desc->scale = -INFINITY))
VIOLATION(align_unknown, desc->align = (clattn_align)4)
VIOLATION(causal_two, (desc->causal = 2, desc->align = CLATTN_ALIGN_TOP_LEFT))
VIOLATION(causal_without_align, desc->causal = 1)
VIOLATION(slot_required, desc->slots = CLATTN_SLOT_BIT(CLATTN_SLOT_OUT))
VIOLATION(slot_unknown, desc->slots = CLATTN_SLOT_BIT(63))
VIOLATION(strided_two, desc->tensor[CLATTN_SLOT_V].strided = 2)
VIOLATION(dtype_unknown, desc->tensor[CLATTN_SLOT_K].dtype = (clattn_dtype)9)
VIOLATION(span_too_large, (desc->tensor[CLATTN_SLOT_Q] = (clattn_tensor){
                               .strided = 1, .stride = {INT64_MAX, 1, 1, 1}}))
VIOLATION(span_too_low, (desc->tensor[CLATTN_SLOT_Q] = (clattn_tensor){
                             .strided = 1, .stride = {INT64_MIN, 1, 1, 1}}))
VIOLATION(contiguous_too_large,
          (desc->batch = desc->n_q = desc->n_head = desc->n_kv_head = INT32_MAX))
VIOLATION(output_broadcast, (desc->tensor[CLATTN_SLOT_OUT] = (clattn_tensor){
                                 .strided = 1, .stride = {960, 120, 0, 1}}))
VIOLATION(output_overlaps_itself, (desc->tensor[CLATTN_SLOT_OUT] = (clattn_tensor){
                                       .strided = 1, .stride = {960, 120, 23, 1}}))

static const violation violations[] = {
    {"small struct", small_struct, CLATTN_ERR_ARGUMENT, "struct_size"},
    {"huge struct", huge_struct, CLATTN_ERR_ARGUMENT, "struct_size"},
    {"reserved", reserved, CLATTN_ERR_ARGUMENT, "reserved"},
    {"batch -1", batch_negative, CLATTN_ERR_ARGUMENT, "batch"},
    {"batch 2^31", batch_large, CLATTN_ERR_ARGUMENT, "batch"},
    {"n_head 0", no_head, CLATTN_ERR_ARGUMENT, "n_head"},
    {"n_kv_head 0", no_kv_head, CLATTN_ERR_ARGUMENT, "n_kv_head"},
    {"n_q -3", n_q_negative, CLATTN_ERR_ARGUMENT, "n_q"},
    {"n_q large", n_q_large, CLATTN_ERR_ARGUMENT, "n_q"},
    {"n_kv negative", n_kv_negative, CLATTN_ERR_ARGUMENT, "n_kv"},
    {"n_kv large", n_kv_large, CLATTN_ERR_ARGUMENT, "n_kv"},
    {"head_dim 0", head_dim_zero, CLATTN_ERR_ARGUMENT, "head_dim"},
    {"head_dim 577", head_dim_large, CLATTN_ERR_ARGUMENT, "head_dim"},
    {"value_dim 0", value_dim_zero, CLATTN_ERR_ARGUMENT, "value_dim"},
    {"value_dim 600", value_dim_large, CLATTN_ERR_ARGUMENT, "value_dim"},
    {"8 / 3 heads", heads_do_not_divide, CLATTN_ERR_ARGUMENT, "n_kv_head"},
    {"8 / 16 heads", more_kv_heads, CLATTN_ERR_ARGUMENT, "n_kv_head"},
    {"has_scale 2", has_scale_two, CLATTN_ERR_ARGUMENT, "has_scale"},
    {"scale NaN", scale_nan, CLATTN_ERR_ARGUMENT, "scale"},
    {"scale -inf", scale_inf, CLATTN_ERR_ARGUMENT, "scale"},
    {"align 4", align_unknown, CLATTN_ERR_ARGUMENT, "align"},
    {"causal 2", causal_two, CLATTN_ERR_ARGUMENT, "causal"},
    {"causal alone", causal_without_align, CLATTN_ERR_ARGUMENT, "align"},
    {"slot OUT asked for", slot_required, CLATTN_ERR_ARGUMENT, "OUT"},
    {"slot 63", slot_unknown, CLATTN_ERR_UNSUPPORTED, "slot 63"},
    {"strided 2", strided_two, CLATTN_ERR_ARGUMENT, "V"},
    {"dtype 9", dtype_unknown, CLATTN_ERR_UNSUPPORTED, "K"},
    {"span", span_too_large, CLATTN_ERR_ARGUMENT, "Q: spans"},
    {"span below", span_too_low, CLATTN_ERR_ARGUMENT, "Q: spans"},
    {"contiguous span", contiguous_too_large, CLATTN_ERR_ARGUMENT, "spans"},
    {"output broadcast", output_broadcast, CLATTN_ERR_ARGUMENT, "OUT"},
    {"output overlaps", output_overlaps_itself, CLATTN_ERR_ARGUMENT, "OUT"},
};

Test(problem, every_violation_has_its_sentence)
{
    for (size_t i = 0; i < sizeof violations / sizeof violations[0]; i++) {
        const violation *row = &violations[i];
        clattn_attention_desc desc = valid();
        clattn__problem problem, before;
        memset(&problem, 0x77, sizeof problem);
        memcpy(&before, &problem, sizeof problem);
        row->change(&desc);
        cr_expect_eq(clattn__problem_init(&problem, &desc), row->status, "%s: wrong status",
                     row->name);
        cr_expect(strstr(clattn__message(), row->names) != NULL, "%s: \"%s\" does not name %s",
                  row->name, clattn__message(), row->names);
        cr_expect_eq(memcmp(&problem, &before, sizeof problem), 0, "%s: result was written",
                     row->name);
    }
}

Test(problem, null_description)
{
    clattn__problem problem;
    cr_assert_eq(clattn__problem_init(&problem, NULL), CLATTN_ERR_ARGUMENT);
}

/* A later version's description: longer, and usable as long as its new fields are 0. */
Test(problem, longer_struct)
{
    struct {
        clattn_attention_desc desc;
        uint64_t later;
    } longer = {.desc = valid(), .later = 0};
    clattn__problem problem;
    longer.desc.struct_size = (uint32_t)sizeof longer;
    cr_assert_eq(clattn__problem_init(&problem, &longer.desc), CLATTN_OK);
    longer.later = 1;
    cr_assert_eq(clattn__problem_init(&problem, &longer.desc), CLATTN_ERR_UNSUPPORTED);
}

/* Strides of dimensions with one element don't matter. */
Test(problem, stride_of_single_element_is_ignored)
{
    clattn_attention_desc desc = valid();
    desc.batch = 1;
    desc.tensor[CLATTN_SLOT_OUT] = (clattn_tensor){.strided = 1, .stride = {INT64_MAX, 120, 24, 1}};
    clattn__problem problem;
    cr_assert_eq(clattn__problem_init(&problem, &desc), CLATTN_OK);
    cr_assert_eq(problem.layout[CLATTN_SLOT_OUT].stride[0], 0);
}

/* ---- other kinds ----------------------------------------------------------------------------- */

/* Keys of 6 channels of 8 in pages, to be moved. */
static clattn__problem shift_problem(void)
{
    clattn_shift_desc desc;
    clattn__problem problem;
    clattn_shift_desc_init(&desc);
    desc.batch = 2;
    desc.n_kv_head = 3;
    desc.n_kv = 40;
    desc.head_dim = 8;
    desc.rotary_dim = 6;
    desc.n_positions = 100;
    desc.interleaved = 1;
    desc.page_size = 16;
    desc.n_pages = 9;
    desc.page_limit = 4;
    cr_assert_eq(clattn__problem_init_shift(&problem, &desc), CLATTN_OK, "%s", clattn__message());
    return problem;
}

static void says(const clattn__problem *problem, const char *part)
{
    char text[512];
    clattn__problem_describe(problem, text, sizeof text);
    cr_expect(strstr(text, part), "\"%s\" has no \"%s\"", text, part);
}

Test(problem, words_for_what_is_shifted)
{
    const clattn__problem problem = shift_problem();
    says(&problem, " n_kv=40 ");
    says(&problem, " rotary_dim=6 interleaved");
}

Test(problem, words_for_rotation)
{
    clattn_attention_desc desc = valid();
    clattn__problem problem;
    char text[512];
    cr_assert_eq(clattn__problem_init(&problem, &desc), CLATTN_OK);
    clattn__problem_describe(&problem, text, sizeof text);
    cr_expect(!strstr(text, "rotary_dim") && !strstr(text, "rms_norm"), "%s", text);
    desc.slots = CLATTN_SLOT_BIT(CLATTN_SLOT_ANGLES);
    desc.rotary_dim = 4;
    desc.n_positions = 7;
    desc.align = CLATTN_ALIGN_BOTTOM_RIGHT;
    desc.rms_norm = 1;
    desc.rms_epsilon = 0x1p-10f;
    cr_assert_eq(clattn__problem_init(&problem, &desc), CLATTN_OK, "%s", clattn__message());
    says(&problem, " rms_norm(0.000976562) rotary_dim=4 ANGLES");
}

static clattn__problem linear_problem(uint32_t accumulate)
{
    clattn_linear_desc desc;
    clattn__problem problem;
    clattn_linear_desc_init(&desc);
    desc.batch = 1;
    desc.rows = desc.in = desc.out = 4;
    desc.accumulate = accumulate;
    cr_assert_eq(clattn__problem_init_linear(&problem, &desc, CLATTN__LINEAR), CLATTN_OK, "%s",
                 clattn__message());
    return problem;
}

/* What must not be done twice. */
Test(problem, updates)
{
    const clattn_attention_desc desc = valid();
    clattn__problem problem = linear_problem(0);
    cr_expect_not(clattn__problem_updates(&problem));
    problem = linear_problem(1);
    cr_expect(clattn__problem_updates(&problem));
    problem = shift_problem();
    cr_expect(clattn__problem_updates(&problem));
    cr_assert_eq(clattn__problem_init(&problem, &desc), CLATTN_OK);
    cr_expect_not(clattn__problem_updates(&problem));
}
