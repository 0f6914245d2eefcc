/* The include resolver: follows #include "..." in lines outside comments, each file once. */
#include "opencl/source.h"

#include <assert.h>
#include <inttypes.h>
#include <string.h>

#include "base/file.h"

#define DEEPEST       16
#define MOST_FILES    64
#define LARGEST_BYTES ((uint64_t)1 << 20)

/* One resolution: what was included already. */
typedef struct resolution {
    const clattn__env *env;
    clattn__text *text;
    char *included[MOST_FILES]; /* (count) owned; paths below cl/ */
    uint32_t count;
} resolution;

/* Where an #include stands; name NULL: the list of files asked for. */
typedef struct origin {
    const char *name;
    uint32_t line, depth;
} origin;

static clattn_status fail_at(const origin *from, clattn_status status, const char *path,
                             const char *why)
{
    if (!from->name)
        return clattn__fail(status, "cl/%s: %s", path, why);
    return clattn__fail(status, "cl/%s:%" PRIu32 ": #include \"%s\": %s", from->name, from->line,
                        path, why);
}

static bool is_included(const resolution *of, const char *path)
{
    for (uint32_t i = 0; i < of->count; i++)
        if (strcmp(of->included[i], path) == 0)
            return true;
    return false;
}

static clattn_status remember(resolution *of, const origin *from, const char *path)
{
    if (of->count == MOST_FILES)
        return fail_at(from, CLATTN_ERR_BUILD, path, "too many files");
    char *copy = clattn__copy_text(of->env, path);
    if (!copy)
        return CLATTN_ERR_OUT_OF_MEMORY;
    of->included[of->count++] = copy;
    return CLATTN_OK;
}

/* Paths stay below cl/. */
static bool is_safe(const char *path)
{
    return path[0] != '/' && !strstr(path, "..") && !strchr(path, '\\') && !strchr(path, ':');
}

static clattn_status read_embedded(const resolution *of, const origin *from, const char *path,
                                   char **data)
{
    const clattn__embedded_file *file = clattn__embedded_files;
    while (file->name && strcmp(file->name, path) != 0)
        file++;
    if (!file->name)
        return fail_at(from, CLATTN_ERR_BUILD, path, "there is no such file in the library");
    *data = clattn__alloc_array(of->env, file->size + 1, 1);
    if (!*data)
        return CLATTN_ERR_OUT_OF_MEMORY;
    memcpy(*data, file->bytes, file->size);
    return CLATTN_OK;
}

/* *data is owned and ends with 0. */
static clattn_status read_file(const resolution *of, const origin *from, const char *path,
                               char **data)
{
    if (!is_safe(path))
        return fail_at(from, CLATTN_ERR_BUILD, path, "is not a path below cl/");
    if (!of->env->kernel_dir)
        return read_embedded(of, from, path, data);
    clattn__text name;
    size_t size;
    clattn__text_init(&name, of->env);
    clattn__text_add(&name, "%s/%s", of->env->kernel_dir, path);
    clattn_status status = clattn__text_status(&name);
    if (status == CLATTN_OK)
        status = clattn__file_read(of->env, clattn__text_get(&name), LARGEST_BYTES, data, &size);
    if (status == CLATTN_ERR_IO && from->name)
        status = fail_at(from, CLATTN_ERR_BUILD, path, clattn__message());
    clattn__text_finish(&name);
    return status;
}

/* Whether a block comment that is open or not before the line is open after it. */
static bool comment_after(const char *line, size_t size, bool open)
{
    for (size_t i = 0; i < size; i++) {
        const bool pair = i + 1 < size;
        if (open) {
            if (pair && line[i] == '*' && line[i + 1] == '/') {
                open = false;
                i++;
            }
        } else if (pair && line[i] == '/' && line[i + 1] == '/') {
            break;
        } else if (pair && line[i] == '/' && line[i + 1] == '*') {
            open = true;
            i++;
        }
    }
    return open;
}

static const char *skip_blanks(const char *at)
{
    return at + strspn(at, " \t");
}

/* The path of an #include "..." line into `path` (capacity bytes); false: it is none. */
static bool included_path(const char *line, size_t size, char *path, size_t capacity)
{
    const char *at = skip_blanks(line);
    if (*at != '#')
        return false;
    at = skip_blanks(at + 1);
    if (strncmp(at, "include", 7) != 0)
        return false;
    at = skip_blanks(at + 7);
    if (*at != '"')
        return false;
    const size_t length = strcspn(++at, "\"\n");
    if (at[length] != '"' || at + length >= line + size || length >= capacity)
        return false;
    memcpy(path, at, length);
    path[length] = 0;
    return true;
}

static clattn_status add_file(resolution *of, const origin *from, const char *path);

static clattn_status add_lines(resolution *of, const char *name, const char *data, uint32_t depth)
{
    bool comment = false;
    uint32_t line = 1;
    char path[256];
    clattn__text_add(of->text, "#line 1 \"cl/%s\"\n", name);
    for (const char *at = data; *at; line++) {
        const size_t size = strcspn(at, "\n");
        if (!comment && included_path(at, size, path, sizeof path)) {
            const origin here = {name, line, depth + 1};
            CLATTN__TRY(add_file(of, &here, path));
            clattn__text_add(of->text, "#line %" PRIu32 " \"cl/%s\"\n", line + 1, name);
        } else {
            clattn__text_add_bytes(of->text, at, size);
            clattn__text_add(of->text, "\n");
        }
        comment = comment_after(at, size, comment);
        at += size + (at[size] == '\n');
    }
    return CLATTN_OK;
}

static clattn_status add_file(resolution *of, const origin *from, const char *path)
{
    char *data = NULL;
    if (is_included(of, path))
        return CLATTN_OK;
    if (from->depth > DEEPEST)
        return fail_at(from, CLATTN_ERR_BUILD, path, "includes are nested too deeply");
    CLATTN__TRY(read_file(of, from, path, &data));
    assert(data);
    clattn_status status = remember(of, from, path);
    if (status == CLATTN_OK)
        status = add_lines(of, path, data, from->depth);
    clattn__free(of->env, data);
    return status;
}

static void add_text(resolution *of, const clattn__source_text *own)
{
    for (const char *const *name = own->renamed; *name; name++)
        clattn__text_add(of->text, "#define %s clattn_user_%s\n", *name, *name);
    clattn__text_add(of->text, "#line 1 \"%s\"\n", own->name);
    clattn__text_add_bytes(of->text, own->text, strlen(own->text));
    clattn__text_add(of->text, "\n");
    for (const char *const *name = own->renamed; *name; name++)
        clattn__text_add(of->text, "#undef %s\n", *name);
}

static clattn_status add_all(resolution *of, const clattn__source_list *list)
{
    const origin asked_for = {0};
    for (uint32_t i = 0; i < list->text_count; i++) {
        if (!list->texts[i].text)
            continue;
        CLATTN__TRY(add_file(of, &asked_for, "common/vector.h"));
        add_text(of, &list->texts[i]);
    }
    for (uint32_t i = 0; i < list->file_count; i++)
        CLATTN__TRY(add_file(of, &asked_for, list->files[i]));
    return CLATTN_OK;
}

clattn_status clattn__source_resolve(const clattn__env *env, const clattn__source_list *list,
                                     clattn__text *text)
{
    resolution of = {.env = env, .text = text};
    const clattn_status status = add_all(&of, list);
    for (uint32_t i = 0; i < of.count; i++)
        clattn__free(env, of.included[i]);
    return status == CLATTN_OK ? clattn__text_status(text) : status;
}
