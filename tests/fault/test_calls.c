/* Every OpenCL call fails once: the status is an error with a sentence, or the result is right;
 * nothing crashes, nothing is left behind, and afterwards everything works again. */
#include <string.h>

#include <criterion/criterion.h>

#include "faulty_opencl.h"
#include "scenario.h"
#include "tests/shortened.h"

enum { MANY_CALLS = 5000, FAULT = CL_OUT_OF_RESOURCES };

static void check_outcome(const char *function, uint32_t call, outcome expected,
                          clattn_status status)
{
    cr_assert(expected == MAY_PASS || status != CLATTN_OK,
              "call %u of %s failed, and the status is success", call, function);
    cr_assert_neq(status, CLATTN_ERR_INTERNAL, "call %u of %s: %s", call, function,
                  scenario_message());
}

/* Each call; of many, with AddressSanitizer, every fifth. */
static uint32_t next_call(uint32_t call)
{
    return call + (is_shortened() && call > 10 ? 5 : 1);
}

static void fail_each_call(const char *function, outcome expected)
{
    clattn_context_options options;
    scenario_begin(&options);
    for (uint32_t call = 1; call <= MANY_CALLS; call = next_call(call)) {
        scenario_forget_programs(&options);
        faulty_set(function, call, FAULT);
        const clattn_status status = scenario_run(&options);
        if (!faulty_fired()) {
            cr_assert_eq(status, CLATTN_OK, "without a fault: %s", scenario_message());
            break;
        }
        check_outcome(function, call, expected, status);
    }
    cr_assert_not(faulty_fired());
    scenario_end(&options);
}

#define TEST_CALL(kind, expected, name, params, args)                                              \
    Test(fault_calls, name)                                                                        \
    {                                                                                              \
        fail_each_call(#name, expected);                                                           \
    }
FAULTY_CALLS(TEST_CALL)

Test(fault_calls, every_function_used_has_a_wrapper)
{
    clattn_context_options options;
    scenario_begin(&options);
    cr_assert_eq(scenario_run(&options), CLATTN_OK, "%s", scenario_message());
    cr_assert_null(faulty_unwrapped(), "no wrapper for %s", faulty_unwrapped());
    scenario_end(&options);
}

/* All calls of a function fail, not one: no endless retry, no way around that hides it. */
static void fail_all_calls(const char *function, outcome expected)
{
    clattn_context_options options;
    if (strcmp(function, "clEnqueueUnmapMemObject") == 0)
        return; /* what can never be unmapped can never be given back */
    scenario_begin(&options);
    faulty_set(function, 0, FAULT);
    const clattn_status status = scenario_run(&options);
    if (faulty_fired())
        check_outcome(function, 0, expected, status);
    scenario_end(&options);
}

#define FAIL_ALL(kind, expected, name, params, args) fail_all_calls(#name, expected);

Test(fault_calls, all_calls_of_a_function)
{
    FAULTY_CALLS(FAIL_ALL)
}

/* What a submission on a lost device says. */
static void expect_lost(clattn_context *context, clattn_dispatcher *dispatcher,
                        const clattn_submission *submission)
{
    clattn_event *event = NULL;
    cr_assert_eq(clattn_submit(dispatcher, submission, &event), CLATTN_OK, "%s",
                 clattn_error_message());
    faulty_lose_device();
    cr_assert_eq(clattn_event_wait(event, UINT64_MAX), CLATTN_ERR_DEVICE_LOST, "%s",
                 clattn_error_message());
    cr_assert_eq(clattn_event_poll(event), CLATTN_ERR_DEVICE_LOST);
    cr_assert_str_not_empty(clattn_event_message(event));
    cr_assert_neq(clattn_dispatcher_finish(dispatcher), CLATTN_OK);
    clattn_event_release(event);
    (void)context;
}

Test(fault_calls, a_lost_device_shows_on_the_event)
{
    float values[4] = {1, 2, 3, 4};
    clattn_context_options options;
    clattn_context *context = NULL;
    clattn_plan *plan = NULL;
    clattn_buffer *buffer = NULL;
    clattn_dispatcher *dispatcher = NULL;
    clattn_attention_desc desc;
    clattn_attention_desc_init(&desc);
    desc.batch = desc.n_head = desc.n_kv_head = desc.n_q = desc.n_kv = desc.head_dim = 1;
    desc.value_dim = 1;
    scenario_begin(&options);
    cr_assert_eq(clattn_context_create(&options, &context), CLATTN_OK);
    cr_assert_eq(clattn_plan_attention(context, &desc, &plan), CLATTN_OK);
    cr_assert_eq(clattn_buffer_create(context, sizeof values, &buffer), CLATTN_OK);
    cr_assert_eq(clattn_buffer_write(buffer, 0, values, sizeof values), CLATTN_OK);
    cr_assert_eq(clattn_dispatcher_create(context, NULL, &dispatcher), CLATTN_OK);
    const clattn_binding bindings[] = {{.slot = CLATTN_SLOT_Q, .buffer = buffer},
                                       {.slot = CLATTN_SLOT_K, .buffer = buffer, .offset = 4},
                                       {.slot = CLATTN_SLOT_V, .buffer = buffer, .offset = 8},
                                       {.slot = CLATTN_SLOT_OUT, .buffer = buffer, .offset = 12}};
    const clattn_step step = {.plan = plan, .bindings = bindings, .binding_count = 4};
    clattn_submission submission;
    clattn_submission_init(&submission);
    submission.steps = &step;
    submission.step_count = 1;
    expect_lost(context, dispatcher, &submission);
    faulty_clear();
    clattn_dispatcher_destroy(dispatcher);
    cr_expect_eq(clattn_buffer_destroy(buffer), CLATTN_OK);
    clattn_plan_destroy(plan);
    cr_expect_eq(clattn_context_destroy(context), CLATTN_OK, "%s", clattn_error_message());
    cr_expect_eq(faulty_live(NULL), 0);
    scenario_end(&options);
}
