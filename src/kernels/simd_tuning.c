/* Classes, candidates and limits of attention_simd. Launches that return weights use the same tiles
 * and follow without being measured. How K and V are stored makes no class: they are packed as
 * float32 first. */
#include "kernels/simd_tuning.h"

/* Keys of a short problem: what tiles reach beyond the last key counts there. */
#define SHORT_KEYS 256
/* Fewer queries than this are few: rows of a tile beyond them would be work for nothing. */
#define FEW_QUERIES 16

/* For each bound of the dimensions, in this order. */
enum { LONG, SHORT, FEW, FULL, FEW_FULL, KINDS };

#define CLASSES(index, dim, weight, quick)                                                         \
    {"dim=" #dim, -1, 3 * (weight), quick},                                                        \
        {"dim=" #dim ",short", (index)*KINDS + LONG, weight, quick},                               \
        {"dim=" #dim ",few", (index)*KINDS + LONG, 0, false},                                      \
        {"dim=" #dim ",full", -1, 2 * (weight), false},                                            \
        {"dim=" #dim ",few,full", (index)*KINDS + FULL, 0, false},
static const clattn__problem_class classes[] = {CLASSES(0, 64, 3, true) CLASSES(
    1, 128, 3, true) CLASSES(2, 256, 1, false) CLASSES(3, 576, 1, false)};
enum { CLASS_COUNT = sizeof classes / sizeof classes[0] };

static const uint32_t bounds[] = {64, 128, 256, 576};

static bool has_few_queries(const clattn__problem *problem)
{
    return problem->extent[CLATTN__N_Q] < FEW_QUERIES;
}

bool clattn__simd_is_short(const clattn__problem *problem, const clattn__config *config)
{
    return !config->full && !has_few_queries(problem) &&
           problem->extent[CLATTN__N_KV] <= SHORT_KEYS;
}

static uint32_t class_of(const clattn__problem *problem, const clattn__config *config)
{
    const bool few = has_few_queries(problem);
    uint32_t index = 0, kind = LONG;
    while (bounds[index] < config->dim_max)
        index++;
    if (config->full)
        kind = few ? FEW_FULL : FULL;
    else if (few)
        kind = FEW;
    else if (clattn__simd_is_short(problem, config))
        kind = SHORT;
    return index * KINDS + kind;
}

/* The shapes of a tile; panels of 3 vectors need blocks that they divide. */
static const clattn__config tiles[] = {
    {.rows = 12, .cols = 2, .value_cols = 2},
    {.rows = 8, .cols = 3, .value_cols = 3, .block_n = 192},
    {.rows = 8, .cols = 2, .value_cols = 2},
    {.rows = 4, .cols = 3, .value_cols = 3, .block_n = 192},
    {.rows = 4, .cols = 4, .value_cols = 4},
    {.rows = 6, .cols = 2, .value_cols = 2},
    {.rows = 6, .cols = 4, .value_cols = 4},
    {.rows = 4, .cols = 2, .value_cols = 2},
};
static const clattn__config value_columns[] = {
    {.value_cols = 4}, {.value_cols = 3}, {.value_cols = 2}, {.value_cols = 5}};
static const clattn__config query_blocks[] = {
    {.block_m = 96}, {.block_m = 24}, {.block_m = 72}, {.block_m = 144}, {.block_m = 48}};
static const clattn__config key_blocks[] = {
    {.block_n = 512}, {.block_n = 128}, {.block_n = 384}, {.block_n = 192}, {.block_n = 256}};
/* Drivers don't always know which vectors are the fastest. */
static const clattn__config widths[] = {
    {.vec = 8, .rows = 6, .cols = 2, .value_cols = 2},
    {.vec = 4, .rows = 6, .cols = 2, .value_cols = 2},
};

static const clattn__tuning_step steps[] = {
    CLATTN__TUNING_STEP(tiles), CLATTN__TUNING_STEP(value_columns),
    CLATTN__TUNING_STEP(query_blocks), CLATTN__TUNING_STEP(key_blocks),
    CLATTN__TUNING_STEP(widths)};

/* Private memory of a work-item, bytes: it should stay in a core's second cache, and a thread's
 * stack must hold it. */
#define MOST_PRIVATE 262144
#define SCORE_PAD    16 /* floats beside a row of scores: SCORE_STEP of cl/common/simd_block.h */
/* Keys of a panel, more than which the bound of the workspace doesn't allow for. */
#define MOST_PANEL 64
#define MOST_ROWS  16
#define MOST_COLS  8
#define MOST_KEYS  1024 /* of a block */

/* Whether sums, a vector for each column and one for a row fit the registers. */
static bool is_tile(uint32_t rows, uint32_t cols, const clattn__caps *caps)
{
    return rows >= 1 && rows <= MOST_ROWS && cols >= 1 && cols <= MOST_COLS &&
           rows * cols + cols + 1 <= caps->vector_registers;
}

static bool fits(const clattn__config *config, const clattn__caps *caps)
{
    const uint32_t vec = config->vec, panel = config->cols * vec;
    if (!clattn__tunable_vector(vec, caps))
        return false;
    if (!is_tile(config->rows, config->cols, caps) ||
        !is_tile(config->rows, config->value_cols, caps))
        return false;
    if (panel > MOST_PANEL || config->block_n < 1 || config->block_n > MOST_KEYS ||
        config->block_n % panel || config->block_n % 64 || config->block_n / panel > 32)
        return false;
    if (config->block_m < 1 || config->block_m > MOST_KEYS || config->block_m % config->rows)
        return false;
    return sizeof(float) * config->block_m * (2 * config->dim_max + config->block_n + SCORE_PAD) <=
           MOST_PRIVATE;
}

/* Lanes and blocks of keys decide in which order weights are added, and when they are rescaled. A
 * product's sums over dimensions and values don't depend on the tile, nor rows on each other. */
static void follow(const clattn__config *leader, clattn__config *config)
{
    config->vec = leader->vec;
    config->block_n = leader->block_n;
}

/* What classes are measured by: plain and causal; lengths that fill whole tiles and that don't. */
static const struct {
    uint32_t kind;
    int64_t length;
    uint32_t of_dim; /* eighths of the bound */
    uint32_t causal;
    uint64_t slots;
} samples[] = {
    {LONG, 768, 8, 0, 0},
    {LONG, 768, 8, 1, 0},
    {LONG, 600, 5, 0, 0},
    {SHORT, 96, 8, 0, 0},
    {SHORT, 160, 8, 0, 0},
    {SHORT, 256, 8, 0, 0},
    {FULL, 512, 8, 0, CLATTN_SLOT_BIT(CLATTN_SLOT_MASK)},
    {FULL, 512, 8, 0, CLATTN_SLOT_BIT(CLATTN_SLOT_BIAS)},
};
enum { SAMPLES = sizeof samples / sizeof samples[0] };

/* Problems beyond this dimension are half as long. */
#define SMALL_DIM 128

static bool sample(uint32_t class_index, uint32_t index, const clattn__caps *caps,
                   clattn__problem *problem)
{
    const uint32_t dim_max = bounds[class_index / KINDS], kind = class_index % KINDS;
    uint32_t i = 0;
    while (i < SAMPLES && (samples[i].kind != kind || index-- > 0))
        i++;
    if (i == SAMPLES)
        return false;
    clattn_attention_desc desc;
    clattn_attention_desc_init(&desc);
    desc.batch = 1;
    desc.n_head = desc.n_kv_head = caps->compute_units;
    desc.n_q = desc.n_kv = samples[i].length;
    if (dim_max > SMALL_DIM && samples[i].length / 2 > SHORT_KEYS)
        desc.n_q = desc.n_kv = samples[i].length / 2;
    desc.head_dim = desc.value_dim = dim_max * samples[i].of_dim / 8;
    desc.causal = samples[i].causal;
    desc.align = desc.causal ? CLATTN_ALIGN_TOP_LEFT : CLATTN_ALIGN_NONE;
    desc.slots = samples[i].slots;
    return clattn__problem_init(problem, &desc) == CLATTN_OK;
}

const clattn__tunable clattn__simd_tunable = {
    .classes = classes,
    .class_count = CLASS_COUNT,
    .steps = steps,
    .step_count = sizeof steps / sizeof steps[0],
    .class_of = class_of,
    .fits = fits,
    .follow = follow,
    .sample = sample,
};
