/* What a tuning file holds for a device: read once for a context, constant afterwards. */
#ifndef CLATTN_PLAN_TUNING_H
#define CLATTN_PLAN_TUNING_H

#include "kernels/registry.h"

/* A class of problems of a kernel, and what is faster for it than the built-in configuration. */
typedef struct clattn__tuned {
    const clattn__kernel *kernel;
    uint32_t problem_class;
    clattn__config config; /* the numbers that can be tuned */
    double speedup;
} clattn__tuned;

typedef struct clattn__tuning {
    uint32_t count;
    clattn__tuned row[]; /* (count) */
} clattn__tuning;

/* The rows of the file that are for this device and name a kernel and a class of it. *tuning is
 * owned by the caller, NULL where there is none; whatever is odd about the file is logged and
 * ignored. Fails only for lack of memory. */
clattn_status clattn__tuning_load(const clattn__env *env, const clattn_device_info *info,
                                  clattn__tuning **tuning);

/* Where a configuration comes from. */
typedef struct clattn__origin {
    const char *problem_class; /* of the row that was used; NULL: built in */
    double speedup;            /* of that row */
    bool follows;              /* the row is that of another class, whose bits this one has */
} clattn__origin;

/* Changes a configuration that is as built in into what the rows say. Rows that don't fit are
 * logged and ignored, and so is one that would give its class other bits than its leader's.
 * `tuning` may be NULL. */
clattn__origin clattn__tuning_apply(const clattn__tuning *tuning, const clattn__env *env,
                                    const clattn__kernel *kernel, const clattn__problem *problem,
                                    const clattn__caps *caps, clattn__config *config);

/* Makes the numbers that decide the order of sums the leader's. */
void clattn__tuning_follow(const clattn__tunable *tunable, const clattn__caps *caps,
                           const clattn__config *leader, clattn__config *config);

/* The path of the file (owned by the caller), NULL where the cache has no folder. */
clattn_status clattn__tuning_path(const clattn__env *env, char **path);

/* The file's text (owned). CLATTN_ERR_IO with a sentence for one that is not there, not private,
 * too large or of another version. */
clattn_status clattn__tuning_read(const clattn__env *env, const char *path, char **text);

/* Removes the file and what an interrupted writer left beside it; *removed says whether there was a
 * file. */
clattn_status clattn__tuning_remove(const clattn__env *env, const char *path, bool *removed);

#endif
