/* Every allocation fails once: the status says so, nothing crashes, and every block is freed. */
#include <stdatomic.h>
#include <stdbool.h>
#include <stdlib.h>

#include <criterion/criterion.h>

#include "faulty_opencl.h"
#include "scenario.h"
#include "tests/shortened.h"

enum { MANY_ALLOCATIONS = 20000 };

static atomic_long blocks;      /* that exist */
static atomic_uint allocations; /* asked for since the last set-up */
static uint32_t failing;        /* which one fails; 0: none */

static void *counting_realloc(void *user, void *pointer, size_t size)
{
    (void)user;
    if (size == 0) {
        if (pointer)
            atomic_fetch_sub(&blocks, 1);
        free(pointer);
        return NULL;
    }
    if (atomic_fetch_add(&allocations, 1) + 1 == failing)
        return NULL;
    void *const result = realloc(pointer, size);
    if (result && !pointer)
        atomic_fetch_add(&blocks, 1);
    return result;
}

static clattn_status run_with_failing(const clattn_context_options *options, uint32_t which)
{
    failing = which;
    atomic_store(&allocations, 0);
    const clattn_status status = scenario_run(options);
    cr_assert_eq(atomic_load(&blocks), 0, "%ld blocks are left after allocation %u failed: %s",
                 atomic_load(&blocks), which, scenario_message());
    return status;
}

/* Some allocations serve what the library can do without (the cache on disk), so success is
 * allowed; then scenario_run has found the results right. */
static void fail_each_allocation(bool cold)
{
    clattn_context_options options;
    scenario_begin(&options);
    options.realloc = counting_realloc;
    cr_assert_eq(run_with_failing(&options, 0), CLATTN_OK, "%s", scenario_message());
    uint32_t failures = 0;
    const uint32_t step = is_shortened() ? 3 : 1;
    for (uint32_t which = is_shortened() && cold ? 2 : 1; which <= MANY_ALLOCATIONS;
         which += step) {
        if (cold)
            scenario_forget_programs(&options);
        const clattn_status status = run_with_failing(&options, which);
        if (atomic_load(&allocations) < which)
            break;
        cr_assert(status == CLATTN_OK || status == CLATTN_ERR_OUT_OF_MEMORY,
                  "allocation %u failed, and the status is %s: %s", which,
                  clattn_status_string(status), scenario_message());
        failures += status != CLATTN_OK;
    }
    cr_assert(failures > 10, "only %u allocations mattered", failures);
    scenario_end(&options);
}

Test(fault_memory, each_allocation_with_an_empty_program_cache)
{
    fail_each_allocation(true);
}

Test(fault_memory, each_allocation_with_a_filled_program_cache)
{
    fail_each_allocation(false);
}
