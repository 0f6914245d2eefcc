/* The program cache, without OpenCL: checksummed entries in a folder or, instead, in the store of
 * the caller, see docs/cache.md. */
#ifndef CLATTN_OPENCL_PROGRAM_CACHE_H
#define CLATTN_OPENCL_PROGRAM_CACHE_H

#include "opencl/program_entry.h"

/* CLATTN_OK and *binary (owned, may be NULL with size 0) on a hit; CLATTN_ERR_IO on a miss, which
 * includes every kind of damage; the log says which. */
clattn_status clattn__program_cache_load(const clattn__env *env, clattn__hash key, void **binary,
                                         size_t *binary_size);
/* Failing to store is logged and otherwise ignored. */
void clattn__program_cache_store(const clattn__env *env, clattn__hash key,
                                 const clattn__cached_program *program);
void clattn__program_cache_drop(const clattn__env *env, clattn__hash key);

/* Marks that a build begins and ends. `begin` fails with CLATTN_ERR_BUILD if earlier builds of
 * this key never ended because their process died. */
clattn_status clattn__program_cache_begin_build(const clattn__env *env, clattn__hash key);
void clattn__program_cache_end_build(const clattn__env *env, clattn__hash key);

/* See clattn_program_cache_list and _clear. */
clattn_status clattn__program_cache_walk(const clattn__env *env, clattn_program_fn function,
                                         void *user);
clattn_status clattn__program_cache_clear(const clattn__env *env, bool only_invalid,
                                          uint32_t *removed);

#endif
