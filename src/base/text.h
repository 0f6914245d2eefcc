/* A growing string. A failed allocation is remembered, so that a chain of appends is checked
 * once, at the end. */
#ifndef CLATTN_BASE_TEXT_H
#define CLATTN_BASE_TEXT_H

#include "base/env.h"

typedef struct clattn__text {
    const clattn__env *env; /* borrowed */
    char *data;             /* owned; always ends with 0 once something was appended */
    size_t size;            /* bytes without the final 0 */
    size_t capacity;
    bool failed;
} clattn__text;

void clattn__text_init(clattn__text *text, const clattn__env *env);
void clattn__text_finish(clattn__text *text);
void clattn__text_add(clattn__text *text, const char *format, ...) CLATTN__PRINTF(2, 3);
void clattn__text_add_bytes(clattn__text *text, const char *bytes, size_t size);

/* CLATTN_ERR_OUT_OF_MEMORY if any append failed. */
clattn_status clattn__text_status(const clattn__text *text);

/* The text so far; "" if nothing was appended. Valid until the next append. */
const char *clattn__text_get(const clattn__text *text);

/* Hands the string to the caller, who frees it with clattn__free; never NULL after a good status.
 */
char *clattn__text_take(clattn__text *text);

/* Whether the texts are the same, ASCII case ignored. */
bool clattn__same_word(const char *a, const char *b);

/* Whether `text` contains `part`, ASCII case ignored. */
bool clattn__contains(const char *text, const char *part);

#endif
