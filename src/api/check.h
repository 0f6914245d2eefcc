/* Arguments that every public function checks alike. */
#ifndef CLATTN_API_CHECK_H
#define CLATTN_API_CHECK_H

#include <stddef.h>
#include <stdint.h>

#include "base/status.h"

/* Copies as much of `from` (`size` bytes, beginning with struct_size) as the caller's struct holds;
 * struct_size, read from `to`, stays. `name` is the argument, for the sentence. */
clattn_status clattn__struct_copy(void *to, const void *from, size_t size, const char *name);

/* CLATTN_ERR_ARGUMENT naming `name` if the pointer is NULL. */
clattn_status clattn__require(const void *pointer, const char *name);

#endif
