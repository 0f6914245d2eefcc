/* Sequences of a key/value cache in files: what comes back in caches of other page sizes, the bytes
 * of the file, and files that must be refused without a change of the cache. */
#include <clattn/layer.h>
#include <criterion/criterion.h>
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "rig.h"

enum { LAYERS = 2, HEADS = 3, DIM = 5, VALUE_DIM = 7, TOKENS = 37, PAGES = 40 };
enum { HEADER = 128, CHECKSUM = 16 };
/* Of a float32 cache with TOKENS tokens. */
enum { SIZE = HEADER + LAYERS * HEADS * (TOKENS * (DIM + VALUE_DIM) * 4 + 2 * CHECKSUM) };

typedef struct rig {
    clattn_context *context;
    clattn_dispatcher *dispatcher;
    clattn_kv_cache_desc desc;
    char folder[64], path[128];
} rig;

static void good(clattn_status status)
{
    cr_assert_eq(status, CLATTN_OK, "%s: %s", rig_said(), clattn_error_message());
}

static void set_up(rig *r)
{
    memset(r, 0, sizeof *r);
    r->context = rig_open();
    good(clattn_dispatcher_create(r->context, NULL, &r->dispatcher));
    clattn_kv_cache_desc_init(&r->desc);
    r->desc.layers = LAYERS;
    r->desc.n_kv_head = HEADS;
    r->desc.head_dim = DIM;
    r->desc.value_dim = VALUE_DIM;
    r->desc.page_size = 16;
    r->desc.pages = PAGES;
    strcpy(r->folder, "/tmp/clattn-kv-XXXXXX");
    cr_assert_not_null(mkdtemp(r->folder));
    snprintf(r->path, sizeof r->path, "%s/sequence", r->folder);
}

static void tear_down(rig *r)
{
    unlink(r->path);
    cr_assert_eq(rmdir(r->folder), 0, "files are left over");
    clattn_dispatcher_destroy(r->dispatcher);
    rig_close(r->context);
}

static clattn_kv_cache *new_cache(rig *r, int64_t page_size)
{
    clattn_kv_cache *cache;
    clattn_kv_cache_desc desc = r->desc;
    desc.page_size = page_size;
    good(clattn_kv_cache_create(r->context, &desc, &cache));
    return cache;
}

/* ---- sequences with known contents ----------------------------------------------------------- */

/* Element d of a key or value: all differ, all types store them. */
static float number(int layer, int values, int head, int64_t token, int d)
{
    const int64_t n = (((layer * 2 + values) * HEADS + head) * 100 + token) * 8 + d;
    return (float)(n % 251) / 8;
}

/* Appends tokens begin .. end - 1 of one layer. */
static void append_layer(rig *r, clattn_kv_cache *cache, int layer, int64_t begin, int64_t end)
{
    static float k[HEADS][TOKENS][DIM], v[HEADS][TOKENS][VALUE_DIM];
    int32_t pages[TOKENS], length;
    clattn_append_desc desc;
    clattn_plan *plan;
    clattn_binding bindings[7];
    const uint64_t id = 1;
    for (int h = 0; h < HEADS; h++)
        for (int64_t i = begin; i < end; i++) {
            for (int d = 0; d < DIM; d++)
                k[h][i - begin][d] = number(layer, 0, h, i, d);
            for (int d = 0; d < VALUE_DIM; d++)
                v[h][i - begin][d] = number(layer, 1, h, i, d);
        }
    clattn_append_desc_init(&desc);
    desc.batch = 1;
    desc.n_kv = TOKENS;
    desc.slots = CLATTN_SLOT_BIT(CLATTN_SLOT_KV_LENGTHS);
    good(clattn_kv_cache_describe_append(cache, TOKENS, &desc));
    good(clattn_plan_append(r->context, &desc, &plan));
    good(clattn_kv_cache_tables(cache, &id, 1, desc.page_limit, pages, &length));
    const int32_t added = (int32_t)(end - begin), position = length - added;
    clattn_buffer *buffers[] = {rig_filled(r->context, k, sizeof k),
                                rig_filled(r->context, v, sizeof v)};
    good(clattn_kv_cache_bind(cache, layer, 1, bindings));
    bindings[2] = (clattn_binding){.slot = CLATTN_SLOT_K, .buffer = buffers[0]};
    bindings[3] = (clattn_binding){.slot = CLATTN_SLOT_V, .buffer = buffers[1]};
    bindings[4] = (clattn_binding){.slot = CLATTN_SLOT_PAGES, .host = pages};
    bindings[5] = (clattn_binding){.slot = CLATTN_SLOT_POSITIONS, .host = &position};
    bindings[6] = (clattn_binding){.slot = CLATTN_SLOT_KV_LENGTHS, .host = &added};
    rig_step(r->dispatcher, plan, bindings, 7);
    clattn_plan_destroy(plan);
    good(clattn_buffer_destroy(buffers[0]));
    good(clattn_buffer_destroy(buffers[1]));
}

/* Sequence 1 with tokens 0 .. TOKENS - 1; with sink >= 0 some are evicted on the way. */
static void fill(rig *r, clattn_kv_cache *cache, int64_t sink, int64_t window)
{
    static const int64_t begin[] = {0, 1, 20, 36, TOKENS};
    const uint64_t id = 1;
    good(clattn_kv_cache_add(cache, id));
    for (int n = 0; n < 4; n++) {
        const int64_t tokens = begin[n + 1] - begin[n];
        if (sink >= 0)
            good(clattn_kv_cache_evict(cache, id, sink, window, NULL));
        good(clattn_kv_cache_extend(cache, r->dispatcher, &id, &tokens, 1));
        for (int layer = 0; layer < LAYERS; layer++)
            append_layer(r, cache, layer, begin[n], begin[n + 1]);
    }
}

static float widened(clattn_dtype dtype, const void *data, int64_t i)
{
    uint32_t bits;
    uint16_t half;
    float x;
    if (dtype == CLATTN_F32)
        return ((const float *)data)[i];
    memcpy(&half, (const char *)data + 2 * i, sizeof half);
    bits = (uint32_t)half << 16;
    memcpy(&x, &bits, sizeof x);
    return x;
}

/* Whether sequence `id` has the tokens that sequence 1 of fill has. */
static void check_contents(clattn_kv_cache *cache, uint64_t id, clattn_dtype dtype)
{
    static float k[HEADS * TOKENS * DIM], v[HEADS * TOKENS * VALUE_DIM];
    clattn_kv_sequence_info info = {.struct_size = sizeof info};
    good(clattn_kv_cache_get_sequence(cache, id, &info));
    cr_assert_eq(info.length + info.gap, TOKENS);
    cr_assert_eq(info.position, TOKENS);
    for (int layer = 0; layer < LAYERS; layer++) {
        const clattn_kv_range range = {id, layer, 0, info.length};
        good(clattn_kv_cache_read(cache, &range, k, v));
        for (int h = 0; h < HEADS; h++)
            for (int64_t i = 0; i < info.length; i++) {
                const int64_t token = i < info.gap_begin ? i : i + info.gap;
                for (int d = 0; d < DIM; d++)
                    cr_assert_eq(widened(dtype, k, (h * info.length + i) * DIM + d),
                                 number(layer, 0, h, token, d));
                for (int d = 0; d < VALUE_DIM; d++)
                    cr_assert_eq(widened(dtype, v, (h * info.length + i) * VALUE_DIM + d),
                                 number(layer, 1, h, token, d));
            }
    }
}

static uint8_t *file_bytes(const char *path, size_t *size)
{
    FILE *file = fopen(path, "rb");
    uint8_t *bytes = malloc(2 * SIZE);
    cr_assert(file && bytes);
    *size = fread(bytes, 1, 2 * SIZE, file);
    fclose(file);
    return bytes;
}

static void write_bytes(const char *path, const uint8_t *bytes, size_t size)
{
    FILE *file = fopen(path, "wb");
    cr_assert_not_null(file);
    cr_assert_eq(fwrite(bytes, 1, size, file), size);
    cr_assert_eq(fclose(file), 0);
}

/* ---- what comes back ------------------------------------------------------------------------- */

/* Pages don't show, and nothing of the cache that saved. */
Test(kv_files, other_page_sizes, .timeout = 360)
{
    static const int64_t sizes[] = {16, 1, 5, 64};
    uint8_t *first = NULL;
    rig r;
    set_up(&r);
    r.desc.pages = 90;
    for (int n = 0; n < 4; n++) {
        size_t size;
        rig_say("pages of %d", (int)sizes[n]);
        clattn_kv_cache *from = new_cache(&r, sizes[n]), *to = new_cache(&r, sizes[3 - n]);
        fill(&r, from, -1, 0);
        good(clattn_kv_cache_save(from, 1, r.path));
        good(clattn_kv_cache_load(to, r.dispatcher, 9, r.path));
        good(clattn_kv_cache_load(from, r.dispatcher, 9, r.path));
        check_contents(to, 9, CLATTN_F32);
        check_contents(from, 9, CLATTN_F32);
        uint8_t *bytes = file_bytes(r.path, &size);
        cr_assert_eq(size, SIZE);
        if (first)
            cr_assert_eq(memcmp(first, bytes, SIZE), 0, "other bytes");
        free(first);
        first = bytes;
        clattn_kv_cache_destroy(from);
        clattn_kv_cache_destroy(to);
    }
    free(first);
    tear_down(&r);
}

/* bfloat16; a gap; and a sequence without tokens. */
Test(kv_files, gaps_types_and_nothing)
{
    rig r;
    clattn_kv_sequence_info info = {.struct_size = sizeof info};
    set_up(&r);
    r.desc.dtype = CLATTN_BF16;
    clattn_kv_cache *cache = new_cache(&r, 4), *other = new_cache(&r, 5);
    fill(&r, cache, 6, 9);
    good(clattn_kv_cache_get_sequence(cache, 1, &info));
    cr_assert(info.gap_begin == 8 && info.gap > 8, "%d", (int)info.gap);
    good(clattn_kv_cache_save(cache, 1, r.path));
    good(clattn_kv_cache_load(cache, r.dispatcher, 2, r.path));
    good(clattn_kv_cache_load(other, r.dispatcher, 2, r.path));
    check_contents(cache, 2, CLATTN_BF16);
    check_contents(other, 2, CLATTN_BF16);
    good(clattn_kv_cache_evict(cache, 2, 6, 4, NULL));
    check_contents(cache, 2, CLATTN_BF16);
    cr_assert_eq(clattn_kv_cache_evict(other, 2, 6, 4, NULL), CLATTN_ERR_ARGUMENT,
                 "the gap isn't between pages");
    good(clattn_kv_cache_add(cache, 3));
    good(clattn_kv_cache_save(cache, 3, r.path));
    good(clattn_kv_cache_load(other, r.dispatcher, 3, r.path));
    good(clattn_kv_cache_get_sequence(other, 3, &info));
    cr_assert(info.length == 0 && info.position == 0);
    clattn_kv_cache_destroy(cache);
    clattn_kv_cache_destroy(other);
    tear_down(&r);
}

/* ---- integers -------------------------------------------------------------------------------- */

enum { EVEN = 36 }; /* dimensions of theirs, two groups of channels */

/* Keys, values and their scales of one layer, as the cache gives them. */
typedef struct contents {
    uint8_t rows[2][HEADS * TOKENS * EVEN];
    float scales[2][HEADS * TOKENS * 2];
} contents;

/* Any bytes and scales in all pages, and sequence 1 with TOKENS of its tokens. */
static void fill_integers(rig *r, clattn_kv_cache *cache)
{
    const uint64_t id = 1;
    const int64_t tokens = TOKENS;
    uint32_t state = 11;
    clattn_binding part[4];
    good(clattn_kv_cache_add(cache, id));
    good(clattn_kv_cache_extend(cache, r->dispatcher, &id, &tokens, 1));
    good(clattn_kv_cache_bind(cache, 0, 0, part));
    good(clattn_kv_cache_bind_scales(cache, 0, part + 2));
    for (int n = 0; n < 4; n++) {
        void *data;
        good(clattn_buffer_map(part[n].buffer, &data));
        const uint64_t bytes = clattn_buffer_size(part[n].buffer);
        for (uint64_t i = 0; n < 2 && i < bytes; i++)
            ((uint8_t *)data)[i] = (uint8_t)(rig_number(&state) * 128 + 128);
        for (uint64_t i = 0; n >= 2 && i < bytes / sizeof(float); i++)
            ((float *)data)[i] = rig_number(&state);
        good(clattn_buffer_unmap(part[n].buffer));
    }
}

static void read_layer(clattn_kv_cache *cache, uint64_t id, int layer, contents *to)
{
    const clattn_kv_range range = {id, layer, 0, TOKENS};
    memset(to, 0, sizeof *to);
    good(clattn_kv_cache_read(cache, &range, to->rows[0], to->rows[1]));
    good(clattn_kv_cache_read_scales(cache, &range, to->scales[0], to->scales[1]));
}

/* The file's sections are rows and scales as they are read, head by head; returns its size. */
static size_t check_sections(clattn_kv_cache *cache, const uint8_t *file, size_t row, size_t scales)
{
    static contents c;
    const size_t rows = TOKENS * row, all_scales = TOKENS * scales;
    size_t at = HEADER;
    for (int layer = 0; layer < LAYERS; layer++) {
        read_layer(cache, 1, layer, &c);
        for (int part = 0; part < 2; part++)
            for (size_t h = 0; h < HEADS; h++) {
                cr_assert_eq(memcmp(file + at, c.rows[part] + h * rows, rows), 0, "%s", rig_said());
                at += rows;
                cr_assert_eq(
                    memcmp(file + at, c.scales[part] + h * all_scales, all_scales * sizeof(float)),
                    0, "%s", rig_said());
                at += all_scales * sizeof(float) + CHECKSUM;
            }
    }
    return at;
}

static void refused(rig *r, clattn_kv_cache *cache, clattn_status wanted, const char *saying);

/* Saved, its bytes looked at, loaded into other pages, and refused with one bit of a scale wrong or
 * by a cache with other scales. */
static void integers_come_back(rig *r, size_t row, size_t scales)
{
    static contents before, after;
    size_t size;
    clattn_kv_cache *from = new_cache(r, 16), *to = new_cache(r, 5);
    fill_integers(r, from);
    good(clattn_kv_cache_save(from, 1, r->path));
    good(clattn_kv_cache_load(to, r->dispatcher, 2, r->path));
    for (int layer = 0; layer < LAYERS; layer++) {
        read_layer(from, 1, layer, &before);
        read_layer(to, 2, layer, &after);
        cr_assert_eq(memcmp(&before, &after, sizeof before), 0, "%s: layer %d", rig_said(), layer);
    }
    uint8_t *bytes = file_bytes(r->path, &size);
    cr_assert_eq(check_sections(from, bytes, row, scales), size, "%s", rig_said());
    bytes[HEADER + TOKENS * row + 3] ^= 1;
    write_bytes(r->path, bytes, size);
    refused(r, to, CLATTN_ERR_IO, "layer 0, keys of head 0");
    bytes[HEADER + TOKENS * row + 3] ^= 1;
    write_bytes(r->path, bytes, size);
    free(bytes);
    r->desc.scale_channels = 32 - r->desc.scale_channels;
    clattn_kv_cache *other = new_cache(r, 16);
    refused(r, other, CLATTN_ERR_ARGUMENT, "scales of a key");
    clattn_kv_cache_destroy(from);
    clattn_kv_cache_destroy(to);
    clattn_kv_cache_destroy(other);
}

Test(kv_files, integers_with_scales)
{
    rig r;
    set_up(&r);
    r.desc.head_dim = r.desc.value_dim = EVEN;
    for (int n = 0; n < 4; n++) {
        r.desc.dtype = n % 2 ? CLATTN_I4 : CLATTN_I8;
        r.desc.scale_channels = n / 2 * 32;
        rig_say("type %d, %d channels a scale", (int)r.desc.dtype, (int)r.desc.scale_channels);
        integers_come_back(&r, n % 2 ? EVEN / 2 : EVEN, n / 2 ? 2 : 1);
    }
    tear_down(&r);
}

/* ---- what is refused ------------------------------------------------------------------------- */

/* Sequence 9 can't be loaded, and the cache is as it was. */
static void refused(rig *r, clattn_kv_cache *cache, clattn_status wanted, const char *saying)
{
    clattn_kv_cache_info before = {.struct_size = sizeof before}, after = before;
    int64_t length;
    good(clattn_kv_cache_get_info(cache, &before));
    cr_assert_eq(clattn_kv_cache_load(cache, r->dispatcher, 9, r->path), wanted, "%s: %s",
                 rig_said(), clattn_error_message());
    cr_assert(strstr(clattn_error_message(), saying), "%s: %s", rig_said(), clattn_error_message());
    good(clattn_kv_cache_get_info(cache, &after));
    cr_assert_eq(memcmp(&before, &after, sizeof before), 0, "%s: the cache has changed",
                 rig_said());
    cr_assert_eq(clattn_kv_cache_length(cache, 9, &length), CLATTN_ERR_ARGUMENT);
}

Test(kv_files, truncated_damaged_and_foreign, .timeout = 360)
{
    rig r;
    size_t size;
    set_up(&r);
    clattn_kv_cache *cache = new_cache(&r, 16);
    fill(&r, cache, -1, 0);
    good(clattn_kv_cache_save(cache, 1, r.path));
    uint8_t *bytes = file_bytes(r.path, &size);
    for (size_t cut = 0; cut < size; cut += cut < 150 ? 1 : 997) {
        rig_say("%d bytes", (int)cut);
        write_bytes(r.path, bytes, cut);
        refused(&r, cache, CLATTN_ERR_IO, "");
    }
    rig_say("a byte more");
    bytes[size] = 0;
    write_bytes(r.path, bytes, size + 1);
    refused(&r, cache, CLATTN_ERR_IO, "damaged");
    for (size_t at = 0; at < size; at += at < 150 ? 1 : 499) {
        rig_say("byte %d", (int)at);
        bytes[at] ^= 0x10;
        write_bytes(r.path, bytes, size);
        refused(&r, cache, CLATTN_ERR_IO,
                at < 8    ? "is not a saved"
                : at < 12 ? "version"
                          : "damag");
        bytes[at] ^= 0x10;
    }
    rig_say("whole again");
    write_bytes(r.path, bytes, size);
    good(clattn_kv_cache_load(cache, r.dispatcher, 9, r.path));
    free(bytes);
    clattn_kv_cache_destroy(cache);
    tear_down(&r);
}

Test(kv_files, other_shapes)
{
    rig r;
    set_up(&r);
    clattn_kv_cache *cache = new_cache(&r, 16);
    fill(&r, cache, -1, 0);
    good(clattn_kv_cache_save(cache, 1, r.path));
    int64_t *const fields[] = {&r.desc.layers, &r.desc.n_kv_head, &r.desc.head_dim,
                               &r.desc.value_dim};
    static const char *const names[] = {"layers", "n_kv_head", "head_dim", "value_dim"};
    for (int n = 0; n < 4; n++) {
        ++*fields[n];
        clattn_kv_cache *other = new_cache(&r, 16);
        refused(&r, other, CLATTN_ERR_ARGUMENT, names[n]);
        clattn_kv_cache_destroy(other);
        --*fields[n];
    }
    r.desc.dtype = CLATTN_F16;
    clattn_kv_cache *halves = new_cache(&r, 16);
    refused(&r, halves, CLATTN_ERR_ARGUMENT, "dtype");
    clattn_kv_cache_destroy(halves);
    r.desc.dtype = CLATTN_F32;
    r.desc.pages = 2;
    clattn_kv_cache *small = new_cache(&r, 16);
    refused(&r, small, CLATTN_ERR_OUT_OF_MEMORY, "pages");
    clattn_kv_cache_destroy(small);
    cr_assert_eq(clattn_kv_cache_load(cache, r.dispatcher, 1, r.path), CLATTN_ERR_ARGUMENT);
    check_contents(cache, 1, CLATTN_F32);
    clattn_kv_cache_destroy(cache);
    tear_down(&r);
}

/* What isn't a file, and folders that can't be written to: nothing is left behind. */
Test(kv_files, paths)
{
    rig r;
    char below[160];
    set_up(&r);
    clattn_kv_cache *cache = new_cache(&r, 16);
    good(clattn_kv_cache_add(cache, 1));
    refused(&r, cache, CLATTN_ERR_IO, "can't be opened");
    cr_assert_eq(clattn_kv_cache_save(cache, 2, r.path), CLATTN_ERR_ARGUMENT);
    cr_assert_eq(access(r.path, F_OK), -1, "a file of a sequence that isn't there");
    snprintf(below, sizeof below, "%s/none/sequence", r.folder);
    cr_assert_eq(clattn_kv_cache_save(cache, 1, below), CLATTN_ERR_IO);
    cr_assert_eq(mkdir(r.path, 0700), 0);
    refused(&r, cache, CLATTN_ERR_IO, "is not a file");
    cr_assert_eq(clattn_kv_cache_save(cache, 1, r.path), CLATTN_ERR_IO, "a folder in its place");
    cr_assert_eq(rmdir(r.path), 0);
    cr_assert_eq(mkfifo(r.path, 0600), 0);
    refused(&r, cache, CLATTN_ERR_IO, "is not a file");
    clattn_kv_cache_destroy(cache);
    tear_down(&r);
}
