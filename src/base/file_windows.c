/* Files and folders on Windows. */
#include "base/file.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/access_windows.h"
#include "base/name_list.h"
#include "base/text.h"
#include "base/thread.h"
#include "base/variable.h"

/* ---- handles --------------------------------------------------------------------------------- */

/* Others may read, replace and remove the file meanwhile, as they may on POSIX systems. */
static HANDLE open_handle(const wchar_t *path, DWORD access, DWORD how)
{
    return CreateFileW(path, access, FILE_SHARE_READ | FILE_SHARE_WRITE | FILE_SHARE_DELETE, NULL,
                       how, FILE_ATTRIBUTE_NORMAL, NULL);
}

static bool is_folder(const wchar_t *path)
{
    const DWORD attributes = GetFileAttributesW(path);
    return attributes != INVALID_FILE_ATTRIBUTES && (attributes & FILE_ATTRIBUTE_DIRECTORY);
}

/* Opens a file to read it; devices (NUL, a pipe) and folders are none. */
static clattn_status open_to_read(const clattn__env *env, const char *path, HANDLE *file)
{
    wchar_t *wide = clattn__wide_path(env, path);
    if (!wide)
        return CLATTN_ERR_OUT_OF_MEMORY;
    const bool folder = is_folder(wide);
    const HANDLE opened = open_handle(wide, GENERIC_READ, OPEN_EXISTING);
    const DWORD error = GetLastError();
    clattn__free(env, wide);
    if (folder || (opened != INVALID_HANDLE_VALUE && GetFileType(opened) != FILE_TYPE_DISK)) {
        if (opened != INVALID_HANDLE_VALUE)
            CloseHandle(opened);
        return clattn__fail(CLATTN_ERR_IO, "%s: is not a file", path);
    }
    if (opened == INVALID_HANDLE_VALUE)
        return clattn__fail_windows(path, "can't be opened", error);
    *file = opened;
    return CLATTN_OK;
}

static clattn_status size_of(HANDLE file, const char *path, uint64_t *size)
{
    LARGE_INTEGER found;
    if (!GetFileSizeEx(file, &found))
        return clattn__fail_windows(path, "can't be read", GetLastError());
    *size = (uint64_t)found.QuadPart;
    return CLATTN_OK;
}

/* The system takes sizes of 32 bits. */
static DWORD a_part_of(size_t size)
{
    return size < (1u << 30) ? (DWORD)size : 1u << 30;
}

/* Reads all `size` bytes; a file that shrinks meanwhile fails. */
static bool read_all(HANDLE file, char *data, size_t size)
{
    DWORD got;
    for (size_t done = 0; done < size; done += got)
        if (!ReadFile(file, data + done, a_part_of(size - done), &got, NULL) || got == 0)
            return false;
    return true;
}

static bool write_all(HANDLE file, const char *data, size_t size)
{
    DWORD put;
    for (size_t done = 0; done < size; done += put)
        if (!WriteFile(file, data + done, a_part_of(size - done), &put, NULL) || put == 0)
            return false;
    return true;
}

/* Someone who reads the file that is replaced, or a virus scanner, is in the way for moments. */
static bool replace(const wchar_t *from, const wchar_t *to)
{
    for (int attempt = 0; attempt < 50; attempt++) {
        if (MoveFileExW(from, to, MOVEFILE_REPLACE_EXISTING))
            return true;
        const DWORD error = GetLastError();
        if ((error != ERROR_SHARING_VIOLATION && error != ERROR_ACCESS_DENIED) || is_folder(to))
            return false;
        Sleep(2);
        SetLastError(error);
    }
    return false;
}

/* ---- whole files ----------------------------------------------------------------------------- */

static clattn_status read_open(const clattn__env *env, const char *path, HANDLE file,
                               uint64_t limit, char **data, size_t *size)
{
    uint64_t bytes = 0;
    CLATTN__TRY(size_of(file, path, &bytes));
    if (bytes > limit)
        return clattn__fail(CLATTN_ERR_IO, "%s: has %" PRIu64 " bytes, more than %" PRIu64, path,
                            bytes, limit);
    char *made = clattn__alloc(env, (size_t)bytes + 1);
    if (!made)
        return CLATTN_ERR_OUT_OF_MEMORY;
    if (!read_all(file, made, (size_t)bytes)) {
        clattn__free(env, made);
        return clattn__fail(CLATTN_ERR_IO, "%s: could not be read to its end", path);
    }
    made[bytes] = 0;
    *data = made;
    *size = (size_t)bytes;
    return CLATTN_OK;
}

clattn_status clattn__file_read(const clattn__env *env, const char *path, uint64_t limit,
                                char **data, size_t *size)
{
    HANDLE file;
    CLATTN__TRY(open_to_read(env, path, &file));
    const clattn_status status = read_open(env, path, file, limit, data, size);
    CloseHandle(file);
    return status;
}

clattn_status clattn__file_write_atomic(const clattn__env *env, const char *path, const void *data,
                                        size_t size)
{
    clattn__file_out *out;
    CLATTN__TRY(clattn__file_create(env, path, &out));
    const clattn_status status = clattn__file_put(out, data, size);
    if (status == CLATTN_OK)
        return clattn__file_commit(out);
    clattn__file_cancel(out);
    return status;
}

/* ---- piece by piece -------------------------------------------------------------------------- */

struct clattn__file_out {
    const clattn__env *env;
    HANDLE file;
    char *path;                /* owned */
    wchar_t *wide, *temporary; /* owned */
};

static void free_out(clattn__file_out *out)
{
    const clattn__env *env = out->env;
    clattn__free(env, out->path);
    clattn__free(env, out->wide);
    clattn__free(env, out->temporary);
    clattn__free(env, out);
}

/* A file that is new beside out->path. */
static clattn_status open_temporary(clattn__file_out *out)
{
    const size_t size = wcslen(out->wide) + 48;
    out->temporary = clattn__alloc_array(out->env, size, sizeof *out->temporary);
    if (!out->temporary)
        return CLATTN_ERR_OUT_OF_MEMORY;
    for (int attempt = 0; attempt < 1000; attempt++) {
        _snwprintf(out->temporary, size, L"%ls.%lu-%d.tmp", out->wide,
                   (unsigned long)clattn__process_id(), attempt);
        out->file = open_handle(out->temporary, GENERIC_WRITE, CREATE_NEW);
        if (out->file != INVALID_HANDLE_VALUE)
            return CLATTN_OK;
        if (GetLastError() != ERROR_FILE_EXISTS)
            break;
    }
    return clattn__fail_windows(out->path, "can't be written", GetLastError());
}

clattn_status clattn__file_create(const clattn__env *env, const char *path, clattn__file_out **out)
{
    clattn__file_out *made = clattn__alloc_array(env, 1, sizeof *made);
    if (!made)
        return CLATTN_ERR_OUT_OF_MEMORY;
    made->env = env;
    made->path = clattn__copy_text(env, path);
    made->wide = clattn__wide_path(env, path);
    const clattn_status status =
        made->path && made->wide ? open_temporary(made) : CLATTN_ERR_OUT_OF_MEMORY;
    if (status == CLATTN_OK)
        *out = made;
    else
        free_out(made);
    return status;
}

clattn_status clattn__file_put(clattn__file_out *out, const void *data, size_t size)
{
    return write_all(out->file, data, size)
               ? CLATTN_OK
               : clattn__fail_windows(out->path, "can't be written", GetLastError());
}

clattn_status clattn__file_commit(clattn__file_out *out)
{
    clattn_status status = CLATTN_OK;
    if (!CloseHandle(out->file) || !replace(out->temporary, out->wide)) {
        status = clattn__fail_windows(out->path, "can't be written", GetLastError());
        DeleteFileW(out->temporary);
    }
    free_out(out);
    return status;
}

void clattn__file_cancel(clattn__file_out *out)
{
    CloseHandle(out->file);
    DeleteFileW(out->temporary);
    free_out(out);
}

struct clattn__file_in {
    const clattn__env *env;
    HANDLE file;
    uint64_t size;
    char *path; /* owned */
};

clattn_status clattn__file_open(const clattn__env *env, const char *path, clattn__file_in **in)
{
    clattn__file_in *made = clattn__alloc_array(env, 1, sizeof *made);
    if (!made)
        return CLATTN_ERR_OUT_OF_MEMORY;
    made->env = env;
    made->file = INVALID_HANDLE_VALUE;
    made->path = clattn__copy_text(env, path);
    clattn_status status = made->path ? CLATTN_OK : CLATTN_ERR_OUT_OF_MEMORY;
    if (status == CLATTN_OK)
        status = open_to_read(env, path, &made->file);
    if (status == CLATTN_OK)
        status = size_of(made->file, path, &made->size);
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
    if (in->file != INVALID_HANDLE_VALUE)
        CloseHandle(in->file);
    clattn__free(env, in->path);
    clattn__free(env, in);
}

/* ---- folders --------------------------------------------------------------------------------- */

static clattn_status check_private(const char *path, const wchar_t *wide)
{
    const DWORD attributes = GetFileAttributesW(wide);
    if (attributes == INVALID_FILE_ATTRIBUTES)
        return clattn__fail_windows(path, "can't be read", GetLastError());
    if (!(attributes & FILE_ATTRIBUTE_DIRECTORY) || (attributes & FILE_ATTRIBUTE_REPARSE_POINT))
        return clattn__fail(CLATTN_ERR_IO, "%s: is not a folder", path);
    const char *complaint = clattn__access_complaint(wide);
    return complaint ? clattn__fail(CLATTN_ERR_IO, "%s: %s", path, complaint) : CLATTN_OK;
}

clattn_status clattn__folder_check_private(const clattn__env *env, const char *path)
{
    wchar_t *wide = clattn__wide_path(env, path);
    const clattn_status status = wide ? check_private(path, wide) : CLATTN_ERR_OUT_OF_MEMORY;
    clattn__free(env, wide);
    return status;
}

/* Creates the folders of a wide path from the first on. Those above the last may be there already,
 * or be no folders but a drive or a server: only the last one's failure counts. */
static clattn_status make_folders(const char *path, wchar_t *wide, SECURITY_ATTRIBUTES *access)
{
    for (wchar_t *at = wide; *at; at++)
        if (*at == L'\\' && at > wide && at[-1] != L'\\' && at[1]) {
            *at = 0;
            CreateDirectoryW(wide, access);
            *at = L'\\';
        }
    if (!CreateDirectoryW(wide, access) && GetLastError() != ERROR_ALREADY_EXISTS)
        return clattn__fail_windows(path, "can't be created", GetLastError());
    return CLATTN_OK;
}

clattn_status clattn__folder_make_private(const clattn__env *env, const char *path)
{
    SECURITY_ATTRIBUTES access;
    if (!clattn__access_init(&access))
        return clattn__fail(CLATTN_ERR_IO, "%s: can't be created: the user is not known", path);
    wchar_t *wide = clattn__wide_path(env, path);
    clattn_status status = wide ? make_folders(path, wide, &access) : CLATTN_ERR_OUT_OF_MEMORY;
    if (status == CLATTN_OK)
        status = check_private(path, wide);
    clattn__free(env, wide);
    clattn__access_finish(&access);
    return status;
}

static clattn_status add_found(clattn__name_list *list, const WIN32_FIND_DATAW *found)
{
    char *name = clattn__from_wide(list->env, found->cFileName);
    const clattn_status status =
        name ? clattn__name_list_add(list, name) : CLATTN_ERR_OUT_OF_MEMORY;
    clattn__free(list->env, name);
    return status;
}

/* The names in a folder that is there. */
static clattn_status read_names(const clattn__env *env, const char *path, clattn__name_list *list)
{
    WIN32_FIND_DATAW found;
    clattn__text pattern;
    clattn__text_init(&pattern, env);
    clattn__text_add(&pattern, "%s/*", path);
    clattn_status status = clattn__text_status(&pattern);
    wchar_t *wide = status == CLATTN_OK ? clattn__wide_path(env, clattn__text_get(&pattern)) : NULL;
    clattn__text_finish(&pattern);
    if (!wide)
        return CLATTN_ERR_OUT_OF_MEMORY;
    const HANDLE search = FindFirstFileW(wide, &found);
    const DWORD error = GetLastError();
    clattn__free(env, wide);
    if (search == INVALID_HANDLE_VALUE)
        return clattn__fail_windows(path, "can't be read", error);
    do
        status = add_found(list, &found);
    while (status == CLATTN_OK && FindNextFileW(search, &found));
    FindClose(search);
    return status;
}

clattn_status clattn__folder_list(const clattn__env *env, const char *path, clattn__visit_fn visit,
                                  void *user)
{
    clattn__name_list list = {.env = env};
    wchar_t *wide = clattn__wide_path(env, path);
    if (!wide)
        return CLATTN_ERR_OUT_OF_MEMORY;
    const DWORD attributes = GetFileAttributesW(wide);
    clattn__free(env, wide);
    if (attributes == INVALID_FILE_ATTRIBUTES)
        return CLATTN_OK;
    if (!(attributes & FILE_ATTRIBUTE_DIRECTORY))
        return clattn__fail(CLATTN_ERR_IO, "%s: is not a folder", path);
    clattn_status status = read_names(env, path, &list);
    if (status == CLATTN_OK)
        status = clattn__name_list_visit(&list, visit, user);
    clattn__name_list_finish(&list);
    return status;
}

/* ---- names ----------------------------------------------------------------------------------- */

bool clattn__file_exists(const clattn__env *env, const char *path)
{
    wchar_t *wide = clattn__wide_path(env, path);
    const bool exists = wide && GetFileAttributesW(wide) != INVALID_FILE_ATTRIBUTES;
    clattn__free(env, wide);
    return exists;
}

bool clattn__file_remove(const clattn__env *env, const char *path)
{
    wchar_t *wide = clattn__wide_path(env, path);
    const bool removed = wide && DeleteFileW(wide);
    clattn__free(env, wide);
    return removed;
}

clattn_status clattn__default_cache_dir(const clattn__env *env, char **path)
{
    char *base = NULL;
    *path = NULL;
    CLATTN__TRY(clattn__variable(env, "LOCALAPPDATA", &base));
    if (!base)
        return CLATTN_OK;
    clattn__text text;
    clattn__text_init(&text, env);
    clattn__text_add(&text, "%s\\clattn", base);
    clattn__free(env, base);
    *path = clattn__text_take(&text);
    return *path ? CLATTN_OK : CLATTN_ERR_OUT_OF_MEMORY;
}
