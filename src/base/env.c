/* The environment of a context: options and environment variables, allocation, log lines. */
#include "base/env.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "base/text.h"
#include "base/unknown.h"
#include "base/variable.h"

static void *default_realloc(void *user, void *pointer, size_t size)
{
    (void)user;
    if (size == 0) {
        free(pointer);
        return NULL;
    }
    return realloc(pointer, size);
}

void *clattn__resize(const clattn__env *env, void *pointer, size_t size)
{
    void *result = env->realloc(env->realloc_user, pointer, size ? size : 1);
    if (!result)
        clattn__fail(CLATTN_ERR_OUT_OF_MEMORY, "host memory: %zu bytes could not be allocated",
                     size);
    return result;
}

void *clattn__alloc(const clattn__env *env, size_t size)
{
    return clattn__resize(env, NULL, size);
}

void *clattn__alloc_array(const clattn__env *env, size_t count, size_t size)
{
    if (size && count > SIZE_MAX / size) {
        clattn__fail(CLATTN_ERR_OUT_OF_MEMORY,
                     "host memory: %zu items of %zu bytes could not be allocated", count, size);
        return NULL;
    }
    void *result = clattn__alloc(env, count * size);
    if (result)
        memset(result, 0, count * size);
    return result;
}

void clattn__free(const clattn__env *env, void *pointer)
{
    if (pointer)
        env->realloc(env->realloc_user, pointer, 0);
}

char *clattn__copy_text(const clattn__env *env, const char *text)
{
    const size_t size = strlen(text) + 1;
    char *copy = clattn__alloc(env, size);
    if (copy)
        memcpy(copy, text, size);
    return copy;
}

/* The words of CLATTN_VERBOSE, separated by commas. */
static const struct {
    const char *word;
    uint32_t areas;
} verbose_words[] = {
    {"dispatch", CLATTN_LOG_DISPATCH},
    {"build", CLATTN_LOG_BUILD},
    {"exec", CLATTN_LOG_EXEC},
};

static uint32_t verbose_from(const char *text)
{
    uint32_t areas = 0;
    for (size_t i = 0; text && i < sizeof verbose_words / sizeof verbose_words[0]; i++)
        if (clattn__contains(text, verbose_words[i].word))
            areas |= verbose_words[i].areas;
    return areas;
}

/* Copies `option`, or else the environment variable, where either is there and not empty. */
static clattn_status copy_setting(const clattn__env *env, const char *option, const char *variable,
                                  char **setting)
{
    if (!option)
        return variable ? clattn__variable(env, variable, setting) : CLATTN_OK;
    *setting = clattn__copy_text(env, option);
    return *setting ? CLATTN_OK : CLATTN_ERR_OUT_OF_MEMORY;
}

static clattn_status copy_settings(clattn__env *env, const clattn_context_options *options)
{
    char *verbose = NULL;
    CLATTN__TRY(clattn__variable(env, "CLATTN_VERBOSE", &verbose));
    env->verbose = verbose_from(verbose);
    clattn__free(env, verbose);
    CLATTN__TRY(copy_setting(env, options->device, "CLATTN_DEVICE", &env->device));
    CLATTN__TRY(copy_setting(env, options->cache_dir, "CLATTN_CACHE_DIR", &env->cache_dir));
    CLATTN__TRY(copy_setting(env, options->kernel, NULL, &env->kernel));
    CLATTN__TRY(copy_setting(env, options->kernel_dir, "CLATTN_KERNEL_DIR", &env->kernel_dir));
    if (!env->cache_dir)
        CLATTN__TRY(clattn__default_cache_dir(env, &env->cache_dir));
    return CLATTN_OK;
}

clattn_status clattn__env_init(clattn__env *env, const clattn_context_options *options)
{
    clattn_context_options own;
    clattn_context_options_init(&own);
    if (options) {
        if (options->struct_size < offsetof(clattn_context_options, get_proc) ||
            options->struct_size > 65536)
            return clattn__fail(CLATTN_ERR_ARGUMENT,
                                "options: struct_size is %u; use clattn_context_options_init",
                                (unsigned)options->struct_size);
        if (!clattn__unknown_is_zero(options, sizeof own, options->struct_size))
            return clattn__fail(CLATTN_ERR_UNSUPPORTED,
                                "options: has fields that version %d.%d does not know",
                                CLATTN_VERSION_MAJOR, CLATTN_VERSION_MINOR);
        memcpy(&own, options,
               options->struct_size < sizeof own ? options->struct_size : sizeof own);
    }
    if (own.flags & ~(uint32_t)(CLATTN_CONTEXT_NO_PROGRAM_CACHE | CLATTN_CONTEXT_NO_TUNING |
                                CLATTN_CONTEXT_SLEEPY_WAITS | CLATTN_CONTEXT_CLEAR_MEMORY))
        return clattn__fail(CLATTN_ERR_ARGUMENT, "options: flags has unknown bits (0x%x)",
                            (unsigned)own.flags);
    if (own.parts > CLATTN__MAX_PARTS)
        return clattn__fail(CLATTN_ERR_ARGUMENT, "options: parts is %u, must be at most %d",
                            (unsigned)own.parts, CLATTN__MAX_PARTS);
    memset(env, 0, sizeof *env);
    env->realloc = own.realloc ? own.realloc : default_realloc;
    env->realloc_user = own.realloc_user;
    env->log = own.log;
    env->log_user = own.log_user;
    env->get_proc = own.get_proc;
    env->get_proc_user = own.get_proc_user;
    env->cache_load = own.cache_load;
    env->cache_store = own.cache_store;
    env->cache_user = own.cache_user;
    env->parts = own.parts;
    env->sleepy = own.flags & CLATTN_CONTEXT_SLEEPY_WAITS;
    env->clears = own.flags & CLATTN_CONTEXT_CLEAR_MEMORY;
    const clattn_status status = copy_settings(env, &own);
    env->cache_on = !(own.flags & CLATTN_CONTEXT_NO_PROGRAM_CACHE);
    env->tuning_on = env->cache_on && !(own.flags & CLATTN_CONTEXT_NO_TUNING);
    if (status != CLATTN_OK)
        clattn__env_finish(env);
    return status;
}

void clattn__env_finish(clattn__env *env)
{
    clattn__free(env, env->device);
    clattn__free(env, env->cache_dir);
    clattn__free(env, env->kernel_dir);
    clattn__free(env, env->kernel);
    env->device = env->cache_dir = env->kernel_dir = env->kernel = NULL;
}

bool clattn__log_wanted(const clattn__env *env, clattn_log_area area)
{
    return env->log || (env->verbose & (uint32_t)area);
}

void clattn__log(const clattn__env *env, clattn_log_area area, const char *format, ...)
{
    if (!clattn__log_wanted(env, area))
        return;
    char line[2048] = "clattn: ";
    const size_t prefix = strlen(line);
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(line + prefix, sizeof line - prefix - 1, format, arguments);
    va_end(arguments);
    if (env->log)
        env->log(env->log_user, area, line + prefix);
    if (env->verbose & (uint32_t)area) {
        strcat(line, "\n");
        fputs(line, stderr);
    }
}
