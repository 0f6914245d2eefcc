/* A layer of multi-head self-attention that learns to reverse sequences of random symbols:
 * "abcdefghijkl" to "lkjihgfedcba". To know what comes i-th, each place must look at the i-th last.
 *
 *    x      = S symbol + P position + b
 *    y      = x + attention(x)            4 heads of 16 dimensions; Vaswani et al. 2017
 *    logits = W tanh(V y + R position + c) + d
 *
 * All of it runs on the device, forward and backward: attention and projections are clattn's, the
 * rest is training/training.cl. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "training/pictures.h"
#include "training/random.h"
#include "training/stop.h"
#include "training/trainer.h"

enum {
    BATCH = 128,
    HELD_OUT = 8 * BATCH,
    EXAMPLES = 200 * BATCH,
    LENGTH = 12,
    SYMBOLS = 16,
    WIDTH = 64,
    HEADS = 4,
    HEAD = 128
};

/* Random sequences, and what they are backwards. */
typedef struct corpus {
    int32_t sequence[EXAMPLES * LENGTH];
    int32_t reversed[EXAMPLES * LENGTH];
} corpus;

typedef struct reverser {
    model base;           /* must be first */
    const corpus *corpus; /* borrowed */
    dense from_symbol, from_position;
    clattn_layer *attention;
    clattn_layer_binding bindings[32];
    uint32_t binding_count;
    head head;
    tensor sequence; /* of the corpus */
    tensor one_hot;  /* (batch, LENGTH, SYMBOLS) */
    tensor x, y;     /* (batch, LENGTH, WIDTH) */
    tensor grad_x, grad_y;
    tensor weights;       /* (batch, HEADS, LENGTH, LENGTH) */
    tensor kept, scratch; /* what the attention needs */
} reverser;

/* The parameters of the attention; rows of WIDTH numbers, and biases. */
static const struct {
    const char *name;
    clattn_layer_tensor value, gradient;
    bool is_bias;
} attention_parameters[] = {
    {"attention, queries", CLATTN_LAYER_WQ, CLATTN_LAYER_GRAD_WQ, false},
    {"attention, queries", CLATTN_LAYER_BQ, CLATTN_LAYER_GRAD_BQ, true},
    {"attention, keys", CLATTN_LAYER_WK, CLATTN_LAYER_GRAD_WK, false},
    {"attention, keys", CLATTN_LAYER_BK, CLATTN_LAYER_GRAD_BK, true},
    {"attention, values", CLATTN_LAYER_WV, CLATTN_LAYER_GRAD_WV, false},
    {"attention, values", CLATTN_LAYER_BV, CLATTN_LAYER_GRAD_BV, true},
    {"attention, output", CLATTN_LAYER_WO, CLATTN_LAYER_GRAD_WO, false},
    {"attention, output", CLATTN_LAYER_BO, CLATTN_LAYER_GRAD_BO, true},
};
enum { ATTENTION_PARAMETERS = sizeof attention_parameters / sizeof attention_parameters[0] };

static corpus *make_corpus(uint64_t seed)
{
    corpus *c = calloc(1, sizeof *c);
    if (!c)
        stop("memory", "no %zu bytes are left", sizeof *c);
    for (size_t i = 0; i < (size_t)EXAMPLES * LENGTH; i++) {
        c->sequence[i] = (int32_t)random_below(&seed, SYMBOLS);
        c->reversed[i / LENGTH * LENGTH + (LENGTH - 1 - i % LENGTH)] = c->sequence[i];
    }
    return c;
}

/* ---- the model ------------------------------------------------------------------------------- */

static void create_embedding(reverser *r)
{
    clattn_linear_desc desc;
    clattn_linear_desc_init(&desc);
    desc.batch = BATCH;
    desc.rows = LENGTH;
    desc.in = SYMBOLS;
    desc.out = WIDTH;
    desc.slots = CLATTN_SLOT_BIT(CLATTN_SLOT_B);
    dense_create(&r->from_symbol, r->base.device, &r->base.parameters, "embedding of symbols",
                 &desc, 1);
    desc.in = LENGTH;
    desc.slots = 0;
    desc.accumulate = 1;
    dense_create(&r->from_position, r->base.device, &r->base.parameters, "embedding of positions",
                 &desc, 1);
}

static void create_attention(reverser *r)
{
    clattn_multi_head_desc desc;
    uint64_t kept, scratch;
    clattn_multi_head_desc_init(&desc);
    desc.batch = BATCH;
    desc.n_q = LENGTH;
    desc.width = WIDTH;
    desc.n_head = HEADS;
    desc.optional = CLATTN_LAYER_BIASES | CLATTN_LAYER_BIT(CLATTN_LAYER_WEIGHTS);
    desc.gradients = CLATTN_LAYER_BIT(CLATTN_LAYER_GRAD_X);
    for (size_t i = 0; i < ATTENTION_PARAMETERS; i++)
        desc.gradients |= CLATTN_LAYER_BIT(attention_parameters[i].gradient);
    check(clattn_layer_create_multi_head(r->base.device->clattn, &desc, &r->attention));
    check(clattn_layer_sizes(r->attention, &kept, &scratch));
    r->kept = NEW_TENSOR(r->base.device, (size_t)(kept / sizeof(float)));
    r->scratch = NEW_TENSOR(r->base.device, (size_t)(scratch / sizeof(float)));
}

/* The attention's parameters begin at `first`. */
static void bind_attention(reverser *r, const size_t first[ATTENTION_PARAMETERS])
{
    clattn_layer_binding *to = r->bindings;
    *to++ = bind_tensor(CLATTN_LAYER_X, &r->x);
    *to++ = bind_tensor(CLATTN_LAYER_OUT, &r->y);
    *to++ = bind_tensor(CLATTN_LAYER_WEIGHTS, &r->weights);
    *to++ = bind_tensor(CLATTN_LAYER_STATE, &r->kept);
    *to++ = bind_tensor(CLATTN_LAYER_SCRATCH, &r->scratch);
    *to++ = bind_tensor(CLATTN_LAYER_GRAD_OUT, &r->grad_y);
    *to++ = bind_tensor(CLATTN_LAYER_GRAD_X, &r->grad_x);
    for (size_t i = 0; i < ATTENTION_PARAMETERS; i++) {
        *to++ = bind_parameter(attention_parameters[i].value, &r->base.parameters.value, first[i]);
        *to++ = bind_parameter(attention_parameters[i].gradient, &r->base.parameters.gradient,
                               first[i]);
    }
    r->binding_count = (uint32_t)(to - r->bindings);
}

static void forward(model *base, size_t first)
{
    reverser *r = (reverser *)base;
    const cl_uint token = (cl_uint)(first * LENGTH), symbols = SYMBOLS;
    LAUNCH(base->device, KERNEL_ONE_HOT, (size_t)BATCH * LENGTH, TENSOR(&r->sequence),
           ARGUMENT(token), ARGUMENT(symbols), TENSOR(&r->one_hot));
    dense_forward(&r->from_symbol, &r->one_hot, &r->x);
    dense_forward(&r->from_position, &base->position, &r->x);
    check(clattn_layer_forward(r->attention, base->device->dispatcher, r->bindings,
                               r->binding_count, NULL));
    LAUNCH(base->device, KERNEL_ADD, r->y.count, TENSOR(&r->y), TENSOR(&r->x));
    head_forward(&r->head, &r->y, &base->position, &base->logits);
}

static void backward(model *base)
{
    reverser *r = (reverser *)base;
    head_backward(&r->head, &r->y, &base->position, &base->grad_logits, &r->grad_y);
    check(clattn_layer_backward(r->attention, base->device->dispatcher, r->bindings,
                                r->binding_count, NULL));
    LAUNCH(base->device, KERNEL_ADD, r->x.count, TENSOR(&r->grad_x), TENSOR(&r->grad_y));
    dense_backward(&r->from_position, &base->position, &r->grad_x, NULL);
    dense_backward(&r->from_symbol, &r->one_hot, &r->grad_x, NULL);
}

/* ---- looking at it --------------------------------------------------------------------------- */

static void spell(const int32_t *symbols, char text[LENGTH + 1])
{
    for (int i = 0; i < LENGTH; i++)
        text[i] = (char)('a' + symbols[i]);
    text[LENGTH] = 0;
}

/* The heads' weights for the first sequence, what is read and what is to be written. */
typedef struct alignment {
    float weights[HEADS * LENGTH * LENGTH];
    char read[LENGTH + 1], written[LENGTH + 1];
} alignment;

static void read_alignment(model *base, alignment *to)
{
    const reverser *r = (const reverser *)base;
    int32_t predicted[BATCH * LENGTH];
    model_predict(base, 0, predicted);
    tensor_read(base->device, &r->weights, 0, to->weights,
                sizeof to->weights / sizeof *to->weights);
    spell(r->corpus->sequence, to->read);
    spell(r->corpus->reversed, to->written);
}

/* FOLDER/WHEN.npy, and labels of rows and columns. */
static void draw(model *base, const char *folder, const char *when)
{
    alignment of;
    read_alignment(base, &of);
    picture_write(&(picture){folder, when, HEADS, LENGTH, LENGTH}, of.weights);
    picture_write_labels(folder, "columns", of.read);
    picture_write_labels(folder, "rows", of.written);
}

static void print(model *base)
{
    alignment of;
    read_alignment(base, &of);
    picture_print(&(picture){NULL, NULL, HEADS, LENGTH, LENGTH}, of.written, of.read, of.weights);
}

static void show(model *base)
{
    const corpus *c = ((const reverser *)base)->corpus;
    int32_t predicted[BATCH * LENGTH];
    char text[LENGTH + 1], written[LENGTH + 1];
    model_predict(base, 0, predicted);
    for (ptrdiff_t i = 0; i < 3; i++) {
        spell(c->sequence + i * LENGTH, text);
        spell(predicted + i * LENGTH, written);
        printf("%s  %s\n", text, written);
    }
}

/* ---- the program ----------------------------------------------------------------------------- */

static void create(reverser *r, device *d, const corpus *c, uint64_t seed)
{
    const head_shape shape = {BATCH, LENGTH, WIDTH, HEAD, SYMBOLS};
    model *base = &r->base;
    size_t first[ATTENTION_PARAMETERS];
    base->device = d;
    base->batch = BATCH;
    base->outputs = LENGTH;
    base->symbols = SYMBOLS;
    base->held_out = (example_range){0, HELD_OUT};
    base->learned = (example_range){HELD_OUT, EXAMPLES - HELD_OUT};
    base->forward = forward;
    base->backward = backward;
    base->draw = draw;
    base->print = print;
    base->show = show;
    r->corpus = c;
    create_embedding(r);
    for (size_t i = 0; i < ATTENTION_PARAMETERS; i++) {
        const bool is_bias = attention_parameters[i].is_bias;
        first[i] = parameters_add(&base->parameters, attention_parameters[i].name,
                                  is_bias ? 1 : WIDTH, WIDTH, is_bias ? 0 : WIDTH);
    }
    head_create(&r->head, d, &base->parameters, &shape);
    model_create(base, c->reversed, EXAMPLES, seed);
    r->sequence = NEW_TENSOR(d, EXAMPLES, LENGTH);
    tensor_write(d, &r->sequence, 0, c->sequence, r->sequence.count);
    r->one_hot = NEW_TENSOR(d, BATCH, LENGTH, SYMBOLS);
    r->x = NEW_TENSOR(d, BATCH, LENGTH, WIDTH);
    r->y = NEW_TENSOR(d, r->x.count);
    r->grad_x = NEW_TENSOR(d, r->x.count);
    r->grad_y = NEW_TENSOR(d, r->x.count);
    r->weights = NEW_TENSOR(d, BATCH, HEADS, LENGTH, LENGTH);
    create_attention(r);
    bind_attention(r, first);
}

static void destroy(reverser *r)
{
    tensor *const tensors[] = {&r->sequence, &r->one_hot, &r->x,    &r->y,      &r->grad_x,
                               &r->grad_y,   &r->weights, &r->kept, &r->scratch};
    for (size_t i = 0; i < sizeof tensors / sizeof tensors[0]; i++)
        tensor_destroy(r->base.device, tensors[i]);
    clattn_layer_destroy(r->attention);
    dense_destroy(&r->from_symbol);
    dense_destroy(&r->from_position);
    head_destroy(&r->head);
    model_destroy(&r->base);
}

int main(int count, char **values)
{
    static const training_program program = {
        .name = "copy",
        .usage = "Trains a layer of multi-head self-attention that writes sequences backwards, and "
                 "says\n"
                 "how often it is right on sequences that it has not learned from.\n",
        .steps = 200,
        .optimiser = "sgd",
    };
    const training_options options = training_read_options(&program, count, values);
    corpus *c = make_corpus((uint64_t)options.seed);
    device d = {.id = NULL};
    reverser r = {.attention = NULL};
    device_open(&d);
    create(&r, &d, c, (uint64_t)options.seed);
    const bool good = model_run(&r.base, &options);
    destroy(&r);
    device_close(&d);
    free(c);
    return !good;
}
