/* What a shape of clattn bench means: its text, its description, what it counts. */
#include "tool/bench_shape.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tool/bench_tensor.h"
#include "tool/options.h"

/* A whole number from `least` to 2^31 - 1, with a comma before it unless it is the first. */
static bool take_number(const char **text, bool first, int64_t least, int64_t *number)
{
    const char *at = *text;
    char *end;
    if (!first && *at++ != ',')
        return false;
    if (*at < '0' || *at > '9')
        return false;
    *number = strtoll(at, &end, 10);
    *text = end;
    return *number >= least && *number <= INT32_MAX;
}

bool bench_shape_parse(const char *text, bench_shape *shape)
{
    int64_t causal = 0;
    int64_t *const extents[] = {&shape->batch, &shape->n_head, &shape->n_kv_head,
                                &shape->n_q,   &shape->n_kv,   &shape->head_dim};
    const char *at = text;
    bool good = true;
    for (size_t i = 0; good && i < sizeof extents / sizeof extents[0]; i++)
        good = take_number(&at, i == 0, 1, extents[i]);
    if (good && *at)
        good = take_number(&at, false, 0, &causal) && causal <= 1;
    shape->causal = causal == 1;
    if (good && *at == 0)
        return true;
    usage_error("--shape",
                "'%s' is not " BENCH_SHAPE_FORM ": whole numbers from 1 to %" PRId32
                ", causal 0 or 1",
                text, (int32_t)INT32_MAX);
    return false;
}

void bench_shape_set_feature(bench_shape *shape, const bench_feature *feature,
                             const stored_type *type)
{
    shape->feature = feature;
    shape->type = type;
    for (int choice = 1; feature && feature->type && choice <= STORED_TYPES; choice++)
        if (strcmp(stored_type_get(choice)->name, feature->type) == 0)
            shape->type = stored_type_get(choice);
}

static const char *const linear_names[] = {NULL, "linear", "linear_x", "linear_w"};

static const char *additive_name(const bench_shape *shape)
{
    return shape->backward ? "additive_gradient" : "additive";
}

void bench_shape_print(const bench_shape *shape, char *text, size_t capacity)
{
    if (shape->linear) {
        snprintf(text, capacity, "%s %" PRId64 ",%" PRId64 ",%" PRId64, linear_names[shape->linear],
                 shape->batch * shape->n_q, shape->n_kv, shape->head_dim);
        return;
    }
    if (shape->additive) {
        snprintf(text, capacity, "%s %" PRId64 ",%" PRId64 ",%" PRId64, additive_name(shape),
                 shape->n_q, shape->n_kv, shape->head_dim);
        return;
    }
    snprintf(text, capacity,
             "%" PRId64 ",%" PRId64 ",%" PRId64 ",%" PRId64 ",%" PRId64 ",%" PRId64 ",%d%s%s",
             shape->batch, shape->n_head, shape->n_kv_head, shape->n_q, shape->n_kv,
             shape->head_dim, shape->causal, shape->feature ? " " : "",
             shape->feature ? shape->feature->name : "");
}

void bench_shape_operation(const bench_shape *shape, char *text, size_t capacity)
{
    const bool named = shape->feature && !shape->feature->type;
    if (shape->linear) {
        snprintf(text, capacity, "%s", linear_names[shape->linear]);
        return;
    }
    if (shape->additive) {
        snprintf(text, capacity, "%s", additive_name(shape));
        return;
    }
    snprintf(text, capacity, "%s%s%s", shape->backward ? "gradient" : "attention", named ? "+" : "",
             named ? shape->feature->name : "");
}

int64_t bench_shape_positions(const bench_shape *shape)
{
    return shape->n_q > shape->n_kv ? shape->n_q : shape->n_kv;
}

static bool has_slot(const bench_shape *shape, clattn_slot slot)
{
    return shape->feature && (shape->feature->slots & CLATTN_SLOT_BIT(slot));
}

static void describe_feature(const bench_shape *shape, clattn_attention_desc *desc)
{
    const bench_feature *feature = shape->feature;
    desc->slots = feature->slots;
    desc->softcap = feature->softcap;
    desc->dropout = feature->dropout;
    desc->top_k = feature->top_k;
    desc->has_window = feature->window > 0;
    desc->window_left = feature->window;
    if (feature->align)
        desc->align = feature->align;
    if (feature->integers)
        desc->tensor[CLATTN_SLOT_K].dtype = desc->tensor[CLATTN_SLOT_V].dtype = feature->integers;
    if (feature->rotated) {
        desc->rotary_dim = shape->head_dim / 2 * 2;
        desc->n_positions = bench_shape_positions(shape);
        desc->rms_norm = 1;
        desc->rms_epsilon = 1e-6f;
    }
    bench_tensor_describe(shape, desc);
}

static void describe_backward(const bench_shape *shape, clattn_attention_desc *desc)
{
    desc->slots |= CLATTN_SLOT_BIT(CLATTN_SLOT_LSE);
    desc->tensor[CLATTN_SLOT_GRAD_OUT].dtype = shape->type->dtype;
    for (int slot = CLATTN_SLOT_GRAD_Q; slot <= CLATTN_SLOT_GRAD_V; slot++) {
        desc->slots |= CLATTN_SLOT_BIT(slot);
        desc->tensor[slot].dtype = shape->type->dtype;
    }
}

void bench_shape_describe(const bench_shape *shape, clattn_attention_desc *desc)
{
    clattn_attention_desc_init(desc);
    desc->batch = shape->batch;
    desc->n_head = shape->n_head;
    desc->n_kv_head = shape->n_kv_head;
    desc->n_q = shape->n_q;
    desc->n_kv = shape->n_kv;
    desc->head_dim = desc->value_dim = shape->head_dim;
    desc->causal = shape->causal;
    desc->align = shape->causal ? CLATTN_ALIGN_BOTTOM_RIGHT : CLATTN_ALIGN_NONE;
    for (int slot = CLATTN_SLOT_Q; slot <= CLATTN_SLOT_OUT; slot++)
        desc->tensor[slot].dtype = shape->type->dtype;
    if (shape->feature)
        describe_feature(shape, desc);
    if (shape->backward)
        describe_backward(shape, desc);
}

void bench_shape_describe_linear(const bench_shape *shape, clattn_linear_desc *desc)
{
    clattn_linear_desc_init(desc);
    desc->pass = (clattn_linear_pass)(shape->linear - BENCH_LINEAR);
    desc->batch = shape->batch;
    desc->rows = shape->n_q;
    desc->in = shape->n_kv;
    desc->out = shape->head_dim;
    for (int slot = CLATTN_SLOT_X; slot <= CLATTN_SLOT_Y; slot++)
        desc->tensor[slot].dtype = shape->type->dtype;
    if (shape->linear != BENCH_LINEAR_X)
        desc->slots = CLATTN_SLOT_BIT(CLATTN_SLOT_W) | CLATTN_SLOT_BIT(CLATTN_SLOT_B);
}

static int64_t pages_of(int64_t tokens)
{
    return (tokens + BENCH_PAGE - 1) / BENCH_PAGE;
}

uint64_t bench_shape_additive_slots(const bench_shape *shape)
{
    static const uint64_t always = CLATTN_SLOT_BIT(CLATTN_SLOT_Q) | CLATTN_SLOT_BIT(CLATTN_SLOT_K) |
                                   CLATTN_SLOT_BIT(CLATTN_SLOT_V) |
                                   CLATTN_SLOT_BIT(CLATTN_SLOT_W_SCORE) |
                                   CLATTN_SLOT_BIT(CLATTN_SLOT_OUT);
    static const uint64_t backward =
        CLATTN_SLOT_BIT(CLATTN_SLOT_LSE) | CLATTN_SLOT_BIT(CLATTN_SLOT_GRAD_OUT) |
        CLATTN_SLOT_BIT(CLATTN_SLOT_GRAD_Q) | CLATTN_SLOT_BIT(CLATTN_SLOT_GRAD_K) |
        CLATTN_SLOT_BIT(CLATTN_SLOT_GRAD_V) | CLATTN_SLOT_BIT(CLATTN_SLOT_GRAD_W_SCORE);
    return always | (shape->backward ? backward : 0);
}

void bench_shape_describe_additive(const bench_shape *shape, clattn_additive_desc *desc)
{
    const uint64_t slots = bench_shape_additive_slots(shape);
    clattn_additive_desc_init(desc);
    desc->batch = shape->batch;
    desc->n_head = shape->n_head;
    desc->n_q = shape->n_q;
    desc->n_kv = shape->n_kv;
    desc->channels = desc->value_dim = shape->head_dim;
    for (int slot = CLATTN_SLOT_GRAD_Q; slot <= CLATTN_SLOT_GRAD_V; slot++)
        desc->slots |= slots & CLATTN_SLOT_BIT(slot);
    desc->slots |= slots & CLATTN_SLOT_BIT(CLATTN_SLOT_GRAD_W_SCORE);
    for (int slot = 0; slot < CLATTN_SLOT_LIMIT; slot++)
        if (slots >> slot & 1 && slot != CLATTN_SLOT_LSE)
            desc->tensor[slot].dtype = shape->type->dtype;
}

int64_t bench_shape_pages(const bench_shape *shape)
{
    return has_slot(shape, CLATTN_SLOT_PAGES) ? pages_of(shape->n_kv) : 0;
}

int64_t bench_shape_first_page(const bench_shape *shape, int64_t b)
{
    int64_t pages = 0;
    for (int64_t c = 0; c < b && has_slot(shape, CLATTN_SLOT_PAGES); c++)
        pages += pages_of(bench_shape_length(shape, c));
    return pages;
}

void bench_shape_describe_append(const bench_shape *shape, clattn_append_desc *desc)
{
    static const clattn_slot slots[] = {CLATTN_SLOT_K, CLATTN_SLOT_V, CLATTN_SLOT_PRESENT_K,
                                        CLATTN_SLOT_PRESENT_V};
    clattn_append_desc_init(desc);
    desc->batch = shape->batch;
    desc->n_kv_head = shape->n_kv_head;
    desc->n_kv = shape->n_q < shape->n_kv ? shape->n_q : shape->n_kv;
    desc->head_dim = desc->value_dim = shape->head_dim;
    desc->page_size = BENCH_PAGE;
    desc->page_limit = bench_shape_pages(shape);
    desc->n_pages = bench_shape_first_page(shape, shape->batch);
    for (size_t i = 0; i < sizeof slots / sizeof slots[0]; i++)
        desc->tensor[slots[i]].dtype = shape->type->dtype;
}

bool bench_shape_is_decode(const bench_shape *shape)
{
    return shape->n_q == 1 && !shape->backward && !shape->linear && !shape->additive;
}

/* Every eighth diagonal is hidden. */
enum { MASK_PERIOD = 8 };

bool bench_shape_mask(uint64_t i, uint64_t j)
{
    return (i + j) % MASK_PERIOD != 0;
}

/* Steps over the batch that meet every entry, because the batch isn't a multiple of them. */
static int64_t mixed_place(int64_t batch, int64_t b)
{
    static const int64_t primes[] = {7, 5, 3};
    for (size_t i = 0; i < sizeof primes / sizeof primes[0]; i++)
        if (batch % primes[i])
            return b * primes[i] % batch;
    return b;
}

static int64_t uneven_length(const bench_shape *shape, int64_t b)
{
    if (shape->batch < 2)
        return shape->n_kv;
    return 1 + (shape->n_kv - 1) * mixed_place(shape->batch, b) / (shape->batch - 1);
}

int64_t bench_shape_length(const bench_shape *shape, int64_t b)
{
    if (!has_slot(shape, CLATTN_SLOT_KV_LENGTHS))
        return shape->n_kv;
    if (shape->feature->uneven)
        return uneven_length(shape, b);
    const int64_t quarter = shape->n_kv / 4;
    return shape->n_kv - (b + 1) % 4 * quarter;
}

/* Keys from `begin` to `end` that the mask hides from query i. */
static int64_t hidden_keys(int64_t i, int64_t begin, int64_t end)
{
    return (i + end + MASK_PERIOD - 1) / MASK_PERIOD - (i + begin + MASK_PERIOD - 1) / MASK_PERIOD;
}

/* Keys that query i of batch entry b sees. */
static int64_t visible_keys(const bench_shape *shape, int64_t b, int64_t i)
{
    const int64_t length = bench_shape_length(shape, b);
    const int64_t window = shape->feature ? shape->feature->window : 0;
    const int64_t position = i + length - shape->n_q;
    int64_t begin = 0, end = length;
    if ((shape->causal || window) && position + 1 < end)
        end = position + 1;
    if (window && position - window > begin)
        begin = position - window;
    if (begin >= end)
        return 0;
    return end - begin - (has_slot(shape, CLATTN_SLOT_MASK) ? hidden_keys(i, begin, end) : 0);
}

/* Pairs of a query and a key that it sees, of one head in all batch entries. */
static double visible_pairs(const bench_shape *shape)
{
    const int64_t different = has_slot(shape, CLATTN_SLOT_KV_LENGTHS) ? shape->batch : 1;
    const int64_t repeats = shape->batch / different;
    double sum = 0;
    for (int64_t b = 0; b < different; b++)
        for (int64_t i = 0; i < shape->n_q; i++)
            sum += (double)visible_keys(shape, b, i);
    return sum * (double)repeats;
}

double bench_shape_operations(const bench_shape *shape)
{
    const double products = shape->backward ? 5 : 2;
    if (shape->linear)
        return 2 * (double)shape->batch * (double)shape->n_q * (double)shape->n_kv *
               (double)shape->head_dim;
    if (shape->additive)
        return visible_pairs(shape) * (double)shape->n_head * (double)shape->head_dim *
               (shape->backward ? 21.5 + 4 : 7.5 + 2);
    return 2 * visible_pairs(shape) * (double)shape->n_head * products * (double)shape->head_dim;
}

const char *bench_shape_dtype(const bench_shape *shape)
{
    return shape->feature && shape->feature->integers ? shape->feature->type : shape->type->name;
}

/* Bytes of a key, with its scale. */
static double row_bytes(const bench_shape *shape)
{
    const clattn_dtype integers = shape->feature ? shape->feature->integers : CLATTN_F32;
    const double dim = (double)shape->head_dim;
    if (integers)
        return dim / (integers == CLATTN_I4 ? 2 : 1) + sizeof(float);
    return dim * (double)shape->type->bytes;
}

double bench_shape_kv_bytes(const bench_shape *shape)
{
    double keys = 0;
    if (shape->linear)
        return 0;
    for (int64_t b = 0; b < shape->batch; b++)
        keys += (double)bench_shape_length(shape, b);
    return 2 * keys * (double)shape->n_kv_head * row_bytes(shape);
}
