/* Files and folders on POSIX systems. */
#include "base/file.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/name_list.h"
#include "base/text.h"

static clattn_status fail_io(const char *path, const char *what)
{
    return clattn__fail(CLATTN_ERR_IO, "%s: %s: %s", path, what, strerror(errno));
}

/* Reads all `size` bytes; a file that shrinks meanwhile fails. */
static bool read_all(int file, char *data, size_t size)
{
    for (size_t done = 0; done < size;) {
        const ssize_t got = read(file, data + done, size - done);
        if (got < 0 && errno == EINTR)
            continue;
        if (got <= 0)
            return false;
        done += (size_t)got;
    }
    return true;
}

static clattn_status read_open(const clattn__env *env, const char *path, int file, uint64_t limit,
                               char **data, size_t *size)
{
    struct stat state;
    if (fstat(file, &state) != 0)
        return fail_io(path, "can't be read");
    if (!S_ISREG(state.st_mode))
        return clattn__fail(CLATTN_ERR_IO, "%s: is not a file", path);
    if ((uint64_t)state.st_size > limit)
        return clattn__fail(CLATTN_ERR_IO, "%s: has %" PRIu64 " bytes, more than %" PRIu64, path,
                            (uint64_t)state.st_size, limit);
    char *made = clattn__alloc(env, (size_t)state.st_size + 1);
    if (!made)
        return CLATTN_ERR_OUT_OF_MEMORY;
    if (!read_all(file, made, (size_t)state.st_size)) {
        clattn__free(env, made);
        return clattn__fail(CLATTN_ERR_IO, "%s: could not be read to its end", path);
    }
    made[state.st_size] = 0;
    *data = made;
    *size = (size_t)state.st_size;
    return CLATTN_OK;
}

clattn_status clattn__file_read(const clattn__env *env, const char *path, uint64_t limit,
                                char **data, size_t *size)
{
    const int file = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (file < 0)
        return fail_io(path, "can't be opened");
    const clattn_status status = read_open(env, path, file, limit, data, size);
    close(file);
    return status;
}

static bool write_all(int file, const char *data, size_t size)
{
    for (size_t done = 0; done < size;) {
        const ssize_t put = write(file, data + done, size - done);
        if (put < 0 && errno == EINTR)
            continue;
        if (put < 0)
            return false;
        done += (size_t)put;
    }
    return true;
}

clattn_status clattn__file_write_atomic(const clattn__env *env, const char *path, const void *data,
                                        size_t size)
{
    clattn__text temporary;
    clattn__text_init(&temporary, env);
    clattn__text_add(&temporary, "%s.XXXXXX", path);
    char *name = clattn__text_take(&temporary);
    if (!name)
        return CLATTN_ERR_OUT_OF_MEMORY;
    clattn_status status = CLATTN_OK;
    const int file = mkstemp(name);
    if (file < 0) {
        status = fail_io(path, "can't be written");
    } else {
        const bool written = write_all(file, data, size);
        const bool closed = close(file) == 0;
        if (!written || !closed || rename(name, path) != 0) {
            status = fail_io(path, "can't be written");
            unlink(name);
        }
    }
    clattn__free(env, name);
    return status;
}

/* ---- piece by piece -------------------------------------------------------------------------- */

struct clattn__file_out {
    const clattn__env *env;
    int file;
    char *path, *temporary; /* owned */
};

static void free_out(clattn__file_out *out)
{
    const clattn__env *env = out->env;
    clattn__free(env, out->path);
    clattn__free(env, out->temporary);
    clattn__free(env, out);
}

/* A file that is new beside out->path. */
static clattn_status open_temporary(clattn__file_out *out)
{
    const size_t size = strlen(out->path) + 48;
    out->temporary = clattn__alloc(out->env, size);
    if (!out->temporary)
        return CLATTN_ERR_OUT_OF_MEMORY;
    for (int attempt = 0; attempt < 1000; attempt++) {
        snprintf(out->temporary, size, "%s.%ld-%d.tmp", out->path, (long)getpid(), attempt);
        out->file = open(out->temporary, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
        if (out->file >= 0 || errno != EEXIST)
            break;
    }
    return out->file >= 0 ? CLATTN_OK : fail_io(out->path, "can't be written");
}

clattn_status clattn__file_create(const clattn__env *env, const char *path, clattn__file_out **out)
{
    clattn__file_out *made = clattn__alloc_array(env, 1, sizeof *made);
    if (!made)
        return CLATTN_ERR_OUT_OF_MEMORY;
    made->env = env;
    made->path = clattn__copy_text(env, path);
    const clattn_status status = made->path ? open_temporary(made) : CLATTN_ERR_OUT_OF_MEMORY;
    if (status == CLATTN_OK)
        *out = made;
    else
        free_out(made);
    return status;
}

clattn_status clattn__file_put(clattn__file_out *out, const void *data, size_t size)
{
    return write_all(out->file, data, size) ? CLATTN_OK : fail_io(out->path, "can't be written");
}

clattn_status clattn__file_commit(clattn__file_out *out)
{
    clattn_status status = CLATTN_OK;
    if (close(out->file) != 0 || rename(out->temporary, out->path) != 0) {
        status = fail_io(out->path, "can't be written");
        unlink(out->temporary);
    }
    free_out(out);
    return status;
}

void clattn__file_cancel(clattn__file_out *out)
{
    close(out->file);
    unlink(out->temporary);
    free_out(out);
}

struct clattn__file_in {
    const clattn__env *env;
    int file;
    uint64_t size;
    char *path; /* owned */
};

static clattn_status begin_reading(clattn__file_in *in)
{
    struct stat state;
    if (fstat(in->file, &state) != 0)
        return fail_io(in->path, "can't be read");
    if (!S_ISREG(state.st_mode))
        return clattn__fail(CLATTN_ERR_IO, "%s: is not a file", in->path);
    in->size = (uint64_t)state.st_size;
    return CLATTN_OK;
}

clattn_status clattn__file_open(const clattn__env *env, const char *path, clattn__file_in **in)
{
    clattn__file_in *made = clattn__alloc_array(env, 1, sizeof *made);
    if (!made)
        return CLATTN_ERR_OUT_OF_MEMORY;
    made->env = env;
    made->file = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    clattn_status status = made->file < 0 ? fail_io(path, "can't be opened") : CLATTN_OK;
    if (status == CLATTN_OK) {
        made->path = clattn__copy_text(env, path);
        status = made->path ? begin_reading(made) : CLATTN_ERR_OUT_OF_MEMORY;
    }
    if (status == CLATTN_OK)
        *in = made;
    else
        clattn__file_close(made);
    return status;
}

uint64_t clattn__file_size(const clattn__file_in *in)
{
    return in->size;
}

clattn_status clattn__file_get(clattn__file_in *in, void *data, size_t size)
{
    if (read_all(in->file, data, size))
        return CLATTN_OK;
    return clattn__fail(CLATTN_ERR_IO, "%s: could not be read to its end", in->path);
}

void clattn__file_close(clattn__file_in *in)
{
    const clattn__env *env = in->env;
    if (in->file >= 0)
        close(in->file);
    clattn__free(env, in->path);
    clattn__free(env, in);
}

/* ---- folders --------------------------------------------------------------------------------- */

/* Creates the folders above the last one, which may exist and belong to anyone. */
static clattn_status make_parents(const clattn__env *env, const char *path)
{
    char *copy = clattn__copy_text(env, path);
    if (!copy)
        return CLATTN_ERR_OUT_OF_MEMORY;
    clattn_status status = CLATTN_OK;
    for (char *slash = strchr(*copy ? copy + 1 : copy, '/'); slash && status == CLATTN_OK;
         slash = strchr(slash + 1, '/')) {
        *slash = 0;
        if (mkdir(copy, 0700) != 0 && errno != EEXIST && access(copy, F_OK) != 0)
            status = fail_io(copy, "can't be created");
        *slash = '/';
    }
    clattn__free(env, copy);
    return status;
}

clattn_status clattn__folder_check_private(const clattn__env *env, const char *path)
{
    (void)env;
    struct stat state;
    if (lstat(path, &state) != 0)
        return fail_io(path, "can't be read");
    if (!S_ISDIR(state.st_mode))
        return clattn__fail(CLATTN_ERR_IO, "%s: is not a folder", path);
    if (state.st_uid != geteuid())
        return clattn__fail(CLATTN_ERR_IO, "%s: belongs to another user", path);
    if (state.st_mode & (S_IWGRP | S_IWOTH))
        return clattn__fail(CLATTN_ERR_IO, "%s: others may write to it", path);
    return CLATTN_OK;
}

clattn_status clattn__folder_make_private(const clattn__env *env, const char *path)
{
    CLATTN__TRY(make_parents(env, path));
    if (mkdir(path, 0700) != 0 && errno != EEXIST)
        return fail_io(path, "can't be created");
    return clattn__folder_check_private(env, path);
}

static clattn_status read_names(DIR *folder, clattn__name_list *list)
{
    const struct dirent *entry;
    while ((entry = readdir(folder)) != NULL)
        CLATTN__TRY(clattn__name_list_add(list, entry->d_name));
    return CLATTN_OK;
}

clattn_status clattn__folder_list(const clattn__env *env, const char *path, clattn__visit_fn visit,
                                  void *user)
{
    clattn__name_list list = {.env = env};
    DIR *folder = opendir(path);
    if (!folder)
        return errno == ENOENT ? CLATTN_OK : fail_io(path, "can't be read");
    clattn_status status = read_names(folder, &list);
    closedir(folder);
    if (status == CLATTN_OK)
        status = clattn__name_list_visit(&list, visit, user);
    clattn__name_list_finish(&list);
    return status;
}

bool clattn__file_exists(const clattn__env *env, const char *path)
{
    (void)env;
    struct stat state;
    return lstat(path, &state) == 0;
}

bool clattn__file_remove(const clattn__env *env, const char *path)
{
    (void)env;
    return unlink(path) == 0;
}

clattn_status clattn__default_cache_dir(const clattn__env *env, char **path)
{
    const char *base = getenv("XDG_CACHE_HOME"), *below = "/clattn";
    if (!base || base[0] != '/') {
        base = getenv("HOME");
        below = "/.cache/clattn";
    }
    *path = NULL;
    if (!base || base[0] != '/')
        return CLATTN_OK;
    clattn__text text;
    clattn__text_init(&text, env);
    clattn__text_add(&text, "%s%s", base, below);
    *path = clattn__text_take(&text);
    return *path ? CLATTN_OK : CLATTN_ERR_OUT_OF_MEMORY;
}
