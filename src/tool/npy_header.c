/* A parser for the one dictionary that .npy headers consist of: {'descr': '<f4', 'fortran_order':
 * False, 'shape': (2, 3), }, keys in any order, each once, nothing else. */
#include "tool/npy_header.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

typedef struct cursor {
    const char *at;
    npy_header *header;
} cursor;

static void skip_space(cursor *c)
{
    c->at += strspn(c->at, " \t\r\n");
}

/* Skips space and takes `character` if it is next. */
static bool take(cursor *c, char character)
{
    skip_space(c);
    if (*c->at != character)
        return false;
    c->at++;
    return true;
}

static bool take_word(cursor *c, const char *word)
{
    const size_t size = strlen(word);
    skip_space(c);
    if (strncmp(c->at, word, size) != 0)
        return false;
    c->at += size;
    return true;
}

/* A text in either kind of quotes, without escapes. */
static bool take_text(cursor *c, char *text, size_t capacity)
{
    skip_space(c);
    const char quote = *c->at;
    if (quote != '\'' && quote != '"')
        return false;
    const char *end = strchr(c->at + 1, quote);
    if (!end || (size_t)(end - c->at - 1) >= capacity || memchr(c->at, '\\', (size_t)(end - c->at)))
        return false;
    memcpy(text, c->at + 1, (size_t)(end - c->at - 1));
    text[end - c->at - 1] = 0;
    c->at = end + 1;
    return true;
}

static const char *parse_descr(cursor *c)
{
    skip_space(c);
    if (*c->at == '[')
        return "has a structured type; expected plain numbers";
    return take_text(c, c->header->descr, sizeof c->header->descr)
               ? NULL
               : "has a header whose 'descr' can't be read";
}

static const char *parse_order(cursor *c)
{
    c->header->fortran_order = take_word(c, "True");
    return c->header->fortran_order || take_word(c, "False")
               ? NULL
               : "has a header whose 'fortran_order' is neither True nor False";
}

static const char *parse_extent(cursor *c)
{
    char *end;
    skip_space(c);
    if (*c->at < '0' || *c->at > '9')
        return "has a shape that can't be read";
    if (c->header->rank == NPY_MOST_DIMS)
        return "has more than 8 dimensions";
    errno = 0;
    c->header->shape[c->header->rank++] = strtoll(c->at, &end, 10);
    c->at = end + (*end == 'L'); /* Python 2 wrote 3L */
    return errno ? "has a shape beyond 64 bits" : NULL;
}

static const char *parse_shape(cursor *c)
{
    if (!take(c, '('))
        return "has a shape that can't be read";
    while (!take(c, ')')) {
        const char *error = parse_extent(c);
        if (error)
            return error;
        if (take(c, ','))
            continue;
        if (c->header->rank < 2 || !take(c, ')')) /* (3) is a number, not a tuple */
            return "has a shape that can't be read";
        break;
    }
    return NULL;
}

static const struct {
    const char *key;
    const char *(*parse)(cursor *c);
} keys[] = {
    {"descr", parse_descr},
    {"fortran_order", parse_order},
    {"shape", parse_shape},
};
enum { KEYS = sizeof keys / sizeof keys[0] };

/* One "key: value"; sets its bit in *seen. */
static const char *parse_item(cursor *c, unsigned *seen)
{
    char key[32];
    if (!take_text(c, key, sizeof key) || !take(c, ':'))
        return "has a header that can't be read";
    for (unsigned i = 0; i < KEYS; i++)
        if (strcmp(key, keys[i].key) == 0) {
            if (*seen >> i & 1)
                return "has a header with a key twice";
            *seen |= 1u << i;
            return keys[i].parse(c);
        }
    return "has a header with an unknown key";
}

const char *npy_parse_header(const char *text, npy_header *header)
{
    cursor c = {text, header};
    unsigned seen = 0;
    memset(header, 0, sizeof *header);
    if (!take(&c, '{'))
        return "has a header that can't be read";
    while (!take(&c, '}')) {
        const char *error = parse_item(&c, &seen);
        if (error)
            return error;
        if (take(&c, ','))
            continue;
        if (!take(&c, '}'))
            return "has a header that can't be read";
        break;
    }
    skip_space(&c);
    if (*c.at)
        return "has a header with something behind its end";
    return seen == (1u << KEYS) - 1 ? NULL
                                    : "has a header without 'descr', 'fortran_order' or 'shape'";
}

int64_t npy_count(const int64_t *shape, uint32_t rank, size_t element_size)
{
    const int64_t most = PTRDIFF_MAX;
    int64_t count = 1;
    for (uint32_t i = 0; i < rank; i++)
        if (shape[i] == 0)
            return 0;
    for (uint32_t i = 0; i < rank; i++) {
        if (count > most / (int64_t)element_size / shape[i])
            return -1;
        count *= shape[i];
    }
    return count;
}

char npy_native_order(void)
{
    const uint16_t one = 1;
    unsigned char first;
    memcpy(&first, &one, 1);
    return first == 1 ? '<' : '>';
}
