/* A growing string, and searching without regard to case. */
#include "base/text.h"

#include <ctype.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

void clattn__text_init(clattn__text *text, const clattn__env *env)
{
    memset(text, 0, sizeof *text);
    text->env = env;
}

void clattn__text_finish(clattn__text *text)
{
    clattn__free(text->env, text->data);
    text->data = NULL;
    text->size = text->capacity = 0;
}

static bool reserve(clattn__text *text, size_t more)
{
    if (text->failed || more > SIZE_MAX / 4 - text->size) {
        text->failed = true;
        return false;
    }
    if (text->size + more + 1 <= text->capacity)
        return true;
    const size_t capacity = (text->size + more + 1) * 2;
    char *data = clattn__resize(text->env, text->data, capacity);
    if (!data) {
        text->failed = true;
        return false;
    }
    text->data = data;
    text->capacity = capacity;
    return true;
}

void clattn__text_add(clattn__text *text, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    const int size = vsnprintf(NULL, 0, format, arguments);
    va_end(arguments);
    if (size < 0 || !reserve(text, (size_t)size))
        return;
    va_start(arguments, format);
    vsnprintf(text->data + text->size, (size_t)size + 1, format, arguments);
    va_end(arguments);
    text->size += (size_t)size;
}

void clattn__text_add_bytes(clattn__text *text, const char *bytes, size_t size)
{
    if (!reserve(text, size))
        return;
    if (size)
        memcpy(text->data + text->size, bytes, size);
    text->size += size;
    text->data[text->size] = 0;
}

clattn_status clattn__text_status(const clattn__text *text)
{
    return text->failed ? CLATTN_ERR_OUT_OF_MEMORY : CLATTN_OK;
}

const char *clattn__text_get(const clattn__text *text)
{
    return text->data ? text->data : "";
}

char *clattn__text_take(clattn__text *text)
{
    if (!reserve(text, 0))
        return NULL;
    char *data = text->data;
    data[text->size] = 0;
    text->data = NULL;
    text->size = text->capacity = 0;
    return data;
}

static bool starts_with(const char *text, const char *part)
{
    for (; *part; text++, part++)
        if (tolower((unsigned char)*text) != tolower((unsigned char)*part))
            return false;
    return true;
}

bool clattn__contains(const char *text, const char *part)
{
    for (; *text; text++)
        if (starts_with(text, part))
            return true;
    return *part == 0;
}

bool clattn__same_word(const char *a, const char *b)
{
    return strlen(a) == strlen(b) && clattn__contains(a, b);
}
