/* Layers against their parts in double precision: self- and cross-attention with other widths,
 * shared heads, biases or none, causal, lengths, dropout, rotary embedding, types; gradients
 * written and added to, each on its own; weights kept packed; what is refused. */
#include <clattn/layer.h>
#include <criterion/criterion.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "layer_oracle.h"
#include "rig.h"
#include "tests/oracle/storage.h"

#define COUNT(array) (sizeof(array) / sizeof(array)[0])
#define GUARD_BYTES  64
#define BIT(name)    CLATTN_LAYER_BIT(CLATTN_LAYER_##name)

/* All gradients that a layer without KEY and VALUE can have. */
#define GRADIENTS                                                                                  \
    (BIT(GRAD_X) | BIT(GRAD_WQ) | BIT(GRAD_WK) | BIT(GRAD_WV) | BIT(GRAD_WO) | BIT(GRAD_BQ) |      \
     BIT(GRAD_BK) | BIT(GRAD_BV) | BIT(GRAD_BO))
#define WITHOUT_BIASES (BIT(GRAD_X) | BIT(GRAD_WQ) | BIT(GRAD_WK) | BIT(GRAD_WV) | BIT(GRAD_WO))

static const layer_case cases[] = {
    {.name = "self",
     .batch = 2,
     .n_q = 17,
     .width = 48,
     .n_head = 3,
     .optional = CLATTN_LAYER_BIASES | BIT(WEIGHTS),
     .gradients = GRADIENTS},
    {.name = "without biases, added",
     .batch = 1,
     .n_q = 33,
     .width = 32,
     .n_head = 2,
     .optional = 0,
     .gradients = WITHOUT_BIASES,
     .accumulate = WITHOUT_BIASES},
    {.name = "cross, other widths, shared heads",
     .cross = true,
     .batch = 2,
     .n_q = 9,
     .n_kv = 21,
     .width = 24,
     .key_width = 19,
     .value_width = 30,
     .n_head = 4,
     .n_kv_head = 2,
     .head_dim = 10,
     .value_dim = 7,
     .optional = CLATTN_LAYER_BIASES,
     .gradients = GRADIENTS | BIT(GRAD_KEY) | BIT(GRAD_VALUE),
     .accumulate = BIT(GRAD_KEY)},
    {.name = "causal with lengths",
     .causal = true,
     .batch = 3,
     .n_q = 20,
     .width = 16,
     .n_head = 2,
     .lengths = {20, 1, 7},
     .optional = CLATTN_LAYER_BIASES | BIT(KV_LENGTHS),
     .gradients = GRADIENTS,
     .accumulate = BIT(GRAD_WQ) | BIT(GRAD_BV) | BIT(GRAD_X)},
    {.name = "dropout",
     .batch = 2,
     .n_q = 15,
     .width = 16,
     .n_head = 2,
     .dropout = 0.25f,
     .optional = CLATTN_LAYER_BIASES,
     .gradients = GRADIENTS},
    {.name = "rotary",
     .batch = 2,
     .n_q = 13,
     .width = 32,
     .n_head = 2,
     .rotary_dim = 12,
     .optional = CLATTN_LAYER_BIASES,
     .gradients = GRADIENTS},
    {.name = "rotary, interleaved, causal",
     .causal = true,
     .batch = 1,
     .n_q = 19,
     .width = 32,
     .n_head = 2,
     .rotary_dim = 16,
     .interleaved = true,
     .optional = 0,
     .gradients = WITHOUT_BIASES},
    {.name = "some gradients",
     .batch = 1,
     .n_q = 12,
     .width = 16,
     .n_head = 1,
     .optional = BIT(BV) | BIT(BO),
     .gradients = BIT(GRAD_WV) | BIT(GRAD_BO)},
    {.name = "the last projection's alone",
     .batch = 1,
     .n_q = 5,
     .width = 16,
     .n_head = 1,
     .optional = 0,
     .gradients = BIT(GRAD_WO)},
    {.name = "no gradients",
     .batch = 2,
     .n_q = 40,
     .width = 64,
     .n_head = 4,
     .optional = CLATTN_LAYER_BIASES | BIT(WEIGHTS)},
    {.name = "float16",
     .type = ORACLE_F16,
     .batch = 1,
     .n_q = 24,
     .width = 32,
     .n_head = 2,
     .optional = CLATTN_LAYER_BIASES,
     .gradients = GRADIENTS},
    {.name = "bfloat16",
     .type = ORACLE_BF16,
     .cross = true,
     .batch = 1,
     .n_q = 6,
     .n_kv = 11,
     .width = 16,
     .n_head = 2,
     .optional = CLATTN_LAYER_BIASES,
     .gradients = GRADIENTS | BIT(GRAD_KEY) | BIT(GRAD_VALUE)},
    {.name = "no keys",
     .cross = true,
     .batch = 1,
     .n_q = 3,
     .n_kv = 0,
     .width = 8,
     .n_head = 2,
     .optional = CLATTN_LAYER_BIASES,
     .gradients = GRADIENTS},
    {.name = "one token",
     .batch = 1,
     .n_q = 1,
     .width = 1,
     .n_head = 1,
     .optional = CLATTN_LAYER_BIASES,
     .gradients = GRADIENTS},
    {.name = "general",
     .general = true,
     .batch = 2,
     .n_q = 14,
     .n_kv = 23,
     .width = 20,
     .key_width = 33,
     .value_width = 9,
     .lengths = {23, 5},
     .optional = BIT(WEIGHTS) | BIT(KV_LENGTHS),
     .gradients = BIT(GRAD_X) | BIT(GRAD_KEY) | BIT(GRAD_VALUE) | BIT(GRAD_W_SCORE)},
    {.name = "general, added",
     .general = true,
     .batch = 1,
     .n_q = 7,
     .n_kv = 5,
     .width = 6,
     .key_width = 4,
     .value_width = 3,
     .gradients = BIT(GRAD_X) | BIT(GRAD_KEY) | BIT(GRAD_VALUE) | BIT(GRAD_W_SCORE),
     .accumulate = BIT(GRAD_X) | BIT(GRAD_KEY) | BIT(GRAD_VALUE) | BIT(GRAD_W_SCORE)},
    {.name = "general, one gradient",
     .general = true,
     .batch = 1,
     .n_q = 7,
     .n_kv = 5,
     .width = 6,
     .key_width = 4,
     .value_width = 3,
     .gradients = BIT(GRAD_VALUE)},
};

static void good(clattn_status status)
{
    cr_assert_eq(status, CLATTN_OK, "%s: %s", rig_said(), clattn_error_message());
}

/* A layer with memory for its tensors. */
typedef struct stage {
    const layer_case *of;
    layer_values values; /* what goes in, and what is expected */
    clattn_layer *layer;
    clattn_dispatcher *dispatcher;
    clattn_buffer *buffer[LAYER_TENSORS];
    clattn_layer_binding binding[LAYER_TENSORS];
    uint32_t count;
    clattn_context *context;
} stage;

static size_t element_size(const layer_case *of, uint32_t tensor)
{
    return of->type == ORACLE_F32 || tensor == CLATTN_LAYER_WEIGHTS ? 4 : 2;
}

static void narrow(const layer_case *of, uint32_t tensor, float value, void *to)
{
    uint16_t half = of->type == ORACLE_F16 ? oracle_to_f16(value) : oracle_to_bf16(value);
    if (element_size(of, tensor) == 4)
        memcpy(to, &value, sizeof value);
    else
        memcpy(to, &half, sizeof half);
}

static double widen(const layer_case *of, uint32_t tensor, const void *from)
{
    uint16_t half;
    float value;
    if (element_size(of, tensor) == 4) {
        memcpy(&value, from, sizeof value);
        return (double)value;
    }
    memcpy(&half, from, sizeof half);
    return (double)(of->type == ORACLE_F16 ? oracle_from_f16(half) : oracle_from_bf16(half));
}

/* Guard bytes follow each tensor, and are written as 0xa5. */
static void make_buffer(stage *s, uint32_t tensor, uint64_t size)
{
    unsigned char *data;
    good(clattn_buffer_create(s->context, size + GUARD_BYTES, &s->buffer[tensor]));
    good(clattn_buffer_map(s->buffer[tensor], (void **)&data));
    memset(data, 0xff, size); /* NaN */
    memset(data + size, 0xa5, GUARD_BYTES);
    const float *from = s->values.in[tensor];
    for (int64_t i = 0; from && i < s->values.count[tensor]; i++)
        narrow(s->of, tensor, from[i], data + (size_t)i * element_size(s->of, tensor));
    good(clattn_buffer_unmap(s->buffer[tensor]));
    s->binding[s->count++] =
        (clattn_layer_binding){.tensor = (clattn_layer_tensor)tensor, .buffer = s->buffer[tensor]};
}

static void make_buffers(stage *s)
{
    uint64_t size[2];
    good(clattn_layer_sizes(s->layer, &size[0], &size[1]));
    for (uint32_t tensor = 0; tensor < LAYER_TENSORS; tensor++)
        if (s->values.in[tensor] || s->values.expected[tensor])
            make_buffer(s, tensor, (uint64_t)s->values.count[tensor] * element_size(s->of, tensor));
    for (uint32_t i = 0; i < 2; i++)
        if (size[i])
            make_buffer(s, CLATTN_LAYER_STATE + i, size[i]);
    if (s->of->optional & BIT(KV_LENGTHS))
        s->binding[s->count++] =
            (clattn_layer_binding){.tensor = CLATTN_LAYER_KV_LENGTHS, .host = s->of->lengths};
    if (s->of->dropout > 0)
        s->binding[s->count++] =
            (clattn_layer_binding){.tensor = CLATTN_LAYER_SEED, .host = layer_seed};
}

static clattn_status create(clattn_context *context, const layer_case *of, clattn_layer **layer)
{
    if (of->general) {
        clattn_multiplicative_desc desc;
        layer_describe_general(of, &desc);
        return clattn_layer_create_multiplicative(context, &desc, layer);
    }
    clattn_multi_head_desc desc;
    layer_describe(of, &desc);
    return clattn_layer_create_multi_head(context, &desc, layer);
}

static void begin(stage *s, clattn_context *context, const layer_case *of)
{
    *s = (stage){.of = of, .context = context};
    rig_say("%s", of->name);
    layer_values_make(of, &s->values);
    good(create(context, of, &s->layer));
    good(clattn_dispatcher_create(context, NULL, &s->dispatcher));
    make_buffers(s);
}

static void end(stage *s)
{
    clattn_dispatcher_destroy(s->dispatcher);
    clattn_layer_destroy(s->layer);
    for (uint32_t i = 0; i < LAYER_TENSORS; i++)
        good(clattn_buffer_destroy(s->buffer[i]));
    layer_values_free(&s->values);
}

static void forward(stage *s)
{
    good(clattn_layer_forward(s->layer, s->dispatcher, s->binding, s->count, NULL));
    good(clattn_dispatcher_finish(s->dispatcher));
}

static void backward(stage *s)
{
    clattn_event *event;
    good(clattn_layer_backward(s->layer, s->dispatcher, s->binding, s->count, &event));
    good(clattn_event_wait(event, UINT64_MAX));
    clattn_event_release(event);
}

static void check_tensor(stage *s, uint32_t tensor)
{
    unsigned char *data;
    const double *expected = s->values.expected[tensor];
    const int64_t count = s->values.count[tensor];
    const size_t size = element_size(s->of, tensor);
    double largest = 1;
    good(clattn_buffer_map(s->buffer[tensor], (void **)&data));
    for (int64_t i = 0; i < count; i++)
        largest = fmax(largest, fabs(expected[i]));
    const double bound = largest * (3e-5 + (size == 2 ? 4 * oracle_ulp(s->of->type) : 0));
    for (int64_t i = 0; i < count; i++) {
        const double got = widen(s->of, tensor, data + (size_t)i * size);
        cr_assert(fabs(got - expected[i]) <= bound, "%s: tensor %d, element %d is %g, not %g",
                  rig_said(), (int)tensor, (int)i, got, expected[i]);
    }
    for (size_t i = 0; i < GUARD_BYTES; i++)
        cr_assert_eq(data[(size_t)count * size + i], 0xa5, "%s: tensor %d: written beyond its end",
                     rig_said(), (int)tensor);
    good(clattn_buffer_unmap(s->buffer[tensor]));
}

static void check(stage *s, bool gradients)
{
    for (uint32_t tensor = 0; tensor < LAYER_TENSORS; tensor++)
        if (s->values.expected[tensor] && (gradients || !(s->of->gradients >> tensor & 1)))
            check_tensor(s, tensor);
}

Test(layers, follow_the_formulas)
{
    clattn_context *context = rig_open();
    for (size_t n = 0; n < COUNT(cases); n++) {
        stage s;
        begin(&s, context, &cases[n]);
        forward(&s);
        if (cases[n].gradients)
            backward(&s);
        check(&s, true);
        end(&s);
    }
    rig_close(context);
}

/* Kept weights need not be there, and are forgotten when asked. */
Test(layers, keep_weights)
{
    static const uint32_t weights[] = {CLATTN_LAYER_WQ, CLATTN_LAYER_WK, CLATTN_LAYER_WV,
                                       CLATTN_LAYER_WO, CLATTN_LAYER_W_SCORE};
    clattn_context *context = rig_open();
    for (size_t n = 0; n < COUNT(cases); n++) {
        stage s;
        begin(&s, context, &cases[n]);
        good(clattn_layer_keep_weights(s.layer, s.dispatcher, s.binding, s.count, NULL));
        good(clattn_dispatcher_finish(s.dispatcher));
        for (size_t i = 0; i < COUNT(weights); i++)
            if (s.buffer[weights[i]]) {
                void *data;
                good(clattn_buffer_map(s.buffer[weights[i]], &data));
                memset(data, 0xff,
                       (size_t)s.values.count[weights[i]] * element_size(s.of, weights[i]));
                good(clattn_buffer_unmap(s.buffer[weights[i]]));
            }
        forward(&s);
        check(&s, false);
        good(clattn_layer_keep_weights(s.layer, s.dispatcher, NULL, 0, NULL));
        forward(&s);
        void *data;
        good(clattn_buffer_map(s.buffer[CLATTN_LAYER_OUT], &data));
        cr_assert(isnan(widen(s.of, CLATTN_LAYER_OUT, data)) || cases[n].n_kv == 0 ||
                      s.values.count[CLATTN_LAYER_OUT] == 0,
                  "%s: weights that were forgotten", cases[n].name);
        good(clattn_buffer_unmap(s.buffer[CLATTN_LAYER_OUT]));
        end(&s);
    }
    rig_close(context);
}

/* What a tensor holds, owned by the caller. */
static void *copy_of(stage *s, uint32_t tensor, size_t size)
{
    void *copy = malloc(size + 1);
    cr_assert_not_null(copy);
    good(clattn_buffer_read(s->buffer[tensor], 0, copy, size));
    return copy;
}

/* The same bits on repetition, forward and backward, of every result. */
Test(layers, repeat_themselves)
{
    clattn_context *context = rig_open();
    stage s;
    void *first[LAYER_TENSORS] = {NULL};
    begin(&s, context, &cases[0]);
    for (int run = 0; run < 4; run++) {
        forward(&s);
        backward(&s);
        for (uint32_t tensor = 0; tensor < LAYER_TENSORS; tensor++) {
            const size_t size = (size_t)s.values.count[tensor] * element_size(s.of, tensor);
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
    end(&s);
    rig_close(context);
}

static void expect_refused(stage *s, clattn_status status, const char *says)
{
    cr_expect_eq(status, CLATTN_ERR_ARGUMENT, "%s", says);
    cr_expect(strstr(clattn_error_message(), says) != NULL, "\"%s\" does not say \"%s\"",
              clattn_error_message(), says);
    good(clattn_dispatcher_finish(s->dispatcher));
}

Test(layers, check_what_is_bound)
{
    clattn_context *context = rig_open();
    stage s;
    begin(&s, context, &cases[0]);
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
    end(&s);
    begin(&s, context, &cases[9]);
    expect_refused(&s, clattn_layer_backward(s.layer, s.dispatcher, s.binding, s.count, NULL),
                   "made without gradients");
    end(&s);
    rig_close(context);
}
