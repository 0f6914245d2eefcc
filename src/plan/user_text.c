/* Finds identifiers in texts of the caller's. */
#include "plan/user_text.h"

#include <ctype.h>
#include <stddef.h>
#include <string.h>

static bool is_word(char c)
{
    return isalnum((unsigned char)c) || c == '_';
}

/* Behind the comment that begins at `at`. */
static const char *skip_comment(const char *at)
{
    if (at[1] == '/')
        return at + strcspn(at, "\n");
    const char *end = strstr(at + 2, "*/");
    return end ? end + 2 : at + strlen(at);
}

/* Behind the string or character that begins at `at`; both end with their line. */
static const char *skip_quote(const char *at)
{
    const char quote = *at++;
    while (*at && *at != '\n' && *at != quote)
        at += at[0] == '\\' && at[1] ? 2 : 1;
    return *at == quote ? at + 1 : at;
}

/* Behind the number or identifier that begins at `at`. */
static const char *skip_word(const char *at)
{
    while (is_word(*at))
        at++;
    return at;
}

bool clattn__user_text_has(const char *text, const char *name)
{
    const size_t length = strlen(name);
    for (const char *at = text; *at;) {
        if (at[0] == '/' && (at[1] == '/' || at[1] == '*')) {
            at = skip_comment(at);
        } else if (*at == '"' || *at == '\'') {
            at = skip_quote(at);
        } else if (is_word(*at)) {
            const char *end = skip_word(at);
            if ((size_t)(end - at) == length && memcmp(at, name, length) == 0)
                return true;
            at = end;
        } else {
            at++;
        }
    }
    return false;
}

/* `scalar`, or `vector` where the text announces that. */
static const char *lacks(const char *text, const char *announcement, const char *vector,
                         const char *scalar)
{
    const char *needed = clattn__user_text_has(text, announcement) ? vector : scalar;
    return clattn__user_text_has(text, needed) ? NULL : needed;
}

const char *clattn__user_text_score_lacks(const char *text)
{
    return lacks(text, "CLATTN_SCORE_VECTOR", "score_vector", "score");
}

const char *clattn__user_text_gradient_lacks(const char *text)
{
    return lacks(text, "CLATTN_SCORE_GRADIENT_VECTOR", "score_gradient_vector", "score_gradient");
}

const char *clattn__user_text_mask_lacks(const char *text)
{
    if (clattn__user_text_has(text, "CLATTN_VISIBLE_TILE") &&
        !clattn__user_text_has(text, "visible_tile"))
        return "visible_tile";
    return lacks(text, "CLATTN_VISIBLE_VECTOR", "visible_vector", "visible");
}
