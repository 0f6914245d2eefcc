/* Which steps share launches, and in what order launches are made. Pure functions over rows that
 * say of each step what matters for that; what a step reads and writes is the caller's to know. */
#ifndef CLATTN_SCHEDULE_SHARING_H
#define CLATTN_SCHEDULE_SHARING_H

#include <stdbool.h>
#include <stdint.h>

#define CLATTN__NOBODY UINT32_MAX

/* A step that may share its launches. */
typedef struct clattn__sharer {
    uint64_t family; /* steps of one can share launches; 0: it shares none */
    double work;     /* see clattn__estimate_work */
    uint32_t level;  /* steps of a lower one go before; those of one are independent */
    uint32_t next;   /* step that shares its launches, behind it; CLATTN__NOBODY: none */
    bool led;        /* it is the `next` of another one, in whose launches it is */
} clattn__sharer;

/* Whether a step of a submission writes what an earlier one of it has, or the other way round. */
typedef bool (*clattn__meet_fn)(const void *user, uint32_t later, uint32_t earlier);

/* Sets the levels of a submission's steps: each is of the lowest one above those of all earlier
 * steps that it meets. Those that share no launches meet all. Asks only where it matters. */
void clattn__sharing_levels(clattn__sharer *steps, uint32_t count, clattn__meet_fn meet,
                            const void *user);

/* The family of a submission of these steps: those of one have, step by step, the same families and
 * levels. 0: some step shares no launches, or there is none. */
uint64_t clattn__sharing_family(const clattn__sharer *steps, uint32_t count);

/* Links steps of one level and family, which may be of several submissions, so that the work of
 * those that are linked is at most `most`; none is linked yet. Each goes, in its order, to the
 * first ones that it fits to. */
void clattn__sharing_join(clattn__sharer *steps, uint32_t count, double most);

/* Whether its launches are shared. */
static inline bool clattn__sharing_is_shared(const clattn__sharer *step)
{
    return step->led || step->next != CLATTN__NOBODY;
}

/* The order in which launches are made, each named by the first of its steps: the one after that of
 * `leader` (CLATTN__NOBODY: the first of all), by levels and then as steps came. CLATTN__NOBODY: it
 * was the last. */
uint32_t clattn__sharing_after(const clattn__sharer *steps, uint32_t count, uint32_t leader);

#endif
