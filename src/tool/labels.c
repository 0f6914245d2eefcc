/* Reads tokens from JSON and turns each into text that can be drawn. */
#include "tool/labels.h"

#include <cjson/cJSON.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tool/options.h"

#define FILE_MOST_BYTES ((size_t)256 << 20)
#define CHUNK_BYTES     ((size_t)64 << 10)
/* The longest piece that one character of a token can become: an escape such as \u202e, or four
 * bytes of UTF-8. */
#define PIECE_MOST_BYTES 8

enum { REPLACEMENT = 0xfffd, ELLIPSIS = 0x2026, OPEN_BOX = 0x2423 };

/* Characters that have no shape of their own or change how their neighbours are drawn. */
static const struct {
    uint32_t first, last;
} unsafe[] = {
    {0x00, 0x1f},     {0x7f, 0x9f},     {0xad, 0xad},     {0x61c, 0x61c},   {0x180e, 0x180e},
    {0x200b, 0x200f}, {0x2028, 0x202e}, {0x2060, 0x206f}, {0xfeff, 0xfeff}, {0xfff9, 0xfffb},
};

/* Decodes one character and moves *at behind it; what is not UTF-8 counts as one byte. */
static uint32_t next_character(const unsigned char **at)
{
    static const uint32_t least[] = {0, 0x80, 0x800, 0x10000};
    const unsigned char *bytes = *at;
    const unsigned char lead = bytes[0];
    const int more = lead < 0x80 ? 0 : lead >= 0xf0 ? 3 : lead >= 0xe0 ? 2 : 1;
    uint32_t code = more == 0 ? lead : lead & (0x3fu >> more);

    *at = bytes + 1;
    if (lead >= 0x80 && (lead < 0xc2 || lead > 0xf4))
        return REPLACEMENT;
    for (int i = 1; i <= more; i++) {
        if ((bytes[i] & 0xc0) != 0x80)
            return REPLACEMENT;
        code = code << 6 | (bytes[i] & 0x3f);
    }
    if (code < least[more] || code > 0x10ffff || (code >= 0xd800 && code < 0xe000))
        return REPLACEMENT;
    *at = bytes + 1 + more;
    return (code & 0xfffe) == 0xfffe ? REPLACEMENT : code; /* XML forbids U+FFFE and U+FFFF */
}

static void encode(uint32_t code, char piece[PIECE_MOST_BYTES])
{
    static const unsigned char lead[] = {0, 0xc0, 0xe0, 0xf0};
    const int more = code < 0x80 ? 0 : code < 0x800 ? 1 : code < 0x10000 ? 2 : 3;

    piece[0] = (char)(lead[more] | code >> (6 * more));
    for (int i = 1; i <= more; i++)
        piece[i] = (char)(0x80 | (code >> (6 * (more - i)) & 0x3f));
    piece[more + 1] = '\0';
}

/* What is drawn for one character; returns how many characters that is. */
static int draw_as(uint32_t code, char piece[PIECE_MOST_BYTES])
{
    static const char *const names[] = {
        ['\b'] = "\\b", ['\f'] = "\\f", ['\n'] = "\\n", ['\r'] = "\\r", ['\t'] = "\\t"};

    if (code < sizeof names / sizeof *names && names[code])
        return snprintf(piece, PIECE_MOST_BYTES, "%s", names[code]);
    for (size_t i = 0; i < sizeof unsafe / sizeof *unsafe; i++)
        if (code >= unsafe[i].first && code <= unsafe[i].last)
            return snprintf(piece, PIECE_MOST_BYTES, code < 0x100 ? "\\x%02x" : "\\u%04x",
                            (unsigned)code);
    encode(code, piece);
    return 1;
}

/* The label of a token, to be freed; NULL where memory is short. A token of nothing but spaces
 * shows them as open boxes, an empty token as a pair of quotes. */
static char *make_label(const char *token)
{
    const unsigned char *at = (const unsigned char *)token;
    const bool blank = token[strspn(token, " ")] == '\0';
    char *label = malloc((size_t)(LABEL_MOST_CHARACTERS + 2) * PIECE_MOST_BYTES);
    char *end = label;
    char *cut = label; /* where an ellipsis would stand */
    int characters = 0;

    if (!label)
        return NULL;
    strcpy(label, "\"\"");
    while (*at && characters <= LABEL_MOST_CHARACTERS) {
        const uint32_t code = next_character(&at);
        if (characters < LABEL_MOST_CHARACTERS)
            cut = end;
        characters += draw_as(blank ? OPEN_BOX : code, end);
        end += strlen(end);
    }
    if (characters > LABEL_MOST_CHARACTERS)
        encode(ELLIPSIS, cut);
    return label;
}

/* The whole file with a 0 behind it, to be freed; NULL with *why set. */
static char *read_text(const char *path, const char **why)
{
    FILE *file = fopen(path, "rb");
    char *text = NULL;
    size_t size = 0, got = 0;

    *why = file ? NULL : strerror(errno);
    while (!*why) {
        char *larger = size < FILE_MOST_BYTES ? realloc(text, size + CHUNK_BYTES + 1) : NULL;
        if (!larger) {
            *why = size < FILE_MOST_BYTES ? "out of memory" : "too large for a list of tokens";
            break;
        }
        text = larger;
        got = fread(text + size, 1, CHUNK_BYTES, file);
        size += got;
        text[size] = '\0';
        if (ferror(file))
            *why = strerror(errno);
        else if (got < CHUNK_BYTES)
            break;
    }
    if (file)
        fclose(file);
    if (!*why && strlen(text) < size)
        *why = "not JSON: it has a zero byte";
    if (*why) {
        free(text);
        return NULL;
    }
    return text;
}

/* The array of tokens within the parsed file, or NULL. */
static const cJSON *find_tokens(const cJSON *root)
{
    const cJSON *tokens =
        cJSON_IsObject(root) ? cJSON_GetObjectItemCaseSensitive(root, "tokens") : root;

    return cJSON_IsArray(tokens) ? tokens : NULL;
}

static bool fill(const char *argument, const char *path, const cJSON *tokens, label_list *labels)
{
    const cJSON *token;

    labels->text = calloc((size_t)cJSON_GetArraySize(tokens) + 1, sizeof *labels->text);
    if (!labels->text) {
        failure(argument, "%s: out of memory", path);
        return false;
    }
    cJSON_ArrayForEach(token, tokens)
    {
        if (!cJSON_IsString(token)) {
            failure(argument, "%s: element %lld of the tokens is not a string", path,
                    (long long)labels->count);
            return false;
        }
        labels->text[labels->count] = make_label(token->valuestring);
        if (!labels->text[labels->count]) {
            failure(argument, "%s: out of memory", path);
            return false;
        }
        labels->count++;
    }
    return true;
}

bool labels_read(const char *argument, const char *path, label_list *labels)
{
    const char *why;
    char *text = read_text(path, &why);
    cJSON *root = text ? cJSON_ParseWithOpts(text, NULL, true) : NULL;
    const cJSON *tokens = find_tokens(root);
    bool good = false;

    labels->count = 0;
    labels->text = NULL;
    if (!text)
        failure(argument, "%s: %s", path, why);
    else if (!root)
        failure(argument, "%s: not JSON", path);
    else if (!tokens)
        failure(argument, "%s: neither an array of strings nor an object with one under \"tokens\"",
                path);
    else
        good = fill(argument, path, tokens, labels);
    if (!good)
        labels_finish(labels);
    cJSON_Delete(root);
    free(text);
    return good;
}

void labels_finish(label_list *labels)
{
    for (int64_t i = 0; i < labels->count; i++)
        free(labels->text[i]);
    free(labels->text);
    labels->text = NULL;
    labels->count = 0;
}
