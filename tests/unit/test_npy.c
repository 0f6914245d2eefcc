/* .npy files of the tool: what commands don't use yet, headers one by one, and damaged files. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <criterion/criterion.h>
#include <criterion/redirect.h>

#include "tool/npy.h"
#include "tool/npy_header.h"
#include "tool/output_file.h"

/* A file of this content in the test's own folder; the path is good until the next call. */
static const char *file_of(const void *bytes, size_t size)
{
    static char path[64];
    snprintf(path, sizeof path, "/tmp/clattn-npy-XXXXXX");
    const int descriptor = mkstemp(path);
    FILE *stream = descriptor < 0 ? NULL : fdopen(descriptor, "wb");
    cr_assert(stream && fwrite(bytes, 1, size, stream) == size);
    fclose(stream);
    return path;
}

/* A whole file of version 1.0; its size. */
static size_t build(unsigned char *file, const char *header, const void *elements, size_t size)
{
    const size_t length = strlen(header);
    memcpy(file, "\x93NUMPY\x01\x00", 8);
    file[8] = (unsigned char)(length & 255);
    file[9] = (unsigned char)(length >> 8);
    memcpy(file + 10, header, length);
    memcpy(file + 10 + length, elements, size);
    return 10 + length + size;
}

Test(npy, integers_of_both_sizes)
{
    static const struct {
        const char *header;
        unsigned char bytes[16];
        size_t size;
    } cases[] = {
        {"{'descr': '<i4', 'fortran_order': False, 'shape': (2,), }\n",
         {254, 255, 255, 255, 7, 0, 0, 0},
         8},
        {"{'descr': '>i4', 'fortran_order': False, 'shape': (2,), }\n",
         {255, 255, 255, 254, 0, 0, 0, 7},
         8},
        {"{'descr': '<i8', 'fortran_order': False, 'shape': (2L,), }\n",
         {254, 255, 255, 255, 255, 255, 255, 255, 7},
         16},
        {"{'descr': '>i8', 'fortran_order': False, 'shape': (2,), }\n",
         {255, 255, 255, 255, 255, 255, 255, 254, 0, 0, 0, 0, 0, 0, 0, 7},
         16},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        unsigned char file[256];
        npy_array array;
        const size_t size = build(file, cases[i].header, cases[i].bytes, cases[i].size);
        const char *path = file_of(file, size);
        cr_assert(npy_read_integers("--lengths", path, &array));
        remove(path);
        cr_expect(array.rank == 1 && array.shape[0] == 2 && array.count == 2);
        cr_expect(array.integers[0] == -2 && array.integers[1] == 7);
        cr_expect(!array.data && !array.bools);
        npy_finish(&array);
    }
}

Test(npy, bools_in_fortran_order)
{
    unsigned char file[256];
    npy_array array;
    const unsigned char columns[6] = {1, 0, 0, 2, 255, 0}; /* (2, 3) column by column */
    const uint8_t rows[6] = {1, 0, 1, 0, 1, 0};
    const size_t size =
        build(file, "{'descr': '|b1', 'fortran_order': True, 'shape': (2, 3), }\n", columns, 6);
    const char *path = file_of(file, size);
    cr_assert(npy_read_bools("--mask", path, &array));
    cr_expect_arr_eq(array.bools, rows, 6);
    npy_finish(&array);
    cr_redirect_stderr();
    cr_expect(!npy_read_floats("--mask", path, &array));
    cr_expect(!npy_read_integers("--mask", path, &array));
    cr_expect(!array.data && !array.integers && array.count == 0);
    remove(path);
}

Test(npy, headers)
{
    static const struct {
        const char *text;
        bool good;
    } cases[] = {
        {"{'descr': '<f4', 'fortran_order': False, 'shape': (), }   \n", true},
        {"{\"shape\":(1,2),\"descr\":\"<f4\",\"fortran_order\":True}", true},
        {" { 'shape' : ( 3 , ) , 'descr' : '<f4' , 'fortran_order' : False , } ", true},
        {"{'descr': '<f4', 'fortran_order': False, 'shape': (1, 2, 3, 4, 5, 6, 7, 8)}", true},
        {"{'descr': '<f4', 'fortran_order': False, 'shape': (1, 2, 3, 4, 5, 6, 7, 8, 9)}", false},
        {"{'descr': '<f4', 'fortran_order': False, 'shape': (3)}", false},
        {"{'descr': '<f4', 'fortran_order': False, 'shape': (,)}", false},
        {"{'descr': '<f4', 'fortran_order': False, 'shape': (1,,2)}", false},
        {"{'descr': '<f4', 'fortran_order': False, 'shape': (1 2)}", false},
        {"{'descr': '<f4', 'fortran_order': False, 'shape': (1,", false},
        {"{'descr': '<f4', 'fortran_order': False, 'shape': (+1,)}", false},
        {"{'descr': '<f4', 'fortran_order': False 'shape': (1,)}", false},
        {"{'descr': '<\\f4', 'fortran_order': False, 'shape': (1,)}", false},
        {"{'descr': '<f4, 'fortran_order': False, 'shape': (1,)}", false},
        {"{'descr' '<f4', 'fortran_order': False, 'shape': (1,)}", false},
        {"{,}", false},
        {"{}", false},
        {"{", false},
        {"", false},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        npy_header header;
        const char *error = npy_parse_header(cases[i].text, &header);
        cr_expect_eq(error == NULL, cases[i].good, "%s: %s", cases[i].text, error);
    }
}

Test(npy, counts)
{
    const int64_t most = INT64_MAX;
    cr_expect_eq(npy_count(NULL, 0, 4), 1);
    cr_expect_eq(npy_count((int64_t[]){2, 3}, 2, 4), 6);
    cr_expect_eq(npy_count((int64_t[]){most, 0, most}, 3, 4), 0);
    cr_expect_eq(npy_count((int64_t[]){most}, 1, 1), most);
    cr_expect_eq(npy_count((int64_t[]){most}, 1, 4), -1);
    cr_expect_eq(npy_count((int64_t[]){most / 4 + 1}, 1, 4), -1);
    cr_expect_eq(npy_count((int64_t[]){(int64_t)1 << 31, (int64_t)1 << 31, 2}, 3, 4), -1);
}

Test(npy, allocation)
{
    npy_array array;
    cr_assert(npy_allocate("--out", (int64_t[]){2, 3}, 2, &array));
    cr_expect_eq((uintptr_t)array.data % 64, 0);
    for (int i = 0; i < 6; i++)
        cr_expect_eq(array.data[i], 0);
    npy_finish(&array);
    cr_assert(npy_allocate("--out", (int64_t[]){0, INT64_MAX}, 2, &array));
    cr_expect(array.count == 0 && array.data);
    npy_finish(&array);
    cr_redirect_stderr();
    cr_expect(!npy_allocate("--out", (int64_t[]){INT64_MAX / 8, 2}, 2, &array));
    cr_expect(!array.data && array.count == 0);
}

Test(npy, what_is_written_is_read)
{
    npy_array array, again;
    output_file output;
    char path[64];
    for (uint32_t rank = 0; rank <= NPY_MOST_DIMS; rank++) {
        const int64_t shape[NPY_MOST_DIMS] = {2, 3, 1, 2, 1, 1, 2, 1};
        cr_assert(npy_allocate("--out", shape, rank, &array));
        for (int64_t i = 0; i < array.count; i++)
            array.data[i] = (float)i / 3;
        snprintf(path, sizeof path, "%s", file_of("", 0));
        cr_assert(output_open(&output, "--out", path));
        cr_assert(output_write_npy(&output, &array) && output_commit(&output));
        output_finish(&output);
        cr_assert(npy_read_floats("--out", path, &again));
        cr_expect(again.rank == rank && again.count == array.count);
        cr_expect_arr_eq(again.shape, array.shape, sizeof array.shape);
        cr_expect_arr_eq(again.data, array.data, (size_t)array.count * sizeof(float));
        npy_finish(&array);
        npy_finish(&again);
        remove(path);
    }
}

/* xorshift64 (Marsaglia 2003) */
static uint64_t next_random(uint64_t *state)
{
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    return *state;
}

/* Changes some bytes, or cuts the file; prefers bytes that mean something in a header. */
static size_t damage(unsigned char *file, size_t size, uint64_t *state)
{
    static const unsigned char telling[] = "(){}[],:'\"\\<>=|f248bi10 LTF\n\0\xff";
    for (uint64_t changes = next_random(state) % 4 + 1; changes > 0; changes--)
        file[next_random(state) % size] = next_random(state) % 2
                                              ? telling[next_random(state) % sizeof telling]
                                              : (unsigned char)next_random(state);
    return next_random(state) % 4 ? size : next_random(state) % (size + 1);
}

Test(npy, damaged_files_are_refused_or_read)
{
    unsigned char whole[256], file[256];
    const float elements[6] = {1, 2, 3, 4, 5, 6};
    const size_t size =
        build(whole, "{'descr': '<f4', 'fortran_order': False, 'shape': (2, 3), }\n", elements,
              sizeof elements);
    uint64_t state = 88172645463325252u;
    int accepted = 0, refused = 0;
    cr_assert(freopen("/dev/null", "w", stderr)); /* thousands of lines */
    for (int i = 0; i < 5000; i++) {
        npy_array array;
        memcpy(file, whole, size);
        const char *path = file_of(file, damage(file, size, &state));
        if (npy_read_floats("--q", path, &array)) {
            accepted++;
            cr_expect_leq(array.count, 12); /* no more than the file has room for, as float16 */
        } else {
            refused++;
            cr_expect(!array.data);
        }
        npy_finish(&array);
        remove(path);
    }
    cr_expect_gt(accepted, 100);
    cr_expect_gt(refused, 100);
}
