/* The conformance runner's arrays: reading .npy files, layouts in a slot's shape, ONNX' masks. */
#include <criterion/criterion.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tests/conformance/layout.h"
#include "tests/conformance/npy.h"
#include "tests/conformance/onnx_mask.h"
#include "tests/conformance/slots.h"

/* An array of the shape without elements: enough for layouts. */
static npy_array shaped(uint32_t rank, int64_t a, int64_t b, int64_t c, int64_t d)
{
    npy_array array = {.type = "f4", .rank = rank, .shape = {a, b, c, d}, .count = 1};
    for (uint32_t i = 0; i < rank; i++)
        array.count *= array.shape[i];
    return array;
}

static clattn_attention_desc described(void)
{
    clattn_attention_desc d;
    clattn_attention_desc_init(&d);
    d.batch = 2;
    d.n_head = 6;
    d.n_kv_head = 3;
    d.n_q = 4;
    d.n_kv = 5;
    d.n_past = 7;
    d.head_dim = 8;
    d.value_dim = 9;
    d.total_q = 10;
    d.total_kv = 11;
    return d;
}

static bool fits(layout how, const npy_array *array, clattn_slot slot, clattn_tensor *tensor)
{
    const clattn_attention_desc d = described();
    slot_shape shape;
    char why[256] = "";
    cr_assert(slot_shape_of(&d, slot, &shape));
    const bool good = layout_fit(how, array, &shape, tensor, why, sizeof why);
    cr_expect_eq(good, why[0] == 0, "the sentence and the result disagree");
    return good;
}

static void expect_strides(const clattn_tensor *tensor, const int64_t *stride)
{
    cr_expect_eq(tensor->strided, 1);
    for (int i = 0; i < 4; i++)
        cr_expect_eq(tensor->stride[i], stride[i], "stride %d is %lld", i,
                     (long long)tensor->stride[i]);
}

Test(conformance_slots, shapes)
{
    clattn_attention_desc d = described();
    slot_shape shape;
    cr_assert(slot_shape_of(&d, CLATTN_SLOT_PRESENT_V, &shape));
    const int64_t present[] = {2, 3, 12, 9};
    cr_expect_eq(shape.rank, 4);
    cr_expect_eq(memcmp(shape.extent, present, sizeof present), 0);
    d.ragged = 1;
    cr_assert(slot_shape_of(&d, CLATTN_SLOT_K, &shape));
    const int64_t ragged[] = {11, 3, 8};
    cr_expect_eq(shape.rank, 3);
    cr_expect_eq(memcmp(shape.extent, ragged, sizeof ragged), 0);
    cr_assert(slot_shape_of(&d, CLATTN_SLOT_Q_LENGTHS, &shape));
    cr_expect_eq(shape.extent[0], 3);
    cr_expect_not(slot_shape_of(&d, CLATTN_SLOT_SEED, &shape));
}

Test(conformance_slots, types)
{
    clattn_dtype dtype;
    const char *memory;
    cr_assert(slot_type_of(CLATTN_SLOT_Q, "f2", &dtype, &memory));
    cr_expect_eq(dtype, CLATTN_F16);
    cr_assert(slot_type_of(CLATTN_SLOT_KV_LENGTHS, "i8", &dtype, &memory));
    cr_expect_eq(dtype, CLATTN_I32);
    cr_expect_str_eq(memory, "i4");
    cr_expect_not(slot_type_of(CLATTN_SLOT_MASK, "f4", &dtype, &memory));
    cr_expect_not(slot_type_of(CLATTN_SLOT_LSE, "f2", &dtype, &memory));
    cr_expect_not(slot_type_of(CLATTN_SLOT_Q, "i4", &dtype, &memory));
}

Test(conformance_layout, plain)
{
    clattn_tensor tensor = {.strided = 1};
    const npy_array right = shaped(4, 2, 6, 4, 8), wrong = shaped(4, 2, 6, 8, 4);
    const npy_array less = shaped(3, 6, 4, 8, 0);
    cr_expect(fits(LAYOUT_PLAIN, &right, CLATTN_SLOT_Q, &tensor));
    cr_expect_eq(tensor.strided, 0);
    cr_expect_not(fits(LAYOUT_PLAIN, &wrong, CLATTN_SLOT_Q, &tensor));
    cr_expect_not(fits(LAYOUT_PLAIN, &less, CLATTN_SLOT_Q, &tensor));
}

Test(conformance_layout, broadcast)
{
    clattn_tensor tensor;
    const npy_array keys = shaped(1, 12, 0, 0, 0), heads = shaped(3, 6, 1, 12, 0);
    const npy_array batches = shaped(4, 2, 1, 4, 12), one = shaped(1, 1, 0, 0, 0);
    cr_assert(fits(LAYOUT_BROADCAST, &keys, CLATTN_SLOT_MASK, &tensor));
    expect_strides(&tensor, (const int64_t[]){0, 0, 0, 1});
    cr_assert(fits(LAYOUT_BROADCAST, &heads, CLATTN_SLOT_MASK, &tensor));
    expect_strides(&tensor, (const int64_t[]){0, 12, 0, 1});
    cr_assert(fits(LAYOUT_BROADCAST, &batches, CLATTN_SLOT_MASK, &tensor));
    expect_strides(&tensor, (const int64_t[]){48, 0, 12, 1});
    cr_assert(fits(LAYOUT_BROADCAST, &one, CLATTN_SLOT_MASK, &tensor));
    expect_strides(&tensor, (const int64_t[]){0, 0, 0, 0});
    const npy_array short_keys = shaped(1, 11, 0, 0, 0), left = shaped(3, 2, 4, 12, 0);
    cr_expect_not(fits(LAYOUT_BROADCAST, &short_keys, CLATTN_SLOT_MASK, &tensor));
    cr_expect_not(fits(LAYOUT_BROADCAST, &left, CLATTN_SLOT_MASK, &tensor), "not right-aligned");
}

Test(conformance_layout, packed_and_headless)
{
    clattn_tensor tensor;
    const npy_array packed = shaped(3, 2, 4, 54, 0), turned = shaped(3, 2, 54, 4, 0);
    cr_assert(fits(LAYOUT_PACKED, &packed, CLATTN_SLOT_OUT, &tensor));
    expect_strides(&tensor, (const int64_t[]){216, 9, 54, 1});
    cr_expect_not(fits(LAYOUT_PACKED, &turned, CLATTN_SLOT_OUT, &tensor));
    const npy_array headless = shaped(3, 2, 4, 8, 0);
    cr_expect_not(fits(LAYOUT_HEADLESS, &headless, CLATTN_SLOT_Q, &tensor), "6 heads");
    char why[256];
    const slot_shape shape = {4, {2, 1, 4, 8}};
    cr_expect(layout_fit(LAYOUT_HEADLESS, &headless, &shape, &tensor, why, sizeof why));
    cr_expect_eq(tensor.strided, 0);
}

/* A mask of 2 rows and 3 keys, of the elements at `bytes`. */
static npy_array mask_of(const char *type, const void *bytes)
{
    const npy_array like = {.rank = 2, .shape = {2, 3}, .count = 6};
    npy_array mask;
    cr_assert(npy_from_bytes(&like, type, bytes, &mask));
    return mask;
}

static void expect_extended(npy_array mask, clattn_slot wanted, double hidden)
{
    npy_array whole;
    clattn_slot slot;
    cr_assert_null(onnx_mask_read(&mask, 5, &slot, &whole));
    cr_expect_eq(slot, wanted);
    cr_assert_eq(whole.count, 10);
    cr_expect_eq(whole.shape[1], 5);
    for (int row = 0; row < 2; row++)
        for (int i = 0; i < 5; i++)
            cr_expect_eq(whole.value[5 * row + i], i < 3 ? mask.value[3 * row + i] : hidden);
    npy_free(&whole);
    cr_expect_not_null(onnx_mask_read(&mask, 2, &slot, &whole), "longer than the keys");
    npy_free(&mask);
}

Test(conformance_mask, shorter_than_the_keys)
{
    const unsigned char choice[] = {1, 0, 1, 1, 1, 0};
    const float added[] = {0, -1, 2.5f, 3, -INFINITY, 1e-3f};
    const uint16_t halves[] = {0, 0x3c00, 0xbc00, 0xfc00, 0x7bff, 1};
    expect_extended(mask_of("b1", choice), CLATTN_SLOT_MASK, 0);
    expect_extended(mask_of("f4", added), CLATTN_SLOT_BIAS, -(double)INFINITY);
    expect_extended(mask_of("f2", halves), CLATTN_SLOT_BIAS, -(double)INFINITY);
}

Test(conformance_mask, other_types)
{
    const int32_t integers[6] = {0};
    npy_array mask = mask_of("i4", integers), whole;
    clattn_slot slot;
    cr_expect_not_null(onnx_mask_read(&mask, 3, &slot, &whole));
    npy_free(&mask);
}

/* Reads `size` bytes as a file. */
static const char *read_bytes(const void *bytes, size_t size, npy_array *array)
{
    char path[] = "/tmp/clattn_npy_XXXXXX";
    const int file = mkstemp(path);
    cr_assert_geq(file, 0);
    cr_assert_eq(write(file, bytes, size), (ssize_t)size);
    close(file);
    const char *why = npy_read(path, array);
    unlink(path);
    return why;
}

Test(conformance_npy, both_forms_of_elements)
{
    /* 1, -2, 65504, the smallest subnormal, infinity */
    const uint16_t halves[] = {0x3c00, 0xc000, 0x7bff, 1, 0x7c00};
    const double expected[] = {1, -2, 65504, 0x1p-24, (double)INFINITY};
    char file[10 + 118 + sizeof halves];
    const char *header = "{'descr': '<f2', 'fortran_order': False, 'shape': (5,), }";
    memset(file, ' ', sizeof file);
    memcpy(file, "\x93NUMPY\x01\x00\x76\x00", 10);
    memcpy(file + 10, header, strlen(header));
    file[127] = '\n';
    memcpy(file + 128, halves, sizeof halves);
    npy_array array;
    cr_assert_null(read_bytes(file, sizeof file, &array));
    cr_assert_eq(array.count, 5);
    cr_expect_str_eq(array.type, "f2");
    cr_expect_eq(memcmp(array.bytes, halves, sizeof halves), 0);
    for (int i = 0; i < 5; i++)
        cr_expect_eq(array.value[i], expected[i]);
    npy_free(&array);
    cr_expect_not_null(read_bytes(file, sizeof file - 1, &array), "one byte is missing");
    cr_expect_not_null(read_bytes(file, 20, &array), "truncated in its header");
}
