/* Where entries of the program cache are kept: in a folder, as files `<key>.clattn` beside marks
 * `<key>.building` of builds that have begun, or by the caller's functions. The bytes of an entry
 * are program_entry.c's matter. */
#include "opencl/program_cache.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/file.h"
#include "base/text.h"
#include "base/thread.h"

#define LARGEST_ENTRY ((uint64_t)256 << 20)
#define MOST_STRIKES  2u
#define ENTRY_SUFFIX  ".clattn"
#define MARK_SUFFIX   ".building"
#define MARK_SECONDS  3600 /* that a mark counts */
#define KEY_DIGITS    32

static char *path_of(const clattn__env *env, const char *stem, const char *suffix)
{
    clattn__text text;
    clattn__text_init(&text, env);
    clattn__text_add(&text, "%s/%s%s", env->cache_dir, stem, suffix);
    return clattn__text_take(&text);
}

static bool has_functions(const clattn__env *env)
{
    return env->cache_load || env->cache_store;
}

/* Whether the cache is a folder. */
static bool is_folder(const clattn__env *env)
{
    return env->cache_on && env->cache_dir && !has_functions(env);
}

/* NULL and an owned entry, or what is wrong. */
static const char *read_file(const clattn__env *env, const char *stem, clattn__entry *e)
{
    char *data = NULL, *path = path_of(env, stem, ENTRY_SUFFIX);
    const char *wrong = "can't be read";
    memset(e, 0, sizeof *e);
    if (path && clattn__file_read(env, path, LARGEST_ENTRY, &data, &e->size) == CLATTN_OK) {
        e->bytes = (unsigned char *)data;
        wrong = clattn__entry_check(e, stem);
    }
    clattn__free(env, path);
    return wrong;
}

/* Where the caller's load function puts what it has. */
typedef struct receiver {
    const clattn__env *env;
    clattn__entry *entry;
} receiver;

/* A clattn_cache_receive_fn. */
static void receive(void *user, const void *bytes, size_t size)
{
    const receiver *to = user;
    if (!bytes || !size || size > LARGEST_ENTRY || to->entry->bytes)
        return;
    to->entry->bytes = clattn__alloc(to->env, size);
    if (!to->entry->bytes)
        return;
    memcpy(to->entry->bytes, bytes, size);
    to->entry->size = size;
}

/* The same as read_file, by the caller's function. */
static const char *ask_caller(const clattn__env *env, const char *stem, clattn__entry *e)
{
    receiver to = {env, e};
    memset(e, 0, sizeof *e);
    if (env->cache_load)
        env->cache_load(env->cache_user, stem, receive, &to);
    return e->bytes ? clattn__entry_check(e, stem) : "is not there";
}

/* NULL and an owned entry, or what is wrong. */
static const char *find_entry(const clattn__env *env, const char *stem, clattn__entry *e)
{
    memset(e, 0, sizeof *e);
    if (!env->cache_on)
        return "the cache is off";
    if (has_functions(env))
        return ask_caller(env, stem, e);
    if (!env->cache_dir || clattn__folder_check_private(env, env->cache_dir) != CLATTN_OK)
        return "there is no folder to use";
    return read_file(env, stem, e);
}

clattn_status clattn__program_cache_load(const clattn__env *env, clattn__hash key, void **binary,
                                         size_t *binary_size)
{
    char stem[33];
    clattn__entry e;
    clattn__hash_text(key, stem);
    const char *wrong = find_entry(env, stem, &e);
    void *copy = NULL;
    if (!wrong && e.binary_size) {
        copy = clattn__alloc(env, (size_t)e.binary_size);
        if (copy)
            memcpy(copy, clattn__entry_binary(&e), (size_t)e.binary_size);
        else
            wrong = "no memory";
    }
    if (wrong && e.bytes)
        clattn__log(env, CLATTN_LOG_BUILD, "cache: %s is not used: %s", stem, wrong);
    clattn__free(env, e.bytes);
    if (wrong)
        return CLATTN_ERR_IO;
    *binary = copy;
    *binary_size = (size_t)e.binary_size;
    return CLATTN_OK;
}

static clattn_status write_file(const clattn__env *env, const char *stem, const clattn__entry *e)
{
    CLATTN__TRY(clattn__folder_make_private(env, env->cache_dir));
    char *path = path_of(env, stem, ENTRY_SUFFIX);
    const clattn_status status =
        path ? clattn__file_write_atomic(env, path, e->bytes, e->size) : CLATTN_ERR_OUT_OF_MEMORY;
    clattn__free(env, path);
    return status;
}

static bool may_store(const clattn__env *env)
{
    if (env->cache_trials)
        return false;
    return has_functions(env) ? env->cache_on && env->cache_store : is_folder(env);
}

void clattn__program_cache_store(const clattn__env *env, clattn__hash key,
                                 const clattn__cached_program *program)
{
    char stem[33];
    clattn__entry e = {0};
    if (!may_store(env) || program->binary_size > LARGEST_ENTRY / 2)
        return;
    clattn__hash_text(key, stem);
    clattn_status status = clattn__entry_make(env, key, program, &e);
    if (status == CLATTN_OK && env->cache_store)
        env->cache_store(env->cache_user, stem, e.bytes, e.size);
    else if (status == CLATTN_OK)
        status = write_file(env, stem, &e);
    if (status != CLATTN_OK)
        clattn__log(env, CLATTN_LOG_BUILD, "cache: not stored: %s", clattn__message());
    clattn__free(env, e.bytes);
}

static void remove_file(const clattn__env *env, clattn__hash key, const char *suffix)
{
    char stem[33];
    if (!is_folder(env))
        return;
    clattn__hash_text(key, stem);
    char *path = path_of(env, stem, suffix);
    if (path)
        clattn__file_remove(env, path);
    clattn__free(env, path);
}

void clattn__program_cache_drop(const clattn__env *env, clattn__hash key)
{
    remove_file(env, key, ENTRY_SUFFIX);
}

void clattn__program_cache_end_build(const clattn__env *env, clattn__hash key)
{
    remove_file(env, key, MARK_SUFFIX);
}

/* Builds that began and never ended: the mark's count, and one more if its process is gone. A
 * process may also have been killed by someone who didn't want to wait, so marks are forgotten in
 * time. */
static uint32_t strikes_of(const clattn__env *env, const char *path)
{
    char *data;
    size_t size;
    if (clattn__file_read(env, path, 256, &data, &size) != CLATTN_OK)
        return 0;
    char *rest;
    const uint64_t process = strtoull(data, &rest, 10);
    uint32_t strikes = (uint32_t)strtoul(rest, &rest, 10);
    const uint64_t age = clattn__wall_seconds() - strtoull(rest, NULL, 10);
    if (age > MARK_SECONDS)
        strikes = 0;
    else if (process != clattn__process_id() && !clattn__process_runs(process))
        strikes++;
    clattn__free(env, data);
    return strikes;
}

static clattn_status mark(const clattn__env *env, const char *path)
{
    char line[96];
    const uint32_t strikes = strikes_of(env, path);
    if (strikes >= MOST_STRIKES)
        return clattn__fail(CLATTN_ERR_BUILD,
                            "building this program ended its process %" PRIu32
                            " times within an hour; to try again now remove %s or run `clattn "
                            "programs clear`",
                            strikes, path);
    const int size = snprintf(line, sizeof line, "%" PRIu64 " %" PRIu32 " %" PRIu64 "\n",
                              clattn__process_id(), strikes, clattn__wall_seconds());
    if (clattn__file_write_atomic(env, path, line, (size_t)size) != CLATTN_OK)
        clattn__log(env, CLATTN_LOG_BUILD, "cache: %s", clattn__message());
    return CLATTN_OK;
}

clattn_status clattn__program_cache_begin_build(const clattn__env *env, clattn__hash key)
{
    char stem[33];
    if (!is_folder(env) || clattn__folder_make_private(env, env->cache_dir) != CLATTN_OK)
        return CLATTN_OK;
    clattn__hash_text(key, stem);
    char *path = path_of(env, stem, MARK_SUFFIX);
    const clattn_status status = path ? mark(env, path) : CLATTN_ERR_OUT_OF_MEMORY;
    clattn__free(env, path);
    return status;
}

/* Copies `size` bytes of text, cut to the room there is. */
static void copy_text(char *to, size_t capacity, const unsigned char *from, uint64_t size)
{
    const size_t kept = size < capacity ? (size_t)size : capacity - 1;
    memcpy(to, from, kept);
    to[kept] = 0;
}

/* Whether a file is `<32 digits><suffix>...`; the stem goes to `stem`. */
static bool split_name(const char *name, const char *suffix, char stem[33])
{
    if (strspn(name, "0123456789abcdef") != KEY_DIGITS ||
        strncmp(name + KEY_DIGITS, suffix, strlen(suffix)) != 0)
        return false;
    memcpy(stem, name, KEY_DIGITS);
    stem[KEY_DIGITS] = 0;
    return true;
}

typedef struct walk {
    const clattn__env *env;
    clattn_program_fn function;
    void *user;
} walk;

static clattn_status visit_entry(void *user, const char *name)
{
    const walk *of = user;
    char stem[33];
    clattn__entry e;
    if (!split_name(name, ENTRY_SUFFIX, stem) || name[KEY_DIGITS + strlen(ENTRY_SUFFIX)] != 0)
        return CLATTN_OK;
    clattn_program_entry made = {.struct_size = sizeof made};
    const char *wrong = read_file(of->env, stem, &e);
    memcpy(made.key, stem, sizeof stem);
    made.valid = wrong == NULL;
    made.size = e.size;
    snprintf(made.state, sizeof made.state, "%s", wrong ? wrong : "ok");
    if (!wrong) {
        copy_text(made.device, sizeof made.device, clattn__entry_device(&e), e.device_size);
        copy_text(made.label, sizeof made.label, clattn__entry_label(&e), e.label_size);
    }
    clattn__free(of->env, e.bytes);
    return of->function(of->user, &made);
}

clattn_status clattn__program_cache_walk(const clattn__env *env, clattn_program_fn function,
                                         void *user)
{
    walk of = {env, function, user};
    return env->cache_dir ? clattn__folder_list(env, env->cache_dir, visit_entry, &of) : CLATTN_OK;
}

typedef struct clearing {
    const clattn__env *env;
    bool only_invalid;
    uint32_t removed;
} clearing;

static bool should_go(const clearing *of, const char *name, bool *is_entry)
{
    char stem[33];
    clattn__entry e;
    *is_entry =
        split_name(name, ENTRY_SUFFIX, stem) && name[KEY_DIGITS + strlen(ENTRY_SUFFIX)] == 0;
    if (!*is_entry)
        return !of->only_invalid &&
               (split_name(name, ENTRY_SUFFIX ".", stem) || split_name(name, MARK_SUFFIX, stem));
    if (!of->only_invalid)
        return true;
    const bool wrong = read_file(of->env, stem, &e) != NULL;
    clattn__free(of->env, e.bytes);
    return wrong;
}

static clattn_status clear_file(void *user, const char *name)
{
    clearing *of = user;
    bool is_entry;
    if (!should_go(of, name, &is_entry))
        return CLATTN_OK;
    char *path = path_of(of->env, name, "");
    if (!path)
        return CLATTN_ERR_OUT_OF_MEMORY;
    const bool removed = clattn__file_remove(of->env, path);
    of->removed += removed && is_entry;
    const clattn_status status =
        removed ? CLATTN_OK : clattn__fail(CLATTN_ERR_IO, "%s: can't be removed", path);
    clattn__free(of->env, path);
    return status;
}

clattn_status clattn__program_cache_clear(const clattn__env *env, bool only_invalid,
                                          uint32_t *removed)
{
    clearing of = {env, only_invalid, 0};
    if (env->cache_dir)
        CLATTN__TRY(clattn__folder_list(env, env->cache_dir, clear_file, &of));
    if (removed)
        *removed = of.removed;
    return CLATTN_OK;
}
