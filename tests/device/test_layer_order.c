/* Passes of layers run in the order of their submission, without any waiting in between: each of
 * these reads what the one before wrote, and all have one scratch memory. On one lane and on two,
 * whole, and in parts between which the dispatcher takes up something else. */
#include <stdlib.h>
#include <string.h>

#include <clattn/layer.h>
#include <criterion/criterion.h>

enum { PASSES = 8, TOKENS = 96, WIDTH = 32, ELEMENTS = TOKENS * WIDTH, SLOTS = 9 };

typedef struct chain {
    clattn_context *context;
    clattn_dispatcher *dispatcher;
    clattn_layer *layer;
    clattn_buffer *row, *weights, *scratch, *state; /* row (PASSES + 1, ELEMENTS) */
    float out[ELEMENTS];                            /* of the last pass */
} chain;

static clattn_buffer *filled(clattn_context *context, uint64_t size)
{
    clattn_buffer *buffer = NULL;
    void *data = NULL;
    uint32_t random = 1;
    cr_assert_eq(clattn_buffer_create(context, size + 4, &buffer), CLATTN_OK);
    cr_assert_eq(clattn_buffer_map(buffer, &data), CLATTN_OK);
    for (uint64_t i = 0; i < size / sizeof(float); i++) {
        random = random * 1664525u + 1013904223u;
        ((float *)data)[i] = 0.3f * ((float)(random >> 8) / (float)(1 << 23) - 1.0f);
    }
    cr_assert_eq(clattn_buffer_unmap(buffer), CLATTN_OK);
    return buffer;
}

static void open_chain(chain *c, uint32_t parts, uint64_t launch_ns)
{
    clattn_context_options options;
    clattn_dispatcher_options dispatching;
    clattn_multi_head_desc desc;
    uint64_t state, scratch;
    clattn_context_options_init(&options);
    options.parts = parts;
    cr_assert_eq(clattn_context_create(&options, &c->context), CLATTN_OK);
    clattn_dispatcher_options_init(&dispatching);
    dispatching.launch_ns = launch_ns;
    cr_assert_eq(clattn_dispatcher_create(c->context, &dispatching, &c->dispatcher), CLATTN_OK);
    clattn_multi_head_desc_init(&desc);
    desc.batch = 1;
    desc.n_q = TOKENS;
    desc.width = WIDTH;
    desc.n_head = 4;
    desc.gradients = CLATTN_LAYER_BIT(CLATTN_LAYER_GRAD_X);
    cr_assert_eq(clattn_layer_create_multi_head(c->context, &desc, &c->layer), CLATTN_OK, "%s",
                 clattn_error_message());
    cr_assert_eq(clattn_layer_sizes(c->layer, &state, &scratch), CLATTN_OK);
    c->row = filled(c->context, (PASSES + 1) * ELEMENTS * sizeof(float));
    c->weights = filled(c->context, WIDTH * WIDTH * sizeof(float));
    c->state = filled(c->context, state);
    c->scratch = filled(c->context, scratch);
}

static void close_chain(chain *c)
{
    clattn_dispatcher_destroy(c->dispatcher);
    clattn_layer_destroy(c->layer);
    cr_assert_eq(clattn_buffer_destroy(c->row), CLATTN_OK);
    cr_assert_eq(clattn_buffer_destroy(c->weights), CLATTN_OK);
    cr_assert_eq(clattn_buffer_destroy(c->scratch), CLATTN_OK);
    cr_assert_eq(clattn_buffer_destroy(c->state), CLATTN_OK);
    cr_assert_eq(clattn_context_destroy(c->context), CLATTN_OK);
}

/* Row `from` to row from + 1, forward or, as if it were a gradient, backward. */
static void pass(chain *c, int from, clattn_event **event)
{
    const uint64_t bytes = ELEMENTS * sizeof(float), at = bytes * (uint64_t)from;
    const bool back = from % 2 == 1;
    const clattn_layer_binding bindings[SLOTS] = {
        {.tensor = back ? CLATTN_LAYER_GRAD_OUT : CLATTN_LAYER_X, .buffer = c->row, .offset = at},
        {.tensor = back ? CLATTN_LAYER_GRAD_X : CLATTN_LAYER_OUT,
         .buffer = c->row,
         .offset = at + bytes},
        {.tensor = CLATTN_LAYER_WQ, .buffer = c->weights},
        {.tensor = CLATTN_LAYER_WK, .buffer = c->weights},
        {.tensor = CLATTN_LAYER_WV, .buffer = c->weights},
        {.tensor = CLATTN_LAYER_WO, .buffer = c->weights},
        {.tensor = CLATTN_LAYER_STATE, .buffer = c->state},
        {.tensor = CLATTN_LAYER_SCRATCH, .buffer = c->scratch},
        {.tensor = CLATTN_LAYER_X, .buffer = c->row, .offset = at - (back ? bytes : 0)}};
    const clattn_status status =
        back ? clattn_layer_backward(c->layer, c->dispatcher, bindings, SLOTS, event)
             : clattn_layer_forward(c->layer, c->dispatcher, bindings, SLOTS - 1, event);
    cr_assert_eq(status, CLATTN_OK, "%s", clattn_error_message());
}

static void run_chain(chain *c, bool waiting)
{
    float *rows = NULL;
    const uint64_t bytes = ELEMENTS * sizeof(float);
    cr_assert_eq(clattn_buffer_map(c->row, (void **)&rows), CLATTN_OK);
    memset(rows + ELEMENTS, 0xff, PASSES * bytes);
    cr_assert_eq(clattn_buffer_unmap(c->row), CLATTN_OK);
    for (int i = 0; i < PASSES; i++) {
        clattn_event *event = NULL;
        pass(c, i, &event);
        if (waiting)
            cr_assert_eq(clattn_event_wait(event, UINT64_MAX), CLATTN_OK);
        clattn_event_release(event);
    }
    cr_assert_eq(clattn_dispatcher_finish(c->dispatcher), CLATTN_OK);
    cr_assert_eq(clattn_buffer_read(c->row, PASSES * bytes, c->out, bytes), CLATTN_OK);
    for (int i = 0; i < ELEMENTS; i++)
        cr_assert(c->out[i] - c->out[i] == 0, "waiting %d: %d is missing", waiting, i);
}

static void check(uint32_t parts, uint64_t launch_ns)
{
    static float expected[ELEMENTS];
    chain c;
    open_chain(&c, parts, launch_ns);
    run_chain(&c, true);
    memcpy(expected, c.out, sizeof expected);
    for (int round = 0; round < 20; round++) {
        run_chain(&c, false);
        cr_assert_eq(memcmp(expected, c.out, sizeof expected), 0, "round %d", round);
    }
    close_chain(&c);
}

Test(layer_order, one_lane)
{
    check(0, 0);
}

Test(layer_order, one_lane_in_parts)
{
    check(0, 20000);
}

Test(layer_order, two_lanes)
{
    clattn_context_options options;
    clattn_context *context = NULL;
    clattn_context_options_init(&options);
    options.parts = 2;
    if (clattn_context_create(&options, &context) == CLATTN_ERR_UNSUPPORTED)
        cr_skip_test("the device can't be divided: %s", clattn_error_message());
    cr_assert_eq(clattn_context_destroy(context), CLATTN_OK);
    check(2, 0);
    check(2, 20000);
}
