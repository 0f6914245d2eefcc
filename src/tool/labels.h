/* Token labels of a heat-map's axis, read from JSON and made safe to draw. */
#ifndef CLATTN_TOOL_LABELS_H
#define CLATTN_TOOL_LABELS_H

#include <stdbool.h>
#include <stdint.h>

/* Characters of a label; a longer token is cut and ends in an ellipsis. */
#define LABEL_MOST_CHARACTERS 24

typedef struct label_list {
    int64_t count;
    char **text; /* (count), UTF-8, owned */
} label_list;

/* Reads an array of strings, or an object with one under `tokens`. Control characters become
 * escapes, bytes that are not UTF-8 the replacement character, so that any label can be drawn and
 * stands in XML once its markup is escaped. On failure prints one line `clattn: ARGUMENT: PATH:
 * why` and returns false; *labels is then empty. */
bool labels_read(const char *argument, const char *path, label_list *labels);

void labels_finish(label_list *labels); /* empty ones are allowed */

#endif
