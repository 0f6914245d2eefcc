/* The form of files that hold a sequence of a key/value cache: the header, of which
 * docs/memory.md has the table, and the checksum that follows each section of rows. Pages don't
 * show: a cache of other pages loads the file. Little-endian, the same for every device. */
#ifndef CLATTN_LAYER_KV_FILE_H
#define CLATTN_LAYER_KV_FILE_H

#include "base/status.h"

enum { CLATTN__KV_FILE_HEADER = 128, CLATTN__KV_FILE_CHECKSUM = 16 };

typedef struct clattn__kv_file {
    uint32_t dtype;     /* clattn_dtype */
    uint32_t scales[2]; /* of a row of keys, of values; 0: the type has none */
    int64_t layers, n_kv_head, head_dim, value_dim;
    int64_t length;         /* tokens */
    int64_t gap_begin, gap; /* tokens before those that were evicted, and how many these were */
} clattn__kv_file;

void clattn__kv_file_write_header(const clattn__kv_file *file, uint8_t *bytes);

/* CLATTN_ERR_IO with a sentence, without the file's name, for what is no such header. */
clattn_status clattn__kv_file_read_header(const uint8_t *bytes, clattn__kv_file *file);

/* The checksum of a section, as the file has it. */
void clattn__kv_file_checksum(const void *data, uint64_t size, uint8_t *bytes);

#endif
