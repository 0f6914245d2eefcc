/* Tuning and its file: the public functions. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "api/check.h"
#include "base/file.h"
#include "base/unknown.h"
#include "plan/tuner.h"
#include "plan/tuning_file.h"

#define ALL_SECONDS   240.0
#define QUICK_SECONDS 22.0
#define MOST_SECONDS  86400.0

static clattn_status check_options(const clattn_tune_options *options)
{
    CLATTN__TRY(
        clattn__check_known(options, sizeof *options, "options", "clattn_tune_options_init"));
    if (options->quick > 1)
        return clattn__fail(CLATTN_ERR_ARGUMENT, "options: quick is %" PRIu32 ", must be 0 or 1",
                            options->quick);
    if (!(options->seconds >= 0 && options->seconds <= MOST_SECONDS))
        return clattn__fail(CLATTN_ERR_ARGUMENT, "options: seconds is %g, must be 0 to %g",
                            options->seconds, MOST_SECONDS);
    return CLATTN_OK;
}

/* The file's path (owned), in a folder that can be written to. */
static clattn_status make_room(const clattn__env *env, char **path)
{
    CLATTN__TRY(clattn__tuning_path(env, path));
    if (!*path)
        return clattn__fail(CLATTN_ERR_UNSUPPORTED,
                            "context: has no folder to keep a tuning file in");
    const clattn_status status = clattn__folder_make_private(env, env->cache_dir);
    if (status != CLATTN_OK)
        clattn__free(env, *path);
    return status;
}

/* A context for trials on the same device: programs and memory of its own, no tuning. */
static clattn_status open_trials(const clattn_context *context, clattn_context *trials)
{
    memset(trials, 0, sizeof *trials);
    trials->env = context->env;
    trials->env.cache_trials = true;
    trials->process = context->process;
    atomic_init(&trials->live, 0);
    return clattn__device_open_again(&trials->env, context->device, &trials->device);
}

static clattn_status search(const clattn_context *context, const clattn__tuner_request *request,
                            clattn__tuner_results *results)
{
    clattn_context trials;
    CLATTN__TRY(open_trials(context, &trials));
    const clattn_status status = clattn__tuner_run(&trials, request, results);
    clattn__device_close(trials.device);
    return status;
}

/* Whether the results say something about the row's class, or change its leader. */
static bool is_outdated(const clattn__tuner_results *results, const clattn_tuning_row *row)
{
    for (uint32_t i = 0; i < results->count; i++) {
        const clattn__tuned *tuned = &results->row[i];
        const clattn__problem_class *classes = tuned->kernel->tunable->classes;
        if (strcmp(tuned->kernel->name, row->kernel) != 0)
            continue;
        for (uint32_t c = 0; c < tuned->kernel->tunable->class_count; c++)
            if (strcmp(classes[c].name, row->problem) == 0 &&
                (c == tuned->problem_class || classes[c].leader == (int32_t)tuned->problem_class))
                return true;
    }
    return false;
}

/* Rows of the file as it is, without those that are for this device and outdated. */
static void keep_rows(const char *old, const clattn__tuner_results *results,
                      const clattn_tuning_row *device, clattn__text *text)
{
    clattn_tuning_row row;
    while (clattn__tuning_text_next(&old, &row, NULL))
        if (!clattn__tuning_row_is_for(&row, device) || !is_outdated(results, &row))
            clattn__tuning_text_add(text, &row);
}

static clattn_status add_rows(const clattn__env *env, const clattn__tuner_results *results,
                              const clattn_tuning_row *device, clattn__text *text)
{
    for (uint32_t i = 0; i < results->count; i++) {
        const clattn__tuned *tuned = &results->row[i];
        clattn_tuning_row row = *device;
        clattn__text configuration;
        if (!(tuned->speedup > 0))
            continue;
        clattn__text_init(&configuration, env);
        clattn__config_describe_tuned(&tuned->config, &configuration);
        const clattn_status status = clattn__text_status(&configuration);
        snprintf(row.kernel, sizeof row.kernel, "%s", tuned->kernel->name);
        snprintf(row.problem, sizeof row.problem, "%s",
                 tuned->kernel->tunable->classes[tuned->problem_class].name);
        snprintf(row.configuration, sizeof row.configuration, "%s",
                 clattn__text_get(&configuration));
        row.speedup = tuned->speedup;
        clattn__text_finish(&configuration);
        CLATTN__TRY(status);
        clattn__tuning_text_add(text, &row);
    }
    return CLATTN_OK;
}

/* The file anew, with what it had and what was found. One that can't be read is replaced. */
static clattn_status store(const clattn_context *context, const char *path,
                           const clattn__tuner_results *results)
{
    const clattn__env *env = &context->env;
    clattn_tuning_row device;
    clattn__text text;
    char *old = NULL;
    clattn_status status = clattn__tuning_read(env, path, &old);
    if (status == CLATTN_ERR_OUT_OF_MEMORY)
        return status;
    clattn__tuning_row_init(clattn__device_info(context->device), &device);
    clattn__text_init(&text, env);
    clattn__tuning_text_begin(&text);
    if (old)
        keep_rows(old, results, &device, &text);
    status = add_rows(env, results, &device, &text);
    if (status == CLATTN_OK)
        status = clattn__text_status(&text);
    if (status == CLATTN_OK)
        status = clattn__file_write_atomic(env, path, clattn__text_get(&text), text.size);
    clattn__text_finish(&text);
    clattn__free(env, old);
    return status;
}

clattn_status clattn_tune(clattn_context *context, const clattn_tune_options *options,
                          clattn_tune_fn function, void *user)
{
    clattn__tuner_results results = {0};
    clattn_tune_options own;
    char *path;
    CLATTN__TRY(clattn__context_check(context));
    clattn_tune_options_init(&own);
    if (options) {
        CLATTN__TRY(check_options(options));
        own = *options;
    }
    const clattn__tuner_request request = {.seconds = own.seconds > 0 ? own.seconds
                                                      : own.quick     ? QUICK_SECONDS
                                                                      : ALL_SECONDS,
                                           .quick = own.quick != 0,
                                           .function = function,
                                           .user = user};
    CLATTN__TRY(make_room(&context->env, &path));
    clattn_status status = search(context, &request, &results);
    if (status == CLATTN_OK)
        status = store(context, path, &results);
    clattn__free(&context->env, results.row);
    clattn__free(&context->env, path);
    return status;
}

/* The environment of options whose cache is a folder, and the file's path (owned); NULL: there is
 * none. */
static clattn_status begin(const clattn_context_options *options, clattn__env *env, char **path)
{
    CLATTN__TRY(clattn__env_init(env, options));
    clattn_status status = CLATTN_OK;
    *path = NULL;
    if (env->cache_load || env->cache_store) {
        status = clattn__fail(CLATTN_ERR_UNSUPPORTED,
                              "options: with cache_load or cache_store there is no tuning file");
    } else {
        env->cache_on = true; /* the flag is about contexts */
        status = clattn__tuning_path(env, path);
    }
    if (status != CLATTN_OK)
        clattn__env_finish(env);
    return status;
}

static void end(clattn__env *env, char *path)
{
    clattn__free(env, path);
    clattn__env_finish(env);
}

static clattn_status list(const clattn__env *env, const char *path, clattn_tuning_fn function,
                          void *user)
{
    clattn_tuning_row row;
    char *text;
    if (!path || !clattn__file_exists(env, path))
        return CLATTN_OK;
    CLATTN__TRY(clattn__tuning_read(env, path, &text));
    clattn_status status = CLATTN_OK;
    for (const char *at = text; status == CLATTN_OK && clattn__tuning_text_next(&at, &row, NULL);)
        status = function(user, &row);
    clattn__free(env, text);
    return status;
}

clattn_status clattn_tuning_list(const clattn_context_options *options, clattn_tuning_fn function,
                                 void *user)
{
    clattn__env env;
    char *path;
    if (!function)
        return clattn__fail(CLATTN_ERR_ARGUMENT, "function: is NULL");
    CLATTN__TRY(begin(options, &env, &path));
    const clattn_status status = list(&env, path, function, user);
    end(&env, path);
    return status;
}

clattn_status clattn_tuning_forget(const clattn_context_options *options, uint32_t *removed)
{
    clattn__env env;
    char *path;
    CLATTN__TRY(begin(options, &env, &path));
    bool there = false;
    const clattn_status status = path ? clattn__tuning_remove(&env, path, &there) : CLATTN_OK;
    if (removed)
        *removed = there && status == CLATTN_OK;
    end(&env, path);
    return status;
}

clattn_status clattn_tuning_path(const clattn_context_options *options, char *path, size_t capacity)
{
    clattn__env env;
    char *found;
    CLATTN__TRY(clattn__require(path, "path"));
    CLATTN__TRY(begin(options, &env, &found));
    const char *text = found ? found : "";
    clattn_status status = CLATTN_OK;
    if (strlen(text) >= capacity)
        status =
            clattn__fail(CLATTN_ERR_ARGUMENT, "capacity: %zu bytes do not hold %s", capacity, text);
    else
        memcpy(path, text, strlen(text) + 1);
    end(&env, found);
    return status;
}
