/* Submissions of which single commands end badly begin again on another lane; so does what rests on
 * them, and what can't be done twice fails. Commands are held, so that nothing depends on time. */
#include <time.h>

#include <clattn/layer.h>

#include "dispatch_rig.h"
#include "failing_cl.h"

enum { LANES = 2, LONG = 1000, SEQUENCE = 5, MOST_TIME = 60 };

/* Two lanes, both held. */
typedef struct scene {
    heads h;
    clattn_dispatcher *dispatcher;
    uint32_t first; /* number of its first lane */
    uint32_t held;  /* bit i: lane i */
} scene;

static bool open_scene(scene *s, uint64_t launch_ns)
{
    clattn_dispatcher_options options;
    memset(s, 0, sizeof *s);
    if (!open_parts(&s->h, LANES))
        return false;
    clattn_dispatcher_options_init(&options);
    options.launch_ns = launch_ns;
    s->first = failing_cl_lanes();
    s->dispatcher = open_dispatcher(&s->h, &options);
    for (uint32_t i = 0; i < LANES; i++)
        failing_cl_hold(s->first + i);
    s->held = (1u << LANES) - 1;
    return true;
}

static void release_lane(scene *s, uint32_t lane)
{
    if (s->held >> lane & 1)
        failing_cl_release(s->first + lane);
    s->held &= ~(1u << lane);
}

static void release_all(scene *s)
{
    for (uint32_t i = 0; i < LANES; i++)
        release_lane(s, i);
}

static void close_scene(scene *s)
{
    release_all(s);
    clattn_dispatcher_destroy(s->dispatcher);
    close_heads(&s->h);
}

static uint64_t launches_of(const scene *s)
{
    const clattn_dispatcher_statistics made = statistics_of(s->dispatcher);
    return made.lane[0].launches + made.lane[1].launches;
}

/* Until `number` launches were made; what has ended meanwhile is seen. */
static void wait_for_launches(const scene *s, uint64_t number, clattn_event *event)
{
    const struct timespec pause = {.tv_nsec = 1000000};
    for (int i = 0; launches_of(s) < number; i++) {
        cr_assert(i < MOST_TIME * 1000, "only %d launches", (int)launches_of(s));
        (void)clattn_event_poll(event);
        nanosleep(&pause, NULL);
    }
}

/* How it ends, in time; gives it back. */
static clattn_status end_of(clattn_event *event)
{
    const clattn_status status = clattn_event_wait(event, (uint64_t)MOST_TIME * 1000000000);
    cr_assert(status != CLATTN_ERR_TIMEOUT, "it never ends");
    clattn_event_release(event);
    return status;
}

static clattn_submission waiting_for(clattn_event *const *event)
{
    clattn_submission submission;
    clattn_submission_init(&submission);
    submission.wait = event;
    submission.wait_count = 1;
    return submission;
}

/* A step of the head whose result goes into other memory. */
static clattn_event *submit_into(const scene *s, int head, clattn_buffer *out, uint64_t offset,
                                 const clattn_submission *like, uint64_t sequence)
{
    head_step of;
    clattn_event *event = NULL;
    const clattn_step step = step_of(&s->h, head, &of);
    clattn_submission submission;
    of.sequence = sequence;
    of.bindings[3].buffer = out;
    of.bindings[3].offset = offset;
    clattn_submission_init(&submission);
    if (like)
        submission = *like;
    submission.steps = &step;
    submission.step_count = 1;
    cr_assert_eq(clattn_submit(s->dispatcher, &submission, &event), CLATTN_OK, "%s",
                 clattn_error_message());
    return event;
}

/* ---- what rests on it ------------------------------------------------------------------------ */

/* The first result of the long submission, whose first query is what head 1 gives. */
static void read_long(const blocker *b, float found[DIM])
{
    const uint64_t out = 3 * (uint64_t)4 * 64 * LONG * sizeof(float);
    cr_assert_eq(clattn_buffer_read(b->memory, out, found, DIM * sizeof(float)), CLATTN_OK);
}

static void forget_query(const blocker *b)
{
    float nothing[DIM];
    memset(nothing, 0xff, sizeof nothing);
    cr_assert_eq(clattn_buffer_write(b->memory, 0, nothing, sizeof nothing), CLATTN_OK);
}

/* A long submission reads what a short one writes, and its first part was launched when that one
 * begins again. */
static void begin_again_in_parts(bool waits)
{
    scene s;
    blocker b = {0};
    float expected[DIM], found[DIM];
    if (!open_scene(&s, 1000000))
        cr_skip_test("the device can't be divided: %s", clattn_error_message());
    release_all(&s);
    block(&s.h, s.dispatcher, &b, LONG); /* for its memory */
    cr_assert_eq(end_of(b.event), CLATTN_OK);
    clattn_plan_destroy(b.plan);
    cr_assert_eq(end_of(submit_into(&s, 1, b.memory, 0, NULL, SEQUENCE)), CLATTN_OK);
    block_in(&s.h, s.dispatcher, &b, LONG, NULL, SEQUENCE);
    cr_assert_eq(end_of(b.event), CLATTN_OK);
    clattn_plan_destroy(b.plan);
    read_long(&b, expected);
    forget_query(&b);
    for (uint32_t i = 0; i < LANES; i++)
        failing_cl_hold(s.first + i);
    s.held = (1u << LANES) - 1;
    const uint64_t before = launches_of(&s);
    failing_cl_spoil(1);
    clattn_event *event = submit_into(&s, 1, b.memory, 0, NULL, waits ? 0 : SEQUENCE);
    const uint64_t own = launches_of(&s) - before;
    const clattn_submission like = waiting_for(&event);
    block_in(&s.h, s.dispatcher, &b, LONG, waits ? &like : NULL, waits ? 0 : SEQUENCE);
    wait_for_launches(&s, before + own + 1, b.event);
    cr_assert_eq(clattn_event_cancel(b.event), CLATTN_ERR_BUSY, "it should have begun");
    release_all(&s);
    cr_assert_eq(end_of(event), CLATTN_OK);
    cr_assert_eq(clattn_event_wait(b.event, UINT64_MAX), CLATTN_OK, "%s", clattn_error_message());
    read_long(&b, found);
    cr_assert_eq(memcmp(found, expected, sizeof found), 0, "%g instead of %g", (double)found[0],
                 (double)expected[0]);
    cr_assert_eq(statistics_of(s.dispatcher).moved, 2);
    cr_assert_eq(statistics_of(s.dispatcher).lost, 0);
    unblock(&b);
    close_scene(&s);
}

Test(dispatch_again, a_follower_that_has_begun_in_parts)
{
    begin_again_in_parts(false);
}

Test(dispatch_again, a_waiter_that_has_begun_in_parts)
{
    begin_again_in_parts(true);
}

/* What begins again on the lane of what waits for it is behind that there. */
Test(dispatch_again, behind_what_waits_for_it)
{
    scene s;
    if (!open_scene(&s, 0))
        cr_skip_test("the device can't be divided: %s", clattn_error_message());
    failing_cl_spoil(1);
    clattn_event *event = submit_head(&s.h, s.dispatcher, 1, NULL, 0);
    const uint32_t lane = lane_in_flight(s.dispatcher);
    const clattn_submission like = waiting_for(&event);
    clattn_event *waiter = submit_head(&s.h, s.dispatcher, 3, &like, 0);
    cr_assert(statistics_of(s.dispatcher).lane[1 - lane].in_flight, "it went to the same lane");
    const uint64_t before = launches_of(&s);
    release_lane(&s, lane);
    wait_for_launches(&s, before + 1, event);
    release_all(&s);
    cr_assert_eq(end_of(event), CLATTN_OK);
    cr_assert_eq(end_of(waiter), CLATTN_OK);
    cr_assert_eq(statistics_of(s.dispatcher).moved, 2);
    close_scene(&s);
}

/* ---- what can't be done twice ---------------------------------------------------------------- */

typedef enum relation { BEHIND, WAITS, OVER_ANOTHER } relation;

/* What comes after it has run, and has written over what it reads. */
static void overwrite(relation how)
{
    scene s;
    if (!open_scene(&s, 0))
        cr_skip_test("the device can't be divided: %s", clattn_error_message());
    failing_cl_spoil(1);
    const uint64_t sequence = how == BEHIND ? SEQUENCE : 0, row = DIM * sizeof(float);
    clattn_event *event = submit_head(&s.h, s.dispatcher, 1, NULL, sequence);
    clattn_submission like = waiting_for(&event);
    clattn_event *between =
        how == OVER_ANOTHER ? submit_head(&s.h, s.dispatcher, 3, &like, 0) : NULL;
    if (between)
        like.wait = &between;
    clattn_event *other = submit_into(&s, 2, s.h.q, row, how == BEHIND ? NULL : &like, sequence);
    clattn_event *nobody = submit_head(&s.h, s.dispatcher, 4, NULL, 0);
    release_all(&s);
    cr_assert_eq(end_of(event), CLATTN_ERR_DEVICE_LOST);
    if (between)
        cr_assert_eq(end_of(between), CLATTN_ERR_DEVICE_LOST);
    cr_assert_eq(end_of(other), CLATTN_ERR_DEVICE_LOST);
    cr_assert_eq(end_of(nobody), CLATTN_OK);
    cr_assert_eq(statistics_of(s.dispatcher).moved, 0);
    close_scene(&s);
}

Test(dispatch_again, a_follower_has_overwritten_what_it_reads)
{
    overwrite(BEHIND);
}

Test(dispatch_again, a_waiter_has_overwritten_what_it_reads)
{
    overwrite(WAITS);
}

Test(dispatch_again, what_waits_for_a_waiter_has_overwritten_what_it_reads)
{
    overwrite(OVER_ANOTHER);
}

/* What has no order with it is nothing to it, whatever it writes. */
Test(dispatch_again, a_stranger_overwrites_what_it_reads)
{
    scene s;
    if (!open_scene(&s, 0))
        cr_skip_test("the device can't be divided: %s", clattn_error_message());
    failing_cl_spoil(1);
    clattn_event *event = submit_head(&s.h, s.dispatcher, 1, NULL, SEQUENCE);
    clattn_event *other = submit_into(&s, 2, s.h.q, DIM * sizeof(float), NULL, SEQUENCE + 1);
    release_all(&s);
    cr_assert_eq(end_of(event), CLATTN_OK);
    cr_assert_eq(end_of(other), CLATTN_OK);
    cr_assert_eq(statistics_of(s.dispatcher).moved, 1);
    close_scene(&s);
}

/* ---- keys that are rotated where they are ---------------------------------------------------- */

enum { PAGE = 16, PAGES = 4, POSITIONS = 128 };

/* A submission that rotates keys, and attends to them. */
typedef struct shifted {
    clattn_plan *plan;
    clattn_buffer *keys, *angles;
    float before[PAGES * PAGE * DIM];
    int32_t pages[PAGES], position, length, shift;
} shifted;

static void open_shift(const heads *h, shifted *s)
{
    static float angles[POSITIONS * DIM];
    clattn_shift_desc desc;
    memset(s, 0, sizeof *s);
    clattn_shift_desc_init(&desc);
    desc.batch = desc.n_kv_head = 1;
    desc.n_kv = PAGES * PAGE;
    desc.head_dim = desc.rotary_dim = DIM;
    desc.n_positions = POSITIONS;
    desc.page_size = PAGE;
    desc.n_pages = desc.page_limit = PAGES;
    cr_assert_eq(clattn_plan_shift(h->context, &desc, &s->plan), CLATTN_OK, "%s",
                 clattn_error_message());
    cr_assert_eq(clattn_rotary_angles(POSITIONS, DIM, 10000, NULL, angles), CLATTN_OK);
    cr_assert_eq(clattn_buffer_create(h->context, sizeof angles, &s->angles), CLATTN_OK);
    cr_assert_eq(clattn_buffer_write(s->angles, 0, angles, sizeof angles), CLATTN_OK);
    cr_assert_eq(clattn_buffer_create(h->context, sizeof(float) * KEYS * DIM, &s->keys), CLATTN_OK);
    for (int i = 0; i < PAGES * PAGE * DIM; i++)
        s->before[i] = (float)(i % 17) / 17 - 0.5f;
    for (int i = 0; i < PAGES; i++)
        s->pages[i] = i;
    s->length = PAGES * PAGE;
    s->shift = -3;
}

static clattn_event *submit_shift(const heads *h, clattn_dispatcher *dispatcher, shifted *s)
{
    head_step of;
    clattn_event *event = NULL;
    clattn_submission submission;
    const clattn_binding bindings[] = {
        {.slot = CLATTN_SLOT_PRESENT_K, .buffer = s->keys},
        {.slot = CLATTN_SLOT_ANGLES, .buffer = s->angles},
        {.slot = CLATTN_SLOT_PAGES, .host = s->pages},
        {.slot = CLATTN_SLOT_POSITIONS, .host = &s->position},
        {.slot = CLATTN_SLOT_KV_LENGTHS, .host = &s->length},
        {.slot = CLATTN_SLOT_SHIFTS, .host = &s->shift},
    };
    clattn_step steps[2] = {{.plan = s->plan, .bindings = bindings, .binding_count = 6},
                            step_of(h, 8, &of)};
    of.sequence = 0;
    of.bindings[1].buffer = s->keys;
    of.bindings[1].offset = 0;
    cr_assert_eq(clattn_buffer_write(s->keys, 0, s->before, sizeof s->before), CLATTN_OK);
    clattn_submission_init(&submission);
    submission.steps = steps;
    submission.step_count = 2;
    cr_assert_eq(clattn_submit(dispatcher, &submission, &event), CLATTN_OK, "%s",
                 clattn_error_message());
    return event;
}

/* Once rotated they would be rotated once more: it fails, though its inputs are where they were. */
Test(dispatch_again, keys_that_were_rotated)
{
    scene s;
    shifted of;
    static float once[PAGES * PAGE * DIM], found[PAGES * PAGE * DIM];
    if (!open_scene(&s, 0))
        cr_skip_test("the device can't be divided: %s", clattn_error_message());
    open_shift(&s.h, &of);
    release_all(&s);
    cr_assert_eq(end_of(submit_shift(&s.h, s.dispatcher, &of)), CLATTN_OK);
    cr_assert_eq(clattn_buffer_read(of.keys, 0, once, sizeof once), CLATTN_OK);
    cr_assert(memcmp(once, of.before, sizeof once) != 0);
    failing_cl_spoil(2); /* the second launch is of the attention */
    cr_assert_eq(end_of(submit_shift(&s.h, s.dispatcher, &of)), CLATTN_ERR_DEVICE_LOST);
    cr_assert_eq(statistics_of(s.dispatcher).moved, 0);
    cr_assert_eq(clattn_buffer_read(of.keys, 0, found, sizeof found), CLATTN_OK);
    cr_assert_eq(memcmp(found, once, sizeof found), 0);
    clattn_plan_destroy(of.plan);
    cr_assert_eq(clattn_buffer_destroy(of.keys), CLATTN_OK);
    cr_assert_eq(clattn_buffer_destroy(of.angles), CLATTN_OK);
    close_scene(&s);
}

/* ---- what has begun -------------------------------------------------------------------------- */

/* It has run already, and has written what it writes: it can't be cancelled as if it had not. */
Test(dispatch_again, cancelling_what_has_begun_before)
{
    scene s;
    blocker b = {0};
    if (!open_scene(&s, 0))
        cr_skip_test("the device can't be divided: %s", clattn_error_message());
    block(&s.h, s.dispatcher, &b, LONG);
    const uint32_t busy = lane_in_flight(s.dispatcher);
    failing_cl_spoil(1);
    clattn_event *event = submit_head(&s.h, s.dispatcher, 1, NULL, 0);
    cr_assert(statistics_of(s.dispatcher).lane[1 - busy].in_flight, "it went to the busy lane");
    release_lane(&s, 1 - busy);
    for (int i = 0; statistics_of(s.dispatcher).moved == 0; i++) {
        cr_assert(i < 1000000, "it never begins again");
        cr_assert_eq(clattn_event_poll(event), CLATTN_PENDING);
    }
    cr_assert_eq(statistics_of(s.dispatcher).waiting, 1, "the busy lane has taken it");
    cr_assert_eq(clattn_event_cancel(event), CLATTN_ERR_BUSY);
    release_all(&s);
    cr_assert_eq(end_of(event), CLATTN_OK);
    unblock(&b);
    close_scene(&s);
}

/* ---- what doesn't get to a device ------------------------------------------------------------ */

/* Has the context forget what devices have of a buffer. */
static void write_again(clattn_buffer *buffer)
{
    const uint64_t size = clattn_buffer_size(buffer);
    void *all = malloc(size);
    cr_assert_not_null(all);
    cr_assert_eq(clattn_buffer_read(buffer, 0, all, size), CLATTN_OK);
    cr_assert_eq(clattn_buffer_write(buffer, 0, all, size), CLATTN_OK);
    free(all);
}

/* Two devices, or one of them, with memory of their own. */
static clattn_dispatcher *open_separate(heads *h, uint32_t lanes)
{
    clattn_context_options options;
    clattn_dispatcher_options own;
    failing_cl_options(&options);
    options.device = "0+0";
    failing_cl_separate(2 | 4);
    open_heads(h, &options);
    expect_heads(h);
    forget_outputs(h);
    write_again(h->q);
    write_again(h->k);
    write_again(h->v);
    clattn_dispatcher_options_init(&own);
    own.lanes = lanes;
    return open_dispatcher(h, &own);
}

/* Two submissions that read the same keys: the first one sends them to the device, and one of the
 * things that it sends doesn't arrive. Where there is another lane both go there; else the first
 * one fails, and the second one sends them again. */
static void lose_upload(uint32_t lanes, uint32_t which)
{
    heads h;
    float found[DIM];
    const uint64_t sequence = lanes > 1 ? SEQUENCE : 0; /* so that they are on one lane */
    const uint32_t first = failing_cl_lanes() + 2;      /* those of expect_heads are before */
    clattn_dispatcher *dispatcher = open_separate(&h, lanes);
    cr_assert_eq(failing_cl_lanes(), first + lanes);
    for (uint32_t i = 0; i < lanes; i++)
        failing_cl_hold(first + i);
    failing_cl_spoil_writes((uint64_t)1 << which);
    clattn_event *event = submit_head(&h, dispatcher, 1, NULL, sequence);
    clattn_event *other = submit_head(&h, dispatcher, 1, NULL, sequence);
    cr_assert_eq(statistics_of(dispatcher).waiting, 0, "the second should be in flight too");
    for (uint32_t i = 0; i < lanes; i++)
        failing_cl_release(first + i);
    const clattn_status ended = end_of(event),
                        expected = lanes > 1 ? CLATTN_OK : CLATTN_ERR_DEVICE_LOST;
    cr_assert_eq(ended, expected, "write %u: %s", which, clattn_status_string(ended));
    cr_assert_eq(end_of(other), CLATTN_OK, "write %u", which);
    cr_assert_eq(clattn_buffer_read(h.out, DIM * sizeof(float), found, sizeof found), CLATTN_OK);
    cr_assert_eq(memcmp(found, h.expected + DIM, sizeof found), 0, "write %u", which);
    clattn_dispatcher_destroy(dispatcher);
    close_heads(&h);
}

enum { SENT = 5 }; /* the table, Q, K, V and what is between the rows of OUT */

Test(dispatch_again, what_was_sent_has_not_arrived)
{
    for (uint32_t which = 0; which < SENT; which++)
        lose_upload(2, which);
}

Test(dispatch_again, what_was_sent_has_not_arrived_and_there_is_no_other_lane)
{
    for (uint32_t which = 0; which < SENT; which++)
        lose_upload(1, which);
}

#ifdef CLATTN_PLAIN_TESTS
int main(void)
{
    dispatch_again_a_follower_that_has_begun_in_parts();
    dispatch_again_a_waiter_that_has_begun_in_parts();
    dispatch_again_behind_what_waits_for_it();
    dispatch_again_a_follower_has_overwritten_what_it_reads();
    dispatch_again_a_waiter_has_overwritten_what_it_reads();
    dispatch_again_what_waits_for_a_waiter_has_overwritten_what_it_reads();
    dispatch_again_a_stranger_overwrites_what_it_reads();
    dispatch_again_keys_that_were_rotated();
    dispatch_again_cancelling_what_has_begun_before();
    dispatch_again_what_was_sent_has_not_arrived();
    dispatch_again_what_was_sent_has_not_arrived_and_there_is_no_other_lane();
    return 0;
}
#endif
