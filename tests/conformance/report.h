/* What passed and what failed: lines for people, and the list of case:output pairs that passed. */
#ifndef REPORT_H
#define REPORT_H

#include "kinds.h"

typedef struct pair_list {
    char **pair; /* (count) "case:output", owned */
    size_t count, capacity;
} pair_list;

typedef struct report {
    pair_list right, declined; /* declined: the library said that it doesn't take the problem */
    int passed, failed;        /* cases */
    int declined_cases;        /* of the failed ones, with an output that was declined */
    bool list;                 /* print pairs as they pass */
} report;

/* Compares what was computed, prints one line if the case failed. */
void report_case(report *to, const test_case *c, results *r);
/* A case that can't be run at all. */
void report_broken(report *to, const char *name, const char *why);

/* Prints each pair of the file (one a line, # begins a comment) that did not pass; how many those
 * are, or -1 if the file can't be read or names no pair. may_decline: pairs that were declined
 * don't count, for runs with one kernel only. */
int report_missing(const report *from, const char *path, bool may_decline);

void report_finish(report *r);

#endif
