/* Programs in the caller's own store, on every device: a hit compiles nothing, everything else is
 * built from source and right. What the library makes of the bytes it gets is tested in
 * tests/unit/test_program_store.c. */
#include <criterion/criterion.h>
#include <math.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <clattn/clattn.h>

enum { ENTRIES = 8, KEYS = 3, DIM = 4 };

typedef struct entry {
    char key[40];
    unsigned char *bytes; /* owned */
    size_t size;
} entry;

static struct {
    pthread_mutex_t lock;
    entry entry[ENTRIES];
    int count, loads, stores;
    bool refuses; /* keeps nothing */
} store = {.lock = PTHREAD_MUTEX_INITIALIZER};

static entry *find(const char *key)
{
    for (int i = 0; i < store.count; i++)
        if (strcmp(store.entry[i].key, key) == 0)
            return &store.entry[i];
    return NULL;
}

static void load(void *user, const char *key, clattn_cache_receive_fn receive, void *receiver)
{
    cr_assert_eq(user, &store);
    pthread_mutex_lock(&store.lock);
    const entry *found = find(key);
    store.loads++;
    if (found)
        receive(receiver, found->bytes, found->size);
    pthread_mutex_unlock(&store.lock);
}

static void keep(void *user, const char *key, const void *bytes, size_t size)
{
    cr_assert_eq(user, &store);
    pthread_mutex_lock(&store.lock);
    store.stores++;
    entry *to = find(key);
    if (!to && !store.refuses) {
        cr_assert_lt(store.count, ENTRIES);
        to = &store.entry[store.count++];
        snprintf(to->key, sizeof to->key, "%s", key);
    }
    if (!store.refuses) {
        free(to->bytes);
        to->bytes = malloc(size);
        cr_assert_not_null(to->bytes);
        memcpy(to->bytes, bytes, size);
        to->size = size;
    }
    pthread_mutex_unlock(&store.lock);
}

static char folder[64];

static void begin(void)
{
    strcpy(folder, "/tmp/clattn-store-XXXXXX");
    cr_assert_not_null(mkdtemp(folder));
    cr_assert_eq(rmdir(folder), 0); /* the cache would make it */
}

static void end(void)
{
    for (int i = 0; i < store.count; i++)
        free(store.entry[i].bytes);
    cr_assert_neq(access(folder, F_OK), 0, "a folder was made");
}

TestSuite(program_store, .init = begin, .fini = end);

static clattn_context *open_device(uint32_t index, uint32_t flags)
{
    char selector[16];
    clattn_context *context;
    clattn_context_options options;
    clattn_context_options_init(&options);
    snprintf(selector, sizeof selector, "%u", (unsigned)index);
    options.device = selector;
    options.flags = flags;
    options.kernel = "attention_reference"; /* one program */
    options.cache_dir = folder;
    options.cache_load = load;
    options.cache_store = keep;
    options.cache_user = &store;
    cr_assert_eq(clattn_context_create(&options, &context), CLATTN_OK, "%s",
                 clattn_error_message());
    return context;
}

/* One query that is far more like key 1 than like the others has its value. */
static void check_result(clattn_context *context, const clattn_attention_desc *desc)
{
    const float q[DIM] = {0, 500, 0, 0}, k[KEYS][DIM] = {{1}, {0, 1}, {0, 0, 1}};
    const float v[KEYS][DIM] = {{1, 2, 3, 4}, {5, 6, 7, 8}, {9, 9, 9, 9}};
    float out[DIM] = {NAN, NAN, NAN, NAN};
    cr_assert_eq(clattn_attention(context, desc, q, k, v, out), CLATTN_OK, "%s",
                 clattn_error_message());
    cr_assert_arr_eq(out, v[1], sizeof out);
}

/* Whether planning on the device compiled nothing; the result is right in any case. */
static bool is_from_cache(uint32_t device, uint32_t flags)
{
    clattn_context *context = open_device(device, flags);
    clattn_plan *plan;
    clattn_plan_info info = {.struct_size = sizeof info};
    clattn_attention_desc desc;
    clattn_attention_desc_init(&desc);
    desc.batch = desc.n_head = desc.n_kv_head = desc.n_q = 1;
    desc.n_kv = KEYS;
    desc.head_dim = desc.value_dim = DIM;
    cr_assert_eq(clattn_plan_attention(context, &desc, &plan), CLATTN_OK, "%s",
                 clattn_error_message());
    cr_assert_eq(clattn_plan_get_info(plan, &info), CLATTN_OK);
    clattn_plan_destroy(plan);
    check_result(context, &desc);
    cr_assert_eq(clattn_context_destroy(context), CLATTN_OK);
    return info.from_cache == 1;
}

static uint32_t device_count(void)
{
    uint32_t count = 0;
    cr_assert_eq(clattn_device_list(NULL, NULL, 0, &count), CLATTN_OK, "%s",
                 clattn_error_message());
    cr_assert(count > 0);
    return count;
}

Test(program_store, what_was_stored_is_used)
{
    const uint32_t devices = device_count();
    for (uint32_t device = 0; device < devices; device++) {
        const int before = store.count;
        cr_assert_not(is_from_cache(device, 0), "the store was empty");
        cr_assert_eq(store.count, before + 1);
        cr_assert_eq(strspn(store.entry[before].key, "0123456789abcdef"), 32);
        const int stores = store.stores;
        cr_assert(is_from_cache(device, 0));
        cr_assert_eq(store.stores, stores, "stored what it had found");
    }
}

Test(program_store, damage_is_built_again_and_replaced)
{
    const uint32_t devices = device_count();
    for (uint32_t device = 0; device < devices; device++) {
        cr_assert_not(is_from_cache(device, 0));
        entry *made = &store.entry[store.count - 1];
        const size_t at[] = {0, 12, 60, made->size - 1};
        for (size_t i = 0; i < sizeof at / sizeof at[0]; i++) {
            made->bytes[at[i]] ^= 1;
            cr_assert_not(is_from_cache(device, 0), "byte %zu", at[i]);
            cr_assert(is_from_cache(device, 0), "it was not replaced");
        }
        made->size /= 2;
        cr_assert_not(is_from_cache(device, 0), "half of it");
        cr_assert(is_from_cache(device, 0));
    }
}

Test(program_store, a_store_may_keep_nothing)
{
    store.refuses = true;
    for (int i = 1; i <= 2; i++) {
        cr_assert_not(is_from_cache(0, 0));
        cr_assert(store.stores == i && store.loads == i && store.count == 0);
    }
}

Test(program_store, off_by_flag)
{
    cr_assert_not(is_from_cache(0, 0));
    const int loads = store.loads, stores = store.stores;
    cr_assert_not(is_from_cache(0, CLATTN_CONTEXT_NO_PROGRAM_CACHE));
    cr_assert(store.loads == loads && store.stores == stores, "called although the cache is off");
    cr_assert(is_from_cache(0, 0));
}
