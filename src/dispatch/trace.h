/* What ran when on which lane, kept in a ring, and written as a file for trace viewers. */
#ifndef CLATTN_DISPATCH_TRACE_H
#define CLATTN_DISPATCH_TRACE_H

#include <clattn/submit.h>

#include "base/text.h"

typedef struct clattn__trace_span {
    uint64_t began, ended; /* ns of the host's clock */
    uint64_t number;       /* of the first submission in it */
    uint32_t lane, launches, entries, jobs;
} clattn__trace_span;

typedef struct clattn__trace {
    const clattn__env *env;   /* borrowed */
    clattn__trace_span *span; /* (capacity) owned ring */
    uint32_t capacity, count, next;
    /* of each lane, from its device's clock to the host's, as small as was seen */
    int64_t shift[CLATTN_LANE_LIMIT];
    bool has_shift[CLATTN_LANE_LIMIT];
} clattn__trace;

clattn_status clattn__trace_init(clattn__trace *trace, const clattn__env *env, uint32_t capacity);
void clattn__trace_finish(clattn__trace *trace);

/* A span by the device's clock, seen at `now` of the host's. */
void clattn__trace_add(clattn__trace *trace, const clattn__trace_span *span, uint64_t now);

/* Appends the file's text: the format of chrome://tracing, which Perfetto reads. */
void clattn__trace_write(const clattn__trace *trace, clattn__text *text);

#endif
