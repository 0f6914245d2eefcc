/* The program cache without OpenCL: what was stored comes back, and nothing else ever does. */
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/file.h"
#include "opencl/program_cache.h"
#include "place.h"

static const clattn__hash key = {0x0123456789abcdefu, 0xfedcba9876543210u};

static void set_up(clattn__env *env, char folder[PLACE_SIZE])
{
    clattn_context_options options;
    clattn_context_options_init(&options);
    place_make(folder);
    options.cache_dir = folder;
    cr_assert_eq(clattn__env_init(env, &options), CLATTN_OK);
}

static void tear_down(clattn__env *env, const char *folder)
{
    place_open_to_others(folder, false);
    cr_assert_eq(clattn__program_cache_clear(env, false, NULL), CLATTN_OK);
    cr_assert(place_remove(folder), "clear left files behind");
    clattn__env_finish(env);
}

static void store(const clattn__env *env)
{
    const clattn__cached_program program = {"a device", "a label", "binary", 6};
    clattn__program_cache_store(env, key, &program);
}

static bool is_hit(const clattn__env *env, clattn__hash which)
{
    void *binary = NULL;
    size_t size = 0;
    if (clattn__program_cache_load(env, which, &binary, &size) != CLATTN_OK)
        return false;
    cr_assert_eq(size, 6);
    cr_assert_arr_eq(binary, "binary", 6);
    clattn__free(env, binary);
    return true;
}

static void entry_path(const char *folder, const char *suffix, char path[PLACE_PATH])
{
    char text[33];
    clattn__hash_text(key, text);
    snprintf(path, PLACE_PATH, "%s/%s%s", folder, text, suffix);
}

Test(program_cache, what_was_stored_comes_back)
{
    clattn__env env;
    char folder[PLACE_SIZE];
    const clattn__hash other = {1, 2};
    set_up(&env, folder);
    cr_assert_not(is_hit(&env, key));
    store(&env);
    cr_assert(is_hit(&env, key));
    cr_assert_not(is_hit(&env, other));
    clattn__program_cache_drop(&env, key);
    cr_assert_not(is_hit(&env, key));
    tear_down(&env, folder);
}

Test(program_cache, every_damage_is_a_miss)
{
    clattn__env env;
    char folder[PLACE_SIZE], path[PLACE_PATH], *data;
    size_t size;
    set_up(&env, folder);
    store(&env);
    entry_path(folder, ".clattn", path);
    cr_assert_eq(clattn__file_read(&env, path, 4096, &data, &size), CLATTN_OK);
    for (size_t i = 0; i < size; i++) {
        data[i] ^= 0x10;
        cr_assert_eq(clattn__file_write_atomic(&env, path, data, size), CLATTN_OK);
        cr_assert_not(is_hit(&env, key), "byte %d may be anything", (int)i);
        data[i] ^= 0x10;
        cr_assert_eq(clattn__file_write_atomic(&env, path, data, i), CLATTN_OK);
        cr_assert_not(is_hit(&env, key), "%d bytes are enough", (int)i);
    }
    cr_assert_eq(clattn__file_write_atomic(&env, path, data, size + 1), CLATTN_OK);
    cr_assert_not(is_hit(&env, key), "a byte more");
    cr_assert_eq(clattn__file_write_atomic(&env, path, data, size), CLATTN_OK);
    cr_assert(is_hit(&env, key));
    clattn__free(&env, data);
    tear_down(&env, folder);
}

Test(program_cache, a_folder_that_others_may_write_to_is_not_used)
{
    clattn__env env;
    char folder[PLACE_SIZE];
    set_up(&env, folder);
    store(&env);
    place_open_to_others(folder, true);
    cr_assert_not(is_hit(&env, key));
    place_open_to_others(folder, false);
    cr_assert(is_hit(&env, key));
    tear_down(&env, folder);
}

/* A mark names the process that builds, how many builds before never ended, and when. */
static void put_mark(const clattn__env *env, const char *folder, int strikes, int seconds_ago)
{
    char path[PLACE_PATH], text[80];
    /* the process is larger than any */
    snprintf(text, sizeof text, "999999999 %d %llu\n", strikes,
             (unsigned long long)clattn__wall_seconds() - (unsigned long long)seconds_ago);
    entry_path(folder, ".building", path);
    cr_assert_eq(clattn__file_write_atomic(env, path, text, strlen(text)), CLATTN_OK);
}

Test(program_cache, two_builds_that_ended_their_process_are_enough)
{
    clattn__env env;
    char folder[PLACE_SIZE];
    set_up(&env, folder);
    put_mark(&env, folder, 0, 60);
    cr_assert_eq(clattn__program_cache_begin_build(&env, key), CLATTN_OK, "one is not enough");
    put_mark(&env, folder, 1, 4000);
    cr_assert_eq(clattn__program_cache_begin_build(&env, key), CLATTN_OK, "an old one");
    put_mark(&env, folder, 1, 60);
    cr_assert_eq(clattn__program_cache_begin_build(&env, key), CLATTN_ERR_BUILD);
    cr_assert(strstr(clattn__message(), ".building"), "%s", clattn__message());
    clattn__program_cache_end_build(&env, key);
    cr_assert_eq(clattn__program_cache_begin_build(&env, key), CLATTN_OK);
    cr_assert_eq(clattn__program_cache_begin_build(&env, key), CLATTN_OK, "its own mark counts");
    tear_down(&env, folder);
}

static clattn_status count_entry(void *user, const clattn_program_entry *entry)
{
    int *counts = user;
    counts[entry->valid]++;
    cr_assert(entry->valid ? strcmp(entry->device, "a device") == 0 : entry->state[0] != 0);
    return CLATTN_OK;
}

Test(program_cache, list_and_clear)
{
    clattn__env env;
    char folder[PLACE_SIZE], path[PLACE_PATH];
    int counts[2] = {0, 0};
    uint32_t removed = 0;
    set_up(&env, folder);
    store(&env);
    snprintf(path, sizeof path, "%s/00000000000000000000000000000000.clattn", folder);
    cr_assert_eq(clattn__file_write_atomic(&env, path, "junk", 4), CLATTN_OK);
    cr_assert_eq(clattn__program_cache_walk(&env, count_entry, counts), CLATTN_OK);
    cr_assert(counts[0] == 1 && counts[1] == 1);
    cr_assert_eq(clattn__program_cache_clear(&env, true, &removed), CLATTN_OK);
    cr_assert_eq(removed, 1);
    cr_assert(is_hit(&env, key));
    tear_down(&env, folder);
}
