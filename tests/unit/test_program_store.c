/* The caller's own store in the place of the cache's folder: what was stored comes back, nothing
 * else ever does, and no file is touched. */
#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

#include "opencl/program_cache.h"
#include "place.h"

enum { ROOM = 4096 };

static const clattn__hash key = {0x0123456789abcdefu, 0xfedcba9876543210u};
static const char key_text[] = "fedcba98765432100123456789abcdef";

/* A store with room for one entry. */
typedef struct store {
    char key[40];
    unsigned char bytes[ROOM];
    size_t size; /* 0: empty */
    int loads, stores;
    bool refuses;               /* keeps nothing */
    int receives;               /* how often load hands over what there is */
    const unsigned char *other; /* what it hands over instead, (other_size); NULL: nothing else */
    size_t other_size;
} store;

static void load(void *user, const char *asked, clattn_cache_receive_fn receive, void *receiver)
{
    store *of = user;
    of->loads++;
    cr_assert_eq(strlen(asked), 32);
    for (int i = 0; i < of->receives; i++) {
        if (of->other_size)
            receive(receiver, of->other, of->other_size);
        else if (of->size && strcmp(asked, of->key) == 0)
            receive(receiver, of->bytes, of->size);
    }
}

static void keep(void *user, const char *asked, const void *bytes, size_t size)
{
    store *of = user;
    of->stores++;
    cr_assert_eq(strlen(asked), 32);
    cr_assert(size > 0 && size <= ROOM);
    if (of->refuses)
        return;
    strcpy(of->key, asked);
    memcpy(of->bytes, bytes, size);
    of->size = size;
}

/* What is tested: a store, and a folder that has to stay away. */
typedef struct fixture {
    store store;
    char folder[PLACE_SIZE];
    clattn_context_options options;
    clattn__env env;
} fixture;

static void set_up(fixture *f)
{
    memset(f, 0, sizeof *f);
    f->store.receives = 1;
    place_make(f->folder);
    cr_assert(place_remove(f->folder)); /* the cache would make it */
    clattn_context_options_init(&f->options);
    f->options.cache_dir = f->folder;
    f->options.cache_load = load;
    f->options.cache_store = keep;
    f->options.cache_user = &f->store;
    cr_assert_eq(clattn__env_init(&f->env, &f->options), CLATTN_OK);
}

static void begin_again(fixture *f)
{
    clattn__env_finish(&f->env);
    cr_assert_eq(clattn__env_init(&f->env, &f->options), CLATTN_OK);
}

static void tear_down(fixture *f)
{
    cr_assert_not(place_is_there(f->folder), "a folder was made");
    clattn__env_finish(&f->env);
}

static void put(const fixture *f)
{
    const clattn__cached_program program = {"a device", "a label", "binary", 6};
    cr_assert_eq(clattn__program_cache_begin_build(&f->env, key), CLATTN_OK);
    clattn__program_cache_store(&f->env, key, &program);
    clattn__program_cache_end_build(&f->env, key);
}

static bool is_hit(const fixture *f, clattn__hash which)
{
    void *binary = NULL;
    size_t size = 0;
    if (clattn__program_cache_load(&f->env, which, &binary, &size) != CLATTN_OK)
        return false;
    cr_assert_eq(size, 6);
    cr_assert_arr_eq(binary, "binary", 6);
    clattn__free(&f->env, binary);
    return true;
}

Test(program_store, what_was_stored_comes_back)
{
    fixture f;
    const clattn__hash other = {1, 2};
    set_up(&f);
    cr_assert_not(is_hit(&f, key), "an empty store has nothing");
    put(&f);
    cr_assert(f.store.stores == 1 && f.store.loads == 1);
    cr_assert_str_eq(f.store.key, key_text);
    cr_assert(is_hit(&f, key));
    cr_assert_not(is_hit(&f, other));
    clattn__program_cache_drop(&f.env, key); /* a store keeps what it has until it is replaced */
    cr_assert(is_hit(&f, key));
    tear_down(&f);
}

Test(program_store, every_damage_is_a_miss)
{
    fixture f;
    set_up(&f);
    put(&f);
    const size_t whole = f.store.size;
    cr_assert(whole > 64);
    for (size_t i = 0; i < whole; i++) {
        f.store.bytes[i] ^= 0x10;
        cr_assert_not(is_hit(&f, key), "byte %d may be anything", (int)i);
        f.store.bytes[i] ^= 0x10;
        f.store.size = i;
        cr_assert_not(is_hit(&f, key), "%d bytes are enough", (int)i);
        f.store.size = whole;
    }
    f.store.size = whole + 1;
    cr_assert_not(is_hit(&f, key), "a byte more");
    f.store.size = whole;
    cr_assert(is_hit(&f, key));
    tear_down(&f);
}

/* A whole entry that belongs to another key, and things that were never an entry. */
Test(program_store, what_is_foreign_is_a_miss)
{
    static const unsigned char junk[] = "#!/bin/sh\nexit 1\n";
    fixture f;
    const clattn__hash other = {1, 2};
    set_up(&f);
    put(&f);
    clattn__hash_text(other, f.store.key);
    cr_assert_not(is_hit(&f, other));
    f.store.other = junk;
    f.store.other_size = sizeof junk;
    cr_assert_not(is_hit(&f, key));
    f.store.other_size = SIZE_MAX; /* nobody reads that far */
    cr_assert_not(is_hit(&f, key));
    f.store.other = NULL;
    cr_assert_not(is_hit(&f, key));
    tear_down(&f);
}

Test(program_store, the_first_of_several_counts)
{
    fixture f;
    set_up(&f);
    put(&f);
    f.store.receives = 3;
    cr_assert(is_hit(&f, key));
    tear_down(&f);
}

Test(program_store, a_store_may_fail)
{
    fixture f;
    set_up(&f);
    f.store.refuses = true;
    put(&f);
    cr_assert_eq(f.store.stores, 1);
    cr_assert_not(is_hit(&f, key));
    f.store.refuses = false;
    put(&f);
    cr_assert(is_hit(&f, key));
    tear_down(&f);
}

/* Reading what was shipped, or writing what is to be shipped. */
Test(program_store, one_function_is_enough)
{
    fixture f;
    set_up(&f);
    f.options.cache_load = NULL;
    begin_again(&f);
    cr_assert_not(is_hit(&f, key));
    put(&f);
    cr_assert_not(is_hit(&f, key));
    cr_assert(f.store.loads == 0 && f.store.stores == 1);
    f.options.cache_load = load;
    f.options.cache_store = NULL;
    begin_again(&f);
    put(&f);
    cr_assert_eq(f.store.stores, 1);
    cr_assert(is_hit(&f, key));
    tear_down(&f);
}

Test(program_store, off_by_flag)
{
    fixture f;
    set_up(&f);
    put(&f);
    f.options.flags = CLATTN_CONTEXT_NO_PROGRAM_CACHE;
    begin_again(&f);
    cr_assert_not(is_hit(&f, key));
    put(&f);
    cr_assert(f.store.loads == 0 && f.store.stores == 1, "called although the cache is off");
    tear_down(&f);
}

static clattn_status visit(void *user, const clattn_program_entry *entry)
{
    (void)user;
    (void)entry;
    return CLATTN_ERR_INTERNAL;
}

Test(program_store, can_not_be_listed)
{
    fixture f;
    char path[PLACE_PATH];
    uint32_t removed = 77;
    set_up(&f);
    put(&f);
    cr_assert_eq(clattn_program_cache_list(&f.options, visit, NULL), CLATTN_ERR_UNSUPPORTED);
    cr_assert(strstr(clattn_error_message(), "cache_load"), "%s", clattn_error_message());
    cr_assert_eq(clattn_program_cache_clear(&f.options, 0, &removed), CLATTN_ERR_UNSUPPORTED);
    cr_assert_eq(removed, 77, "the result was written although the call failed");
    cr_assert_eq(clattn_program_cache_path(&f.options, path, sizeof path), CLATTN_ERR_UNSUPPORTED);
    tear_down(&f);
}

/* A program that was compiled before there were these functions gives a shorter struct; what lies
 * behind it in memory is not the library's business. */
Test(program_store, a_shorter_struct_has_none)
{
    fixture f;
    char path[PLACE_PATH];
    set_up(&f);
    f.options.struct_size = (uint32_t)offsetof(clattn_context_options, cache_load);
    begin_again(&f);
    cr_assert(!f.env.cache_load && !f.env.cache_store && !f.env.cache_user);
    cr_assert_eq(clattn_program_cache_path(&f.options, path, sizeof path), CLATTN_OK);
    cr_assert_str_eq(path, f.folder);
    put(&f);
    cr_assert(is_hit(&f, key), "the folder is used");
    cr_assert(f.store.loads == 0 && f.store.stores == 0);
    cr_assert_eq(clattn_program_cache_clear(&f.options, 0, NULL), CLATTN_OK);
    cr_assert(place_remove(f.folder));
    tear_down(&f);
}
