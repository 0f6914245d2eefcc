/* The table of tensor options, and what follows from it: reading, checking, allocating, writing. */
#include "tool/attention_tensors.h"

#include <inttypes.h>
#include <string.h>

#include "tool/options.h"

static const tensor_option table[] = {
    {CLATTN_SLOT_Q,
     false,
     true,
     "q",
     "--q",
     "queries, .npy, (batch, head, query, dim)",
     4,
     {DIM_BATCH, DIM_N_HEAD, DIM_N_Q, DIM_HEAD_DIM}},
    {CLATTN_SLOT_K,
     false,
     true,
     "k",
     "--k",
     "keys, (batch, key/value head, key, dim)",
     4,
     {DIM_BATCH, DIM_N_KV_HEAD, DIM_N_KV, DIM_HEAD_DIM}},
    {CLATTN_SLOT_V,
     false,
     true,
     "v",
     "--v",
     "values, (batch, key/value head, key, value dim)",
     4,
     {DIM_BATCH, DIM_N_KV_HEAD, DIM_N_KV, DIM_VALUE_DIM}},
    {CLATTN_SLOT_OUT,
     true,
     true,
     "out",
     "--out",
     "output, (batch, head, query, value dim)",
     4,
     {DIM_BATCH, DIM_N_HEAD, DIM_N_Q, DIM_VALUE_DIM}},
    {CLATTN_SLOT_LSE,
     true,
     false,
     "lse",
     "--lse",
     "log-sum-exp, (batch, head, query)",
     3,
     {DIM_BATCH, DIM_N_HEAD, DIM_N_Q}},
    {CLATTN_SLOT_WEIGHTS,
     true,
     false,
     "weights",
     "--weights",
     "softmax of the scores, (batch, head, query, key)",
     4,
     {DIM_BATCH, DIM_N_HEAD, DIM_N_Q, DIM_N_KV}},
};
enum { ROWS = sizeof table / sizeof table[0] };

static const char *const dim_names[TENSOR_DIMS] = {
    [DIM_BATCH] = "batch",
    [DIM_N_HEAD] = "number of heads",
    [DIM_N_KV_HEAD] = "number of heads",
    [DIM_N_Q] = "number of queries",
    [DIM_N_KV] = "number of keys",
    [DIM_HEAD_DIM] = "head dimension",
    [DIM_VALUE_DIM] = "value dimension",
};

const tensor_option *tensor_option_get(uint32_t index)
{
    return index < ROWS ? &table[index] : NULL;
}

/* Dimensions that the arrays lack in front: 0 for 4-D queries, 1 for 3-D, 2 for 2-D. */
static uint32_t missing_dims(const attention_tensors *tensors)
{
    return 4 - tensors->array[CLATTN_SLOT_Q].rank;
}

static bool check_rank(const attention_tensors *tensors, const tensor_option *option)
{
    const char *path = tensors->path[option->slot];
    const uint32_t rank = tensors->array[option->slot].rank;
    const uint32_t wanted = tensors->array[CLATTN_SLOT_Q].rank;
    if (rank >= 2 && rank <= 4 && rank == wanted)
        return true;
    if (option->slot == CLATTN_SLOT_Q || rank < 2 || rank > 4)
        failure(option->argument,
                "%s: has %" PRIu32 " dimensions; expected 4 (batch, head, sequence, dim), "
                "3 (head, sequence, dim) or 2 (sequence, dim)",
                path, rank);
    else
        failure(option->argument, "%s: has %" PRIu32 " dimensions, --q has %" PRIu32, path, rank,
                wanted);
    return false;
}

/* Takes the extents of one input; `owner` has the row that an extent came from. */
static bool take_extents(attention_tensors *tensors, const tensor_option *option,
                         const tensor_option **owner)
{
    const npy_array *array = &tensors->array[option->slot];
    const uint32_t missing = missing_dims(tensors);
    for (uint32_t i = 0; i < option->rank; i++) {
        const tensor_dim dim = option->shape[i];
        const int64_t extent = i < missing ? 1 : array->shape[i - missing];
        if (owner[dim] && tensors->extent[dim] != extent) {
            failure(option->argument, "%s: %s is %" PRId64 ", that of %s is %" PRId64,
                    tensors->path[option->slot], dim_names[dim], extent, owner[dim]->argument,
                    tensors->extent[dim]);
            return false;
        }
        owner[dim] = option;
        tensors->extent[dim] = extent;
    }
    return true;
}

bool tensors_read(attention_tensors *tensors)
{
    const tensor_option *owner[TENSOR_DIMS] = {0};
    for (int i = 0; i < ROWS; i++) {
        const tensor_option *option = &table[i];
        const char *path = tensors->path[option->slot];
        if (option->written || !path)
            continue;
        if (!npy_read_floats(option->argument, path, &tensors->array[option->slot]) ||
            !check_rank(tensors, option) || !take_extents(tensors, option, owner))
            return false;
    }
    return true;
}

static bool open_outputs(attention_tensors *tensors)
{
    for (int i = 0; i < ROWS; i++)
        if (table[i].written && !output_open(&tensors->file[table[i].slot], table[i].argument,
                                             tensors->path[table[i].slot]))
            return false;
    return output_targets_differ(tensors->file, CLATTN_SLOT_LIMIT);
}

bool tensors_prepare_outputs(attention_tensors *tensors)
{
    const uint32_t missing = missing_dims(tensors);
    if (!open_outputs(tensors))
        return false;
    for (int i = 0; i < ROWS; i++) {
        const tensor_option *option = &table[i];
        int64_t shape[4];
        for (uint32_t d = missing; d < option->rank; d++)
            shape[d - missing] = tensors->extent[option->shape[d]];
        if (option->written && tensors->path[option->slot] &&
            !npy_allocate(option->argument, shape, option->rank - missing,
                          &tensors->array[option->slot]))
            return false;
    }
    return true;
}

bool tensors_write(attention_tensors *tensors)
{
    for (int i = 0; i < ROWS; i++)
        if (table[i].written &&
            !output_write_npy(&tensors->file[table[i].slot], &tensors->array[table[i].slot]))
            return false;
    return output_commit_all(tensors->file, CLATTN_SLOT_LIMIT);
}

void tensors_finish(attention_tensors *tensors)
{
    for (int i = 0; i < CLATTN_SLOT_LIMIT; i++) {
        npy_finish(&tensors->array[i]);
        output_finish(&tensors->file[i]);
    }
    memset(tensors, 0, sizeof *tensors);
}
