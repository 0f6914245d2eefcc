/* Long launches on devices whose drivers may end them: they become several, with the same results.
 * A device that claims to be a GPU, and slow, stands for these. */
#include <time.h>

#include "dispatch_rig.h"
#include "failing_cl.h"

enum { LENGTH = 192, BLOCK_HEADS = 4, BLOCK_DIM = 64, LESSONS = 60 };
#define ELEMENTS ((size_t)BLOCK_HEADS * LENGTH * BLOCK_DIM)

/* `longer`: see failing_cl_claim_gpu. Of the kernel that suits any device, so that results can be
 * compared. */
static void open_device(heads *h, uint32_t longer)
{
    clattn_context_options options;
    failing_cl_options(&options);
    options.kernel = "attention_reference";
    failing_cl_claim_gpu(longer);
    failing_cl_units(2); /* parts are of as many items at least */
    open_heads(h, &options);
}

/* How many launches a long submission has become, and its result (ELEMENTS). */
static uint32_t end_of(blocker *b, float *result)
{
    clattn_event_profile profile = {.struct_size = sizeof profile};
    cr_assert_eq(clattn_event_wait(b->event, UINT64_MAX), CLATTN_OK, "%s", clattn_error_message());
    cr_assert_eq(clattn_event_get_profile(b->event, &profile), CLATTN_OK);
    cr_assert_eq(clattn_buffer_read(b->memory, 3 * ELEMENTS * sizeof(float), result,
                                    ELEMENTS * sizeof(float)),
                 CLATTN_OK);
    unblock(b);
    return profile.launches;
}

/* The same of one that is alone on a dispatcher. Each launch is sent on its way by itself, or
 * drivers may make one of several again. */
static uint32_t launches_of(heads *h, clattn_dispatcher *dispatcher, float *result)
{
    blocker b = {0};
    const uint32_t before = failing_cl_flushes();
    block(h, dispatcher, &b, LENGTH);
    const uint32_t flushes = failing_cl_flushes() - before;
    const uint32_t launches = end_of(&b, result);
    cr_assert(flushes >= launches, "%u launches, flushed %u times", launches, flushes);
    return launches;
}

/* Short submissions, one after the other, by which the lane learns how slow it is. */
static void teach(heads *h, clattn_dispatcher *dispatcher)
{
    for (int i = 0; i < LESSONS; i++) {
        clattn_event *event = submit_head(h, dispatcher, 1, NULL, 0);
        cr_assert_eq(clattn_event_wait(event, UINT64_MAX), CLATTN_OK, "%s", clattn_error_message());
        clattn_event_release(event);
    }
}

/* `options` of the dispatcher; NULL: the defaults. */
static uint32_t launches_on(uint32_t longer, const clattn_dispatcher_options *options,
                            float *result)
{
    heads h;
    open_device(&h, longer);
    clattn_dispatcher *dispatcher = open_dispatcher(&h, options);
    if (longer > 1)
        teach(&h, dispatcher);
    const uint32_t launches = launches_of(&h, dispatcher, result);
    clattn_dispatcher_destroy(dispatcher);
    close_heads(&h);
    return launches;
}

Test(dispatch_ceiling, long_launches_are_several)
{
    static float whole[ELEMENTS], found[ELEMENTS];
    clattn_dispatcher_options options;
    cr_assert_eq(launches_on(0, NULL, whole), 1, "nobody ends launches on CPUs");
    cr_assert_eq(launches_on(1, NULL, found), 1, "short ones are whole");
    cr_assert_eq(memcmp(found, whole, sizeof whole), 0);
    const uint32_t several = launches_on(100000, NULL, found);
    cr_assert(several > 2, "%u launches", several);
    cr_assert_eq(memcmp(found, whole, sizeof whole), 0, "results differ");
    clattn_dispatcher_options_init(&options);
    options.direct = 1;
    const uint32_t direct = launches_on(100000, &options, found);
    cr_assert(direct > 2, "%u launches", direct);
    cr_assert_eq(memcmp(found, whole, sizeof whole), 0, "results differ");
    clattn_dispatcher_options_init(&options);
    options.launch_ns = UINT64_MAX;
    cr_assert_eq(launches_on(100000, &options, found), 1, "without bound");
}

/* A crowd ends while the first part of a long submission is in flight: what is left of it goes
 * without waiting for others, and still as several. */
Test(dispatch_ceiling, what_began_in_parts)
{
    static float whole[ELEMENTS], found[ELEMENTS];
    const struct timespec crowd = {.tv_nsec = 250000000}; /* and more */
    heads h;
    blocker b = {0};
    clattn_submission nothing;
    launches_on(0, NULL, whole);
    open_device(&h, 100000);
    clattn_dispatcher *dispatcher = open_dispatcher(&h, NULL);
    teach(&h, dispatcher);
    clattn_submission_init(&nothing);
    const uint32_t lane = failing_cl_lanes() - 1;
    failing_cl_hold(lane);
    cr_assert_eq(clattn_submit(dispatcher, &nothing, NULL), CLATTN_OK);
    block(&h, dispatcher, &b, LENGTH);
    cr_assert_eq(statistics_of(dispatcher).waiting, 1, "it has gone whole");
    nanosleep(&crowd, NULL);
    failing_cl_release(lane);
    const uint32_t launches = end_of(&b, found);
    cr_assert(launches > 2, "%u launches", launches);
    cr_assert_eq(memcmp(found, whole, sizeof whole), 0, "results differ");
    clattn_dispatcher_destroy(dispatcher);
    close_heads(&h);
}

/* Steps that could share a launch share none that would take too long. */
Test(dispatch_ceiling, shared_launches)
{
    static const uint32_t longer[] = {0, 100000};
    for (int i = 0; i < 2; i++) {
        heads h;
        head_step of[HEADS];
        clattn_step steps[HEADS];
        clattn_submission submission;
        open_device(&h, longer[i]);
        expect_heads(&h);
        forget_outputs(&h);
        clattn_dispatcher *dispatcher = open_dispatcher(&h, NULL);
        teach(&h, dispatcher);
        memset(of, 0, sizeof of);
        for (int head = 0; head < HEADS; head++)
            steps[head] = step_of(&h, head, &of[head]);
        clattn_submission_init(&submission);
        submission.steps = steps;
        submission.step_count = HEADS;
        const uint64_t before = statistics_of(dispatcher).lane[0].launches;
        cr_assert_eq(clattn_submit(dispatcher, &submission, NULL), CLATTN_OK);
        cr_assert_eq(clattn_dispatcher_finish(dispatcher), CLATTN_OK);
        const uint64_t launches = statistics_of(dispatcher).lane[0].launches - before;
        cr_assert_eq(launches > 3, i == 1, "%d launches", (int)launches);
        check_heads(&h);
        clattn_dispatcher_destroy(dispatcher);
        close_heads(&h);
    }
}

/* How many launches a call makes of attention of this many tokens. */
static uint32_t launches_of_call(clattn_context *context, int64_t tokens)
{
    static float q[ELEMENTS], out[ELEMENTS];
    clattn_attention_desc desc;
    clattn_attention_desc_init(&desc);
    desc.batch = 1;
    desc.n_head = desc.n_kv_head = BLOCK_HEADS;
    desc.n_q = desc.n_kv = tokens;
    desc.head_dim = desc.value_dim = BLOCK_DIM;
    failing_cl_refuse(0);
    cr_assert_eq(clattn_attention(context, &desc, q, q, q, out), CLATTN_OK, "%s",
                 clattn_error_message());
    return failing_cl_asked();
}

/* The one-call form has the same bound. */
Test(dispatch_ceiling, one_call)
{
    heads h;
    open_device(&h, 100000);
    launches_of_call(h.context, LENGTH); /* compiles */
    cr_assert_eq(launches_of_call(h.context, LENGTH), 1, "nobody knows yet how slow it is");
    for (int i = 0; i < LESSONS; i++)
        launches_of_call(h.context, 8);
    const uint32_t several = launches_of_call(h.context, LENGTH);
    cr_assert(several > 2, "%u launches", several);
    close_heads(&h);
}
