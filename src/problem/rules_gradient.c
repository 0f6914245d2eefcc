/* Rules about what gradients need beyond the description of the forward pass. */
#include <inttypes.h>
#include <stddef.h>

#include "problem/rules.h"

static bool has(const clattn_attention_desc *desc, clattn_slot slot)
{
    return (desc->slots & CLATTN_SLOT_BIT(slot)) != 0;
}

static clattn_status lse_is_there(const clattn_attention_desc *desc)
{
    if (!has(desc, CLATTN_SLOT_LSE))
        return clattn__fail(CLATTN_ERR_ARGUMENT,
                            "slots: LSE must take part: gradients are computed from what the "
                            "forward pass wrote there");
    return CLATTN_OK;
}

/* Gradients, and the slot that each is the gradient of. */
static const clattn_slot gradients[][2] = {
    {CLATTN_SLOT_GRAD_Q, CLATTN_SLOT_Q},           {CLATTN_SLOT_GRAD_K, CLATTN_SLOT_K},
    {CLATTN_SLOT_GRAD_V, CLATTN_SLOT_V},           {CLATTN_SLOT_GRAD_BIAS, CLATTN_SLOT_BIAS},
    {CLATTN_SLOT_GRAD_SINK, CLATTN_SLOT_SINK},     {CLATTN_SLOT_GRAD_PAST_K, CLATTN_SLOT_PAST_K},
    {CLATTN_SLOT_GRAD_PAST_V, CLATTN_SLOT_PAST_V},
};

static clattn_status something_is_wanted(const clattn_attention_desc *desc)
{
    for (size_t i = 0; i < sizeof gradients / sizeof gradients[0]; i++)
        if (has(desc, gradients[i][0]))
            return CLATTN_OK;
    return clattn__fail(CLATTN_ERR_ARGUMENT,
                        "slots: none of GRAD_Q, GRAD_K, GRAD_V, GRAD_BIAS, GRAD_SINK, GRAD_PAST_K "
                        "and GRAD_PAST_V takes part; there is nothing to compute");
}

static clattn_status gradients_have_inputs(const clattn_attention_desc *desc)
{
    for (size_t i = 0; i < sizeof gradients / sizeof gradients[0]; i++) {
        const clattn__slot_info *own = clattn__slot_get((uint32_t)gradients[i][0]);
        const clattn__slot_info *of = clattn__slot_get((uint32_t)gradients[i][1]);
        if (has(desc, own->slot) && !has(desc, of->slot) &&
            of->part[CLATTN__GRADIENT] != CLATTN__ALWAYS)
            return clattn__fail(CLATTN_ERR_ARGUMENT, "slots: %s takes part, but %s does not",
                                own->name, of->name);
    }
    return CLATTN_OK;
}

static clattn_status function_has_derivative(const clattn_attention_desc *desc)
{
    if (desc->score_function && !desc->score_gradient)
        return clattn__fail(CLATTN_ERR_ARGUMENT,
                            "score_gradient: is NULL, but gradients through a score_function need "
                            "a text that defines its derivative");
    return CLATTN_OK;
}

static clattn_status all_keys_count(const clattn_attention_desc *desc)
{
    if (desc->top_k)
        return clattn__fail(CLATTN_ERR_UNSUPPORTED,
                            "top_k: is %" PRId64 ", must be 0 for gradients", desc->top_k);
    return CLATTN_OK;
}

static const clattn__desc_rule rules[] = {
    all_keys_count,          lse_is_there, something_is_wanted, gradients_have_inputs,
    function_has_derivative,
};

clattn_status clattn__rules_check_gradient(const clattn_attention_desc *desc)
{
    for (size_t i = 0; i < sizeof rules / sizeof rules[0]; i++)
        CLATTN__TRY(rules[i](desc));
    return CLATTN_OK;
}
