/* See text_file.h. Pipes are read like files, so the size is known only at the end. */
#include "tool/text_file.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tool/options.h"

/* Reads into text, of room for most + 2 bytes; returns what is wrong, NULL: nothing. */
static const char *read_all(FILE *stream, char *text, size_t most)
{
    errno = 0;
    const size_t size = fread(text, 1, most + 1, stream);
    text[size] = 0;
    if (ferror(stream))
        return strerror(errno);
    if (size == 0)
        return "is empty";
    if (size > most)
        return "is longer than what is accepted";
    return strlen(text) < size ? "has a zero byte, so it is no text" : NULL;
}

char *text_file_read(const char *argument, const char *path, size_t most)
{
    FILE *stream = fopen(path, "rb");
    if (!stream) {
        failure(argument, "%s: can't be opened: %s", path, strerror(errno));
        return NULL;
    }
    char *text = malloc(most + 2);
    const char *wrong = text ? read_all(stream, text, most) : "does not fit into memory";
    fclose(stream);
    if (!wrong)
        return text;
    failure(argument, "%s: %s", path, wrong);
    free(text);
    return NULL;
}
