/* Masks as onnx_mask.h has them. */
#include "onnx_mask.h"

#include <stdlib.h>
#include <string.h>

static const struct mask_type {
    const char *type;
    clattn_slot slot;
    unsigned char hidden[4]; /* an element that makes its key invisible: false, or -infinity */
} mask_types[] = {
    {"b1", CLATTN_SLOT_MASK, {0}},
    {"f4", CLATTN_SLOT_BIAS, {0, 0, 0x80, 0xff}},
    {"f2", CLATTN_SLOT_BIAS, {0, 0xfc}},
};

static const struct mask_type *type_of(const npy_array *mask)
{
    for (size_t i = 0; i < sizeof mask_types / sizeof mask_types[0]; i++)
        if (strcmp(mask_types[i].type, mask->type) == 0)
            return &mask_types[i];
    return NULL;
}

/* Copies rows of `from` elements into rows of `to`, the rest hidden; size: bytes of an element. */
static void extend_rows(unsigned char *bytes, const npy_array *mask, int64_t to,
                        const unsigned char *hidden)
{
    const size_t size = npy_type_size(mask->type);
    const int64_t from = mask->shape[mask->rank - 1];
    const int64_t rows = from ? mask->count / from : 0;
    for (int64_t row = 0; row < rows; row++)
        for (int64_t i = 0; i < to; i++) {
            const unsigned char *element = mask->bytes + (size_t)(row * from + i) * size;
            memcpy(bytes + (size_t)(row * to + i) * size, i < from ? element : hidden, size);
        }
}

const char *onnx_mask_read(const npy_array *mask, int64_t keys, clattn_slot *slot, npy_array *whole)
{
    const struct mask_type *type = type_of(mask);
    npy_array like = *mask;
    if (!type)
        return "attn_mask is neither bool nor float32 nor float16";
    if (mask->rank < 1 || mask->rank > 4)
        return "attn_mask has neither 1, 2, 3 nor 4 dimensions";
    const int64_t from = mask->shape[mask->rank - 1];
    if (from < 1 || from > keys)
        return "attn_mask is empty, or longer than the keys";
    like.shape[mask->rank - 1] = keys;
    like.count = mask->count / from * keys;
    unsigned char *bytes = malloc((size_t)like.count * npy_type_size(mask->type) + 1);
    if (bytes)
        extend_rows(bytes, mask, keys, type->hidden);
    const int good = bytes && npy_from_bytes(&like, mask->type, bytes, whole);
    free(bytes);
    *slot = type->slot;
    return good ? NULL : "attn_mask doesn't fit into memory";
}
