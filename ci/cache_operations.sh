#!/bin/bash
# Random operations on key/value caches against plain tensors: append, fork, truncate, remove,
# evict, shift and attend, with up to three steps in flight, 20,000 steps over four page sizes and
# five types, and as many on the books alone, with readers in flight. `ci/cache_operations.sh STEPS`
# does another number.
. "$(dirname "$0")/lib.sh"

build_tree build

build/tests/unit/test_page_pool
CLATTN_TEST_STEPS="${1:-20000}" build/tests/device/test_kv_cache
