/* Reads case.json and the arrays that it names. */
#include "case.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct error_text {
    char *text; /* (size) */
    size_t size;
} error_text;

static bool fail(error_text error, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(error.text, error.size, format, arguments);
    va_end(arguments);
    return false;
}

static char *read_text(const char *path)
{
    FILE *stream = fopen(path, "rb");
    char *text = calloc(1, 1 << 20); /* no case.json comes near a mebibyte */
    if (stream && text) {
        const size_t size = fread(text, 1, (1 << 20) - 1, stream);
        text[size] = 0;
    }
    if (stream)
        fclose(stream);
    return text;
}

static bool load_array(const char *folder, case_array *array, error_text error)
{
    char path[4096];
    snprintf(path, sizeof path, "%s/%s.npy", folder, array->name);
    const char *why = npy_read(path, &array->array);
    return why ? fail(error, "%s.npy %s", array->name, why) : true;
}

/* Reads the arrays that the list `key` names into arrays: (CASE_MOST_ARRAYS). */
static bool load_arrays(const test_case *c, const char *key, case_array *arrays, int *count,
                        error_text error)
{
    const cJSON *list = cJSON_GetObjectItemCaseSensitive(c->json, key), *name;
    cJSON_ArrayForEach(name, list)
    {
        if (!cJSON_IsString(name))
            return fail(error, "case.json: \"%s\" holds something other than names", key);
        if (*count == CASE_MOST_ARRAYS)
            return fail(error, "case.json: \"%s\" has more than %d names", key, CASE_MOST_ARRAYS);
        arrays[*count].name = name->valuestring;
        if (!load_array(c->path, &arrays[*count], error))
            return false;
        (*count)++;
    }
    return true;
}

static bool is_conformance_case(const cJSON *json)
{
    const cJSON *kind = cJSON_GetObjectItemCaseSensitive(json, "kind");
    const cJSON *inputs = cJSON_GetObjectItemCaseSensitive(json, "inputs");
    const cJSON *outputs = cJSON_GetObjectItemCaseSensitive(json, "outputs");
    return cJSON_IsString(kind) || (!kind && cJSON_IsArray(inputs) && cJSON_IsArray(outputs));
}

case_state case_load(test_case *c, const char *path, const char *name, char *error, size_t size)
{
    const error_text sentence = {error, size};
    char json_path[4096];
    *c = (test_case){.path = path, .name = name};
    const char *slash = strrchr(path, '/');
    c->folder = slash ? slash + 1 : path;
    snprintf(json_path, sizeof json_path, "%s/case.json", path);
    char *text = read_text(json_path);
    c->json = text ? cJSON_Parse(text) : NULL;
    free(text);
    if (!c->json) {
        fail(sentence, "case.json can't be read, or isn't JSON");
        return CASE_BROKEN;
    }
    if (!is_conformance_case(c->json))
        return CASE_IGNORED;
    const cJSON *kind = cJSON_GetObjectItemCaseSensitive(c->json, "kind");
    c->kind = kind ? kind->valuestring : "onnx";
    c->attributes = cJSON_GetObjectItemCaseSensitive(c->json, "attributes");
    if (!load_arrays(c, "inputs", c->input, &c->input_count, sentence) ||
        !load_arrays(c, "outputs", c->output, &c->output_count, sentence))
        return CASE_BROKEN;
    if (c->output_count == 0) {
        fail(sentence, "case.json names no outputs");
        return CASE_BROKEN;
    }
    return CASE_LOADED;
}

void case_finish(test_case *c)
{
    for (int i = 0; i < c->input_count; i++)
        npy_free(&c->input[i].array);
    for (int i = 0; i < c->output_count; i++)
        npy_free(&c->output[i].array);
    cJSON_Delete(c->json);
    *c = (test_case){0};
}

const npy_array *case_input(const test_case *c, const char *name)
{
    for (int i = 0; i < c->input_count; i++)
        if (strcmp(c->input[i].name, name) == 0)
            return &c->input[i].array;
    return NULL;
}

const cJSON *case_attribute(const test_case *c, const char *name)
{
    return cJSON_GetObjectItemCaseSensitive(c->attributes, name);
}

double case_number(const test_case *c, const char *name, double absent)
{
    const cJSON *item = case_attribute(c, name);
    return cJSON_IsNumber(item) ? item->valuedouble : absent;
}

const char *case_text(const test_case *c, const char *name, const char *absent)
{
    const cJSON *item = case_attribute(c, name);
    return cJSON_IsString(item) ? item->valuestring : absent;
}

bool case_flag(const test_case *c, const char *name)
{
    const cJSON *item = case_attribute(c, name);
    return cJSON_IsTrue(item) || (cJSON_IsNumber(item) && item->valuedouble != 0);
}
