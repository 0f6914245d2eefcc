/* The reader of npy.h: file into memory, header, elements. */
#include "npy.h"

#include <math.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* A whole file. */
typedef struct contents {
    unsigned char *byte; /* (size), and a 0 behind */
    size_t size;
} contents;

static const char *read_file(const char *path, contents *file)
{
    FILE *stream = fopen(path, "rb");
    const char *error = NULL;
    long size = -1;
    if (!stream)
        return "can't be opened";
    if (fseek(stream, 0, SEEK_END) == 0)
        size = ftell(stream);
    file->byte = size >= 0 ? malloc((size_t)size + 1) : NULL;
    if (!file->byte || fseek(stream, 0, SEEK_SET) != 0 ||
        fread(file->byte, 1, (size_t)size, stream) != (size_t)size) {
        free(file->byte);
        error = "can't be read";
    } else {
        file->size = (size_t)size;
        file->byte[size] = 0;
    }
    fclose(stream);
    return error;
}

static double float_from_bytes(const unsigned char *byte)
{
    float value;
    memcpy(&value, byte, sizeof value);
    return (double)value;
}

/* IEEE 754 binary16. */
static double half_from_bytes(const unsigned char *byte)
{
    const unsigned bits = byte[0] | (unsigned)byte[1] << 8;
    const unsigned exponent = bits >> 10 & 31, fraction = bits & 1023;
    double value = ldexp((double)(fraction + 1024), (int)exponent - 25);
    if (exponent == 0)
        value = ldexp((double)fraction, -24);
    if (exponent == 31)
        value = fraction ? (double)NAN : (double)INFINITY;
    return bits >> 15 ? -value : value;
}

static double int32_from_bytes(const unsigned char *byte)
{
    int32_t value;
    memcpy(&value, byte, sizeof value);
    return (double)value;
}

static double int64_from_bytes(const unsigned char *byte)
{
    int64_t value;
    memcpy(&value, byte, sizeof value);
    return (double)value;
}

static double bool_from_bytes(const unsigned char *byte)
{
    return byte[0] ? 1 : 0;
}

static const struct element_type {
    const char *descr, *type;
    size_t size; /* bytes */
    double (*convert)(const unsigned char *byte);
} types[] = {
    {"<f4", "f4", 4, float_from_bytes}, {"<f2", "f2", 2, half_from_bytes},
    {"<i4", "i4", 4, int32_from_bytes}, {"<i8", "i8", 8, int64_from_bytes},
    {"|b1", "b1", 1, bool_from_bytes},
};

/* The text behind "'key': " in the header, NULL where there is none. */
static const char *find_key(const char *header, const char *key)
{
    const char *found = strstr(header, key);
    if (!found)
        return NULL;
    found += strlen(key);
    return found + strspn(found, "': ");
}

static const struct element_type *find_type(const char *header)
{
    const char *descr = find_key(header, "'descr'");
    for (size_t i = 0; descr && i < sizeof types / sizeof types[0]; i++)
        if (strncmp(descr, types[i].descr, strlen(types[i].descr)) == 0)
            return &types[i];
    return NULL;
}

static const char *parse_shape(const char *header, npy_array *array)
{
    const char *at = find_key(header, "'shape'");
    if (!at || *at != '(')
        return "has no shape";
    array->count = 1;
    for (at += 1 + strspn(at + 1, " "); *at != ')'; at += strspn(at, ", ")) {
        char *end;
        const long long extent = strtoll(at, &end, 10);
        if (end == at || extent < 0 || array->rank == NPY_MOST_DIMS)
            return "has a shape that can't be read";
        if (extent > 0 && array->count > INT32_MAX / extent)
            return "has too many elements";
        array->shape[array->rank++] = extent;
        array->count *= extent;
        at = end;
    }
    return NULL;
}

/* Where the text header begins and ends; the byte behind it is overwritten with 0 by the caller. */
static const char *find_header(const contents *file, size_t *begin, size_t *end)
{
    if (file->size < 12 || memcmp(file->byte, "\x93NUMPY", 6) != 0)
        return "is not a .npy file";
    const unsigned char *length = file->byte + 8;
    size_t size = length[0] | (size_t)length[1] << 8;
    *begin = 10;
    if (file->byte[6] > 1) {
        size |= (size_t)length[2] << 16 | (size_t)length[3] << 24;
        *begin = 12;
    }
    if (size > file->size - *begin)
        return "is truncated in its header";
    *end = *begin + size;
    return NULL;
}

/* Makes both forms of the elements at `bytes`; false: out of memory, and the array holds nothing.
 */
static bool fill(npy_array *array, const struct element_type *type, const void *bytes)
{
    const size_t size = (size_t)array->count * type->size;
    array->value = malloc(((size_t)array->count + 1) * sizeof *array->value);
    array->bytes = malloc(size + 1);
    if (!array->value || !array->bytes) {
        npy_free(array);
        return false;
    }
    memcpy(array->bytes, bytes, size);
    memcpy(array->type, type->type, sizeof array->type);
    for (int64_t i = 0; i < array->count; i++)
        array->value[i] = type->convert(array->bytes + (size_t)i * type->size);
    return true;
}

static const char *convert(const contents *file, npy_array *array)
{
    size_t begin, end;
    const char *error = find_header(file, &begin, &end);
    if (error)
        return error;
    char *header = (char *)file->byte + begin;
    if (end > begin)
        header[end - begin - 1] = 0; /* the newline that ends every header */
    const struct element_type *type = find_type(header);
    const char *order = find_key(header, "'fortran_order'");
    if (!type)
        return "has a type other than f4, f2, i4, i8 and bool";
    if (!order || strncmp(order, "False", 5) != 0)
        return "is not in C order";
    error = parse_shape(header, array);
    if (error)
        return error;
    if (file->size - end != (size_t)array->count * type->size)
        return "has another size than its shape says";
    return fill(array, type, file->byte + end) ? NULL : "doesn't fit into memory";
}

const char *npy_read(const char *path, npy_array *array)
{
    contents file;
    npy_array made = {.rank = 0};
    const char *error = read_file(path, &file);
    if (error)
        return error;
    error = convert(&file, &made);
    free(file.byte);
    if (!error)
        *array = made;
    return error;
}

static const struct element_type *type_named(const char *name)
{
    for (size_t i = 0; i < sizeof types / sizeof types[0]; i++)
        if (strcmp(name, types[i].type) == 0)
            return &types[i];
    return NULL;
}

size_t npy_type_size(const char *type)
{
    const struct element_type *found = type_named(type);
    return found ? found->size : 0;
}

int npy_from_bytes(const npy_array *like, const char *type, const void *bytes, npy_array *array)
{
    const struct element_type *found = type_named(type);
    npy_array made = *like;
    if (!found || !fill(&made, found, bytes))
        return 0;
    *array = made;
    return 1;
}

void npy_free(npy_array *array)
{
    free(array->value);
    free(array->bytes);
    array->value = NULL;
    array->bytes = NULL;
}
