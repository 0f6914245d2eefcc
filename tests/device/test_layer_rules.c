/* What descriptions of layers are refused for: a sentence for each. */
#include <clattn/layer.h>
#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

#include "rig.h"

#define COUNT(array) (sizeof(array) / sizeof(array)[0])
#define BIT(name)    CLATTN_LAYER_BIT(CLATTN_LAYER_##name)

#define CHANGE(name, statement)                                                                    \
    static void name(clattn_multi_head_desc *desc)                                                 \
    {                                                                                              \
        statement;                                                                                 \
    }
CHANGE(bad_size, desc->struct_size = 9)
CHANGE(bad_batch, desc->batch = -1)
CHANGE(bad_width, desc->width = 0)
CHANGE(bad_heads, desc->n_head = 5)
CHANGE(bad_group, desc->n_kv_head = 3)
CHANGE(bad_cross, desc->cross = 2)
CHANGE(bad_self, desc->n_kv = 7)
CHANGE(bad_key_width, desc->key_width = 7)
CHANGE(bad_rotary, desc->rotary_dim = 3)
CHANGE(bad_base, desc->rotary_dim = 2)
CHANGE(bad_causal, desc->causal = 1)
CHANGE(bad_dropout, desc->dropout = 1)
CHANGE(bad_optional, desc->optional = BIT(WQ))
CHANGE(bad_gradient, desc->gradients = BIT(GRAD_KEY))
CHANGE(bad_bias_gradient, desc->gradients = BIT(GRAD_BQ))
CHANGE(bad_accumulate, desc->accumulate = BIT(GRAD_X))
CHANGE(bad_lse, desc->optional = BIT(LSE))
CHANGE(bad_mask, desc->mask.strided = 1)
CHANGE(bad_mask_type, (desc->optional = BIT(MASK), desc->mask.dtype = CLATTN_F16))
CHANGE(bad_type, desc->dtype = CLATTN_I32)
CHANGE(bad_reserved, desc->reserved = 1)
CHANGE(bad_align, desc->align = CLATTN_ALIGN_OFFSET)
CHANGE(huge, desc->batch = desc->n_q = INT32_MAX)
CHANGE(huge_but_empty,
       (desc->batch = 0, desc->n_q = desc->n_head = INT32_MAX, desc->head_dim = 576))
CHANGE(huge_group, (desc->batch = desc->n_q = desc->n_kv_head = INT32_MAX))

Test(layer_rules, refuse_with_a_sentence)
{
    static const struct {
        void (*change)(clattn_multi_head_desc *desc);
        clattn_status status;
        const char *says;
    } rows[] = {
        {bad_size, CLATTN_ERR_ARGUMENT, "desc: struct_size is 9; use clattn_multi_head_desc_init"},
        {bad_batch, CLATTN_ERR_ARGUMENT, "batch: is -1"},
        {bad_width, CLATTN_ERR_ARGUMENT, "head_dim: is 0"},
        {bad_heads, CLATTN_ERR_ARGUMENT, "head_dim: is 0"},
        {bad_group, CLATTN_ERR_ARGUMENT, "n_kv_head: 3 key/value heads do not divide"},
        {bad_cross, CLATTN_ERR_ARGUMENT, "cross: is 2"},
        {bad_self, CLATTN_ERR_ARGUMENT, "n_kv: is 7, must be 0 or n_q"},
        {bad_key_width, CLATTN_ERR_ARGUMENT, "key_width, value_width: must be 0 or width"},
        {bad_rotary, CLATTN_ERR_ARGUMENT, "rotary_dim: is 3"},
        {bad_base, CLATTN_ERR_ARGUMENT, "rotary_base: is 0"},
        {bad_causal, CLATTN_ERR_ARGUMENT, "align: "},
        {bad_dropout, CLATTN_ERR_ARGUMENT, "dropout: is 1"},
        {bad_optional, CLATTN_ERR_ARGUMENT, "optional: WQ can't be named"},
        {bad_gradient, CLATTN_ERR_ARGUMENT, "gradients: GRAD_KEY can't be named"},
        {bad_bias_gradient, CLATTN_ERR_ARGUMENT, "gradients: GRAD_BQ can't be named"},
        {bad_accumulate, CLATTN_ERR_ARGUMENT, "accumulate: GRAD_X can't be named"},
        {bad_lse, CLATTN_ERR_ARGUMENT, "optional: LSE can't be named"},
        {bad_mask, CLATTN_ERR_ARGUMENT, "mask: is set, but `optional` has no MASK"},
        {bad_mask_type, CLATTN_ERR_UNSUPPORTED, "MASK: can't be of type f16"},
        {bad_type, CLATTN_ERR_UNSUPPORTED, "X: can't be of type i32"},
        {bad_reserved, CLATTN_ERR_ARGUMENT, "reserved: is 1"},
        {bad_align, CLATTN_ERR_ARGUMENT, "align: is 3, must be 0 to 2"},
        {huge, CLATTN_ERR_UNSUPPORTED, "desc: the state has more than 2^58 bytes"},
        {huge_but_empty, CLATTN_ERR_ARGUMENT, "n_head * head_dim: is 1236950580672"},
        {huge_group, CLATTN_ERR_ARGUMENT, "n_kv_head * head_dim: is 8589934588"},
    };
    clattn_context *context = rig_open();
    for (size_t i = 0; i < COUNT(rows); i++) {
        clattn_multi_head_desc desc;
        clattn_layer *layer = NULL;
        clattn_multi_head_desc_init(&desc);
        desc.batch = desc.n_q = 2;
        desc.width = 16;
        desc.n_head = 4;
        rows[i].change(&desc);
        cr_expect_eq(clattn_layer_create_multi_head(context, &desc, &layer), rows[i].status,
                     "row %d: %s", (int)i, clattn_error_message());
        cr_expect(strncmp(clattn_error_message(), rows[i].says, strlen(rows[i].says)) == 0,
                  "\"%s\" does not begin with \"%s\"", clattn_error_message(), rows[i].says);
        cr_expect_null(layer);
    }
    rig_close(context);
}

Test(layer_rules, multiplicative_attention_has_some_too)
{
    static const struct {
        int64_t width, key_width;
        uint64_t optional, gradients, accumulate;
        const char *says;
    } rows[] = {
        {577, 4, 0, 0, 0, "width: is 577"},
        {4, 0, 0, 0, 0, "key_width: is 0"},
        {4, 4, BIT(BQ), 0, 0, "optional: BQ can't be named"},
        {4, 4, 0, BIT(GRAD_WQ), 0, "gradients: GRAD_WQ can't be named"},
        {4, 4, 0, BIT(GRAD_X), BIT(GRAD_KEY), "accumulate: GRAD_KEY can't be named"},
        {4, 4, (uint64_t)1 << 60, 0, 0, "optional: what doesn't exist can't be named"},
    };
    clattn_context *context = rig_open();
    for (size_t i = 0; i < COUNT(rows); i++) {
        clattn_layer *layer = NULL;
        clattn_multiplicative_desc desc;
        clattn_multiplicative_desc_init(&desc);
        desc.batch = desc.n_q = desc.n_kv = 2;
        desc.width = rows[i].width;
        desc.key_width = rows[i].key_width;
        desc.value_width = 3;
        desc.optional = rows[i].optional;
        desc.gradients = rows[i].gradients;
        desc.accumulate = rows[i].accumulate;
        cr_expect_eq(clattn_layer_create_multiplicative(context, &desc, &layer),
                     CLATTN_ERR_ARGUMENT);
        cr_expect(strncmp(clattn_error_message(), rows[i].says, strlen(rows[i].says)) == 0,
                  "\"%s\" does not begin with \"%s\"", clattn_error_message(), rows[i].says);
        cr_expect_null(layer);
    }
    rig_close(context);
}

/* Without a bound the places of its tensors would overflow. */
Test(layer_rules, multiplicative_attention_is_not_huge)
{
    clattn_context *context = rig_open();
    clattn_layer *layer = NULL;
    clattn_multiplicative_desc desc;
    clattn_multiplicative_desc_init(&desc);
    desc.batch = desc.n_q = desc.n_kv = INT32_MAX;
    desc.width = desc.key_width = desc.value_width = 576;
    cr_expect_eq(clattn_layer_create_multiplicative(context, &desc, &layer),
                 CLATTN_ERR_UNSUPPORTED);
    cr_expect_str_eq(clattn_error_message(), "desc: the state has more than 2^58 bytes");
    cr_expect_null(layer);
    rig_close(context);
}

/* An allocator that counts, and fails once. */
typedef struct allocator {
    int64_t live, until; /* blocks; allocations until it fails, negative: never */
} allocator;

static void *allocate(void *user, void *pointer, size_t size)
{
    allocator *of = user;
    if (size == 0) {
        of->live -= pointer != NULL;
        free(pointer);
        return NULL;
    }
    if (of->until == 0) {
        of->until = -1;
        return NULL;
    }
    if (of->until > 0)
        of->until--;
    void *made = realloc(pointer, size);
    of->live += made && !pointer;
    return made;
}

/* Each allocation fails once: the layer is not made, and nothing of it is left. */
Test(layer_rules, lack_of_memory_leaves_nothing)
{
    allocator of = {.until = -1};
    clattn_context *context;
    clattn_context_options options;
    clattn_context_options_init(&options);
    options.device = "0";
    options.realloc = allocate;
    options.realloc_user = &of;
    cr_assert_eq(clattn_context_create(&options, &context), CLATTN_OK, "%s",
                 clattn_error_message());
    clattn_multi_head_desc desc;
    clattn_multi_head_desc_init(&desc);
    desc.batch = desc.n_q = 2;
    desc.width = 16;
    desc.n_head = 2;
    desc.rotary_dim = 4;
    desc.rotary_base = 10;
    desc.optional = CLATTN_LAYER_BIASES;
    desc.gradients = BIT(GRAD_X) | BIT(GRAD_WQ) | BIT(GRAD_BO);
    clattn_layer *layer = NULL;
    int64_t failed = 0;
    for (; !layer; failed++) {
        of.until = failed;
        const clattn_status status = clattn_layer_create_multi_head(context, &desc, &layer);
        of.until = -1;
        cr_assert(status == CLATTN_OK || status == CLATTN_ERR_OUT_OF_MEMORY, "allocation %d: %s",
                  (int)failed, clattn_error_message());
        cr_assert_eq(status == CLATTN_OK, layer != NULL);
    }
    cr_expect(failed > 20);
    clattn_layer_destroy(layer);
    cr_expect_eq(clattn_context_destroy(context), CLATTN_OK, "%s", clattn_error_message());
    cr_expect_eq(of.live, 0, "%d blocks are left", (int)of.live);
}
