/* Classes, candidates and limits of additive_simd and additive_gradient_simd. One class each: time
 * goes by pairs and channels, whatever the extents are. */
#include "kernels/additive_tuning.h"

#include "kernels/additive_tiles.h"

static const clattn__problem_class classes[] = {{"all", -1, 1, false}};

static uint32_t class_of(const clattn__problem *problem, const clattn__config *config)
{
    (void)problem;
    (void)config;
    return 0;
}

static const clattn__config tiles[] = {{.cols = 1}, {.cols = 2}, {.cols = 4}};
static const clattn__config query_blocks[] = {
    {.block_m = 32}, {.block_m = 8}, {.block_m = 24}, {.block_m = 64}};
static const clattn__config key_blocks[] = {
    {.block_n = 256}, {.block_n = 64}, {.block_n = 192}, {.block_n = 128}, {.block_n = 32}};
/* Drivers don't always know which vectors are the fastest. */
static const clattn__config widths[] = {{.vec = 8, .cols = 1}, {.vec = 4, .cols = 1}};

static const clattn__tuning_step steps[] = {
    CLATTN__TUNING_STEP(tiles), CLATTN__TUNING_STEP(query_blocks), CLATTN__TUNING_STEP(key_blocks),
    CLATTN__TUNING_STEP(widths)};

/* The bounds of the workspace are for blocks that are no larger. */
typedef struct limits {
    uint32_t block_m, block_n;
} limits;
static const limits forward_limits = {64, 512}, gradient_limits = {32, 64};

/* What a tile has in registers beside sums and a row of keys' exponentials. */
#define BESIDE 4

static bool fits_within(const clattn__config *config, const clattn__caps *caps, const limits *most)
{
    const uint32_t vec = config->vec, cols = config->cols;
    if (!clattn__tunable_vector(vec, caps))
        return false;
    if (cols < 1 || cols > 8 ||
        CLATTN__ADDITIVE_ROWS * cols + cols + BESIDE > caps->vector_registers)
        return false;
    if (CLATTN__ADDITIVE_PACK_KEYS % (cols * vec) || config->block_m < 1 ||
        config->block_m > most->block_m || config->block_n < 1 || config->block_n > most->block_n)
        return false;
    return config->block_m % CLATTN__ADDITIVE_ROWS == 0 && config->block_n % (cols * vec) == 0 &&
           config->block_n % 4 == 0;
}

static bool fits(const clattn__config *config, const clattn__caps *caps)
{
    return fits_within(config, caps, &forward_limits);
}

static bool gradient_fits(const clattn__config *config, const clattn__caps *caps)
{
    return fits_within(config, caps, &gradient_limits);
}

/* What both are measured by. */
static const struct {
    int64_t length, channels, value_dim;
} samples[] = {{512, 128, 128}, {200, 100, 256}};

static bool make(uint32_t index, const clattn__caps *caps, clattn__kind kind, uint64_t slots,
                 clattn__problem *problem)
{
    clattn_additive_desc desc;
    if (index >= sizeof samples / sizeof samples[0])
        return false;
    clattn_additive_desc_init(&desc);
    desc.batch = 1;
    desc.n_head = caps->compute_units > 1 ? caps->compute_units / 2 : 1;
    desc.n_q = desc.n_kv = samples[index].length;
    desc.channels = samples[index].channels;
    desc.value_dim = samples[index].value_dim;
    desc.slots = slots;
    return clattn__problem_init_additive(problem, &desc, kind) == CLATTN_OK;
}

static bool sample(uint32_t class_index, uint32_t index, const clattn__caps *caps,
                   clattn__problem *problem)
{
    (void)class_index;
    return make(index, caps, CLATTN__ADDITIVE, 0, problem);
}

static bool gradient_sample(uint32_t class_index, uint32_t index, const clattn__caps *caps,
                            clattn__problem *problem)
{
    static const uint64_t slots =
        CLATTN_SLOT_BIT(CLATTN_SLOT_GRAD_Q) | CLATTN_SLOT_BIT(CLATTN_SLOT_GRAD_K) |
        CLATTN_SLOT_BIT(CLATTN_SLOT_GRAD_V) | CLATTN_SLOT_BIT(CLATTN_SLOT_GRAD_W_SCORE);
    (void)class_index;
    return make(index, caps, CLATTN__ADDITIVE_GRADIENT, slots, problem);
}

#define TUNABLE(name, is_possible, samples_of)                                                     \
    const clattn__tunable name = {                                                                 \
        .classes = classes,                                                                        \
        .class_count = sizeof classes / sizeof classes[0],                                         \
        .steps = steps,                                                                            \
        .step_count = sizeof steps / sizeof steps[0],                                              \
        .class_of = class_of,                                                                      \
        .fits = is_possible,                                                                       \
        .sample = samples_of,                                                                      \
    }
TUNABLE(clattn__additive_tunable, fits, sample);
TUNABLE(clattn__additive_gradient_tunable, gradient_fits, gradient_sample);
