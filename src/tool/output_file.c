/* Temporary files and renames, see output_file.h. An interrupted process removes them too. */
#include "tool/output_file.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tool/npy_header.h"
#include "tool/options.h"

/* Temporary files that exist; a signal handler may read names only from static memory. */
enum { MOST_TEMPORARIES = 16 };
static char *volatile temporaries[MOST_TEMPORARIES];

static void remove_temporaries(int signal_number)
{
    for (int i = 0; i < MOST_TEMPORARIES; i++)
        if (temporaries[i])
            unlink(temporaries[i]);
    signal(signal_number, SIG_DFL);
    raise(signal_number);
}

/* A signal that is ignored, as under nohup, stays so. */
static void catch_signals(void)
{
    static const int numbers[] = {SIGHUP, SIGINT, SIGTERM, SIGPIPE, SIGXFSZ};
    for (size_t i = 0; i < sizeof numbers / sizeof numbers[0]; i++) {
        struct sigaction action;
        if (sigaction(numbers[i], NULL, &action) == 0 && action.sa_handler == SIG_DFL) {
            action.sa_handler = remove_temporaries;
            sigaction(numbers[i], &action, NULL);
        }
    }
}

/* Puts `to` where `from` was in the list. */
static void exchange_temporary(const char *from, char *to)
{
    for (int i = 0; i < MOST_TEMPORARIES; i++)
        if (temporaries[i] == from) {
            temporaries[i] = to;
            return;
        }
}

static bool refuse(const output_file *file, const char *why)
{
    failure(file->argument, "%s: %s", file->path, why);
    return false;
}

static bool refuse_by_errno(const output_file *file)
{
    char text[256];
    snprintf(text, sizeof text, "can't be written: %s", strerror(errno));
    return refuse(file, text);
}

/* folder + "/" + name, owned; NULL without memory. */
static char *join(const char *folder, const char *name)
{
    const size_t size = strlen(folder) + strlen(name) + 2;
    char *path = malloc(size);
    if (path)
        snprintf(path, size, "%s/%s", folder, name);
    return path;
}

/* The target of a path that does not exist yet: its folder with links resolved, and its name. */
static char *resolve_new(const char *path)
{
    const char *slash = strrchr(path, '/');
    char *folder = slash ? strndup(path, (size_t)(slash - path) + 1) : strdup(".");
    char *resolved = folder ? realpath(folder, NULL) : NULL;
    char *target = resolved ? join(resolved, slash ? slash + 1 : path) : NULL;
    free(folder);
    free(resolved);
    return target;
}

/* Creates a file that is new beside the target, with the rights that the user's umask gives. */
static bool create_temporary(output_file *file)
{
    const size_t size = strlen(file->target) + 48;
    int descriptor = -1;
    file->temporary = malloc(size);
    if (!file->temporary)
        return refuse(file, "out of memory");
    catch_signals();
    for (int attempt = 0; attempt < 100 && descriptor < 0; attempt++) {
        snprintf(file->temporary, size, "%s.%ld-%d.tmp", file->target, (long)getpid(), attempt);
        descriptor = open(file->temporary, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
        if (descriptor < 0 && errno != EEXIST)
            break;
    }
    file->stream = descriptor < 0 ? NULL : fdopen(descriptor, "wb");
    if (file->stream) {
        exchange_temporary(NULL, file->temporary);
        return true;
    }
    refuse_by_errno(file);
    if (descriptor >= 0) {
        close(descriptor);
        unlink(file->temporary);
    }
    free(file->temporary);
    file->temporary = NULL;
    return false;
}

static bool open_existing(output_file *file, const struct stat *info)
{
    if (S_ISDIR(info->st_mode))
        return refuse(file, "is a folder");
    if (S_ISREG(info->st_mode)) {
        if (access(file->path, W_OK) != 0)
            return refuse_by_errno(file);
        file->target = realpath(file->path, NULL);
        return file->target ? create_temporary(file) : refuse_by_errno(file);
    }
    file->stream = fopen(file->path, "wb");
    return file->stream || refuse_by_errno(file);
}

bool output_open(output_file *file, const char *argument, const char *path)
{
    struct stat info;
    *file = (output_file){.argument = argument, .path = path};
    if (!path)
        return true;
    if (stat(path, &info) == 0)
        return open_existing(file, &info);
    if (errno != ENOENT)
        return refuse_by_errno(file);
    if (*path && path[strlen(path) - 1] == '/')
        return refuse(file, "is a folder that does not exist");
    file->target = resolve_new(path);
    return file->target ? create_temporary(file) : refuse_by_errno(file);
}

bool output_write_bytes(output_file *file, const void *bytes, size_t size)
{
    if (!file->path)
        return true;
    return fwrite(bytes, 1, size, file->stream) == size || refuse_by_errno(file);
}

/* The dictionary of a header, without padding; its length. */
static int describe(const npy_array *array, char *text, size_t capacity)
{
    int size = snprintf(text, capacity, "{'descr': '%c%c4', 'fortran_order': False, 'shape': (",
                        npy_native_order(), array->whole ? 'i' : 'f');
    for (uint32_t i = 0; i < array->rank; i++)
        size += snprintf(text + size, capacity - (size_t)size, "%s%lld%s", i ? " " : "",
                         (long long)array->shape[i],
                         array->rank == 1 || i + 1 < array->rank ? "," : "");
    return size + snprintf(text + size, capacity - (size_t)size, "), }");
}

bool output_write_npy(output_file *file, const npy_array *array)
{
    enum { START = 10, UNIT = 64 };
    char header[512];
    if (!file->path)
        return true;
    const int end = START + describe(array, header + START, sizeof header - START - UNIT) + 1;
    const int size = (end + UNIT - 1) / UNIT * UNIT;
    memcpy(header, "\x93NUMPY\x01\x00", 8);
    header[8] = (char)((size - START) & 255);
    header[9] = (char)((size - START) >> 8);
    memset(header + end - 1, ' ', (size_t)(size - end));
    header[size - 1] = '\n';
    return output_write_bytes(file, header, (size_t)size) &&
           output_write_bytes(file, array->data, (size_t)array->count * sizeof(float));
}

/* Everything is in the file. */
static bool complete(output_file *file)
{
    if (!file->path)
        return true;
    const bool flushed = fflush(file->stream) == 0 && !ferror(file->stream);
    if (!flushed)
        return refuse_by_errno(file);
    FILE *stream = file->stream;
    file->stream = NULL;
    return fclose(stream) == 0 || refuse_by_errno(file);
}

static bool rename_to_target(output_file *file)
{
    if (!file->temporary)
        return true;
    if (rename(file->temporary, file->target) != 0)
        return refuse_by_errno(file);
    file->renamed = true;
    return true;
}

bool output_targets_differ(const output_file *files, size_t count)
{
    for (size_t i = 0; i < count; i++)
        for (size_t j = 0; j < i; j++)
            if (files[i].target && files[j].target &&
                strcmp(files[i].target, files[j].target) == 0) {
                failure(files[i].argument, "%s: is the file that %s names", files[i].path,
                        files[j].argument);
                return false;
            }
    return true;
}

bool output_commit_all(output_file *files, size_t count)
{
    bool good = true;
    for (size_t i = 0; i < count && good; i++)
        good = complete(&files[i]);
    for (size_t i = 0; i < count && good; i++)
        good = rename_to_target(&files[i]);
    for (size_t i = 0; i < count && !good; i++)
        if (files[i].renamed)
            unlink(files[i].target);
    return good;
}

bool output_commit(output_file *file)
{
    return output_commit_all(file, 1);
}

void output_finish(output_file *file)
{
    if (file->stream)
        fclose(file->stream);
    if (file->temporary && !file->renamed)
        unlink(file->temporary);
    if (file->temporary)
        exchange_temporary(file->temporary, NULL);
    free(file->temporary);
    free(file->target);
    *file = (output_file){0};
}
