/* Tiles, classes, candidates and limits of attention_decode_simd.
 *
 * What is tuned is in which order keys and values are read, which no bit of a result depends on.
 * Four streams, a line of each in turn, with lines prefetched into the first cache, need the fewest
 * reads of queries. But what is asked for out of the order of addresses doesn't set off the
 * prefetcher of some processors' second cache, which has more lines on their way at a time than the
 * first one has: one row after the other is faster there, and prefetching into the second cache
 * does no harm (docs/benchmarks.md). */
#include "kernels/decode_tuning.h"

#include "kernels/registry.h"
#include "kernels/splits.h"

/* Register tiles that fit the registers, by vector width, number of registers, and least number of
 * queries that share keys. */
static const clattn__decode_tile tiles[] = {
    {16, 32, 3, 4, 4}, {16, 32, 2, 2, 8}, {16, 32, 1, 1, 8}, {8, 16, 3, 4, 2}, {8, 16, 2, 2, 4},
    {8, 16, 1, 1, 8},  {4, 16, 3, 4, 2},  {4, 16, 2, 2, 4},  {4, 16, 1, 1, 8},
};

int64_t clattn__decode_queries(const clattn__problem *problem)
{
    return problem->cascade ? CLATTN__DECODE_CASCADE : clattn__shared_rows(problem);
}

const clattn__decode_tile *clattn__decode_tile_of(int64_t queries, const clattn__caps *caps)
{
    const uint32_t last = sizeof tiles / sizeof tiles[0] - 1;
    uint32_t i = 0;
    while (i < last && (tiles[i].vec > caps->vector_width ||
                        tiles[i].registers > caps->vector_registers || queries < tiles[i].least))
        i++;
    return &tiles[i];
}

/* Least queries that share keys, as in the table of tiles. */
static const int64_t queries[] = {1, 2, 3};
enum { CLASSES = sizeof queries / sizeof queries[0] };

static const clattn__problem_class classes[CLASSES] = {
    {"queries=1", -1, 2, true}, {"queries=2", -1, 1, false}, {"queries=3+", -1, 2, true}};

static uint32_t class_of(const clattn__problem *problem, const clattn__config *config)
{
    const int64_t sharing = clattn__decode_queries(problem);
    uint32_t i = CLASSES - 1;
    (void)config;
    while (i > 0 && sharing < queries[i])
        i--;
    return i;
}

static const clattn__config streams[] = {{.streams = 1}, {.streams = 4}};

static const clattn__tuning_step steps[] = {CLATTN__TUNING_STEP(streams)};

/* The tile is what the device has, else files of other devices would change it. */
static bool fits(const clattn__config *config, const clattn__caps *caps)
{
    const clattn__decode_tile *tile = clattn__decode_tile_of(config->rows, caps);
    return config->vec == tile->vec && config->rows == tile->rows &&
           config->value_cols == tile->value_cols && config->block_m > 0 &&
           config->block_m <= CLATTN__DECODE_CASCADE && config->block_m % config->rows == 0 &&
           (config->streams == 1 || config->streams == 4);
}

/* Keys and values of 32 MiB and 8 MiB: neither in a cache of a core, nor slow to fill. */
static const int64_t lengths[] = {8192, 2048};

static bool sample(uint32_t class_index, uint32_t index, const clattn__caps *caps,
                   clattn__problem *problem)
{
    clattn_attention_desc desc;
    if (index >= sizeof lengths / sizeof lengths[0])
        return false;
    (void)caps;
    clattn_attention_desc_init(&desc);
    desc.batch = 1;
    desc.n_kv_head = 4;
    desc.n_head = desc.n_kv_head * (queries[class_index] > 2 ? 4 : queries[class_index]);
    desc.n_q = 1;
    desc.n_kv = lengths[index];
    desc.head_dim = desc.value_dim = 128;
    return clattn__problem_init(problem, &desc) == CLATTN_OK;
}

const clattn__tunable clattn__decode_tunable = {
    .classes = classes,
    .class_count = CLASSES,
    .steps = steps,
    .step_count = sizeof steps / sizeof steps[0],
    .class_of = class_of,
    .fits = fits,
    .sample = sample,
};
