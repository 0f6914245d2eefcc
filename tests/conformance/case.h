/* One conformance case: a folder with case.json and a .npy file for each input and output. */
#ifndef CASE_H
#define CASE_H

#include <stdbool.h>

#include <cjson/cJSON.h>

#include "npy.h"

#define CASE_MOST_ARRAYS 32

typedef struct case_array {
    const char *name; /* of case.json, borrowed from the case */
    npy_array array;
} case_array;

typedef struct test_case {
    const char *path;        /* of the folder, borrowed */
    const char *name;        /* the path below the one given on the command line, borrowed */
    const char *folder;      /* the last part of the path, borrowed */
    const char *kind;        /* "attention", ...; "onnx" where case.json names none */
    const cJSON *attributes; /* an object, or NULL */
    cJSON *json;             /* owned */
    case_array input[CASE_MOST_ARRAYS], output[CASE_MOST_ARRAYS];
    int input_count, output_count;
} test_case;

typedef enum case_state { CASE_LOADED, CASE_IGNORED, CASE_BROKEN } case_state;

/* Reads the folder; `path` must outlive the case, `name` points into it. CASE_IGNORED: its
 * case.json is no conformance case. CASE_BROKEN: `error` (size bytes) says why. In every state
 * case_finish() must follow. */
case_state case_load(test_case *c, const char *path, const char *name, char *error, size_t size);
void case_finish(test_case *c);

/* The input of this name, NULL where the case has none. */
const npy_array *case_input(const test_case *c, const char *name);

/* Attributes by name, with what holds where one is absent. */
const cJSON *case_attribute(const test_case *c, const char *name);
double case_number(const test_case *c, const char *name, double absent);
const char *case_text(const test_case *c, const char *name, const char *absent);
bool case_flag(const test_case *c, const char *name); /* true, or a number other than 0 */

#endif
