/* What passed and what failed: lines for people, and the list of case:output pairs that passed. */
#ifndef REPORT_H
#define REPORT_H

#include "kinds.h"

typedef struct report {
    char **pair; /* (pair_count) "case:output" that passed, owned */
    size_t pair_count, pair_capacity;
    int passed, failed; /* cases */
    bool list;          /* print pairs as they pass */
} report;

/* Compares what was computed, prints one line if the case failed. */
void report_case(report *to, const test_case *c, results *r);
/* A case that can't be run at all. */
void report_broken(report *to, const char *name, const char *why);

/* Prints each pair of the file (one a line, # begins a comment) that did not pass; how many those
 * are, or -1 if the file can't be read or names no pair. */
int report_missing(const report *from, const char *path);

void report_finish(report *r);

#endif
