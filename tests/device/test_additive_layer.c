/* The layer of additive attention beyond what conformance cases show: gradients that are added,
 * weights that are kept packed, a missing bias, LSE in the state or the caller's, masks and
 * lengths, refusals. */
#include <clattn/layer.h>
#include <criterion/criterion.h>
#include <math.h>
#include <string.h>

#include "rig.h"

#define BIT(name)    CLATTN_LAYER_BIT(CLATTN_LAYER_##name)
#define COUNT(array) (sizeof(array) / sizeof(array)[0])
enum { BATCH = 2, N_Q = 9, N_KV = 21, WIDTH = 7, KEY_WIDTH = 10, CHANNELS = 19, VALUE_WIDTH = 6 };
enum { MOST = 1024, TENSORS = 34 };

static const uint64_t all_gradients = BIT(GRAD_X) | BIT(GRAD_KEY) | BIT(GRAD_VALUE) | BIT(GRAD_WQ) |
                                      BIT(GRAD_WK) | BIT(GRAD_BQ) | BIT(GRAD_W_SCORE);

static const struct {
    clattn_layer_tensor tensor;
    int64_t count;
    clattn_layer_tensor gradient;
} tensors[] = {
    {CLATTN_LAYER_X, BATCH *N_Q *WIDTH, CLATTN_LAYER_GRAD_X},
    {CLATTN_LAYER_KEY, BATCH *N_KV *KEY_WIDTH, CLATTN_LAYER_GRAD_KEY},
    {CLATTN_LAYER_VALUE, BATCH *N_KV *VALUE_WIDTH, CLATTN_LAYER_GRAD_VALUE},
    {CLATTN_LAYER_WQ, CHANNELS *WIDTH, CLATTN_LAYER_GRAD_WQ},
    {CLATTN_LAYER_WK, CHANNELS *KEY_WIDTH, CLATTN_LAYER_GRAD_WK},
    {CLATTN_LAYER_BQ, CHANNELS, CLATTN_LAYER_GRAD_BQ},
    {CLATTN_LAYER_W_SCORE, CHANNELS, CLATTN_LAYER_GRAD_W_SCORE},
    {CLATTN_LAYER_GRAD_OUT, BATCH *N_Q *VALUE_WIDTH, CLATTN_LAYER_OUT},
    {CLATTN_LAYER_LSE, BATCH *N_Q, CLATTN_LAYER_LSE},
};

static const int32_t q_lengths[BATCH] = {N_Q, 4}, kv_lengths[BATCH] = {13, N_KV};

typedef struct fixture {
    clattn_context *context;
    clattn_dispatcher *dispatcher;
    clattn_buffer *buffer[TENSORS];
    float value[TENSORS][MOST];
} fixture;

static void good(clattn_status status)
{
    cr_assert_eq(status, CLATTN_OK, "%s", clattn_error_message());
}

/* Inputs are numbers, what is written is `written`. */
static void set_up(fixture *f, float written)
{
    memset(f, 0, sizeof *f);
    f->context = rig_open();
    good(clattn_dispatcher_create(f->context, NULL, &f->dispatcher));
    for (size_t n = 0; n < COUNT(tensors); n++)
        for (int side = 0; side < 2; side++) {
            const clattn_layer_tensor tensor = side ? tensors[n].gradient : tensors[n].tensor;
            uint32_t state = (uint32_t)n + 3;
            if (f->buffer[tensor])
                continue;
            for (int64_t i = 0; i < tensors[n].count; i++)
                f->value[tensor][i] = side ? written : rig_number(&state);
            const uint64_t size = sizeof(float) * (uint64_t)tensors[n].count;
            good(clattn_buffer_create(f->context, size, &f->buffer[tensor]));
            good(clattn_buffer_write(f->buffer[tensor], 0, f->value[tensor], size));
        }
}

static void tear_down(fixture *f)
{
    clattn_dispatcher_destroy(f->dispatcher);
    for (int tensor = 0; tensor < TENSORS; tensor++)
        good(clattn_buffer_destroy(f->buffer[tensor]));
    rig_close(f->context);
}

static clattn_additive_layer_desc described(uint64_t optional, uint64_t gradients)
{
    clattn_additive_layer_desc desc;
    clattn_additive_layer_desc_init(&desc);
    desc.batch = BATCH;
    desc.n_q = N_Q;
    desc.n_kv = N_KV;
    desc.width = WIDTH;
    desc.key_width = KEY_WIDTH;
    desc.channels = CHANNELS;
    desc.value_width = VALUE_WIDTH;
    desc.optional = optional;
    desc.gradients = gradients;
    return desc;
}

/* NaN into WQ and WK. */
static void poison_weights(fixture *f)
{
    static float nan[MOST];
    memset(nan, 0xff, sizeof nan);
    for (size_t n = 0; n < COUNT(tensors); n++) {
        const clattn_layer_tensor tensor = tensors[n].tensor;
        if (tensor == CLATTN_LAYER_WQ || tensor == CLATTN_LAYER_WK)
            good(clattn_buffer_write(f->buffer[tensor], 0, nan,
                                     sizeof(float) * (uint64_t)tensors[n].count));
    }
}

/* Packed weights alone are numbers. */
static void keep(fixture *f, clattn_layer *layer, const clattn_layer_binding *bindings,
                 uint32_t count)
{
    good(clattn_layer_keep_weights(layer, f->dispatcher, bindings, count, NULL));
    good(clattn_dispatcher_finish(f->dispatcher));
    poison_weights(f);
}

/* Both passes; results into f->value. `packed`: with weights that are packed before. */
static void run(fixture *f, const clattn_additive_layer_desc *desc, bool packed)
{
    uint64_t size[2];
    uint32_t count = 0;
    clattn_layer *layer;
    clattn_layer_binding bindings[TENSORS];
    good(clattn_layer_create_additive(f->context, desc, &layer));
    good(clattn_layer_sizes(layer, &size[0], &size[1]));
    for (int n = 0; n < 2; n++)
        good(clattn_buffer_create(f->context, size[n], &f->buffer[CLATTN_LAYER_STATE + n]));
    for (int tensor = 0; tensor < TENSORS; tensor++) {
        const bool bias = tensor == CLATTN_LAYER_BQ || tensor == CLATTN_LAYER_GRAD_BQ;
        if (f->buffer[tensor] && (!bias || desc->optional & BIT(BQ)) &&
            (tensor != CLATTN_LAYER_LSE || desc->optional & BIT(LSE)))
            bindings[count++] = (clattn_layer_binding){.tensor = (clattn_layer_tensor)tensor,
                                                       .buffer = f->buffer[tensor]};
    }
    if (desc->optional & BIT(Q_LENGTHS))
        bindings[count++] =
            (clattn_layer_binding){.tensor = CLATTN_LAYER_Q_LENGTHS, .host = q_lengths};
    if (desc->optional & BIT(KV_LENGTHS))
        bindings[count++] =
            (clattn_layer_binding){.tensor = CLATTN_LAYER_KV_LENGTHS, .host = kv_lengths};
    if (packed)
        keep(f, layer, bindings, count);
    good(clattn_layer_forward(layer, f->dispatcher, bindings, count, NULL));
    good(clattn_layer_backward(layer, f->dispatcher, bindings, count, NULL));
    good(clattn_dispatcher_finish(f->dispatcher));
    for (size_t n = 0; n < COUNT(tensors); n++)
        good(clattn_buffer_read(f->buffer[tensors[n].gradient], 0, f->value[tensors[n].gradient],
                                sizeof(float) * (uint64_t)tensors[n].count));
    clattn_layer_destroy(layer);
}

/* What b has is what a has and, of gradients, `more`. */
static void compare(const fixture *a, const fixture *b, float more, const char *what)
{
    for (size_t n = 0; n < COUNT(tensors); n++) {
        const clattn_layer_tensor tensor = tensors[n].gradient;
        const bool is_gradient = tensor != CLATTN_LAYER_OUT && tensor != CLATTN_LAYER_LSE;
        for (int64_t i = 0; i < tensors[n].count; i++) {
            const float expected = a->value[tensor][i] + (is_gradient ? more : 0);
            cr_assert(b->value[tensor][i] == expected ||
                          fabsf(b->value[tensor][i] - expected) <= 1e-5f,
                      "%s: tensor %d: element %d is %g, not %g", what, (int)tensor, (int)i,
                      (double)b->value[tensor][i], (double)expected);
        }
    }
}

static fixture one, other;

Test(additive_layer, adds_to_gradients)
{
    clattn_additive_layer_desc desc = described(BIT(BQ) | BIT(LSE), all_gradients);
    set_up(&one, NAN);
    set_up(&other, 2);
    run(&one, &desc, false);
    desc.accumulate = all_gradients;
    run(&other, &desc, false);
    compare(&one, &other, 2, "added");
    tear_down(&one);
    tear_down(&other);
}

Test(additive_layer, keeps_weights)
{
    const clattn_additive_layer_desc desc = described(BIT(BQ) | BIT(LSE), all_gradients);
    set_up(&one, NAN);
    set_up(&other, NAN);
    run(&one, &desc, false);
    run(&other, &desc, true);
    compare(&one, &other, 0, "kept");
    tear_down(&one);
    tear_down(&other);
}

/* A bias of 0 is none; LSE in the state gives the same gradients. */
Test(additive_layer, does_without_a_bias)
{
    const clattn_additive_layer_desc with = described(BIT(BQ) | BIT(LSE), all_gradients);
    const clattn_additive_layer_desc without = described(0, all_gradients & ~BIT(GRAD_BQ));
    set_up(&one, 0);
    set_up(&other, 0);
    memset(one.value[CLATTN_LAYER_BQ], 0, sizeof one.value[CLATTN_LAYER_BQ]);
    good(clattn_buffer_write(one.buffer[CLATTN_LAYER_BQ], 0, one.value[CLATTN_LAYER_BQ],
                             CHANNELS * sizeof(float)));
    run(&one, &with, false);
    run(&other, &without, false);
    memset(one.value[CLATTN_LAYER_GRAD_BQ], 0, sizeof one.value[CLATTN_LAYER_GRAD_BQ]);
    memcpy(one.value[CLATTN_LAYER_LSE], other.value[CLATTN_LAYER_LSE],
           sizeof one.value[CLATTN_LAYER_LSE]);
    compare(&one, &other, 0, "without a bias");
    tear_down(&one);
    tear_down(&other);
}

/* What lengths hide, one mask for all heads hides as well. */
Test(additive_layer, masks_as_lengths_do)
{
    static uint8_t mask[BATCH][N_Q][N_KV];
    clattn_additive_layer_desc lengths =
        described(BIT(BQ) | BIT(LSE) | BIT(Q_LENGTHS) | BIT(KV_LENGTHS), all_gradients);
    clattn_additive_layer_desc masked = described(BIT(BQ) | BIT(LSE) | BIT(MASK), all_gradients);
    masked.mask =
        (clattn_tensor){.dtype = CLATTN_BOOL, .strided = 1, .stride = {N_Q * N_KV, 0, N_KV, 1}};
    for (int b = 0; b < BATCH; b++)
        for (int i = 0; i < N_Q; i++)
            for (int j = 0; j < N_KV; j++)
                mask[b][i][j] = i < q_lengths[b] && j < kv_lengths[b];
    set_up(&one, NAN);
    set_up(&other, NAN);
    good(clattn_buffer_create(other.context, sizeof mask, &other.buffer[CLATTN_LAYER_MASK]));
    good(clattn_buffer_write(other.buffer[CLATTN_LAYER_MASK], 0, mask, sizeof mask));
    run(&one, &lengths, false);
    run(&other, &masked, false);
    cr_assert(isinf(one.value[CLATTN_LAYER_LSE][N_Q + 4]), "a query behind its length");
    compare(&one, &other, 0, "masked");
    tear_down(&one);
    tear_down(&other);
}

static void refuse(clattn_context *context, const clattn_additive_layer_desc *desc,
                   const char *says)
{
    clattn_layer *layer = NULL;
    cr_expect_eq(clattn_layer_create_additive(context, desc, &layer), CLATTN_ERR_ARGUMENT);
    cr_expect(strncmp(clattn_error_message(), says, strlen(says)) == 0, "%s",
              clattn_error_message());
    cr_expect_null(layer);
}

Test(additive_layer, refusals)
{
    clattn_context *context = rig_open();
    clattn_additive_layer_desc desc = described(0, 0);
    desc.channels = 4097;
    refuse(context, &desc, "channels: is 4097");
    desc = described(BIT(SEED), 0);
    refuse(context, &desc, "optional: SEED can't be named here");
    desc = described(0, BIT(GRAD_BQ));
    refuse(context, &desc, "gradients: GRAD_BQ can't be named here");
    desc = described(BIT(BQ), BIT(GRAD_BQ));
    desc.accumulate = BIT(GRAD_X);
    refuse(context, &desc, "accumulate: GRAD_X can't be named here");
    desc = described(0, 0);
    desc.mask.strided = 1;
    refuse(context, &desc, "mask: is set, but `optional` has no MASK");
    desc.struct_size = 3;
    refuse(context, &desc, "desc: struct_size is 3");
    rig_close(context);
}
