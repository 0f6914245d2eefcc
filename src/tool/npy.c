/* Reads .npy files block by block into arrays. A file's size is compared with its shape before
 * memory is taken, so a damaged header can't ask for more than the file has. */
#include "tool/npy.h"

#include <errno.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "tool/npy_header.h"
#include "tool/options.h"

enum { PREFIX = 8, LONGEST_HEADER = 65535, BLOCK = 65536 };

typedef enum element_kind { FLOATS, INTEGERS, BOOLS } element_kind;

static float float_from_bits(const void *bits)
{
    float value;
    memcpy(&value, bits, sizeof value);
    return value;
}

/* IEEE 754 binary16. */
static float float_from_half(const void *bits)
{
    uint16_t half;
    memcpy(&half, bits, sizeof half);
    const int exponent = half >> 10 & 31, fraction = half & 1023;
    float value = ldexpf((float)(fraction + 1024), exponent - 25);
    if (exponent == 0)
        value = ldexpf((float)fraction, -24);
    if (exponent == 31)
        value = fraction ? NAN : INFINITY;
    return half >> 15 ? -value : value;
}

/* Each converts one element in the machine's byte order into array element `index`. */
static void put_float32(npy_array *array, int64_t index, const void *element)
{
    array->data[index] = float_from_bits(element);
}

static void put_float16(npy_array *array, int64_t index, const void *element)
{
    array->data[index] = float_from_half(element);
}

static void put_int32(npy_array *array, int64_t index, const void *element)
{
    int32_t value;
    memcpy(&value, element, sizeof value);
    array->integers[index] = value;
}

static void put_int64(npy_array *array, int64_t index, const void *element)
{
    memcpy(&array->integers[index], element, sizeof array->integers[index]);
}

static void put_bool(npy_array *array, int64_t index, const void *element)
{
    array->bools[index] = *(const unsigned char *)element != 0;
}

typedef struct element_type {
    char code[3]; /* descr without its byte order */
    element_kind kind;
    size_t size; /* bytes in the file */
    void (*put)(npy_array *array, int64_t index, const void *element);
} element_type;

static const element_type types[] = {
    {"f4", FLOATS, 4, put_float32}, {"f2", FLOATS, 2, put_float16}, {"i4", INTEGERS, 4, put_int32},
    {"i8", INTEGERS, 8, put_int64}, {"b1", BOOLS, 1, put_bool},
};
enum { TYPES = sizeof types / sizeof types[0] };

static const struct {
    const char *expected;
    size_t size; /* bytes in memory */
} kinds[] = {
    [FLOATS] = {"float32 or float16", sizeof(float)},
    [INTEGERS] = {"int32 or int64", sizeof(int64_t)},
    [BOOLS] = {"bool", sizeof(uint8_t)},
};

/* A file that is being read. */
typedef struct reader {
    const char *argument, *path;
    FILE *stream;
    npy_header header;
    const element_type *type;
    bool swap; /* the file's byte order is not the machine's */
} reader;

#define REFUSE(r, ...) refuse((r)->argument, (r)->path, __VA_ARGS__)

#if defined(__GNUC__)
__attribute__((format(printf, 3, 4)))
#endif
static bool
refuse(const char *argument, const char *path, const char *why, ...)
{
    char text[512];
    va_list arguments;
    va_start(arguments, why);
    vsnprintf(text, sizeof text, why, arguments);
    va_end(arguments);
    failure(argument, "%s: %s", path, text);
    return false;
}

/* Takes what descr says into r->type and r->swap. */
static bool find_type(reader *r, element_kind kind)
{
    const char *descr = r->header.descr;
    const char order = descr[0];
    for (int i = 0; i < TYPES; i++)
        if (order && strchr("<>=|", order) && strcmp(descr + 1, types[i].code) == 0 &&
            types[i].kind == kind) {
            r->type = &types[i];
            r->swap = order == (npy_native_order() == '<' ? '>' : '<') && types[i].size > 1;
            return true;
        }
    return REFUSE(r, "has type '%s'; expected %s", descr, kinds[kind].expected);
}

static bool read_bytes(reader *r, void *bytes, size_t size, const char *part)
{
    if (fread(bytes, 1, size, r->stream) == size)
        return true;
    if (ferror(r->stream))
        return REFUSE(r, "can't be read: %s", strerror(errno));
    return REFUSE(r, "is truncated in its %s", part);
}

/* Everything before the elements. */
static bool read_header(reader *r)
{
    unsigned char prefix[PREFIX + 4] = {0};
    if (!read_bytes(r, prefix, PREFIX, "header"))
        return false;
    if (memcmp(prefix, "\x93NUMPY", 6) != 0)
        return REFUSE(r, "is not a .npy file");
    if (prefix[6] < 1 || prefix[6] > 3 || prefix[7] != 0)
        return REFUSE(r, "has version %d.%d of the format; expected 1.0 to 3.0", prefix[6],
                      prefix[7]);
    if (!read_bytes(r, prefix + PREFIX, prefix[6] == 1 ? 2 : 4, "header"))
        return false;
    const unsigned char *b = prefix + PREFIX;
    const uint32_t size = b[0] | (uint32_t)b[1] << 8 | (uint32_t)b[2] << 16 | (uint32_t)b[3] << 24;
    if (size > LONGEST_HEADER)
        return REFUSE(r, "has a header of %lu bytes, at most %d are accepted", (unsigned long)size,
                      LONGEST_HEADER);
    char *text = calloc(1, (size_t)size + 1);
    if (!text)
        return REFUSE(r, "does not fit into memory");
    bool good = read_bytes(r, text, size, "header");
    const char *error = good && strlen(text) < size ? "has a header with a zero byte" : NULL;
    if (good && !error)
        error = npy_parse_header(text, &r->header);
    free(text);
    return error ? REFUSE(r, "%s", error) : good;
}

/* Compares a regular file's size with what its shape needs. */
static bool check_size(reader *r, int64_t count)
{
    struct stat info;
    const long at = ftell(r->stream);
    if (at < 0 || fstat(fileno(r->stream), &info) != 0 || !S_ISREG(info.st_mode))
        return true;
    const long long there = (long long)info.st_size - at;
    const long long needed = (long long)count * (long long)r->type->size;
    if (there < needed)
        return REFUSE(r, "is truncated: its shape needs %lld bytes, %lld are there", needed, there);
    return there == needed || REFUSE(r, "has %lld bytes more than its shape needs", there - needed);
}

static void reverse(unsigned char *bytes, size_t size)
{
    for (size_t i = 0; i < size / 2; i++) {
        const unsigned char byte = bytes[i];
        bytes[i] = bytes[size - 1 - i];
        bytes[size - 1 - i] = byte;
    }
}

/* Where element after element of the file belongs in C order. */
typedef struct walk {
    uint32_t rank;
    int64_t shape[NPY_MOST_DIMS], step[NPY_MOST_DIMS]; /* from the fastest dimension on */
    int64_t index[NPY_MOST_DIMS];
    int64_t target;
} walk;

static void walk_init(walk *w, const npy_header *header)
{
    int64_t step = 1;
    memset(w, 0, sizeof *w);
    w->rank = header->rank;
    for (uint32_t i = header->rank; i-- > 0;) {
        const uint32_t place = header->fortran_order ? i : header->rank - 1 - i;
        w->shape[place] = header->shape[i];
        w->step[place] = step;
        step *= header->shape[i];
    }
}

static void walk_next(walk *w)
{
    for (uint32_t i = 0; i < w->rank; i++) {
        w->target += w->step[i];
        if (++w->index[i] < w->shape[i])
            return;
        w->target -= w->step[i] * w->shape[i];
        w->index[i] = 0;
    }
}

static bool read_elements(reader *r, npy_array *array)
{
    unsigned char block[BLOCK];
    const size_t size = r->type->size;
    const int64_t room = (int64_t)(BLOCK / size);
    walk w;
    if (array->count == 0)
        return true;
    walk_init(&w, &r->header);
    for (int64_t done = 0; done < array->count;) {
        const int64_t rest = array->count - done, now = rest < room ? rest : room;
        if (!read_bytes(r, block, (size_t)now * size, "elements"))
            return false;
        for (unsigned char *at = block; at < block + (size_t)now * size; at += size) {
            if (r->swap)
                reverse(at, size);
            r->type->put(array, w.target, at);
            walk_next(&w);
        }
        done += now;
    }
    return true;
}

/* Memory for array->count elements of a kind, all 0. Large memory from calloc costs nothing until
 * it is used, so a shape that is never computed can't exhaust the machine. */
static bool allocate(npy_array *array, element_kind kind)
{
    enum { ALIGNMENT = 64 };
    const size_t size = (size_t)array->count * kinds[kind].size;
    if (size > PTRDIFF_MAX - ALIGNMENT)
        return false;
    array->memory = calloc(1, size + ALIGNMENT);
    if (!array->memory)
        return false;
    char *aligned = (char *)array->memory + (ALIGNMENT - (uintptr_t)array->memory % ALIGNMENT);
    if (kind == FLOATS)
        array->data = (float *)(void *)aligned;
    else if (kind == INTEGERS)
        array->integers = (int64_t *)(void *)aligned;
    else
        array->bools = (uint8_t *)aligned;
    return true;
}

static bool read_array(reader *r, element_kind kind, npy_array *array)
{
    if (!read_header(r) || !find_type(r, kind))
        return false;
    array->rank = r->header.rank;
    memcpy(array->shape, r->header.shape, sizeof array->shape);
    array->count = npy_count(array->shape, array->rank, kinds[kind].size);
    if (array->count < 0)
        return REFUSE(r, "has more elements than can be addressed");
    if (!check_size(r, array->count))
        return false;
    return allocate(array, kind) ? read_elements(r, array) : REFUSE(r, "does not fit into memory");
}

static bool read_file(const char *argument, const char *path, element_kind kind, npy_array *array)
{
    reader r = {.argument = argument, .path = path, .stream = fopen(path, "rb")};
    memset(array, 0, sizeof *array);
    if (!r.stream)
        return REFUSE(&r, "can't be opened: %s", strerror(errno));
    const bool good = read_array(&r, kind, array);
    fclose(r.stream);
    if (!good)
        npy_finish(array);
    return good;
}

bool npy_read_floats(const char *argument, const char *path, npy_array *array)
{
    return read_file(argument, path, FLOATS, array);
}

bool npy_read_integers(const char *argument, const char *path, npy_array *array)
{
    return read_file(argument, path, INTEGERS, array);
}

bool npy_read_bools(const char *argument, const char *path, npy_array *array)
{
    return read_file(argument, path, BOOLS, array);
}

bool npy_allocate(const char *argument, const int64_t *shape, uint32_t rank, npy_array *array)
{
    memset(array, 0, sizeof *array);
    array->rank = rank;
    memcpy(array->shape, shape, rank * sizeof *shape);
    array->count = npy_count(shape, rank, sizeof(float));
    if (array->count >= 0 && allocate(array, FLOATS))
        return true;
    npy_finish(array);
    failure(argument, "an array of this shape does not fit into memory");
    return false;
}

void npy_finish(npy_array *array)
{
    free(array->memory);
    memset(array, 0, sizeof *array);
}
