/* Classes, candidates and limits of linear_simd and its gradients. Every sum is in ascending order
 * whatever the tiles are, so that tuning changes no bits, and no class follows another. */
#include "kernels/linear_tuning.h"

#include "kernels/product.h"

/* Multiply-adds of a small product: its factors stay in the second cache. */
#define SMALL 134217728.0

enum { LARGE, SMALL_ONE, CLASS_COUNT };
static const clattn__problem_class classes[] = {
    [LARGE] = {"large", -1, 2, false},
    [SMALL_ONE] = {"small", -1, 1, false},
};

static uint32_t class_of(const clattn__problem *problem, const clattn__config *config)
{
    clattn__product product;
    (void)config;
    clattn__product_of(problem, &product);
    const double products = (double)product.batch * (double)product.rows * (double)product.columns *
                            (double)product.pieces * (double)product.depth;
    return products <= SMALL ? SMALL_ONE : LARGE;
}

static const clattn__config tiles[] = {
    {.rows = 12, .cols = 2}, {.rows = 8, .cols = 3}, {.rows = 8, .cols = 2},
    {.rows = 4, .cols = 4},  {.rows = 6, .cols = 2}, {.rows = 6, .cols = 4},
    {.rows = 4, .cols = 2},  {.rows = 2, .cols = 4}, {.rows = 3, .cols = 4},
};
static const clattn__config depths[] = {{.block_k = 256}, {.block_k = 384}, {.block_k = 160},
                                        {.block_k = 128}, {.block_k = 320}, {.block_k = 96}};
static const clattn__config row_blocks[] = {
    {.block_m = 48}, {.block_m = 192}, {.block_m = 144}, {.block_m = 96}};
static const clattn__config column_blocks[] = {
    {.block_n = 256}, {.block_n = 384}, {.block_n = 512}, {.block_n = 192}, {.block_n = 768}};
/* Drivers don't always know which vectors are the fastest. */
static const clattn__config widths[] = {{.vec = 8, .rows = 6, .cols = 2},
                                        {.vec = 4, .rows = 2, .cols = 4}};

static const clattn__tuning_step steps[] = {
    CLATTN__TUNING_STEP(tiles), CLATTN__TUNING_STEP(depths), CLATTN__TUNING_STEP(row_blocks),
    CLATTN__TUNING_STEP(column_blocks), CLATTN__TUNING_STEP(widths)};

/* Private memory of a work-item, bytes: it should stay in a core's second cache, and a thread's
 * stack must hold it. */
#define MOST_PRIVATE 262144
#define MOST_COLUMNS 64 /* of a register tile */
#define MOST_BLOCK   1024

static bool fits(const clattn__config *config, const clattn__caps *caps)
{
    const uint32_t vec = config->vec, rows = config->rows, cols = config->cols;
    const uint32_t m = config->block_m, n = config->block_n, k = config->block_k;
    if (!clattn__tunable_vector(vec, caps))
        return false;
    if (rows < 1 || rows > 16 || cols < 1 || cols > 16 ||
        rows * cols + cols + 1 > caps->vector_registers)
        return false;
    if (cols * vec > MOST_COLUMNS || cols * vec % CLATTN_PANEL)
        return false;
    if (m < 1 || m > MOST_BLOCK || n < 1 || n > MOST_BLOCK || k < 1 || k > MOST_BLOCK)
        return false;
    return m % rows == 0 && m % vec == 0 && n % (cols * vec) == 0 && k % 16 == 0 &&
           sizeof(float) * m * (n + k) <= MOST_PRIVATE;
}

/* What classes are measured by. */
static const struct {
    uint32_t of;
    int64_t rows, in, out;
} samples[] = {
    {LARGE, 512, 768, 768},
    {LARGE, 256, 1024, 1024},
    {SMALL_ONE, 512, 384, 384},
    {SMALL_ONE, 128, 384, 768},
};
enum { SAMPLES = sizeof samples / sizeof samples[0] };

static bool sample(clattn_linear_pass pass, uint32_t class_index, uint32_t index,
                   clattn__problem *problem)
{
    uint32_t i = 0;
    while (i < SAMPLES && (samples[i].of != class_index || index-- > 0))
        i++;
    if (i == SAMPLES)
        return false;
    clattn_linear_desc desc;
    clattn_linear_desc_init(&desc);
    desc.pass = pass;
    desc.batch = 1;
    desc.rows = samples[i].rows;
    desc.in = samples[i].in;
    desc.out = samples[i].out;
    desc.slots = pass == CLATTN_LINEAR_GRADIENT_W ? CLATTN_SLOT_BIT(CLATTN_SLOT_W) : 0;
    return clattn__problem_init_linear(problem, &desc, CLATTN__LINEAR) == CLATTN_OK;
}

#define TUNABLE(name, pass)                                                                        \
    static bool name##_sample(uint32_t class_index, uint32_t index, const clattn__caps *caps,      \
                              clattn__problem *problem)                                            \
    {                                                                                              \
        (void)caps;                                                                                \
        return sample(pass, class_index, index, problem);                                          \
    }                                                                                              \
    const clattn__tunable clattn__##name##_tunable = {                                             \
        .classes = classes,                                                                        \
        .class_count = CLASS_COUNT,                                                                \
        .steps = steps,                                                                            \
        .step_count = sizeof steps / sizeof steps[0],                                              \
        .class_of = class_of,                                                                      \
        .fits = fits,                                                                              \
        .sample = name##_sample,                                                                   \
    }
TUNABLE(linear, CLATTN_LINEAR_FORWARD);
TUNABLE(linear_x, CLATTN_LINEAR_GRADIENT_X);
TUNABLE(linear_w, CLATTN_LINEAR_GRADIENT_W);
