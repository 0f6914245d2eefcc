/* Pages that events in flight read: a lane that is held keeps them there. */
#include <clattn/layer.h>
#include <criterion/criterion.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

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

/* ---- waiting for what is in flight ----------------------------------------------------------- */

typedef struct waiter {
    clattn_kv_cache *cache;
    own_lane *lane;
    atomic_bool asked;
    const char *path; /* NULL: extends sequence 2, else loads sequence 3 */
} waiter;

static void *wait_for_lane(void *of)
{
    waiter *w = of;
    if (w->path)
        good(clattn_kv_cache_load(w->cache, w->lane->dispatcher, 3, w->path));
    else
        extend(w->cache, w->lane, 2, 1, CLATTN_OK);
    return NULL;
}

static void *ask(void *of)
{
    waiter *w = of;
    int64_t length;
    good(clattn_kv_cache_length(w->cache, 1, &length));
    w->asked = true;
    return NULL;
}

static void pause_for(long milliseconds)
{
    const struct timespec time = {0, milliseconds * 1000000};
    nanosleep(&time, NULL);
}

/* While one thread waits for the lane, another one asks. */
static void ask_meanwhile(waiter *w)
{
    pthread_t waiting, asking;
    w->asked = false;
    own_lane_hold(w->lane);
    cr_assert_eq(pthread_create(&waiting, NULL, wait_for_lane, w), 0);
    pause_for(200);
    cr_assert_eq(pthread_create(&asking, NULL, ask, w), 0);
    for (int i = 0; i < 1000 && !w->asked; i++)
        pause_for(10);
    const bool asked = w->asked;
    own_lane_go(w->lane, CL_COMPLETE);
    pthread_join(waiting, NULL);
    pthread_join(asking, NULL);
    cr_assert(asked, "the cache is locked");
}

/* Copying a shared page and loading wait for the dispatcher, whose callbacks may need the cache. */
Test(kv_guards, who_waits_locks_nobody_out, .timeout = 60)
{
    own_lane lane;
    char path[] = "/tmp/clattn-kv-XXXXXX";
    own_lane_open(&lane, 0);
    waiter w = {.cache = new_cache(lane.context), .lane = &lane};
    const int file = mkstemp(path);
    cr_assert(file >= 0 && close(file) == 0);
    good(clattn_kv_cache_add(w.cache, 1));
    extend(w.cache, &lane, 1, 3, CLATTN_OK);
    good(clattn_kv_cache_save(w.cache, 1, path));
    good(clattn_kv_cache_fork(w.cache, 2, 1, 1));
    ask_meanwhile(&w);
    w.path = path;
    ask_meanwhile(&w);
    unlink(path);
    clattn_kv_cache_destroy(w.cache);
    own_lane_close(&lane);
}
