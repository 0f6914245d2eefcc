/* What every room needs from the outside: memory, log, folders. One per context, made from
 * clattn_context_options, constant afterwards, borrowed by whoever works for that context. */
#ifndef CLATTN_BASE_ENV_H
#define CLATTN_BASE_ENV_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/status.h"

#define CLATTN__MAX_PARTS   16
#define CLATTN__MAX_DEVICES 16 /* of a context */

typedef struct clattn__env {
    clattn_realloc_fn realloc; /* never NULL */
    void *realloc_user;
    clattn_log_fn log; /* NULL: none */
    void *log_user;
    uint32_t verbose;            /* clattn_log_area bits that CLATTN_VERBOSE sends to stderr */
    bool cache_on;               /* program cache, wherever it is */
    bool cache_trials;           /* programs are tried once: looked for, but not kept */
    bool tuning_on;              /* the tuning file is used, if there is one */
    bool sleepy;                 /* waits sleep from the beginning */
    bool clears;                 /* memory is filled with zeros before others get it */
    uint32_t parts;              /* of the device, at most CLATTN__MAX_PARTS; 0: it stays whole */
    char *device;                /* owned; selector, NULL: best device */
    char *cache_dir;             /* owned; NULL: no folder could be named, the cache is off */
    char *kernel_dir;            /* owned; NULL: embedded .cl files */
    char *kernel;                /* owned; the kernels to use, with commas between; NULL: any */
    clattn_get_proc_fn get_proc; /* NULL: the system's OpenCL library */
    void *get_proc_user;
    clattn_cache_load_fn cache_load; /* either not NULL: the cache is the caller's, not files */
    clattn_cache_store_fn cache_store;
    void *cache_user;
} clattn__env;

/* Reads options (may be NULL; by struct_size) and the environment variables CLATTN_DEVICE,
 * CLATTN_CACHE_DIR, CLATTN_KERNEL_DIR and CLATTN_VERBOSE. */
clattn_status clattn__env_init(clattn__env *env, const clattn_context_options *options);
void clattn__env_finish(clattn__env *env);

/* Memory of the caller's allocator. NULL on failure (the message is set) and, for free, allowed.
 * clattn__alloc_array zeroes, and fails where count * size overflows. */
void *clattn__alloc(const clattn__env *env, size_t size);
void *clattn__alloc_array(const clattn__env *env, size_t count, size_t size);
void *clattn__resize(const clattn__env *env, void *pointer, size_t size);
void clattn__free(const clattn__env *env, void *pointer);
char *clattn__copy_text(const clattn__env *env, const char *text);

/* One line to the log callback and, where CLATTN_VERBOSE asks for it, to stderr. */
bool clattn__log_wanted(const clattn__env *env, clattn_log_area area);
void clattn__log(const clattn__env *env, clattn_log_area area, const char *format, ...)
    CLATTN__PRINTF(3, 4);

#endif
