/* A model that learns to attend: it reads dates as people write them, "14 March 2024" or "Thursday,
 * 14 March 2024", and writes 2024-03-14. Nobody tells it where in the text the year is; that it
 * looks there is what gradient descent makes of random numbers.
 *
 *    x[j]       = the character at j, one-hot
 *    state[j]   = tanh(E (x[j-2] .. x[j+2]) + e)              the encoder
 *    score(i,j) = w . tanh(Q[i] + K state[j])                 Bahdanau et al. 2015
 *    context[i] = sum over j of softmax_j(score(i,j)) x[j]    for each of 10 characters i
 *    logits[i]  = W tanh(V context[i] + P[i] + b) + c
 *
 * Keys know what is around a character, values are the character alone: where a weight is large,
 * there is what was read.
 *
 * All of it runs on the device, forward and backward: attention and projections are clattn's, the
 * rest is training/training.cl. It takes 30 to 40 s of processor time, which is about half as many
 * seconds on two cores: docs/training.md. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "training/dates.h"
#include "training/pictures.h"
#include "training/random.h"
#include "training/stop.h"
#include "training/trainer.h"

enum {
    BATCH = 128,
    HELD_OUT = 16 * BATCH,         /* dates that are not learned from */
    EXAMPLES = BATCH + DATE_COUNT, /* the first batch is one date in each style: to look at */
    WINDOW = 5,                    /* characters that a state is made of */
    MARGIN = WINDOW / 2,           /* of nothing, before the first text and behind each of them */
    SPACE = DATE_LENGTH + MARGIN,  /* for a text, so that a window never sees two */
    LETTERS = MARGIN + BATCH * SPACE + MARGIN, /* of a batch */
    STATE = 64,
    CHANNELS = 64,
    HEAD = 128,
    /* Scores begin at a quarter of what would be usual: the model looks almost evenly at first, and
     * doesn't settle too soon. Otherwise June and July may stay the same to it. */
    SOFT = 16
};

/* Dates, their texts, and what is to be written. */
typedef struct corpus {
    date dates[EXAMPLES];
    uint8_t style[EXAMPLES];
    int32_t text[MARGIN + EXAMPLES * SPACE + MARGIN]; /* symbols, 0 where there is nothing */
    int32_t length[EXAMPLES];
    int32_t written[EXAMPLES * DATE_WRITTEN];
} corpus;

typedef struct aligner {
    model base;           /* must be first */
    const corpus *corpus; /* borrowed */
    dense encoder;
    clattn_layer *attention;
    clattn_layer_binding bindings[24]; /* the first one differs from batch to batch: lengths */
    uint32_t binding_count;
    head head;
    tensor text, lengths;         /* of the corpus */
    tensor x;                     /* (LETTERS, symbols) */
    tensor state, grad_state;     /* (BATCH, SPACE, STATE) */
    tensor context, grad_context; /* (BATCH, DATE_WRITTEN, symbols) */
    tensor weights;               /* (BATCH, DATE_WRITTEN, SPACE) */
    tensor kept, scratch;         /* what the attention needs */
} aligner;

/* ---- data ------------------------------------------------------------------------------------ */

static void encode(corpus *c, size_t example)
{
    char text[DATE_LENGTH + 1], written[DATE_WRITTEN + 1];
    const date *of = &c->dates[example];
    const int length = date_in_style(of, c->style[example], text);
    c->length[example] = length;
    for (int i = 0; i < length; i++)
        c->text[MARGIN + example * SPACE + (size_t)i] = date_symbol(text[i]);
    date_written(of, written);
    for (size_t i = 0; i < DATE_WRITTEN; i++)
        c->written[example * DATE_WRITTEN + i] = date_out_symbol(written[i]);
}

static void swap(date *a, date *b)
{
    const date was = *a;
    *a = *b;
    *b = was;
}

/* The date that is shown comes first, as the first of those that are held out; the others follow in
 * random order, each in a style of its own. */
static corpus *make_corpus(uint64_t seed)
{
    corpus *c = calloc(1, sizeof *c);
    if (!c)
        stop("memory", "no %zu bytes are left", sizeof *c);
    date *dates = c->dates + BATCH;
    dates_list(dates);
    for (size_t i = 0; i < DATE_COUNT; i++)
        if (dates[i].year == 2024 && dates[i].month == 3 && dates[i].day == 14)
            swap(&dates[0], &dates[i]);
    for (uint32_t i = DATE_COUNT - 1; i > 1; i--)
        swap(&dates[i], &dates[1 + random_below(&seed, i)]);
    for (size_t i = 0; i < EXAMPLES; i++) {
        if (i < BATCH)
            c->dates[i] = dates[0];
        c->style[i] = (uint8_t)(i < BATCH ? i % DATE_STYLES : random_below(&seed, DATE_STYLES));
        encode(c, i);
    }
    return c;
}

/* ---- the model ------------------------------------------------------------------------------- */

/* A projection of WINDOW characters, whose rows begin a character after each other: what makes a
 * convolution of it. The batch is one long text. */
static void create_encoder(aligner *a)
{
    const int64_t symbols = date_symbols();
    clattn_linear_desc desc;
    clattn_linear_desc_init(&desc);
    desc.batch = 1;
    desc.rows = (int64_t)BATCH * SPACE;
    desc.in = WINDOW * symbols;
    desc.out = STATE;
    desc.slots = CLATTN_SLOT_BIT(CLATTN_SLOT_B);
    desc.tensor[CLATTN_SLOT_X].strided = 1;
    desc.tensor[CLATTN_SLOT_X].stride[1] = symbols;
    desc.tensor[CLATTN_SLOT_X].stride[2] = 1;
    /* of the numbers of x WINDOW are 1, and the others 0 */
    dense_create(&a->encoder, a->base.device, &a->base.parameters, "encoder", &desc, WINDOW);
}

#define BIT(name) CLATTN_LAYER_BIT(CLATTN_LAYER_##name)

static void create_attention(aligner *a)
{
    clattn_additive_layer_desc desc;
    uint64_t kept, scratch;
    clattn_additive_layer_desc_init(&desc);
    desc.batch = BATCH;
    desc.n_q = DATE_WRITTEN;
    desc.n_kv = SPACE;
    desc.width = DATE_WRITTEN; /* a one-hot position: WQ has a query for each */
    desc.key_width = STATE;
    desc.value_width = date_symbols();
    desc.channels = CHANNELS;
    desc.optional = BIT(KV_LENGTHS) | BIT(WEIGHTS);
    desc.gradients = BIT(GRAD_KEY) | BIT(GRAD_WQ) | BIT(GRAD_WK) | BIT(GRAD_W_SCORE);
    check(clattn_layer_create_additive(a->base.device->clattn, &desc, &a->attention));
    check(clattn_layer_sizes(a->attention, &kept, &scratch));
    a->kept = NEW_TENSOR(a->base.device, (size_t)(kept / sizeof(float)));
    a->scratch = NEW_TENSOR(a->base.device, (size_t)(scratch / sizeof(float)));
}

/* The attention's parameters, and where all that it reads and writes is. */
static void bind_attention(aligner *a, size_t w_q, size_t w_k, size_t w_score)
{
    const tensor *value = &a->base.parameters.value, *gradient = &a->base.parameters.gradient;
    const clattn_layer_binding bindings[] = {
        bind_tensor(CLATTN_LAYER_KV_LENGTHS, &a->lengths),
        bind_tensor(CLATTN_LAYER_X, &a->base.position),
        bind_tensor(CLATTN_LAYER_KEY, &a->state),
        bind_parameter(CLATTN_LAYER_VALUE, &a->x, (size_t)date_symbols() * MARGIN),
        bind_tensor(CLATTN_LAYER_OUT, &a->context),
        bind_tensor(CLATTN_LAYER_WEIGHTS, &a->weights),
        bind_tensor(CLATTN_LAYER_STATE, &a->kept),
        bind_tensor(CLATTN_LAYER_SCRATCH, &a->scratch),
        bind_parameter(CLATTN_LAYER_WQ, value, w_q),
        bind_parameter(CLATTN_LAYER_WK, value, w_k),
        bind_parameter(CLATTN_LAYER_W_SCORE, value, w_score),
        bind_tensor(CLATTN_LAYER_GRAD_OUT, &a->grad_context),
        bind_tensor(CLATTN_LAYER_GRAD_KEY, &a->grad_state),
        bind_parameter(CLATTN_LAYER_GRAD_WQ, gradient, w_q),
        bind_parameter(CLATTN_LAYER_GRAD_WK, gradient, w_k),
        bind_parameter(CLATTN_LAYER_GRAD_W_SCORE, gradient, w_score),
    };
    memcpy(a->bindings, bindings, sizeof bindings);
    a->binding_count = sizeof bindings / sizeof bindings[0];
}

static void forward(model *base, size_t first)
{
    aligner *a = (aligner *)base;
    const cl_uint token = (cl_uint)(first * SPACE), symbols = (cl_uint)date_symbols();
    LAUNCH(base->device, KERNEL_ONE_HOT, LETTERS, TENSOR(&a->text), ARGUMENT(token),
           ARGUMENT(symbols), TENSOR(&a->x));
    dense_forward(&a->encoder, &a->x, &a->state);
    LAUNCH(base->device, KERNEL_TANH_FORWARD, a->state.count, TENSOR(&a->state));
    a->bindings[0].offset = first * sizeof(int32_t);
    check(clattn_layer_forward(a->attention, base->device->dispatcher, a->bindings,
                               a->binding_count, NULL));
    head_forward(&a->head, &a->context, &base->position, &base->logits);
}

static void backward(model *base)
{
    aligner *a = (aligner *)base;
    head_backward(&a->head, &a->context, &base->position, &base->grad_logits, &a->grad_context);
    check(clattn_layer_backward(a->attention, base->device->dispatcher, a->bindings,
                                a->binding_count, NULL));
    LAUNCH(base->device, KERNEL_TANH_GRADIENT, a->state.count, TENSOR(&a->state),
           TENSOR(&a->grad_state));
    dense_backward(&a->encoder, &a->x, &a->grad_state, NULL);
}

/* ---- looking at it --------------------------------------------------------------------------- */

/* The weights for the date that is shown in one style: (DATE_WRITTEN, length of the text). */
typedef struct alignment {
    char text[DATE_LENGTH + 1];
    size_t length;
    float weights[DATE_WRITTEN * SPACE];
} alignment;

/* Of the first batch, which the model has gone through. */
static void read_alignment(const aligner *a, int style, alignment *to)
{
    const size_t count = sizeof to->weights / sizeof to->weights[0];
    tensor_read(a->base.device, &a->weights, (size_t)style * count, to->weights, count);
    to->length = (size_t)date_in_style(&a->corpus->dates[0], style, to->text);
    for (size_t i = 0; i < DATE_WRITTEN; i++) /* without what is behind the text */
        memmove(to->weights + i * to->length, to->weights + i * SPACE,
                to->length * sizeof *to->weights);
}

/* FOLDER/WHEN-N.npy for the date that is shown in style N, and labels of its rows and columns. */
static void draw(model *base, const char *folder, const char *when)
{
    const aligner *a = (const aligner *)base;
    int32_t predicted[BATCH * DATE_WRITTEN];
    char written[DATE_WRITTEN + 1], name[32];
    alignment of;
    model_predict(base, 0, predicted);
    for (int style = 0; style < DATE_STYLES; style++) {
        read_alignment(a, style, &of);
        snprintf(name, sizeof name, "%s-%d", when, style + 1);
        picture_write(&(picture){folder, name, 1, DATE_WRITTEN, of.length}, of.weights);
        snprintf(name, sizeof name, "columns-%d", style + 1);
        picture_write_labels(folder, name, of.text);
    }
    date_written(&a->corpus->dates[0], written);
    picture_write_labels(folder, "rows", written);
}

/* In the style that has the weekday, too. */
static void print(model *base)
{
    enum { STYLE = 4 };
    const aligner *a = (const aligner *)base;
    int32_t predicted[BATCH * DATE_WRITTEN];
    char written[DATE_WRITTEN + 1];
    alignment of;
    model_predict(base, 0, predicted);
    read_alignment(a, STYLE, &of);
    date_written(&a->corpus->dates[0], written);
    picture_print(&(picture){NULL, NULL, 1, DATE_WRITTEN, of.length}, written, of.text, of.weights);
}

static void show(model *base)
{
    const date *shown = &((const aligner *)base)->corpus->dates[0];
    int32_t predicted[BATCH * DATE_WRITTEN];
    char text[DATE_LENGTH + 1];
    model_predict(base, 0, predicted);
    for (int style = 0; style < DATE_STYLES; style++) {
        date_in_style(shown, style, text);
        printf("%-*s  ", DATE_LENGTH, text);
        for (int i = 0; i < DATE_WRITTEN; i++)
            putchar(date_out_character(predicted[style * DATE_WRITTEN + i]));
        putchar('\n');
    }
}

/* ---- the program ----------------------------------------------------------------------------- */

static void create(aligner *a, device *d, const corpus *c, uint64_t seed)
{
    const size_t symbols = (size_t)date_symbols();
    const head_shape shape = {BATCH, DATE_WRITTEN, (int64_t)symbols, HEAD, DATE_OUT_SYMBOLS};
    model *base = &a->base;
    base->device = d;
    base->batch = BATCH;
    base->outputs = DATE_WRITTEN;
    base->symbols = DATE_OUT_SYMBOLS;
    base->held_out = (example_range){BATCH, HELD_OUT};
    base->learned = (example_range){BATCH + HELD_OUT, DATE_COUNT - HELD_OUT};
    base->forward = forward;
    base->backward = backward;
    base->draw = draw;
    base->print = print;
    base->show = show;
    a->corpus = c;
    create_encoder(a);
    const size_t w_q =
        parameters_add(&base->parameters, "attention, queries", CHANNELS, DATE_WRITTEN, 1);
    const size_t w_k = parameters_add(&base->parameters, "attention, keys", CHANNELS, STATE, STATE);
    const size_t w_score =
        parameters_add(&base->parameters, "attention, score", 1, CHANNELS, (size_t)SOFT * CHANNELS);
    head_create(&a->head, d, &base->parameters, &shape);
    model_create(base, c->written, EXAMPLES, seed);
    a->text = NEW_TENSOR(d, sizeof c->text / sizeof c->text[0]);
    a->lengths = NEW_TENSOR(d, EXAMPLES);
    tensor_write(d, &a->text, 0, c->text, a->text.count);
    tensor_write(d, &a->lengths, 0, c->length, a->lengths.count);
    a->x = NEW_TENSOR(d, LETTERS, symbols);
    a->state = NEW_TENSOR(d, BATCH, SPACE, STATE);
    a->grad_state = NEW_TENSOR(d, a->state.count);
    a->context = NEW_TENSOR(d, BATCH, DATE_WRITTEN, symbols);
    a->grad_context = NEW_TENSOR(d, a->context.count);
    a->weights = NEW_TENSOR(d, BATCH, DATE_WRITTEN, SPACE);
    create_attention(a);
    bind_attention(a, w_q, w_k, w_score);
}

static void destroy(aligner *a)
{
    tensor *const tensors[] = {
        &a->text,       &a->lengths,      &a->x,       &a->state, &a->context,
        &a->grad_state, &a->grad_context, &a->weights, &a->kept,  &a->scratch};
    for (size_t i = 0; i < sizeof tensors / sizeof tensors[0]; i++)
        tensor_destroy(a->base.device, tensors[i]);
    clattn_layer_destroy(a->attention);
    dense_destroy(&a->encoder);
    head_destroy(&a->head);
    model_destroy(&a->base);
}

int main(int count, char **values)
{
    static const training_program program = {
        .name = "align",
        .usage =
            "Trains a model that rewrites dates by attending to their characters, and says how\n"
            "often it is right on dates that it has not learned from.\n",
        .steps = 1500,
        .optimiser = "adam",
    };
    const training_options options = training_read_options(&program, count, values);
    corpus *c = make_corpus((uint64_t)options.seed);
    device d = {.id = NULL};
    aligner a = {.attention = NULL};
    device_open(&d);
    create(&a, &d, c, (uint64_t)options.seed);
    const bool good = model_run(&a.base, &options);
    destroy(&a);
    device_close(&d);
    free(c);
    return !good;
}
