/* From the table of tensor options to arrays: what the files must look like, and what they do. */
#include "tool/attention_tensors.h"

#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "tool/options.h"

/* Who an extent came from, and where it may be used. */
typedef struct extents {
    attention_tensors *tensors;
    const tensor_option *owner[TENSOR_DIMS];
} extents;

bool tensors_is_given(const attention_tensors *tensors, const char *name)
{
    for (uint32_t row = 0; tensor_option_get(row); row++)
        if (strcmp(tensor_option_get(row)->name, name) == 0)
            return tensors->path[row] != NULL;
    return false;
}

bool tensors_has(const attention_tensors *tensors, clattn_slot slot)
{
    for (uint32_t row = 0; tensor_option_get(row); row++)
        if (tensor_option_get(row)->slot == slot && tensors->path[row])
            return true;
    return false;
}

bool tensors_takes_part(const attention_tensors *tensors, uint32_t row)
{
    return tensors->path[row] ||
           (tensors->between & CLATTN_SLOT_BIT(tensor_option_get(row)->slot)) != 0;
}

int64_t tensors_length(const attention_tensors *tensors, clattn_slot slot, int64_t b)
{
    const bool is_q = slot == CLATTN_SLOT_Q;
    const int32_t *lengths =
        tensors->lengths[is_q ? CLATTN_SLOT_Q_LENGTHS : CLATTN_SLOT_KV_LENGTHS];
    if (!lengths)
        return tensors->extent[is_q ? DIM_N_Q : DIM_N_KEYS];
    return tensors->ragged ? lengths[b + 1] - lengths[b] : lengths[b];
}

/* The dimensions of the file of a row; their number. */
static uint32_t file_dims(const attention_tensors *tensors, const tensor_option *option,
                          tensor_dim dims[4])
{
    const uint32_t rank = tensors->array[CLATTN_SLOT_Q].rank;
    uint32_t count = 0;
    if (tensors->ragged && option->form == FORM_SEQUENCE) {
        dims[0] = option->shape[2] == DIM_N_Q ? DIM_TOTAL_Q : DIM_TOTAL_KV;
        dims[1] = option->shape[1];
        dims[2] = option->shape[3];
        return option->rank - 1;
    }
    for (uint32_t i = 0; i < option->rank; i++) {
        const tensor_dim dim = option->shape[i];
        const bool is_head = dim == DIM_N_HEAD || dim == DIM_N_KV_HEAD;
        const bool lacks = !tensors->ragged && option->form != FORM_VECTOR &&
                           ((dim == DIM_BATCH && rank < 4) || (is_head && rank < 3));
        if (!lacks)
            dims[count++] = dim;
    }
    return count;
}

static bool refuse_rank(const attention_tensors *tensors, uint32_t row, const char *expected)
{
    const tensor_option *option = tensor_option_get(row);
    failure(option->argument, "%s: has %" PRIu32 " dimensions; expected %s", tensors->path[row],
            tensors->array[option->slot].rank, expected);
    return false;
}

static bool check_rank(const attention_tensors *tensors, uint32_t row)
{
    const tensor_option *option = tensor_option_get(row);
    const uint32_t rank = tensors->array[option->slot].rank;
    const uint32_t lacking = 4 - option->rank; /* of log-sum-exp, the last dimension */
    const uint32_t wanted = tensors->array[CLATTN_SLOT_Q].rank - lacking;
    if (option->form == FORM_VECTOR)
        return rank == option->rank || refuse_rank(tensors, row, "1");
    if (option->form == FORM_BROADCAST)
        return rank <= option->rank || refuse_rank(tensors, row, "at most 4");
    if (tensors->ragged && lacking)
        return rank == 2 || refuse_rank(tensors, row, "2 (token, head), because of --cu-seqlens-q");
    if (tensors->ragged)
        return rank == 3 ||
               refuse_rank(tensors, row, "3 (token, head, dim), because of --cu-seqlens-q");
    if (!lacking && (rank < 2 || rank > 4))
        return refuse_rank(tensors, row,
                           "4 (batch, head, sequence, dim), 3 (head, sequence, dim) or "
                           "2 (sequence, dim)");
    if (rank == wanted)
        return true;
    failure(option->argument, "%s: has %" PRIu32 " dimensions, --q has %" PRIu32,
            tensors->path[row], rank, wanted);
    return false;
}

/* Takes the extents of one input. */
static bool take_extents(extents *of, uint32_t row)
{
    const tensor_option *option = tensor_option_get(row);
    const npy_array *array = &of->tensors->array[option->slot];
    int64_t *extent = of->tensors->extent;
    tensor_dim dims[4];
    const uint32_t count = file_dims(of->tensors, option, dims);
    if (option->slot == CLATTN_SLOT_Q && !of->tensors->ragged) /* what they lack is 1 */
        of->owner[DIM_BATCH] = of->owner[DIM_N_HEAD] = option;
    for (uint32_t i = 0; i < count; i++) {
        const tensor_dim dim = dims[i];
        if (option->slot != CLATTN_SLOT_Q && of->owner[dim] && extent[dim] != array->shape[i]) {
            failure(option->argument, "%s: %s is %" PRId64 ", that of %s is %" PRId64,
                    of->tensors->path[row], tensor_dim_name(dim), array->shape[i],
                    of->owner[dim]->argument, extent[dim]);
            return false;
        }
        of->owner[dim] = option;
        extent[dim] = array->shape[i];
    }
    return true;
}

/* The last dimension of the array meets the last one of the row. */
static bool check_broadcast(const attention_tensors *tensors, uint32_t row)
{
    const tensor_option *option = tensor_option_get(row);
    const npy_array *array = &tensors->array[option->slot];
    const uint32_t lacking = option->rank - array->rank;
    for (uint32_t i = 0; i < array->rank; i++) {
        const tensor_dim dim = option->shape[lacking + i];
        if (array->shape[i] != 1 && array->shape[i] != tensors->extent[dim]) {
            failure(option->argument,
                    "%s: dimension %" PRIu32 " of %" PRIu32 " is %" PRId64
                    ", must be 1 or the %s, %" PRId64,
                    tensors->path[row], i + 1, array->rank, array->shape[i], tensor_dim_name(dim),
                    tensors->extent[dim]);
            return false;
        }
    }
    return true;
}

static bool read_rows(extents *of, bool broadcast)
{
    attention_tensors *tensors = of->tensors;
    for (uint32_t row = 0; tensor_option_get(row); row++) {
        const tensor_option *option = tensor_option_get(row);
        if (!option->read || !tensors->path[row] || (option->form == FORM_BROADCAST) != broadcast)
            continue;
        if (!option->read(option->argument, tensors->path[row], &tensors->array[option->slot]) ||
            !check_rank(tensors, row))
            return false;
        if (broadcast ? !check_broadcast(tensors, row) : !take_extents(of, row))
            return false;
    }
    return true;
}

static bool refuse_length(const attention_tensors *tensors, uint32_t row, int64_t at,
                          const char *expected, int64_t number)
{
    const tensor_option *option = tensor_option_get(row);
    failure(option->argument, "%s: element %" PRId64 " is %" PRId64 ", must be %s %" PRId64,
            tensors->path[row], at, tensors->array[option->slot].integers[at], expected, number);
    return false;
}

/* Where sequences end: from 0 on, never descending. The longest sequence is the bound. */
static bool check_ends(attention_tensors *tensors, uint32_t row)
{
    const tensor_option *option = tensor_option_get(row);
    const npy_array *array = &tensors->array[option->slot];
    const bool is_q = option->slot == CLATTN_SLOT_Q_LENGTHS;
    const int64_t total = tensors->extent[is_q ? DIM_TOTAL_Q : DIM_TOTAL_KV];
    int64_t longest = 0;
    if (array->count == 0) {
        failure(option->argument, "%s: is empty, must begin with 0", tensors->path[row]);
        return false;
    }
    for (int64_t i = 0; i < array->count; i++) {
        const int64_t end = array->integers[i], begin = i ? array->integers[i - 1] : 0;
        if (i == 0 && end != 0)
            return refuse_length(tensors, row, i, "the begin of the first sequence,", 0);
        if (end < begin)
            return refuse_length(tensors, row, i, "at least the one before it,", begin);
        if (end > total)
            return refuse_length(tensors, row, i, "at most the number of tokens,", total);
        longest = end - begin > longest ? end - begin : longest;
    }
    tensors->extent[DIM_BATCH] = array->count - 1;
    tensors->extent[is_q ? DIM_N_Q : DIM_N_KV] = longest;
    return true;
}

static bool check_lengths(const attention_tensors *tensors, uint32_t row)
{
    const npy_array *array = &tensors->array[tensor_option_get(row)->slot];
    const bool is_q = tensor_option_get(row)->slot == CLATTN_SLOT_Q_LENGTHS;
    const int64_t most = tensors->extent[is_q ? DIM_N_Q : DIM_N_KEYS];
    for (int64_t i = 0; i < array->count; i++)
        if (array->integers[i] < 0 || array->integers[i] > most)
            return refuse_length(tensors, row, i,
                                 is_q ? "0 to the number of queries," : "0 to the number of keys,",
                                 most);
    return true;
}

/* Checks lengths, and keeps them as int32. */
static bool take_lengths(attention_tensors *tensors, uint32_t row)
{
    const tensor_option *option = tensor_option_get(row);
    const npy_array *array = &tensors->array[option->slot];
    if (tensors->ragged ? !check_ends(tensors, row) : !check_lengths(tensors, row))
        return false;
    int32_t *lengths = malloc(((size_t)array->count + 1) * sizeof *lengths);
    if (!lengths) {
        failure(option->argument, "%s: does not fit into memory", tensors->path[row]);
        return false;
    }
    for (int64_t i = 0; i < array->count; i++)
        lengths[i] = (int32_t)array->integers[i];
    tensors->lengths[option->slot] = lengths;
    return true;
}

bool tensors_read(attention_tensors *tensors)
{
    extents of = {.tensors = tensors};
    int64_t *extent = tensors->extent;
    tensors->ragged = tensors_is_given(tensors, "cu-seqlens-q");
    extent[DIM_ONE] = extent[DIM_BATCH] = extent[DIM_N_HEAD] = extent[DIM_N_KV_HEAD] = 1;
    if (!read_rows(&of, false))
        return false;
    extent[DIM_N_KEYS] = extent[DIM_N_KV] + extent[DIM_N_PAST];
    for (uint32_t row = 0; tensor_option_get(row); row++)
        if (tensors->path[row] && tensor_option_get(row)->type == TYPE_LENGTH &&
            !take_lengths(tensors, row))
            return false;
    extent[DIM_N_KEYS] = extent[DIM_N_KV] + extent[DIM_N_PAST];
    return read_rows(&of, true);
}

static bool open_outputs(attention_tensors *tensors)
{
    for (uint32_t row = 0; tensor_option_get(row); row++) {
        const tensor_option *option = tensor_option_get(row);
        if (!option->read &&
            !output_open(&tensors->file[option->slot], option->argument, tensors->path[row]))
            return false;
    }
    return output_targets_differ(tensors->file, CLATTN_SLOT_LIMIT);
}

/* The shape of an output's file; its number of dimensions. That of a broadcast one is its input's.
 */
static uint32_t shape_of(const attention_tensors *tensors, const tensor_option *option,
                         int64_t shape[4])
{
    const npy_array *bias = &tensors->array[CLATTN_SLOT_BIAS];
    tensor_dim dims[4];
    if (option->form == FORM_BROADCAST) {
        memcpy(shape, bias->shape, bias->rank * sizeof *shape);
        return bias->rank;
    }
    const uint32_t rank = file_dims(tensors, option, dims);
    for (uint32_t d = 0; d < rank; d++)
        /* NOLINTNEXTLINE(clang-analyzer-core.uninitialized.ArraySubscript): there are rank */
        shape[d] = tensors->extent[dims[d]];
    return rank;
}

/* Makes one array for each output, all 0: what no sequence has is neither computed nor touched. */
static bool allocate_outputs(attention_tensors *tensors, npy_array *arrays)
{
    for (uint32_t row = 0; tensor_option_get(row); row++) {
        const tensor_option *option = tensor_option_get(row);
        npy_array *array = &arrays[option->slot];
        int64_t shape[4];
        if (option->read || !tensors_takes_part(tensors, row))
            continue;
        const uint32_t rank = shape_of(tensors, option, shape);
        if (!npy_allocate(option->argument, shape, rank, array))
            return false;
        array->whole = option->type == TYPE_INDEX;
        for (int64_t i = 0; tensors->ragged && option->slot == CLATTN_SLOT_LSE && i < array->count;
             i++)
            array->data[i] = -INFINITY;
    }
    return true;
}

bool tensors_prepare_outputs(attention_tensors *tensors)
{
    return open_outputs(tensors) && allocate_outputs(tensors, tensors->array);
}

bool tensors_prepare_second(attention_tensors *tensors)
{
    return allocate_outputs(tensors, tensors->second);
}

bool tensors_write(attention_tensors *tensors)
{
    for (uint32_t row = 0; tensor_option_get(row); row++) {
        const clattn_slot slot = tensor_option_get(row)->slot;
        if (!tensor_option_get(row)->read &&
            !output_write_npy(&tensors->file[slot], &tensors->array[slot]))
            return false;
    }
    return output_commit_all(tensors->file, CLATTN_SLOT_LIMIT);
}

void tensors_finish(attention_tensors *tensors)
{
    for (int i = 0; i < CLATTN_SLOT_LIMIT; i++) {
        npy_finish(&tensors->array[i]);
        npy_finish(&tensors->second[i]);
        free(tensors->lengths[i]);
        output_finish(&tensors->file[i]);
    }
    memset(tensors, 0, sizeof *tensors);
}
