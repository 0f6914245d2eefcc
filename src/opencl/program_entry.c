/* The bytes of an entry of the program cache; docs/cache.md has the format. Where they are kept is
 * program_cache.c's matter. */
#include "opencl/program_entry.h"

#include <string.h>

#define MAGIC        "clattnP1"
#define FORMAT       1u
#define CHECKED_FROM 24 /* magic and checksum come before */
#define HEADER       64

/* Header: magic 8, checksum 16, format 4, device size 4, label size 4, reserved 4, binary size 8,
 * key 16; then device, label, binary. Little-endian. */
enum { AT_SUM = 8, AT_FORMAT = 24, AT_DEVICE = 28, AT_LABEL = 32, AT_BINARY = 40, AT_KEY = 48 };

static void put(unsigned char *at, uint64_t value, int bytes)
{
    for (int i = 0; i < bytes; i++)
        at[i] = (unsigned char)(value >> (8 * i));
}

static uint64_t get(const unsigned char *at, int bytes)
{
    uint64_t value = 0;
    for (int i = 0; i < bytes; i++)
        value |= (uint64_t)at[i] << (8 * i);
    return value;
}

static void put_hash(unsigned char *at, clattn__hash hash)
{
    put(at, hash.low, 8);
    put(at + 8, hash.high, 8);
}

static clattn__hash get_hash(const unsigned char *at)
{
    const clattn__hash hash = {get(at, 8), get(at + 8, 8)};
    return hash;
}

const char *clattn__entry_check(clattn__entry *e, const char *stem)
{
    char key[33];
    if (e->size < HEADER)
        return "truncated";
    if (memcmp(e->bytes, MAGIC, 8) != 0)
        return "is not a clattn program";
    if (!clattn__hash_equal(get_hash(e->bytes + AT_SUM),
                            clattn__hash_bytes(e->bytes + CHECKED_FROM, e->size - CHECKED_FROM)))
        return "checksum differs";
    if (get(e->bytes + AT_FORMAT, 4) != FORMAT)
        return "of another format version";
    e->device_size = get(e->bytes + AT_DEVICE, 4);
    e->label_size = get(e->bytes + AT_LABEL, 4);
    e->binary_size = get(e->bytes + AT_BINARY, 8);
    const uint64_t rest = e->size - HEADER;
    if (e->binary_size > rest || e->device_size + e->label_size != rest - e->binary_size)
        return "sizes differ";
    clattn__hash_text(get_hash(e->bytes + AT_KEY), key);
    return strcmp(key, stem) == 0 ? NULL : "key differs from the file's name";
}

const unsigned char *clattn__entry_device(const clattn__entry *e)
{
    return e->bytes + HEADER;
}

const unsigned char *clattn__entry_label(const clattn__entry *e)
{
    return e->bytes + HEADER + e->device_size;
}

const unsigned char *clattn__entry_binary(const clattn__entry *e)
{
    return e->bytes + e->size - e->binary_size;
}

clattn_status clattn__entry_make(const clattn__env *env, clattn__hash key,
                                 const clattn__cached_program *program, clattn__entry *made)
{
    const size_t device = strlen(program->device), label = strlen(program->label);
    const size_t size = HEADER + device + label + program->binary_size;
    unsigned char *bytes = clattn__alloc_array(env, size, 1);
    if (!bytes)
        return CLATTN_ERR_OUT_OF_MEMORY;
    memcpy(bytes, MAGIC, 8);
    put(bytes + AT_FORMAT, FORMAT, 4);
    put(bytes + AT_DEVICE, device, 4);
    put(bytes + AT_LABEL, label, 4);
    put(bytes + AT_BINARY, program->binary_size, 8);
    put_hash(bytes + AT_KEY, key);
    memcpy(bytes + HEADER, program->device, device);
    memcpy(bytes + HEADER + device, program->label, label);
    if (program->binary_size)
        memcpy(bytes + HEADER + device + label, program->binary, program->binary_size);
    put_hash(bytes + AT_SUM, clattn__hash_bytes(bytes + CHECKED_FROM, size - CHECKED_FROM));
    *made = (clattn__entry){bytes, size, device, label, program->binary_size};
    return CLATTN_OK;
}
