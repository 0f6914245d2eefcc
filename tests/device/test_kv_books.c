/* What key/value caches say of themselves: pages that forks share, ranges that aren't there, and
 * descriptions of other versions. */
#include <clattn/layer.h>
#include <criterion/criterion.h>
#include <string.h>

#include "rig.h"

static void good(clattn_status status)
{
    cr_assert_eq(status, CLATTN_OK, "%s: %s", rig_said(), clattn_error_message());
}

/* ---- memory ---------------------------------------------------------------------------------- */

/* 64 forks of a prefix have its pages once, and one each of their own. */
Test(kv_books, forks_share_pages)
{
    enum { PREFIX = 4096 + 7, FORKS = 64, PAGE = 16 };
    static uint64_t ids[FORKS];
    static int64_t tokens[FORKS];
    clattn_context *context = rig_open();
    clattn_dispatcher *dispatcher;
    clattn_kv_cache *cache;
    clattn_kv_cache_desc desc;
    clattn_kv_cache_info info = {.struct_size = sizeof info};
    clattn_kv_cache_desc_init(&desc);
    desc.layers = desc.n_kv_head = 1;
    desc.head_dim = desc.value_dim = 8;
    desc.page_size = PAGE;
    desc.pages = 400;
    const uint64_t first = 1000;
    const int64_t prefix = PREFIX;
    good(clattn_dispatcher_create(context, NULL, &dispatcher));
    good(clattn_kv_cache_create(context, &desc, &cache));
    good(clattn_kv_cache_add(cache, first));
    good(clattn_kv_cache_extend(cache, dispatcher, &first, &prefix, 1));
    for (int i = 0; i < FORKS; i++) {
        ids[i] = (uint64_t)i;
        tokens[i] = 9; /* fills the page that the prefix ends in */
        good(clattn_kv_cache_fork(cache, ids[i], first, prefix));
    }
    good(clattn_kv_cache_get_info(cache, &info));
    cr_assert_eq(info.free_pages, desc.pages - (PREFIX + PAGE - 1) / PAGE);
    good(clattn_kv_cache_extend(cache, dispatcher, ids, tokens, FORKS));
    good(clattn_kv_cache_get_info(cache, &info));
    cr_assert_eq(info.free_pages, desc.pages - (PREFIX + PAGE - 1) / PAGE - FORKS);
    cr_assert_eq(clattn_kv_cache_extend(cache, dispatcher, &first, &prefix, 1),
                 CLATTN_ERR_OUT_OF_MEMORY);
    clattn_kv_cache_destroy(cache);
    clattn_dispatcher_destroy(dispatcher);
    rig_close(context);
}

/* Ranges that a sequence hasn't: each is refused by the name of what is wrong. */
Test(kv_books, ranges)
{
    static const struct {
        clattn_kv_range range;
        const char *saying; /* NULL: it is there */
    } cases[] = {
        {{1, 0, 0, 9}, NULL},
        {{1, 0, 9, 0}, NULL},
        {{1, 0, 1, 9}, "begin: 1 to 10"},
        {{1, 0, 10, 0}, "begin: 10 to 10"},
        {{1, 0, -1, 2}, "begin: is -1"},
        {{1, 0, INT64_MAX, 1}, "begin: is 9223372036854775807"},
        {{1, 0, INT64_MIN, 1}, "begin: is -9223372036854775808"},
        {{1, 0, 0, -1}, "count: is -1"},
        {{1, 0, 1, INT64_MAX}, "count: is 9223372036854775807"},
        {{1, 1, 0, 1}, "layer: is 1"},
        {{1, -1, 0, 1}, "layer: is -1"},
        {{2, 0, 0, 0}, "sequence: "},
    };
    clattn_context *context = rig_open();
    clattn_dispatcher *dispatcher;
    clattn_kv_cache *cache;
    clattn_kv_cache_desc desc;
    float k[9];
    const uint64_t id = 1;
    const int64_t tokens = 9;
    clattn_kv_cache_desc_init(&desc);
    desc.layers = desc.n_kv_head = desc.head_dim = desc.value_dim = 1;
    desc.page_size = desc.pages = 4;
    good(clattn_dispatcher_create(context, NULL, &dispatcher));
    good(clattn_kv_cache_create(context, &desc, &cache));
    good(clattn_kv_cache_add(cache, id));
    good(clattn_kv_cache_extend(cache, dispatcher, &id, &tokens, 1));
    for (size_t n = 0; n < sizeof cases / sizeof cases[0]; n++) {
        const clattn_status wanted = cases[n].saying ? CLATTN_ERR_ARGUMENT : CLATTN_OK;
        cr_expect_eq(clattn_kv_cache_read(cache, &cases[n].range, k, NULL), wanted, "case %d",
                     (int)n);
        cr_expect(!cases[n].saying || strncmp(clattn_error_message(), cases[n].saying,
                                              strlen(cases[n].saying)) == 0,
                  "case %d: %s", (int)n, clattn_error_message());
    }
    clattn_kv_cache_destroy(cache);
    clattn_dispatcher_destroy(dispatcher);
    rig_close(context);
}

/* ---- descriptions of other versions ---------------------------------------------------------- */

/* A struct as a later version has it: with a field that is not known here. */
typedef struct later_desc {
    clattn_kv_cache_desc known;
    uint64_t later;
} later_desc;

typedef struct later_shift {
    clattn_kv_shift known;
    uint64_t later;
} later_shift;

static later_desc describe(void)
{
    later_desc made = {.later = 0};
    clattn_kv_cache_desc_init(&made.known);
    made.known.layers = made.known.n_kv_head = made.known.page_size = made.known.pages = 1;
    made.known.head_dim = made.known.value_dim = 8;
    return made;
}

/* What every size and last byte of a struct means. */
static const struct {
    int32_t size; /* bytes more than what is known here */
    uint64_t later;
    clattn_status status;
    const char *says; /* behind the argument's name */
} sizes[] = {
    {0, 1, CLATTN_OK, NULL},
    {sizeof(uint64_t), 0, CLATTN_OK, NULL},
    {sizeof(uint64_t), 1, CLATTN_ERR_UNSUPPORTED, ": has fields that version"},
    {sizeof(uint64_t), (uint64_t)1 << 63, CLATTN_ERR_UNSUPPORTED, ": has fields that version"},
    {-1, 0, CLATTN_ERR_ARGUMENT, ": struct_size is "},
    {-8, 0, CLATTN_ERR_ARGUMENT, ": struct_size is "},
    {65536, 0, CLATTN_ERR_ARGUMENT, ": struct_size is "},
};
enum { SIZES = sizeof sizes / sizeof sizes[0] };

static void expect(size_t row, clattn_status status, const char *name)
{
    const char *said = clattn_error_message();
    cr_expect_eq(status, sizes[row].status, "%s, row %zu: %s", name, row, said);
    if (!sizes[row].says)
        return;
    const size_t length = strlen(name);
    cr_expect(strncmp(said, name, length) == 0, "row %zu: %s", row, said);
    cr_expect(strncmp(said + length, sizes[row].says, strlen(sizes[row].says)) == 0, "row %zu: %s",
              row, said);
}

Test(kv_books, caches_of_other_versions)
{
    clattn_context *context = rig_open();
    for (size_t row = 0; row < SIZES; row++) {
        later_desc desc = describe();
        clattn_kv_cache *cache = NULL;
        desc.known.struct_size = (uint32_t)((int32_t)sizeof desc.known + sizes[row].size);
        desc.later = sizes[row].later;
        expect(row, clattn_kv_cache_create(context, &desc.known, &cache), "desc");
        cr_expect_eq(cache != NULL, sizes[row].status == CLATTN_OK);
        clattn_kv_cache_destroy(cache);
    }
    clattn_kv_cache *none = NULL;
    cr_expect_eq(clattn_kv_cache_create(context, NULL, &none), CLATTN_ERR_ARGUMENT);
    cr_expect_str_eq(clattn_error_message(), "desc: is NULL");
    rig_close(context);
}

Test(kv_books, shifts_of_other_versions)
{
    const later_desc desc = describe();
    clattn_context *context = rig_open();
    clattn_dispatcher *dispatcher;
    clattn_kv_cache *cache;
    good(clattn_dispatcher_create(context, NULL, &dispatcher));
    good(clattn_kv_cache_create(context, &desc.known, &cache));
    for (size_t row = 0; row < SIZES; row++) {
        later_shift by = {.later = sizes[row].later};
        clattn_kv_shift_init(&by.known);
        by.known.struct_size = (uint32_t)((int32_t)sizeof by.known + sizes[row].size);
        expect(row, clattn_kv_cache_shift(cache, dispatcher, &by.known), "shift");
    }
    clattn_kv_cache_destroy(cache);
    clattn_dispatcher_destroy(dispatcher);
    rig_close(context);
}
