/* Reading the tuning file for a device, and using it for a problem. */
#include "plan/tuning.h"

#include <string.h>

#include "base/file.h"
#include "plan/tuning_file.h"

#define FILE_NAME "tuning.txt"
/* Rows for one device. */
#define MOST_ROWS 256

clattn_status clattn__tuning_path(const clattn__env *env, char **path)
{
    clattn__text text;
    *path = NULL;
    if (!env->cache_on || !env->cache_dir || env->cache_load || env->cache_store)
        return CLATTN_OK;
    clattn__text_init(&text, env);
    clattn__text_add(&text, "%s/" FILE_NAME, env->cache_dir);
    *path = clattn__text_take(&text);
    return *path ? CLATTN_OK : CLATTN_ERR_OUT_OF_MEMORY;
}

clattn_status clattn__tuning_read(const clattn__env *env, const char *path, char **text)
{
    size_t size;
    char *data;
    CLATTN__TRY(clattn__folder_check_private(env, env->cache_dir));
    CLATTN__TRY(clattn__file_read(env, path, CLATTN__LARGEST_TUNING, &data, &size));
    const char *wrong = clattn__tuning_text_check(data);
    if (wrong) {
        clattn__free(env, data);
        return clattn__fail(CLATTN_ERR_IO, "%s: %s", path, wrong);
    }
    *text = data;
    return CLATTN_OK;
}

/* Removes files of write_atomic that were never renamed. */
static clattn_status remove_rest(void *user, const char *name)
{
    const clattn__env *env = user;
    clattn__text path;
    if (strncmp(name, FILE_NAME ".", sizeof FILE_NAME) != 0)
        return CLATTN_OK;
    clattn__text_init(&path, env);
    clattn__text_add(&path, "%s/%s", env->cache_dir, name);
    const clattn_status status = clattn__text_status(&path);
    if (status == CLATTN_OK)
        clattn__file_remove(env, clattn__text_get(&path));
    clattn__text_finish(&path);
    return status;
}

clattn_status clattn__tuning_remove(const clattn__env *env, const char *path, bool *removed)
{
    *removed = clattn__file_exists(env, path);
    if (*removed && !clattn__file_remove(env, path))
        return clattn__fail(CLATTN_ERR_IO, "%s: can't be removed", path);
    return clattn__folder_list(env, env->cache_dir, remove_rest, (void *)(uintptr_t)env);
}

/* Finds kernel and class by their names; false: this version has none. */
static bool resolve(const clattn_tuning_row *row, clattn__tuned *tuned)
{
    for (uint32_t i = 0; i < clattn__kernel_count(); i++) {
        const clattn__kernel *kernel = clattn__kernel_get(i);
        if (!kernel->tunable || strcmp(kernel->name, row->kernel) != 0)
            continue;
        for (uint32_t c = 0; c < kernel->tunable->class_count; c++)
            if (strcmp(kernel->tunable->classes[c].name, row->problem) == 0) {
                tuned->kernel = kernel;
                tuned->problem_class = c;
                return true;
            }
    }
    return false;
}

/* Fills `rows` (MOST_ROWS) and counts them. */
static uint32_t gather(const clattn__env *env, const char *text, const clattn_device_info *info,
                       clattn__tuned *rows)
{
    clattn_tuning_row device, row;
    uint32_t count = 0, skipped = 0;
    clattn__tuning_row_init(info, &device);
    while (count < MOST_ROWS && clattn__tuning_text_next(&text, &row, &skipped)) {
        clattn__tuned *tuned = &rows[count];
        if (!clattn__tuning_row_is_for(&row, &device))
            continue;
        memset(tuned, 0, sizeof *tuned);
        tuned->speedup = row.speedup;
        if (resolve(&row, tuned) && clattn__config_parse_tuned(row.configuration, &tuned->config))
            count++;
        else
            clattn__log(env, CLATTN_LOG_DISPATCH, "tuning: a row is ignored: %s %s %s", row.kernel,
                        row.problem, row.configuration);
    }
    if (skipped)
        clattn__log(env, CLATTN_LOG_DISPATCH, "tuning: %u lines are no rows", (unsigned)skipped);
    return count;
}

static clattn_status keep(const clattn__env *env, const clattn__tuned *rows, uint32_t count,
                          clattn__tuning **tuning)
{
    if (count == 0)
        return CLATTN_OK;
    clattn__tuning *made = clattn__alloc(env, sizeof *made + count * sizeof *rows);
    if (!made)
        return CLATTN_ERR_OUT_OF_MEMORY;
    made->count = count;
    memcpy(made->row, rows, count * sizeof *rows);
    *tuning = made;
    return CLATTN_OK;
}

clattn_status clattn__tuning_load(const clattn__env *env, const clattn_device_info *info,
                                  clattn__tuning **tuning)
{
    char *path, *text = NULL;
    *tuning = NULL;
    if (!env->tuning_on)
        return CLATTN_OK;
    CLATTN__TRY(clattn__tuning_path(env, &path));
    if (!path || !clattn__file_exists(env, path)) {
        clattn__free(env, path);
        return CLATTN_OK;
    }
    clattn_status status = clattn__tuning_read(env, path, &text);
    clattn__free(env, path);
    if (status == CLATTN_ERR_OUT_OF_MEMORY)
        return status;
    if (status != CLATTN_OK) {
        clattn__log(env, CLATTN_LOG_DISPATCH, "tuning: %s", clattn__message());
        return CLATTN_OK;
    }
    clattn__tuned *rows = clattn__alloc_array(env, MOST_ROWS, sizeof *rows);
    status = CLATTN_ERR_OUT_OF_MEMORY;
    if (rows)
        status = keep(env, rows, gather(env, text, info, rows), tuning);
    clattn__free(env, rows);
    clattn__free(env, text);
    return status;
}

static const clattn__tuned *find(const clattn__tuning *tuning, const clattn__kernel *kernel,
                                 uint32_t problem_class)
{
    for (uint32_t i = 0; i < tuning->count; i++)
        if (tuning->row[i].kernel == kernel && tuning->row[i].problem_class == problem_class)
            return &tuning->row[i];
    return NULL;
}

/* Takes a row's numbers if there are all of them and they fit. So it doesn't depend on what is
 * built in for a class whether the row of its leader counts. */
static bool take(const clattn__env *env, const clattn__tuned *row, const clattn__caps *caps,
                 clattn__config *config)
{
    clattn__config changed = *config;
    if (!row)
        return false;
    clattn__config_change(&row->config, &changed);
    if (!clattn__config_is_whole(&row->config, config) ||
        !row->kernel->tunable->fits(&changed, caps)) {
        clattn__log(env, CLATTN_LOG_DISPATCH, "tuning: the row of %s, %s does not fit the device",
                    row->kernel->name, row->kernel->tunable->classes[row->problem_class].name);
        return false;
    }
    *config = changed;
    return true;
}

void clattn__tuning_follow(const clattn__tunable *tunable, const clattn__caps *caps,
                           const clattn__config *leader, clattn__config *config)
{
    clattn__config own = *config;
    tunable->follow(leader, &own);
    if (tunable->fits(&own, caps))
        *config = own;
    else
        clattn__config_change(leader, config);
}

/* Takes the row of a class that has a leader, whose configuration is `leader`, unless it would have
 * other bits. */
static bool take_following(const clattn__env *env, const clattn__tuned *row,
                           const clattn__caps *caps, const clattn__config *leader,
                           clattn__config *config)
{
    clattn__config own = *config, same;
    if (!take(env, row, caps, &own))
        return false;
    same = own;
    row->kernel->tunable->follow(leader, &same);
    if (!clattn__config_same(&same, &own)) {
        clattn__log(env, CLATTN_LOG_DISPATCH, "tuning: the row of %s, %s would change bits",
                    row->kernel->name, row->kernel->tunable->classes[row->problem_class].name);
        return false;
    }
    *config = own;
    return true;
}

clattn__origin clattn__tuning_apply(const clattn__tuning *tuning, const clattn__env *env,
                                    const clattn__kernel *kernel, const clattn__problem *problem,
                                    const clattn__caps *caps, clattn__config *config)
{
    const clattn__tunable *tunable = kernel->tunable;
    clattn__origin origin = {0};
    if (!tuning || !tunable)
        return origin;
    const uint32_t own = tunable->class_of(problem, config);
    const int32_t leading = tunable->classes[own].leader;
    const clattn__tuned *row = find(tuning, kernel, own), *used = NULL;
    if (leading < 0) {
        used = take(env, row, caps, config) ? row : NULL;
    } else {
        const clattn__tuned *leader_row = find(tuning, kernel, (uint32_t)leading);
        clattn__config leader = *config;
        if (take(env, leader_row, caps, &leader)) {
            clattn__tuning_follow(tunable, caps, &leader, config);
            used = leader_row;
        }
        if (take_following(env, row, caps, &leader, config))
            used = row;
    }
    if (used) {
        origin.problem_class = tunable->classes[used->problem_class].name;
        origin.speedup = used->speedup;
        origin.follows = used != row;
    }
    return origin;
}
