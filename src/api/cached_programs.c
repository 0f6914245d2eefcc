/* The program cache on disk: the public functions. None of them opens OpenCL. */
#include <inttypes.h>
#include <string.h>

#include "api/check.h"
#include "opencl/program_cache.h"

/* The environment of options whose cache is a folder. */
static clattn_status begin(clattn__env *env, const clattn_context_options *options)
{
    CLATTN__TRY(clattn__env_init(env, options));
    if (!env->cache_load && !env->cache_store)
        return CLATTN_OK;
    clattn__env_finish(env);
    return clattn__fail(CLATTN_ERR_UNSUPPORTED,
                        "options: with cache_load or cache_store the programs are in a store of "
                        "the caller, which clattn can't look through");
}

clattn_status clattn_program_cache_list(const clattn_context_options *options,
                                        clattn_program_fn function, void *user)
{
    clattn__env env;
    CLATTN__TRY(begin(&env, options));
    clattn_status status = CLATTN_OK;
    if (!function)
        status = clattn__fail(CLATTN_ERR_ARGUMENT, "function: is NULL");
    else if (env.cache_dir)
        status = clattn__program_cache_walk(&env, function, user);
    clattn__env_finish(&env);
    return status;
}

clattn_status clattn_program_cache_clear(const clattn_context_options *options,
                                         uint32_t only_invalid, uint32_t *removed)
{
    clattn__env env;
    uint32_t count = 0;
    CLATTN__TRY(begin(&env, options));
    clattn_status status = CLATTN_OK;
    if (env.cache_dir)
        status = clattn__program_cache_clear(&env, only_invalid != 0, &count);
    clattn__env_finish(&env);
    if (removed)
        *removed = count;
    return status;
}

clattn_status clattn_program_cache_path(const clattn_context_options *options, char *path,
                                        size_t capacity)
{
    clattn__env env;
    CLATTN__TRY(clattn__require(path, "path"));
    CLATTN__TRY(begin(&env, options));
    const char *folder = env.cache_dir ? env.cache_dir : "";
    clattn_status status = CLATTN_OK;
    if (strlen(folder) >= capacity)
        status = clattn__fail(CLATTN_ERR_ARGUMENT, "capacity: %zu bytes do not hold %s", capacity,
                              folder);
    else
        memcpy(path, folder, strlen(folder) + 1);
    clattn__env_finish(&env);
    return status;
}
