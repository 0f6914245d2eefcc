/* Binding: checks that every slot of a plan has its memory, once, large enough, and that nothing
 * written overlaps anything else. */
#ifndef CLATTN_PLAN_BINDING_H
#define CLATTN_PLAN_BINDING_H

#include "plan/buffer.h"
#include "plan/plan.h"

/* Memory of one slot or of the workspace. */
typedef struct clattn__place {
    clattn__memory *memory; /* borrowed; NULL: takes no part, or is empty */
    uint64_t offset;        /* bytes within the cl_mem */
} clattn__place;

typedef struct clattn__bound {
    const clattn__device *device; /* whose view of the memory counts; NULL: its own */
    clattn__place slot[CLATTN_SLOT_LIMIT];
    clattn__place workspace;
    /* Slots given as host arrays: lowest byte, which goes to host_offset of the copies. */
    const void *host[CLATTN_SLOT_LIMIT];
    uint64_t host_offset[CLATTN_SLOT_LIMIT];
    uint64_t host_size; /* bytes of all copies; 0: none */
} clattn__bound;

/* Fills bound->slot and bound->host; bound->workspace and the copies are the dispatcher's matter.
 */
clattn_status clattn__bind(const clattn_plan *plan, const clattn_binding *bindings,
                           uint32_t binding_count, clattn__bound *bound);

/* Copies the host arrays to `bytes` (at least bound->host_size). */
void clattn__copy_host(const clattn_plan *plan, const clattn__bound *bound, unsigned char *bytes);
/* Binds the copies, which are in `memory` from `offset` on. */
void clattn__bind_copies(const clattn_plan *plan, clattn__memory *memory, uint64_t offset,
                         clattn__bound *bound);
/* The bytes that a slot touches in its memory object. */
typedef struct clattn__span {
    clattn__memory *memory; /* borrowed */
    const void *object;     /* the cl_mem */
    uint64_t begin, end;
    bool written;
    bool foreign; /* another object may be the same memory */
} clattn__span;

/* Those of all slots but host arrays, after clattn__bind; returns their number. */
uint32_t clattn__bound_spans(const clattn_plan *plan, const clattn__bound *bound,
                             clattn__span spans[CLATTN_SLOT_LIMIT]);
/* Whether something is written in one that is read or written in the other. */
bool clattn__spans_meet(const clattn__span *a, uint32_t a_count, const clattn__span *b,
                        uint32_t b_count);

/* Checks a workspace of the caller's and fills bound->workspace. */
clattn_status clattn__bind_workspace(const clattn_plan *plan, const clattn_buffer *workspace,
                                     uint64_t offset, clattn__bound *bound);

/* Checks that `size` bytes of the workspace overlap nothing that a step binds, after clattn__bind
 * accepted it. */
clattn_status clattn__check_workspace(const clattn_step *step, const clattn_buffer *workspace,
                                      uint64_t offset, uint64_t size);

#endif
