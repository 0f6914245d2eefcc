/* Layers against their parts in double precision: self- and cross-attention with other widths,
 * shared heads, biases or none, causal, lengths, masks, dropout, rotary embedding, types; gradients
 * written and added to, each on its own; weights kept packed; what is refused. */
#include <clattn/layer.h>
#include <criterion/criterion.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "layer_cases.h"
#include "layer_rig.h"
#include "rig.h"

#define COUNT(array) (sizeof(array) / sizeof(array)[0])

Test(layers, follow_the_formulas)
{
    clattn_context *context = rig_open();
    for (size_t n = 0; n < layer_case_count; n++) {
        layer_stage s;
        layer_begin(&s, context, &layer_cases[n]);
        layer_forward(&s);
        if (layer_cases[n].gradients)
            layer_backward(&s);
        layer_check(&s, true);
        layer_end(&s);
    }
    rig_close(context);
}

/* W_SCORE of additive attention, which isn't packed. */
static bool is_vector(const layer_stage *s, uint32_t tensor)
{
    return s->of->kind == LAYER_ADDITIVE && tensor == CLATTN_LAYER_W_SCORE;
}

/* Packs the weights, and makes NaN of what they were. */
static void keep_weights(layer_stage *s)
{
    static const uint32_t weights[] = {CLATTN_LAYER_WQ, CLATTN_LAYER_WK, CLATTN_LAYER_WV,
                                       CLATTN_LAYER_WO, CLATTN_LAYER_W_SCORE};
    layer_good(clattn_layer_keep_weights(s->layer, s->dispatcher, s->binding, s->count, NULL));
    layer_good(clattn_dispatcher_finish(s->dispatcher));
    for (size_t i = 0; i < COUNT(weights); i++)
        if (s->buffer[weights[i]] && !is_vector(s, weights[i])) {
            unsigned char *data;
            layer_good(clattn_buffer_map(s->buffer[weights[i]], (void **)&data));
            memset(data + LAYER_GUARD, 0xff,
                   (size_t)s->values.count[weights[i]] * layer_element_size(s->of, weights[i]));
            layer_good(clattn_buffer_unmap(s->buffer[weights[i]]));
        }
}

/* NaN, as weights that nobody has kept. */
static void check_undone(layer_stage *s, uint32_t tensor, const char *what)
{
    unsigned char *data;
    if (!s->buffer[tensor] || s->values.count[tensor] == 0 || layer_whole(s->of).n_kv == 0)
        return;
    layer_good(clattn_buffer_map(s->buffer[tensor], (void **)&data));
    cr_assert(isnan(layer_widen(s->of, tensor, data + LAYER_GUARD)), "%s: %s", s->of->name, what);
    layer_good(clattn_buffer_unmap(s->buffer[tensor]));
}

/* Kept weights need not be there, in either pass, are forgotten when asked, and packed anew when
 * kept again. */
Test(layers, keep_weights)
{
    clattn_context *context = rig_open();
    for (size_t n = 0; n < layer_case_count; n++) {
        layer_stage s;
        layer_begin(&s, context, &layer_cases[n]);
        keep_weights(&s);
        layer_forward(&s);
        if (layer_cases[n].gradients)
            layer_backward(&s);
        layer_check(&s, true);
        keep_weights(&s);
        layer_forward(&s);
        check_undone(&s, CLATTN_LAYER_OUT, "weights that were kept before");
        layer_good(clattn_layer_keep_weights(s.layer, s.dispatcher, NULL, 0, NULL));
        layer_forward(&s);
        check_undone(&s, CLATTN_LAYER_OUT, "weights that were forgotten");
        layer_end(&s);
    }
    rig_close(context);
}

/* What a tensor holds, owned by the caller. */
static void *copy_of(layer_stage *s, uint32_t tensor, size_t size)
{
    void *copy = malloc(size + 1);
    cr_assert_not_null(copy);
    layer_good(clattn_buffer_read(s->buffer[tensor], LAYER_GUARD, copy, size));
    return copy;
}

static void compare_bits(layer_stage *a, layer_stage *b, uint32_t tensor)
{
    const size_t size = (size_t)a->values.count[tensor] * layer_element_size(a->of, tensor);
    void *of_a = copy_of(a, tensor, size), *of_b = copy_of(b, tensor, size);
    cr_assert_arr_eq(of_a, of_b, size, "%s: tensor %d", rig_said(), (int)tensor);
    free(of_a);
    free(of_b);
}

/* Kernels that a pass launches. */
static uint32_t launches_of(layer_stage *s, bool backward)
{
    clattn_event_profile profile = {.struct_size = sizeof profile};
    clattn_event *event;
    layer_good((backward ? clattn_layer_backward : clattn_layer_forward)(
        s->layer, s->dispatcher, s->binding, s->count, &event));
    layer_good(clattn_event_wait(event, UINT64_MAX));
    layer_good(clattn_event_get_profile(event, &profile));
    clattn_event_release(event);
    return profile.launches;
}

/* The same bits with packed weights (within the bound on devices of several kinds), and fewer
 * launches of both passes, which read weights both, where the kernels are such that pack. How many
 * fewer depends on which steps share launches. */
Test(layers, kept_weights_save_launches_of_both_passes)
{
    static const char *const some[] = {"self", "cross, other widths, shared heads", "general",
                                       "additive"};
    clattn_context *context = rig_open();
    for (size_t n = 0; n < COUNT(some); n++) {
        layer_stage s[2];
        uint32_t launches[2][2];
        for (int kept = 0; kept < 2; kept++) {
            layer_begin(&s[kept], context, layer_case_named(some[n]));
            if (kept)
                keep_weights(&s[kept]);
            for (int backward = 0; backward < 2; backward++)
                launches[kept][backward] = launches_of(&s[kept], backward);
        }
        for (int backward = 0; backward < 2; backward++)
            cr_assert_leq(launches[1][backward], launches[0][backward], "%s, pass %d", rig_said(),
                          backward);
        cr_assert_eq(launches[1][0] < launches[0][0], launches[1][1] < launches[0][1],
                     "%s: %u launches forward, %u kept; %u backward, %u kept", rig_said(),
                     launches[0][0], launches[1][0], launches[0][1], launches[1][1]);
        for (uint32_t tensor = 0; tensor < LAYER_TENSORS && rig_one_kind(context); tensor++)
            if (s[0].values.expected[tensor])
                compare_bits(&s[0], &s[1], tensor);
        layer_check(&s[1], true);
        for (int kept = 0; kept < 2; kept++)
            layer_end(&s[kept]);
    }
    rig_close(context);
}

/* The same bits on repetition, forward and backward, of every result; on devices of several kinds
 * within the bound. */
Test(layers, repeat_themselves)
{
    clattn_context *context = rig_open();
    layer_stage s;
    void *first[LAYER_TENSORS] = {NULL};
    layer_begin(&s, context, layer_case_named("self"));
    for (int run = 0; run < 4; run++) {
        layer_forward(&s);
        layer_backward(&s);
        layer_check(&s, true);
        for (uint32_t tensor = 0; tensor < LAYER_TENSORS && rig_one_kind(context); tensor++) {
            const size_t size = (size_t)s.values.count[tensor] * layer_element_size(s.of, tensor);
            if (!s.values.expected[tensor])
                continue;
            void *now = copy_of(&s, tensor, size);
            if (run)
                cr_assert_arr_eq(now, first[tensor], size, "tensor %d, run %d", (int)tensor, run);
            free(run ? now : NULL);
            first[tensor] = run ? first[tensor] : now;
        }
    }
    for (uint32_t tensor = 0; tensor < LAYER_TENSORS; tensor++)
        free(first[tensor]);
    layer_end(&s);
    rig_close(context);
}

static void expect_refused(layer_stage *s, clattn_status status, const char *says)
{
    cr_expect_eq(status, CLATTN_ERR_ARGUMENT, "%s", says);
    cr_expect(strstr(clattn_error_message(), says) != NULL, "\"%s\" does not say \"%s\"",
              clattn_error_message(), says);
    layer_good(clattn_dispatcher_finish(s->dispatcher));
}

Test(layers, check_what_is_bound)
{
    clattn_context *context = rig_open();
    layer_stage s;
    layer_begin(&s, context, layer_case_named("self"));
    clattn_layer_binding all[LAYER_TENSORS + 1];
    memcpy(all, s.binding, sizeof s.binding);
    all[s.count] = all[0];
    expect_refused(&s, clattn_layer_forward(s.layer, s.dispatcher, all, s.count + 1, NULL),
                   "X: is bound twice");
    expect_refused(&s, clattn_layer_forward(s.layer, s.dispatcher, all + 1, s.count - 1, NULL),
                   "X: is not bound");
    all[s.count].tensor = CLATTN_LAYER_SEED;
    expect_refused(&s, clattn_layer_forward(s.layer, s.dispatcher, all, s.count + 1, NULL),
                   "SEED: has no part in this layer");
    all[s.count].tensor = (clattn_layer_tensor)99;
    expect_refused(&s, clattn_layer_forward(s.layer, s.dispatcher, all, s.count + 1, NULL),
                   "99 is no tensor of a layer");
    all[0].offset = (uint64_t)1 << 40;
    expect_refused(&s, clattn_layer_forward(s.layer, s.dispatcher, all, s.count, NULL), "X: ");
    expect_refused(&s, clattn_layer_forward(NULL, s.dispatcher, all, s.count, NULL),
                   "layer: is NULL");
    expect_refused(&s, clattn_layer_forward(s.layer, s.dispatcher, NULL, 1, NULL),
                   "bindings: is NULL");
    layer_end(&s);
    layer_begin(&s, context, layer_case_named("no gradients"));
    expect_refused(&s, clattn_layer_backward(s.layer, s.dispatcher, s.binding, s.count, NULL),
                   "made without gradients");
    layer_end(&s);
    rig_close(context);
}
