/* The few file operations of the program cache, of CLATTN_KERNEL_DIR and of saved sequences. One
 * implementation a system: file_posix.c, file_windows.c. Failures are statuses with a sentence that
 * names the path. On Windows paths are UTF-8, with either slash, and may be longer than MAX_PATH.
 */
#ifndef CLATTN_BASE_FILE_H
#define CLATTN_BASE_FILE_H

#include "base/env.h"

/* Reads a whole file; *data is owned by the caller, ends with an extra 0. CLATTN_ERR_IO. `limit`
 * is the largest size accepted. */
clattn_status clattn__file_read(const clattn__env *env, const char *path, uint64_t limit,
                                char **data, size_t *size);

/* Writes a temporary file beside `path` and renames it, so that the file is whole or absent. */
clattn_status clattn__file_write_atomic(const clattn__env *env, const char *path, const void *data,
                                        size_t size);

/* The same piece by piece, for what is too large to be in memory whole, with the rights that the
 * user's umask gives. commit and cancel end it; after either, or a create that failed, *out is
 * gone.
 */
typedef struct clattn__file_out clattn__file_out;
clattn_status clattn__file_create(const clattn__env *env, const char *path, clattn__file_out **out);
clattn_status clattn__file_put(clattn__file_out *out, const void *data, size_t size);
clattn_status clattn__file_commit(clattn__file_out *out);
void clattn__file_cancel(clattn__file_out *out);

/* Reading piece by piece. get: exactly `size` bytes, CLATTN_ERR_IO where the file ends before. */
typedef struct clattn__file_in clattn__file_in;
clattn_status clattn__file_open(const clattn__env *env, const char *path, clattn__file_in **in);
uint64_t clattn__file_size(const clattn__file_in *in);
clattn_status clattn__file_get(clattn__file_in *in, void *data, size_t size);
void clattn__file_close(clattn__file_in *in);

/* Creates the folder and its parents, private to the user (0700; on Windows for the user, the
 * system and administrators); CLATTN_ERR_IO if it is a link to elsewhere, belongs to someone else,
 * or others may write to it. */
clattn_status clattn__folder_make_private(const clattn__env *env, const char *path);

/* CLATTN_OK if the folder is private as above, CLATTN_ERR_IO if not or if it isn't there. */
clattn_status clattn__folder_check_private(const clattn__env *env, const char *path);

/* Calls `visit` with each file name in the folder, sorted; a missing folder is empty. A status
 * other than CLATTN_OK ends the walk and is returned. */
typedef clattn_status (*clattn__visit_fn)(void *user, const char *name);
clattn_status clattn__folder_list(const clattn__env *env, const char *path, clattn__visit_fn visit,
                                  void *user);

/* Whether there is anything of this name. */
bool clattn__file_exists(const clattn__env *env, const char *path);

/* true if the file was there and is gone now. */
bool clattn__file_remove(const clattn__env *env, const char *path);

/* The user's cache folder + "/clattn" into *path (owned); NULL where the system names none. */
clattn_status clattn__default_cache_dir(const clattn__env *env, char **path);

#endif
