/* The suites of clattn bench as tables: each row is a grid of shapes. */
#include <stdlib.h>

#include "tool/bench_shape.h"

#define MOST_VALUES 8

/* Which features follow the plain shape; UNEVEN_ALONE has that one in its place. */
typedef enum extra_features { NO_FEATURES, OF_MEMORY, ALL_FEATURES, UNEVEN_ALONE } extra_features;

/* Every combination, the last one fastest: heads, head_dim, length, causal. Lists end with 0. */
typedef struct bench_grid {
    int suite;
    struct {
        int64_t query, kv;
    } heads[MOST_VALUES];
    int64_t head_dim[MOST_VALUES], length[MOST_VALUES]; /* length: keys */
    int64_t queries;                                    /* 0: as many as keys */
    int masks;                                          /* 1: not causal; 2: causal as well */
    bool backward;
    extra_features features;
    int64_t batch;
} bench_grid;

static const bench_grid grids[] = {
    {BENCH_SUITE_SHORT,
     {{8, 8}, {12, 12}},
     {64},
     {64, 96, 128, 256, 384, 512},
     0,
     1,
     false,
     NO_FEATURES,
     1},
    {BENCH_SUITE_PREFILL,
     {{8, 8}, {32, 8}},
     {64, 80, 128},
     {512, 1024, 2048, 4096},
     0,
     2,
     false,
     NO_FEATURES,
     1},
    {BENCH_SUITE_FEATURES, {{8, 8}}, {64}, {512, 1024}, 0, 1, false, ALL_FEATURES, 1},
    {BENCH_SUITE_BACKWARD, {{8, 8}}, {64, 128}, {512, 1024, 2048}, 0, 2, true, NO_FEATURES, 1},
    {BENCH_SUITE_DECODE,
     {{32, 32}, {32, 8}, {32, 4}},
     {128},
     {4096, 8192, 16384, 32768},
     1,
     1,
     false,
     OF_MEMORY,
     1},
    {BENCH_SUITE_DECODE, {{32, 32}, {32, 8}}, {128}, {8192}, 1, 1, false, UNEVEN_ALONE, 16},
};

bool bench_list_add(bench_list *list, const bench_shape *shape)
{
    bench_shape *grown = realloc(list->shape, (list->count + (size_t)1) * sizeof *grown);
    if (!grown)
        return false;
    grown[list->count++] = *shape;
    list->shape = grown;
    return true;
}

void bench_list_finish(bench_list *list)
{
    free(list->shape);
    *list = (bench_list){0};
}

static bool is_wanted(extra_features wanted, const bench_feature *feature)
{
    switch (wanted) {
    case OF_MEMORY: /* how keys and values are stored */
        return feature->type ||
               (feature->slots & CLATTN_SLOT_BIT(CLATTN_SLOT_PAGES) && !feature->uneven);
    case ALL_FEATURES: /* of a batch of one */
        return !feature->uneven;
    case UNEVEN_ALONE:
        return feature->uneven;
    default:
        return false;
    }
}

static bool add_features(bench_list *list, const bench_grid *grid, bench_shape *shape)
{
    const stored_type *type = shape->type;
    bool good = grid->features == UNEVEN_ALONE || bench_list_add(list, shape);
    for (uint32_t i = 0; good && bench_feature_get(i); i++) {
        bench_shape with = *shape;
        if (!is_wanted(grid->features, bench_feature_get(i)))
            continue;
        bench_shape_set_feature(&with, bench_feature_get(i), type);
        good = bench_list_add(list, &with);
    }
    return good;
}

static bool add_lengths(bench_list *list, const bench_grid *grid, bench_shape *shape)
{
    for (const int64_t *length = grid->length; *length; length++)
        for (int causal = 0; causal < grid->masks; causal++) {
            shape->n_kv = *length;
            shape->n_q = grid->queries ? grid->queries : *length;
            shape->causal = causal == 1;
            if (!add_features(list, grid, shape))
                return false;
        }
    return true;
}

static bool add_grid(bench_list *list, const bench_grid *grid, const stored_type *type)
{
    for (size_t h = 0; grid->heads[h].query; h++)
        for (const int64_t *dim = grid->head_dim; *dim; dim++) {
            bench_shape shape = {.batch = grid->batch,
                                 .n_head = grid->heads[h].query,
                                 .n_kv_head = grid->heads[h].kv,
                                 .head_dim = *dim,
                                 .backward = grid->backward,
                                 .type = type};
            if (!add_lengths(list, grid, &shape))
                return false;
        }
    return true;
}

/* Square weights, 512 rows; the projection and its gradients. */
static bool add_linear(bench_list *list, const stored_type *type)
{
    static const int64_t widths[] = {384, 768, 1024, 1536, 2048};
    for (size_t i = 0; i < sizeof widths / sizeof widths[0]; i++)
        for (int linear = BENCH_LINEAR; linear <= BENCH_LINEAR_W; linear++) {
            const bench_shape shape = {.batch = 1,
                                       .n_head = 1,
                                       .n_kv_head = 1,
                                       .n_q = 512,
                                       .n_kv = widths[i],
                                       .head_dim = widths[i],
                                       .linear = (bench_linear)linear,
                                       .type = type};
            if (!bench_list_add(list, &shape))
                return false;
        }
    return true;
}

/* One head, 128 channels and values; forward and backward. */
static bool add_additive(bench_list *list, const stored_type *type)
{
    static const int64_t lengths[] = {128, 512, 1024};
    for (size_t i = 0; i < sizeof lengths / sizeof lengths[0]; i++)
        for (int backward = 0; backward < 2; backward++) {
            const bench_shape shape = {.batch = 1,
                                       .n_head = 1,
                                       .n_kv_head = 1,
                                       .n_q = lengths[i],
                                       .n_kv = lengths[i],
                                       .head_dim = 128,
                                       .backward = backward == 1,
                                       .additive = true,
                                       .type = type};
            if (!bench_list_add(list, &shape))
                return false;
        }
    return true;
}

bool bench_list_add_suite(bench_list *list, int suite, const stored_type *type)
{
    for (size_t i = 0; i < sizeof grids / sizeof grids[0]; i++)
        if ((suite == BENCH_SUITE_ALL || grids[i].suite == suite) &&
            !add_grid(list, &grids[i], type))
            return false;
    if ((suite == BENCH_SUITE_ALL || suite == BENCH_SUITE_LINEAR) && !add_linear(list, type))
        return false;
    if (suite == BENCH_SUITE_ALL || suite == BENCH_SUITE_ADDITIVE)
        return add_additive(list, type);
    return true;
}
