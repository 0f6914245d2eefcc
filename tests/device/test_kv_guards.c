/* Pages that events in flight read: a lane that is held keeps them there. */
#include <clattn/layer.h>
#include <criterion/criterion.h>
#include <string.h>

#include "own_cl.h"

enum { PAGE = 4, PAGES = 8 };

static void good(clattn_status status)
{
    cr_assert_eq(status, CLATTN_OK, "%s", clattn_error_message());
}

static clattn_kv_cache *new_cache(clattn_context *context)
{
    clattn_kv_cache *cache;
    clattn_kv_cache_desc desc;
    clattn_kv_cache_desc_init(&desc);
    desc.layers = desc.n_kv_head = 1;
    desc.head_dim = desc.value_dim = 4;
    desc.page_size = PAGE;
    desc.pages = PAGES;
    good(clattn_kv_cache_create(context, &desc, &cache));
    return cache;
}

static void extend(clattn_kv_cache *cache, own_lane *lane, uint64_t id, int64_t tokens,
                   clattn_status wanted)
{
    cr_assert_eq(clattn_kv_cache_extend(cache, lane->dispatcher, &id, &tokens, 1), wanted, "%s",
                 clattn_error_message());
}

static void count(clattn_kv_cache *cache, int64_t free_pages, int64_t waiting, int64_t used)
{
    clattn_kv_cache_info info = {.struct_size = sizeof info};
    good(clattn_kv_cache_get_info(cache, &info));
    cr_assert(info.free_pages == free_pages && info.waiting_pages == waiting &&
                  info.used_pages == used,
              "%d free, %d waiting, %d used", (int)info.free_pages, (int)info.waiting_pages,
              (int)info.used_pages);
    cr_assert_eq(info.free_pages + info.waiting_pages + info.used_pages, info.pages);
}

/* An event that is done when the lane goes on. */
static clattn_event *in_flight(own_lane *lane)
{
    clattn_submission nothing;
    clattn_event *event;
    clattn_submission_init(&nothing);
    good(clattn_submit(lane->dispatcher, &nothing, &event));
    return event;
}

static int32_t page_of(clattn_kv_cache *cache, uint64_t id, int64_t index)
{
    int32_t pages[PAGES];
    good(clattn_kv_cache_tables(cache, &id, 1, PAGES, pages, NULL));
    return pages[index];
}

Test(kv_guards, freed_pages_wait)
{
    own_lane lane;
    const uint64_t one = 1;
    own_lane_open(&lane, 0);
    clattn_kv_cache *cache = new_cache(lane.context);
    good(clattn_kv_cache_add(cache, 1));
    good(clattn_kv_cache_add(cache, 2));
    extend(cache, &lane, 1, 5 * PAGE, CLATTN_OK);
    extend(cache, &lane, 2, 2 * PAGE, CLATTN_OK);
    own_lane_hold(&lane);
    clattn_event *event = in_flight(&lane);
    good(clattn_kv_cache_guard(cache, event, &one, 1));
    clattn_event_release(event); /* the cache has its own reference */
    count(cache, 1, 0, 7);
    good(clattn_kv_cache_remove(cache, 1));
    good(clattn_kv_cache_truncate(cache, 2, PAGE)); /* not guarded: free at once */
    count(cache, 2, 5, 1);
    extend(cache, &lane, 2, 2 * PAGE, CLATTN_OK);
    extend(cache, &lane, 2, 1, CLATTN_ERR_BUSY);
    extend(cache, &lane, 2, 5 * PAGE, CLATTN_ERR_BUSY);
    extend(cache, &lane, 2, 5 * PAGE + 1, CLATTN_ERR_OUT_OF_MEMORY);
    count(cache, 0, 5, 3);
    own_lane_go(&lane, CL_COMPLETE);
    good(clattn_dispatcher_finish(lane.dispatcher));
    extend(cache, &lane, 2, 5 * PAGE, CLATTN_OK);
    count(cache, 0, 0, 8);
    clattn_kv_cache_destroy(cache);
    own_lane_close(&lane);
}

/* Two events read a page; it is free when both are done. */
Test(kv_guards, the_last_event_counts)
{
    own_lane lane, other;
    own_lane_open(&lane, 0);
    own_lane_open(&other, 0);
    clattn_kv_cache *cache = new_cache(lane.context);
    good(clattn_kv_cache_add(cache, 1));
    extend(cache, &lane, 1, PAGE, CLATTN_OK);
    own_lane_hold(&lane);
    own_lane_hold(&other);
    clattn_event *first = in_flight(&lane), *foreign = in_flight(&other);
    cr_assert_eq(clattn_kv_cache_guard(cache, foreign, NULL, 0), CLATTN_ERR_ARGUMENT);
    good(clattn_kv_cache_guard(cache, first, NULL, 0));
    own_lane_go(&lane, CL_COMPLETE);
    clattn_event_wait(first, UINT64_MAX);
    own_lane_hold(&lane);
    clattn_event *second = in_flight(&lane);
    good(clattn_kv_cache_guard(cache, second, NULL, 0));
    good(clattn_kv_cache_remove(cache, 1));
    count(cache, PAGES - 1, 1, 0);
    own_lane_go(&lane, CL_COMPLETE);
    clattn_event_wait(second, UINT64_MAX);
    count(cache, PAGES, 0, 0);
    clattn_event_release(first);
    clattn_event_release(second);
    clattn_event_release(foreign);
    clattn_kv_cache_destroy(cache);
    own_lane_close(&lane);
    own_lane_close(&other);
}

/* A sequence that is read is removed; the fork that shared its last page doesn't write into it. */
Test(kv_guards, what_is_read_stays)
{
    own_lane lane;
    clattn_dispatcher *other;
    const uint64_t unknown = 7, id = 2;
    const int64_t token = 1;
    own_lane_open(&lane, 0);
    clattn_kv_cache *cache = new_cache(lane.context);
    good(clattn_kv_cache_add(cache, 1));
    extend(cache, &lane, 1, 3, CLATTN_OK);
    good(clattn_kv_cache_fork(cache, 2, 1, 1));
    const int32_t shared = page_of(cache, 1, 0);
    own_lane_hold(&lane);
    clattn_event *event = in_flight(&lane);
    cr_assert_eq(clattn_kv_cache_guard(cache, event, &unknown, 1), CLATTN_ERR_ARGUMENT);
    cr_assert_eq(clattn_kv_cache_guard(cache, NULL, NULL, 0), CLATTN_ERR_ARGUMENT);
    good(clattn_kv_cache_guard(cache, event, NULL, 0));
    good(clattn_kv_cache_remove(cache, 1));
    count(cache, PAGES - 1, 0, 1);
    good(clattn_dispatcher_create(lane.context, NULL, &other));
    cr_assert_eq(clattn_kv_cache_extend(cache, other, &id, &token, 1), CLATTN_OK);
    cr_assert_neq(page_of(cache, 2, 0), shared, "token 1 of it is read");
    count(cache, PAGES - 2, 1, 1);
    own_lane_go(&lane, CL_COMPLETE);
    clattn_event_wait(event, UINT64_MAX);
    clattn_event_release(event);
    count(cache, PAGES - 1, 0, 1);
    clattn_dispatcher_destroy(other);
    clattn_kv_cache_destroy(cache);
    own_lane_close(&lane);
}

/* The same when the event is done: nobody reads the page, and no copy is made. */
Test(kv_guards, what_was_read_may_be_written)
{
    own_lane lane;
    own_lane_open(&lane, 0);
    clattn_kv_cache *cache = new_cache(lane.context);
    good(clattn_kv_cache_add(cache, 1));
    extend(cache, &lane, 1, 3, CLATTN_OK);
    good(clattn_kv_cache_fork(cache, 2, 1, 1));
    const int32_t shared = page_of(cache, 1, 0);
    clattn_event *event = in_flight(&lane);
    good(clattn_kv_cache_guard(cache, event, NULL, 0));
    clattn_event_wait(event, UINT64_MAX);
    clattn_event_release(event);
    good(clattn_kv_cache_remove(cache, 1));
    extend(cache, &lane, 2, 1, CLATTN_OK);
    cr_assert_eq(page_of(cache, 2, 0), shared);
    clattn_kv_cache_destroy(cache);
    own_lane_close(&lane);
}
