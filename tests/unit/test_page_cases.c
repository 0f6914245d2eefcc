/* The bookkeeping of key/value caches in single cases: what is refused, and how many pages become
 * one sequence's alone when windows move. */
#include <criterion/criterion.h>

#include "layer/page_pool.h"

enum { SIZE = 4 };

static clattn__env env;
static clattn__page_pool pool;

static void good(clattn_status status)
{
    cr_assert_eq(status, CLATTN_OK, "%s", clattn__message());
}

static void set_up(int32_t pages)
{
    good(clattn__env_init(&env, NULL));
    good(clattn__page_pool_init(&pool, &env, SIZE, pages));
}

static void tear_down(void)
{
    clattn__page_pool_finish(&pool);
    clattn__env_finish(&env);
}

/* A sequence of so many tokens. */
static void make(uint64_t id, int64_t tokens)
{
    clattn__page_copy copy;
    uint32_t copied;
    good(clattn__page_pool_add(&pool, id));
    good(clattn__page_pool_extend(&pool, &id, &tokens, 1, &copy, &copied));
}

Test(page_cases, extensions)
{
    static const uint64_t twice[] = {7, 7};
    static const int64_t one[] = {1, 1}, less[] = {-1}, many[] = {INT64_MAX};
    clattn__page_copy copies[2];
    uint32_t copied;
    set_up(8);
    good(clattn__page_pool_add(&pool, 7));
    cr_assert_eq(clattn__page_pool_extend(&pool, twice, one, 2, copies, &copied),
                 CLATTN_ERR_ARGUMENT);
    cr_assert_eq(clattn__page_pool_extend(&pool, twice, less, 1, copies, &copied),
                 CLATTN_ERR_ARGUMENT);
    cr_assert_eq(clattn__page_pool_extend(&pool, twice, many, 1, copies, &copied),
                 CLATTN_ERR_ARGUMENT);
    cr_assert_null(clattn__page_pool_find(&pool, 8));
    cr_assert_eq(pool.free_count, 8);
    tear_down();
}

/* Two sequences share all; the first gets copies of its window, the last keeps what is left. */
Test(page_cases, the_last_one_keeps_its_pages)
{
    static const uint64_t both[] = {1, 2};
    const clattn__page_window window = {both, 2, 0, 9};
    clattn__page_copy copies[3];
    uint32_t shared;
    set_up(8);
    make(1, 18); /* 5 pages, of which 3 are the window's */
    good(clattn__page_pool_fork(&pool, 2, 1, 18));
    good(clattn__page_pool_count_shared(&pool, &window, &shared));
    cr_assert(shared == 3 && pool.free_count == 3);
    clattn__page_pool_own(&pool, &window, copies);
    cr_assert_eq(pool.free_count, 0);
    good(clattn__page_pool_count_shared(&pool, &window, &shared));
    cr_assert_eq(shared, 0);
    tear_down();
}

/* A page that an event reads for one that has left it is copied, for both. */
Test(page_cases, what_is_read_is_copied)
{
    static const uint64_t ids[] = {1, 2};
    const clattn__page_window window = {ids, 1, 0, 4};
    clattn__page_hold hold = {0};
    clattn__page_copy copies[2];
    uint32_t shared;
    set_up(8);
    make(1, 12);
    good(clattn__page_pool_hold(&pool, ids, 1, &hold));
    good(clattn__page_pool_count_shared(&pool, &window, &shared));
    cr_assert_eq(shared, 0, "its own submissions have an order");
    good(clattn__page_pool_fork(&pool, 2, 1, 12));
    good(clattn__page_pool_remove(&pool, 2));
    good(clattn__page_pool_count_shared(&pool, &window, &shared));
    cr_assert_eq(shared, 1);
    clattn__page_pool_own(&pool, &window, copies);
    cr_assert_eq(pool.waiting_count, 1);
    clattn__page_pool_disown(&pool, &window, copies, 1);
    cr_assert(pool.waiting_count == 0 && pool.sequence[0].page[2] == copies[0].from);
    clattn__page_pool_let_go(&pool, &hold);
    good(clattn__page_pool_count_shared(&pool, &window, &shared));
    cr_assert_eq(shared, 0);
    clattn__free(&env, hold.page);
    tear_down();
}

Test(page_cases, windows)
{
    static const uint64_t ids[] = {1, 9}, twice[] = {1, 1};
    static const struct {
        clattn__page_window window;
        clattn_status status;
        uint32_t shared;
    } rows[] = {
        {{ids, 1, 0, 12}, CLATTN_OK, 0}, /* nothing goes */
        {{ids, 1, 12, 0}, CLATTN_OK, 0}, /* all are sinks */
        {{ids, 1, 1, 3}, CLATTN_OK, 1},  /* one page goes, one stays */
        {{ids, 1, 0, 0}, CLATTN_OK, 0},  /* all go */
        {{ids, 1, 0, 8}, CLATTN_OK, 2},  /* the first goes, two stay */
        {{ids, 0, 0, 8}, CLATTN_OK, 0},  /* of nobody */
        {{ids, 2, 0, 8}, CLATTN_ERR_ARGUMENT, 0},
        {{twice, 2, 0, 8}, CLATTN_ERR_ARGUMENT, 0},
        {{ids, 1, -1, 8}, CLATTN_ERR_ARGUMENT, 0},
        {{ids, 1, 0, (int64_t)1 << 31}, CLATTN_ERR_ARGUMENT, 0},
    };
    set_up(5);
    make(1, 12);
    good(clattn__page_pool_fork(&pool, 2, 1, 12));
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        uint32_t shared = 0;
        cr_expect_eq(clattn__page_pool_count_shared(&pool, &rows[i].window, &shared),
                     rows[i].status, "row %d", (int)i);
        cr_expect_eq(shared, rows[i].shared, "row %d: %d", (int)i, (int)shared);
    }
    make(3, 4); /* one page is left, two are needed */
    uint32_t shared;
    cr_expect_eq(clattn__page_pool_count_shared(&pool, &rows[4].window, &shared),
                 CLATTN_ERR_OUT_OF_MEMORY);
    tear_down();
}
