/* Printing JSON: cJSON escapes texts and writes numbers. */
#ifndef CLATTN_TOOL_JSON_H
#define CLATTN_TOOL_JSON_H

#include <cjson/cJSON.h>

/* Prints on stdout and deletes `object`, which may be NULL (out of memory). The exit status. */
int json_print(cJSON *object);

#endif
