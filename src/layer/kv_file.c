/* See kv_file.h. */
#include "layer/kv_file.h"

#include <inttypes.h>
#include <string.h>

#include "base/hash.h"

/* "clattnKV", version, dtype, scales of keys and values (4 bytes each), then layers, n_kv_head,
 * head_dim, value_dim, length, gap_begin, gap (8 bytes each), zeros, checksum. */
#define MAGIC   "clattnKV"
#define VERSION 1
enum { MAGIC_SIZE = 8, WORDS = 4, NUMBERS = 7 };
enum { CHECKED = CLATTN__KV_FILE_HEADER - CLATTN__KV_FILE_CHECKSUM };

static void put(uint8_t *bytes, int size, uint64_t value)
{
    for (int i = 0; i < size; i++)
        bytes[i] = (uint8_t)(value >> 8 * i);
}

static uint64_t get(const uint8_t *bytes, int size)
{
    uint64_t value = 0;
    for (int i = 0; i < size; i++)
        value |= (uint64_t)bytes[i] << 8 * i;
    return value;
}

void clattn__kv_file_checksum(const void *data, uint64_t size, uint8_t *bytes)
{
    const clattn__hash hash = clattn__hash_bytes(data, (size_t)size);
    put(bytes, 8, hash.low);
    put(bytes + 8, 8, hash.high);
}

void clattn__kv_file_write_header(const clattn__kv_file *file, uint8_t *bytes)
{
    const uint32_t words[WORDS] = {VERSION, file->dtype, file->scales[0], file->scales[1]};
    const int64_t numbers[NUMBERS] = {file->layers,    file->n_kv_head, file->head_dim,
                                      file->value_dim, file->length,    file->gap_begin,
                                      file->gap};
    memset(bytes, 0, CLATTN__KV_FILE_HEADER);
    memcpy(bytes, MAGIC, MAGIC_SIZE);
    for (uint32_t i = 0; i < WORDS; i++)
        put(bytes + MAGIC_SIZE + (size_t)4 * i, 4, words[i]);
    for (uint32_t i = 0; i < NUMBERS; i++)
        put(bytes + MAGIC_SIZE + (size_t)4 * WORDS + (size_t)8 * i, 8, (uint64_t)numbers[i]);
    clattn__kv_file_checksum(bytes, CHECKED, bytes + CHECKED);
}

clattn_status clattn__kv_file_read_header(const uint8_t *bytes, clattn__kv_file *file)
{
    uint8_t checksum[CLATTN__KV_FILE_CHECKSUM];
    uint32_t words[WORDS];
    int64_t numbers[NUMBERS];
    if (memcmp(bytes, MAGIC, MAGIC_SIZE) != 0)
        return clattn__fail(CLATTN_ERR_IO, "is not a saved sequence of a key/value cache");
    for (uint32_t i = 0; i < WORDS; i++)
        words[i] = (uint32_t)get(bytes + MAGIC_SIZE + (size_t)4 * i, 4);
    for (uint32_t i = 0; i < NUMBERS; i++)
        numbers[i] = (int64_t)get(bytes + MAGIC_SIZE + (size_t)4 * WORDS + (size_t)8 * i, 8);
    if (words[0] != VERSION)
        return clattn__fail(CLATTN_ERR_IO,
                            "is of version %" PRIu32 " of its form; this library reads version %d",
                            words[0], VERSION);
    clattn__kv_file_checksum(bytes, CHECKED, checksum);
    if (memcmp(checksum, bytes + CHECKED, sizeof checksum) != 0)
        return clattn__fail(CLATTN_ERR_IO, "is damaged: the header's checksum is another");
    *file = (clattn__kv_file){.dtype = words[1],
                              .scales = {words[2], words[3]},
                              .layers = numbers[0],
                              .n_kv_head = numbers[1],
                              .head_dim = numbers[2],
                              .value_dim = numbers[3],
                              .length = numbers[4],
                              .gap_begin = numbers[5],
                              .gap = numbers[6]};
    return CLATTN_OK;
}
