/* Layouts: one function for each, by table. */
#include "layout.h"

#include <stdio.h>

static bool has_shape(const npy_array *array, const slot_shape *shape)
{
    bool same = array->rank == shape->rank;
    for (uint32_t i = 0; same && i < array->rank; i++)
        same = array->shape[i] == shape->extent[i];
    return same;
}

static bool fit_plain(const npy_array *array, const slot_shape *shape, clattn_tensor *tensor)
{
    (void)tensor; /* contiguous without strides */
    return has_shape(array, shape);
}

static bool fit_broadcast(const npy_array *array, const slot_shape *shape, clattn_tensor *tensor)
{
    int64_t stride = 1;
    if (array->rank > shape->rank)
        return false;
    tensor->strided = 1;
    const uint32_t missing = shape->rank - array->rank;
    for (uint32_t i = array->rank; i-- > 0;) {
        const int64_t extent = array->shape[i], wanted = shape->extent[missing + i];
        if (extent != wanted && extent != 1)
            return false;
        tensor->stride[missing + i] = extent == 1 ? 0 : stride;
        stride *= extent;
    }
    return true;
}

static bool fit_packed(const npy_array *array, const slot_shape *shape, clattn_tensor *tensor)
{
    const int64_t *e = shape->extent;
    if (shape->rank != 4)
        return false;
    const int64_t row = e[1] * e[3];
    tensor->strided = 1;
    tensor->stride[0] = e[2] * row;
    tensor->stride[1] = e[3];
    tensor->stride[2] = row;
    tensor->stride[3] = 1;
    return has_shape(array, &(slot_shape){3, {e[0], e[2], row}});
}

static bool fit_headless(const npy_array *array, const slot_shape *shape, clattn_tensor *tensor)
{
    slot_shape headless = {.rank = shape->rank - 1};
    (void)tensor;
    if (shape->rank < 2 || shape->extent[1] != 1)
        return false;
    headless.extent[0] = shape->extent[0];
    for (uint32_t i = 1; i < headless.rank; i++)
        headless.extent[i] = shape->extent[i + 1];
    return has_shape(array, &headless);
}

static const struct layout_row {
    bool (*fit)(const npy_array *array, const slot_shape *shape, clattn_tensor *tensor);
    const char *words;
} layouts[] = {
    [LAYOUT_PLAIN] = {fit_plain, "is not"},
    [LAYOUT_BROADCAST] = {fit_broadcast, "can't be broadcast to"},
    [LAYOUT_PACKED] = {fit_packed, "is not (batch, sequence, heads * dim) of"},
    [LAYOUT_HEADLESS] = {fit_headless, "does not have the one head left out of"},
};

/* "(2, 3)" */
static void write_shape(char *text, size_t size, uint32_t rank, const int64_t *extent)
{
    size_t at = (size_t)snprintf(text, size, "(");
    for (uint32_t i = 0; i < rank && at < size; i++)
        at += (size_t)snprintf(text + at, size - at, i ? ", %lld" : "%lld", (long long)extent[i]);
    if (at < size)
        snprintf(text + at, size - at, ")");
}

bool layout_fit(layout how, const npy_array *array, const slot_shape *shape, clattn_tensor *tensor,
                char *why, size_t size)
{
    char found[96], wanted[96];
    tensor->strided = 0;
    for (uint32_t i = 0; i < CLATTN_RANK_LIMIT; i++)
        tensor->stride[i] = 0;
    if (layouts[how].fit(array, shape, tensor))
        return true;
    write_shape(found, sizeof found, array->rank, array->shape);
    write_shape(wanted, sizeof wanted, shape->rank, shape->extent);
    snprintf(why, size, "its shape %s %s %s", found, layouts[how].words, wanted);
    return false;
}
