/* Sequences of a key/value cache in files: the public functions. The form is src/layer/kv_file.h's.
 */
#include <inttypes.h>
#include <string.h>

#include "api/check.h"
#include "api/kv_cache.h"
#include "base/file.h"
#include "layer/kv_file.h"

static clattn_status check_host(void)
{
    const uint16_t one = 1;
    uint8_t first;
    memcpy(&first, &one, 1);
    if (first == 1)
        return CLATTN_OK;
    return clattn__fail(CLATTN_ERR_UNSUPPORTED,
                        "files of key/value caches are little-endian; this machine is not");
}

/* One section on its way: a head's rows, behind them their scales, then the checksum. */
typedef struct section {
    const clattn_kv_cache *cache;
    clattn__kv_rows rows;
    uint8_t *data; /* owned */
} section;

static bool has_scales(const clattn_kv_cache *cache)
{
    return clattn__kv_cache_parts(cache) == CLATTN__KV_PARTS;
}

/* Bytes of one row with its scales. */
static uint64_t row_bytes(const clattn_kv_cache *cache, int values)
{
    const uint64_t row = clattn__kv_cache_row_bytes(cache, values);
    return has_scales(cache) ? row + clattn__kv_cache_row_bytes(cache, CLATTN__KV_K_SCALES + values)
                             : row;
}

static uint64_t section_bytes(const section *of, int values)
{
    return (uint64_t)(of->rows.end - of->rows.begin) * row_bytes(of->cache, values);
}

/* Rows and scales of a section, from or to its data. */
static clattn_status move_section(section *of, int values, int64_t head, bool write)
{
    const clattn_kv_cache *cache = of->cache;
    const uint64_t rows =
        (uint64_t)(of->rows.end - of->rows.begin) * clattn__kv_cache_row_bytes(cache, values);
    CLATTN__TRY(clattn__kv_cache_move_head(cache, &of->rows, values, head, of->data, write));
    if (!has_scales(cache))
        return CLATTN_OK;
    return clattn__kv_cache_move_head(cache, &of->rows, CLATTN__KV_K_SCALES + values, head,
                                      of->data + rows, write);
}

static uint32_t scales_of(const clattn_kv_cache *cache, int values)
{
    return has_scales(cache) ? (uint32_t)clattn__kv_cache_row(cache, CLATTN__KV_K_SCALES + values)
                             : 0;
}

/* Room for the longest section. */
static clattn_status section_init(section *made, const clattn_kv_cache *cache,
                                  const clattn__page_sequence *of)
{
    *made = (section){.cache = cache, .rows = {of, 0, 0, of->length}};
    const uint64_t keys = section_bytes(made, 0), values = section_bytes(made, 1);
    const uint64_t size = (keys > values ? keys : values) + CLATTN__KV_FILE_CHECKSUM;
    made->data = clattn__alloc(&cache->context->env, (size_t)size);
    return made->data ? CLATTN_OK : CLATTN_ERR_OUT_OF_MEMORY;
}

/* Calls `move` for all sections in the file's order. */
typedef clattn_status (*section_fn)(section *of, int values, int64_t head, void *file);
static clattn_status for_sections(section *of, section_fn move, void *file)
{
    const clattn_kv_cache_desc *desc = &of->cache->desc;
    for (of->rows.layer = 0; of->rows.layer < desc->layers; of->rows.layer++)
        for (int values = 0; values < 2; values++)
            for (int64_t head = 0; head < desc->n_kv_head; head++)
                CLATTN__TRY(move(of, values, head, file));
    return CLATTN_OK;
}

/* ---- saving ---------------------------------------------------------------------------------- */

static clattn_status put_section(section *of, int values, int64_t head, void *file)
{
    const uint64_t size = section_bytes(of, values);
    CLATTN__TRY(move_section(of, values, head, false));
    clattn__kv_file_checksum(of->data, size, of->data + size);
    return clattn__file_put(file, of->data, (size_t)size + CLATTN__KV_FILE_CHECKSUM);
}

static clattn_status put_sequence(const clattn_kv_cache *cache, const clattn__page_sequence *of,
                                  clattn__file_out *file)
{
    const clattn_kv_cache_desc *desc = &cache->desc;
    const clattn__kv_file header = {.dtype = (uint32_t)desc->dtype,
                                    .scales = {scales_of(cache, 0), scales_of(cache, 1)},
                                    .layers = desc->layers,
                                    .n_kv_head = desc->n_kv_head,
                                    .head_dim = desc->head_dim,
                                    .value_dim = desc->value_dim,
                                    .length = of->length,
                                    .gap_begin = of->gap_begin,
                                    .gap = of->gap};
    uint8_t bytes[CLATTN__KV_FILE_HEADER];
    section sections;
    clattn__kv_file_write_header(&header, bytes);
    CLATTN__TRY(section_init(&sections, cache, of));
    clattn_status status = clattn__file_put(file, bytes, sizeof bytes);
    if (status == CLATTN_OK)
        status = for_sections(&sections, put_section, file);
    clattn__free(&cache->context->env, sections.data);
    return status;
}

static clattn_status save(const clattn_kv_cache *cache, uint64_t id, const char *path)
{
    const clattn__page_sequence *of = clattn__page_pool_find(&cache->pool, id);
    clattn__file_out *file;
    if (!of)
        return CLATTN_ERR_ARGUMENT;
    CLATTN__TRY(clattn__file_create(&cache->context->env, path, &file));
    const clattn_status status = put_sequence(cache, of, file);
    if (status == CLATTN_OK)
        return clattn__file_commit(file);
    clattn__file_cancel(file);
    return status;
}

clattn_status clattn_kv_cache_save(clattn_kv_cache *cache, uint64_t id, const char *path)
{
    CLATTN__TRY(clattn__require(path, "path"));
    CLATTN__TRY(check_host());
    CLATTN__TRY(clattn__kv_cache_enter(cache));
    return clattn__kv_cache_leave(cache, save(cache, id, path));
}

/* ---- loading --------------------------------------------------------------------------------- */

static clattn_status check_header(const clattn_kv_cache *cache, const clattn__kv_file *file)
{
    const clattn_kv_cache_desc *desc = &cache->desc;
    const struct {
        const char *name;
        int64_t found, wanted;
    } fields[] = {
        {"dtype", file->dtype, desc->dtype},
        {"scales of a key", file->scales[0], scales_of(cache, 0)},
        {"scales of a value", file->scales[1], scales_of(cache, 1)},
        {"layers", file->layers, desc->layers},
        {"n_kv_head", file->n_kv_head, desc->n_kv_head},
        {"head_dim", file->head_dim, desc->head_dim},
        {"value_dim", file->value_dim, desc->value_dim},
    };
    for (size_t i = 0; i < sizeof fields / sizeof fields[0]; i++)
        if (fields[i].found != fields[i].wanted)
            return clattn__fail(CLATTN_ERR_ARGUMENT,
                                "%s: is %" PRId64 " in the file, %" PRId64 " in the cache",
                                fields[i].name, fields[i].found, fields[i].wanted);
    if (file->length < 0 || file->length > INT32_MAX || file->gap_begin < 0 ||
        file->gap_begin > file->length || file->gap < 0 || file->gap > INT64_MAX / 2)
        return clattn__fail(CLATTN_ERR_IO,
                            "is damaged: %" PRId64 " tokens, %" PRId64 " evicted after %" PRId64,
                            file->length, file->gap, file->gap_begin);
    return CLATTN_OK;
}

/* The file must have exactly the bytes that its header promises. */
static clattn_status check_size(const clattn_kv_cache *cache, const clattn__kv_file *file,
                                uint64_t found)
{
    const uint64_t sections = (uint64_t)cache->desc.layers * (uint64_t)cache->desc.n_kv_head;
    const uint64_t row = row_bytes(cache, 0) + row_bytes(cache, 1);
    const uint64_t both = (uint64_t)file->length * row + UINT64_C(2) * CLATTN__KV_FILE_CHECKSUM;
    const double wanted = (double)CLATTN__KV_FILE_HEADER + (double)sections * (double)both;
    if (wanted < 0x1p62 && found == CLATTN__KV_FILE_HEADER + sections * both)
        return CLATTN_OK;
    return clattn__fail(CLATTN_ERR_IO, "has %" PRIu64 " bytes, not %.0f: it is %s", found, wanted,
                        (double)found < wanted ? "truncated" : "damaged");
}

static clattn_status get_header(const clattn_kv_cache *cache, clattn__file_in *in,
                                clattn__kv_file *file)
{
    uint8_t bytes[CLATTN__KV_FILE_HEADER];
    if (clattn__file_size(in) < sizeof bytes)
        return clattn__fail(CLATTN_ERR_IO, "is not a saved sequence of a key/value cache");
    CLATTN__TRY(clattn__file_get(in, bytes, sizeof bytes));
    CLATTN__TRY(clattn__kv_file_read_header(bytes, file));
    CLATTN__TRY(check_header(cache, file));
    return check_size(cache, file, clattn__file_size(in));
}

static clattn_status get_section(section *of, int values, int64_t head, void *file)
{
    const uint64_t size = section_bytes(of, values);
    uint8_t checksum[CLATTN__KV_FILE_CHECKSUM];
    CLATTN__TRY(clattn__file_get(file, of->data, (size_t)size + sizeof checksum));
    clattn__kv_file_checksum(of->data, size, checksum);
    if (memcmp(checksum, of->data + size, sizeof checksum) != 0)
        return clattn__fail(CLATTN_ERR_IO,
                            "is damaged: the checksum of layer %" PRId64 ", %s of head %" PRId64
                            " is another",
                            of->rows.layer, values ? "values" : "keys", head);
    return move_section(of, values, head, true);
}

static clattn_status get_sections(const clattn_kv_cache *cache, uint64_t id, clattn__file_in *in)
{
    section sections;
    const clattn__page_sequence *of = clattn__page_pool_find(&cache->pool, id);
    if (!of)
        return CLATTN_ERR_ARGUMENT;
    CLATTN__TRY(section_init(&sections, cache, of));
    const clattn_status status = for_sections(&sections, get_section, in);
    clattn__free(&cache->context->env, sections.data);
    return status;
}

/* Pages for the sequence, then, after what may still read them, what is in them; without the latter
 * the pages are free again. */
static clattn_status get_sequence(clattn_kv_cache *cache, clattn_dispatcher *dispatcher,
                                  uint64_t id, clattn__file_in *in)
{
    clattn__kv_file file = {0};
    clattn__page_copy copy;
    uint32_t copied;
    CLATTN__TRY(get_header(cache, in, &file));
    clattn__kv_guards_settle(cache);
    CLATTN__TRY(clattn__page_pool_add(&cache->pool, id));
    clattn_status status =
        clattn__page_pool_extend(&cache->pool, &id, &file.length, 1, &copy, &copied);
    if (status == CLATTN_OK)
        status = clattn__kv_cache_wait(cache, dispatcher);
    if (status == CLATTN_OK)
        status = get_sections(cache, id, in);
    if (status == CLATTN_OK)
        clattn__page_pool_set_gap(&cache->pool, id, file.gap_begin, file.gap);
    else
        clattn__page_pool_remove(&cache->pool, id);
    return status;
}

static clattn_status load(clattn_kv_cache *cache, clattn_dispatcher *dispatcher, uint64_t id,
                          const char *path)
{
    clattn__file_in *in;
    CLATTN__TRY(clattn__kv_cache_check_dispatcher(cache, dispatcher));
    CLATTN__TRY(clattn__file_open(&cache->context->env, path, &in));
    clattn_status status = get_sequence(cache, dispatcher, id, in);
    clattn__file_close(in);
    if (status == CLATTN_ERR_IO)
        status = clattn__fail(status, "%s: %s", path, clattn__message());
    return status;
}

clattn_status clattn_kv_cache_load(clattn_kv_cache *cache, clattn_dispatcher *dispatcher,
                                   uint64_t id, const char *path)
{
    CLATTN__TRY(clattn__dispatcher_check(dispatcher));
    CLATTN__TRY(clattn__require(path, "path"));
    CLATTN__TRY(check_host());
    CLATTN__TRY(clattn__kv_cache_enter(cache));
    return clattn__kv_cache_leave(cache, load(cache, dispatcher, id, path));
}
