/* Base: texts, hashes, environment, messages. */
#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/hash.h"
#include "base/text.h"
#include "base/thread.h"
#include "place.h"

static void begin(clattn__env *env)
{
    cr_assert_eq(clattn__env_init(env, NULL), CLATTN_OK);
}

Test(text, grows)
{
    clattn__env env;
    begin(&env);
    clattn__text text;
    clattn__text_init(&text, &env);
    cr_assert_str_eq(clattn__text_get(&text), "");
    for (int i = 0; i < 1000; i++)
        clattn__text_add(&text, "%d,", i);
    clattn__text_add_bytes(&text, "end", 3);
    cr_assert_eq(clattn__text_status(&text), CLATTN_OK);
    cr_assert_eq(text.size, 10 * 2 + 90 * 3 + 900 * 4 + 3);
    cr_assert_str_eq(clattn__text_get(&text) + text.size - 7, "999,end");
    char *taken = clattn__text_take(&text);
    cr_assert_str_eq(taken + strlen(taken) - 3, "end");
    clattn__free(&env, taken);
    taken = clattn__text_take(&text);
    cr_assert_str_eq(taken, "");
    clattn__free(&env, taken);
    clattn__text_finish(&text);
    clattn__env_finish(&env);
}

static void *no_memory(void *user, void *pointer, size_t size)
{
    (void)user;
    if (size == 0)
        free(pointer);
    return NULL;
}

Test(text, remembers_failure)
{
    clattn__env env = {.realloc = no_memory};
    clattn__text text;
    clattn__text_init(&text, &env);
    clattn__text_add(&text, "something");
    cr_assert_eq(clattn__text_status(&text), CLATTN_ERR_OUT_OF_MEMORY);
    cr_assert_str_eq(clattn__text_get(&text), "");
    clattn__text_finish(&text);
}

Test(text, contains_without_case)
{
    cr_assert(clattn__contains("Portable Computing Language", "COMPUTING"));
    cr_assert(clattn__contains("abc", ""));
    cr_assert_not(clattn__contains("abc", "abcd"));
    cr_assert_not(clattn__contains("", "a"));
}

/* Reference value of xxHash's own specification tool: XXH3_128bits of nothing, seed 0. */
Test(hash, empty_input)
{
    char text[33];
    clattn__hash_text(clattn__hash_bytes("", 0), text);
    cr_assert_str_eq(text, "99aa06d3014798d86001c324468d497f");
}

Test(hash, differs)
{
    cr_assert_not(clattn__hash_equal(clattn__hash_bytes("a", 1), clattn__hash_bytes("b", 1)));
}

Test(env, arrays_do_not_overflow)
{
    clattn__env env;
    begin(&env);
    cr_assert_null(clattn__alloc_array(&env, SIZE_MAX / 2, 3));
    cr_assert(strstr(clattn__message(), "could not be allocated"));
    clattn__env_finish(&env);
}

Test(env, options_before_environment)
{
    clattn_context_options options;
    clattn_context_options_init(&options);
    clattn__env env;
    place_set_variable("CLATTN_DEVICE", "gpu");
    place_set_variable("CLATTN_CACHE_DIR", "");
    begin(&env);
    cr_assert_str_eq(env.device, "gpu");
    clattn__env_finish(&env);
    options.device = "cpu";
    options.flags = CLATTN_CONTEXT_NO_PROGRAM_CACHE;
    cr_assert_eq(clattn__env_init(&env, &options), CLATTN_OK);
    cr_assert_str_eq(env.device, "cpu");
    cr_assert_not(env.cache_on);
    clattn__env_finish(&env);
}

Test(env, refuses_what_it_does_not_know)
{
    clattn_context_options options;
    clattn__env env;
    clattn_context_options_init(&options);
    options.flags = 0x80;
    cr_assert_eq(clattn__env_init(&env, &options), CLATTN_ERR_ARGUMENT);
    clattn_context_options_init(&options);
    options.struct_size = 4;
    cr_assert_eq(clattn__env_init(&env, &options), CLATTN_ERR_ARGUMENT);
    struct {
        clattn_context_options options;
        uint64_t unknown;
    } longer = {.unknown = 0};
    clattn_context_options_init(&longer.options);
    longer.options.struct_size = sizeof longer;
    cr_assert_eq(clattn__env_init(&env, &longer.options), CLATTN_OK);
    clattn__env_finish(&env);
    longer.unknown = 1;
    cr_assert_eq(clattn__env_init(&env, &longer.options), CLATTN_ERR_UNSUPPORTED);
}

static void count_line(void *user, clattn_log_area area, const char *line)
{
    cr_expect_eq(area, CLATTN_LOG_BUILD);
    cr_expect_str_eq(line, "built 3 kernels");
    ++*(int *)user;
}

Test(env, log_lines)
{
    int lines = 0;
    clattn_context_options options;
    clattn_context_options_init(&options);
    options.log = count_line;
    options.log_user = &lines;
    clattn__env env;
    cr_assert_eq(clattn__env_init(&env, &options), CLATTN_OK);
    clattn__log(&env, CLATTN_LOG_BUILD, "built %d kernels", 3);
    cr_assert_eq(lines, 1);
    clattn__env_finish(&env);
}

Test(status, texts)
{
    cr_assert_str_eq(clattn_status_string(CLATTN_OK), "success");
    cr_assert_str_eq(clattn_status_string((clattn_status)-999), "not a status of clattn");
    cr_assert_eq(clattn__fail(CLATTN_ERR_IO, "file %s", "x"), CLATTN_ERR_IO);
    cr_assert_eq(clattn__fail(CLATTN_ERR_IO, "%s: again", clattn__message()), CLATTN_ERR_IO);
    cr_assert_str_eq(clattn_error_message(), "file x: again");
}

Test(clock, goes_forward)
{
    const uint64_t start = clattn__now_ns();
    clattn__sleep_ns(1000000);
    cr_assert_geq(clattn__now_ns() - start, 1000000u);
}

Test(process, knows_itself)
{
    cr_assert(clattn__process_runs(clattn__process_id()));
    cr_assert_not(clattn__process_runs(0));
}
