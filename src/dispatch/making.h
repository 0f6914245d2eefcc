/* A launch in the making, and how it is prepared. Private to the files that launch. */
#ifndef CLATTN_DISPATCH_MAKING_H
#define CLATTN_DISPATCH_MAKING_H

#include "dispatch/dispatcher.h"

typedef struct clattn__making {
    clattn__lane *lane;
    clattn_event *const *events; /* (event_count) */
    uint32_t event_count;
    uint32_t units; /* of the lane's */
    uint32_t levels;
    uint64_t rows, items, copies; /* numbers of what goes into the table; copies in bytes */
    clattn__table table;
    uint64_t scratch;   /* bytes that are used of the lane's scratch memory */
    uint32_t next_item; /* in units of an item, from the table's beginning */
    uint32_t next_row;
    bool in_parts;            /* scratch memory is the submission's own */
    clattn__wait_list wait;   /* of the next launch */
    clattn__enqueued *result; /* what was enqueued so far */
} clattn__making;

/* Bytes of scratch memory that it needs of the dispatcher's. */
uint64_t clattn__entry_scratch(const clattn__entry *entry);

/* Lists the steps of all submissions as units of the lane. */
clattn_status clattn__making_list(clattn__making *m);
/* Has those that share launches linked, and counts them. */
void clattn__making_join(clattn__making *m);
/* Gives every unit its place in the lane's scratch memory. */
clattn_status clattn__making_place(clattn__making *m);
/* Takes a table, copies host arrays and rows into it, binds scratch memory and copies. */
clattn_status clattn__making_bind(clattn__making *m);
/* Writes the items of shared launches in the order in which these are made, and sends the table. */
clattn_status clattn__making_send(clattn__making *m);
/* The cl_events to wait for that the order of the lane doesn't cover. */
clattn_status clattn__making_wait(clattn__making *m, clattn__wait_list more);
/* Counts a command of the submission's among what was enqueued. */
void clattn__making_note(clattn__making *m, clattn_event *event, struct _cl_event *command);
/* Where the context clears memory: fills the first `size` bytes of what all submissions have used
 * with zeros, by a command that belongs to all of them. */
clattn_status clattn__making_clear(clattn__making *m, clattn__memory *memory, uint64_t size);
/* Bytes of the table. */
uint64_t clattn__making_table_size(const clattn__making *m);
/* Room for all commands and a flight, so that an enqueued one is never lost. */
clattn_status clattn__making_reserve(const clattn__making *m);

#endif
