/* The folder of the program cache: entries `<key>.clattn`, see docs/cache.md for the format, and
 * marks `<key>.building` of builds that have begun. */
#include "opencl/program_cache.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "base/text.h"
#include "base/thread.h"

#define MAGIC         "clattnP1"
#define FORMAT        1u
#define LARGEST_ENTRY ((uint64_t)256 << 20)
#define MOST_STRIKES  2u
#define CHECKED_FROM  24 /* magic and checksum come before */
#define HEADER        64
#define ENTRY_SUFFIX  ".clattn"
#define MARK_SUFFIX   ".building"
#define KEY_DIGITS    32

/* Header: magic 8, checksum 16, format 4, device size 4, label size 4, reserved 4, binary size 8,
 * key 16; then device, label, binary. Little-endian. */
enum { AT_SUM = 8, AT_FORMAT = 24, AT_DEVICE = 28, AT_LABEL = 32, AT_BINARY = 40, AT_KEY = 48 };

static void put(unsigned char *at, uint64_t value, int bytes)
{
    for (int i = 0; i < bytes; i++)
        at[i] = (unsigned char)(value >> (8 * i));
}

static uint64_t get(const unsigned char *at, int bytes)
{
    uint64_t value = 0;
    for (int i = 0; i < bytes; i++)
        value |= (uint64_t)at[i] << (8 * i);
    return value;
}

static void put_hash(unsigned char *at, clattn__hash hash)
{
    put(at, hash.low, 8);
    put(at + 8, hash.high, 8);
}

static clattn__hash get_hash(const unsigned char *at)
{
    const clattn__hash hash = {get(at, 8), get(at + 8, 8)};
    return hash;
}

/* An entry in memory, checked. */
typedef struct entry {
    unsigned char *bytes; /* owned */
    size_t size;
    uint64_t device_size, label_size, binary_size;
} entry;

/* NULL if the entry is whole and its name is `stem`, else what is wrong. */
static const char *check_entry(entry *e, const char *stem)
{
    char key[33];
    if (e->size < HEADER)
        return "truncated";
    if (memcmp(e->bytes, MAGIC, 8) != 0)
        return "is not a clattn program";
    if (!clattn__hash_equal(get_hash(e->bytes + AT_SUM),
                            clattn__hash_bytes(e->bytes + CHECKED_FROM, e->size - CHECKED_FROM)))
        return "checksum differs";
    if (get(e->bytes + AT_FORMAT, 4) != FORMAT)
        return "of another format version";
    e->device_size = get(e->bytes + AT_DEVICE, 4);
    e->label_size = get(e->bytes + AT_LABEL, 4);
    e->binary_size = get(e->bytes + AT_BINARY, 8);
    const uint64_t rest = e->size - HEADER;
    if (e->binary_size > rest || e->device_size + e->label_size != rest - e->binary_size)
        return "sizes differ";
    clattn__hash_text(get_hash(e->bytes + AT_KEY), key);
    return strcmp(key, stem) == 0 ? NULL : "key differs from the file's name";
}

static char *path_of(const clattn__env *env, const char *stem, const char *suffix)
{
    clattn__text text;
    clattn__text_init(&text, env);
    clattn__text_add(&text, "%s/%s%s", env->cache_dir, stem, suffix);
    return clattn__text_take(&text);
}

static bool cache_is_on(const clattn__env *env)
{
    return env->cache_on && env->cache_dir;
}

/* NULL and an owned entry, or what is wrong. */
static const char *read_entry(const clattn__env *env, const char *stem, entry *e)
{
    char *data = NULL, *path = path_of(env, stem, ENTRY_SUFFIX);
    const char *wrong = "can't be read";
    memset(e, 0, sizeof *e);
    if (path && clattn__file_read(env, path, LARGEST_ENTRY, &data, &e->size) == CLATTN_OK) {
        e->bytes = (unsigned char *)data;
        wrong = check_entry(e, stem);
    }
    clattn__free(env, path);
    return wrong;
}

clattn_status clattn__program_cache_load(const clattn__env *env, clattn__hash key, void **binary,
                                         size_t *binary_size)
{
    char stem[33];
    entry e;
    if (!cache_is_on(env) || clattn__folder_check_private(env->cache_dir) != CLATTN_OK)
        return CLATTN_ERR_IO;
    clattn__hash_text(key, stem);
    const char *wrong = read_entry(env, stem, &e);
    void *copy = NULL;
    if (!wrong && e.binary_size) {
        copy = clattn__alloc(env, (size_t)e.binary_size);
        if (copy)
            memcpy(copy, e.bytes + e.size - e.binary_size, (size_t)e.binary_size);
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

static clattn_status write_entry(const clattn__env *env, clattn__hash key,
                                 const clattn__cached_program *program)
{
    char stem[33];
    const size_t device = strlen(program->device), label = strlen(program->label);
    const size_t size = HEADER + device + label + program->binary_size;
    unsigned char *bytes = clattn__alloc_array(env, size, 1);
    if (!bytes)
        return CLATTN_ERR_OUT_OF_MEMORY;
    memcpy(bytes, MAGIC, 8);
    put(bytes + AT_FORMAT, FORMAT, 4);
    put(bytes + AT_DEVICE, device, 4);
    put(bytes + AT_LABEL, label, 4);
    put(bytes + AT_BINARY, program->binary_size, 8);
    put_hash(bytes + AT_KEY, key);
    memcpy(bytes + HEADER, program->device, device);
    memcpy(bytes + HEADER + device, program->label, label);
    if (program->binary_size)
        memcpy(bytes + HEADER + device + label, program->binary, program->binary_size);
    put_hash(bytes + AT_SUM, clattn__hash_bytes(bytes + CHECKED_FROM, size - CHECKED_FROM));
    clattn__hash_text(key, stem);
    char *path = path_of(env, stem, ENTRY_SUFFIX);
    const clattn_status status =
        path ? clattn__file_write_atomic(env, path, bytes, size) : CLATTN_ERR_OUT_OF_MEMORY;
    clattn__free(env, path);
    clattn__free(env, bytes);
    return status;
}

void clattn__program_cache_store(const clattn__env *env, clattn__hash key,
                                 const clattn__cached_program *program)
{
    if (!cache_is_on(env) || program->binary_size > LARGEST_ENTRY / 2)
        return;
    clattn_status status = clattn__folder_make_private(env, env->cache_dir);
    if (status == CLATTN_OK)
        status = write_entry(env, key, program);
    if (status != CLATTN_OK)
        clattn__log(env, CLATTN_LOG_BUILD, "cache: not stored: %s", clattn__message());
}

static void remove_file(const clattn__env *env, clattn__hash key, const char *suffix)
{
    char stem[33];
    if (!cache_is_on(env))
        return;
    clattn__hash_text(key, stem);
    char *path = path_of(env, stem, suffix);
    if (path)
        clattn__file_remove(path);
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

/* Builds that began and never ended: the mark's count, and one more if its process is gone. */
static uint32_t strikes_of(const clattn__env *env, const char *path)
{
    char *data;
    size_t size;
    if (clattn__file_read(env, path, 256, &data, &size) != CLATTN_OK)
        return 0;
    char *rest;
    const uint64_t process = strtoull(data, &rest, 10);
    uint32_t strikes = (uint32_t)strtoul(rest, NULL, 10);
    if (process != clattn__process_id() && !clattn__process_runs(process))
        strikes++;
    clattn__free(env, data);
    return strikes;
}

static clattn_status mark(const clattn__env *env, const char *path)
{
    char line[64];
    const uint32_t strikes = strikes_of(env, path);
    if (strikes >= MOST_STRIKES)
        return clattn__fail(CLATTN_ERR_BUILD,
                            "building this program ended its process %" PRIu32
                            " times; to try again remove %s or run `clattn programs clear`",
                            strikes, path);
    const int size =
        snprintf(line, sizeof line, "%" PRIu64 " %" PRIu32 "\n", clattn__process_id(), strikes);
    if (clattn__file_write_atomic(env, path, line, (size_t)size) != CLATTN_OK)
        clattn__log(env, CLATTN_LOG_BUILD, "cache: %s", clattn__message());
    return CLATTN_OK;
}

clattn_status clattn__program_cache_begin_build(const clattn__env *env, clattn__hash key)
{
    char stem[33];
    if (!cache_is_on(env) || clattn__folder_make_private(env, env->cache_dir) != CLATTN_OK)
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
    entry e;
    if (!split_name(name, ENTRY_SUFFIX, stem) || name[KEY_DIGITS + strlen(ENTRY_SUFFIX)] != 0)
        return CLATTN_OK;
    clattn_program_entry made = {.struct_size = sizeof made};
    const char *wrong = read_entry(of->env, stem, &e);
    memcpy(made.key, stem, sizeof stem);
    made.valid = wrong == NULL;
    made.size = e.size;
    snprintf(made.state, sizeof made.state, "%s", wrong ? wrong : "ok");
    if (!wrong) {
        copy_text(made.device, sizeof made.device, e.bytes + HEADER, e.device_size);
        copy_text(made.label, sizeof made.label, e.bytes + HEADER + e.device_size, e.label_size);
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
    entry e;
    *is_entry =
        split_name(name, ENTRY_SUFFIX, stem) && name[KEY_DIGITS + strlen(ENTRY_SUFFIX)] == 0;
    if (!*is_entry)
        return !of->only_invalid &&
               (split_name(name, ENTRY_SUFFIX ".", stem) || split_name(name, MARK_SUFFIX, stem));
    if (!of->only_invalid)
        return true;
    const bool wrong = read_entry(of->env, stem, &e) != NULL;
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
    const bool removed = clattn__file_remove(path);
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
