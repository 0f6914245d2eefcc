/* Small tables that launches read, written by the host just before: host arrays of submissions, and
 * the rows and items of launches that several plans share. They are used again once no launch in
 * flight has a reference, so that a warm lane allocates nothing. */
#ifndef CLATTN_DISPATCH_TABLE_H
#define CLATTN_DISPATCH_TABLE_H

#include "opencl/queue.h"

typedef struct clattn__table {
    clattn__memory *memory; /* a reference */
    unsigned char *host;    /* (size) what the host writes; part of `allocation` */
    void *allocation;       /* owned */
    uint64_t size;
    uint64_t written; /* where the context clears memory: bytes that the host may have written */
} clattn__table;

typedef struct clattn__tables {
    clattn__device *device; /* borrowed */
    clattn__table *table;   /* (count) owned */
    uint32_t count, capacity;
    uint32_t next; /* where to look first */
} clattn__tables;

void clattn__tables_finish(clattn__tables *tables);

/* A table of at least `size` bytes that nobody uses. Valid until the next take; its memory until
 * the last reference goes. */
clattn_status clattn__tables_take(clattn__tables *tables, uint64_t size, clattn__table *table);

/* Makes the first `size` bytes visible to what is enqueued after it, by a command that is the
 * caller's to release; NULL: none was needed. */
clattn_status clattn__table_send(const clattn__tables *tables, const clattn__table *table,
                                 uint64_t size, clattn__queue *queue, struct _cl_event **event);

#endif
