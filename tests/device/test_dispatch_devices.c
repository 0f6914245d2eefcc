/* Contexts of several devices: the first device twice stands for two, which share memory with the
 * host or claim to have their own; ci/devices.sh takes real platforms. Results have the same bits
 * as on one device of the kind. */
#include "dispatch_rig.h"
#include "failing_cl.h"

/* Which devices have memory of their own: bits for failing_cl_separate. */
enum { NONE = 0, FIRST = 2, SECOND = 4, BOTH = FIRST | SECOND };

static void open_with(heads *h, uint32_t separate, uint32_t flags)
{
    clattn_context_options options;
    failing_cl_options(&options);
    options.device = "0+0";
    options.flags = flags;
    failing_cl_separate(separate);
    open_heads(h, &options);
    cr_assert_eq(clattn_context_device_count(h->context), 2);
}

static void open_two(heads *h, uint32_t separate)
{
    open_with(h, separate, 0);
}

/* What a context of the first device alone makes of every head. */
static void expect_alone(heads *h)
{
    heads alone;
    clattn_context_options options;
    clattn_context_options_init(&options);
    options.device = "0";
    open_heads(&alone, &options);
    expect_heads(&alone);
    h->expected = alone.expected;
    alone.expected = NULL;
    close_heads(&alone);
}

/* ---- contexts -------------------------------------------------------------------------------- */

Test(dispatch_devices, contexts)
{
    clattn_context_options options;
    clattn_context *context = NULL;
    clattn_device_info one = {.struct_size = sizeof one}, other = one;
    clattn_context_options_init(&options);
    options.device = "0+0+0";
    cr_assert_eq(clattn_context_create(&options, &context), CLATTN_OK, "%s",
                 clattn_error_message());
    cr_assert_eq(clattn_context_device_count(context), 3);
    cr_assert_eq(clattn_context_device_count(NULL), 0);
    cr_assert_eq(clattn_context_get_device(context, 0, &one), CLATTN_OK);
    cr_assert_eq(clattn_context_get_device(context, 2, &other), CLATTN_OK);
    cr_assert_str_eq(one.name, other.name);
    cr_assert_eq(clattn_context_get_device(context, 3, &one), CLATTN_ERR_ARGUMENT);
    cr_assert(strstr(clattn_error_message(), "3 devices"), "%s", clattn_error_message());
    cr_assert_eq(clattn_context_destroy(context), CLATTN_OK);
    options.device = "0+nothing of the kind";
    cr_assert_eq(clattn_context_create(&options, &context), CLATTN_ERR_NO_DEVICE);
    options.device = "0+0";
    options.parts = 2;
    cr_assert_eq(clattn_context_create(&options, &context), CLATTN_ERR_UNSUPPORTED);
    cr_assert(strstr(clattn_error_message(), "parts"), "%s", clattn_error_message());
}

/* Units that don't divide are given to the first parts; a driver that doesn't divide by counts is
 * asked for equal parts. */
Test(dispatch_devices, parts_of_all_units)
{
    static const struct {
        uint32_t units, parts, expected[4];
    } table[] = {{3, 2, {2, 1, 0}}, {7, 3, {3, 2, 2, 0}}, {4, 2, {2, 2, 0}}};
    clattn_context_options options;
    failing_cl_options(&options);
    options.device = "0";
    for (size_t i = 0; i < sizeof table / sizeof table[0]; i++) {
        clattn_context *context = NULL;
        failing_cl_units(table[i].units);
        options.parts = table[i].parts;
        if (clattn_context_create(&options, &context) == CLATTN_OK)
            cr_assert_eq(clattn_context_destroy(context), CLATTN_OK);
        for (uint32_t part = 0; part <= table[i].parts; part++)
            cr_assert_eq(failing_cl_part(part), table[i].expected[part], "%u units, part %u",
                         table[i].units, part);
    }
}

/* ---- memory ---------------------------------------------------------------------------------- */

/* Written, read and mapped, whoever has it. */
static void use_buffer(uint32_t separate)
{
    heads h;
    clattn_buffer *buffer = NULL;
    unsigned char in[5000], out[5000];
    void *mapped = NULL;
    open_two(&h, separate);
    for (size_t i = 0; i < sizeof in; i++)
        in[i] = (unsigned char)(i * 7 + 1);
    cr_assert_eq(clattn_buffer_create(h.context, sizeof in + 3, &buffer), CLATTN_OK);
    cr_assert_eq(clattn_buffer_write(buffer, 3, in, sizeof in), CLATTN_OK);
    cr_assert_eq(clattn_buffer_read(buffer, 3, out, sizeof out), CLATTN_OK);
    cr_assert_eq(memcmp(in, out, sizeof in), 0);
    cr_assert_eq(clattn_buffer_map(buffer, &mapped), CLATTN_OK);
    cr_assert_eq(memcmp((unsigned char *)mapped + 3, in, sizeof in), 0);
    ((unsigned char *)mapped)[3] = 99;
    cr_assert_eq(clattn_buffer_unmap(buffer), CLATTN_OK);
    cr_assert_eq(clattn_buffer_read(buffer, 3, out, 1), CLATTN_OK);
    cr_assert_eq(out[0], 99);
    cr_assert_eq(clattn_buffer_destroy(buffer), CLATTN_OK);
    void *pages = aligned_alloc(4096, 8192);
    cr_assert_not_null(pages);
    const clattn_status wrapped = clattn_buffer_wrap_host(h.context, pages, 8192, &buffer);
    cr_assert_eq(wrapped, separate ? CLATTN_ERR_UNSUPPORTED : CLATTN_OK, "%s",
                 clattn_error_message());
    if (wrapped == CLATTN_OK)
        cr_assert_eq(clattn_buffer_destroy(buffer), CLATTN_OK);
    free(pages);
    close_heads(&h);
}

Test(dispatch_devices, buffers)
{
    use_buffer(NONE);
    use_buffer(SECOND);
    use_buffer(BOTH);
}

/* Keys and values go to a device with its own memory once, and again where they were changed. */
Test(dispatch_devices, what_is_moved)
{
    heads h;
    clattn_dispatcher_options options;
    const uint64_t row = DIM * sizeof(float), keys = row * KEYS, all = 2 * row + 2 * keys;
    float zero[DIM] = {0};
    open_two(&h, FIRST);
    clattn_dispatcher_options_init(&options);
    options.lanes = 1; /* the first device's */
    clattn_dispatcher *dispatcher = open_dispatcher(&h, &options);
    const uint64_t moved[] = {all + row, row, 2 * row};
    uint64_t before = 0;
    for (int i = 0; i < 3; i++) {
        if (i == 2)
            cr_assert_eq(clattn_buffer_write(h.q, row, zero, sizeof zero), CLATTN_OK);
        clattn_event *event = submit_head(&h, dispatcher, 1, NULL, 0);
        cr_assert_eq(clattn_event_wait(event, UINT64_MAX), CLATTN_OK);
        clattn_event_release(event);
        const uint64_t now = statistics_of(dispatcher).bytes_moved;
        cr_assert_eq(now - before, moved[i], "time %d: %d bytes", i, (int)(now - before));
        before = now;
    }
    clattn_dispatcher_destroy(dispatcher);
    close_heads(&h);
}

/* ---- work ------------------------------------------------------------------------------------ */

/* Chains of submissions over all lanes: each reads what the one before has written, ordered by wait
 * lists in odd chains, by sequences in even ones. */
enum { CHAINS = 16, LINKS = 6 };

typedef struct chains {
    clattn_buffer *state; /* (LINKS + 1, CHAINS, DIM) */
    clattn_event *event[CHAINS][LINKS];
} chains;

static void submit_link(const heads *h, clattn_dispatcher *dispatcher, chains *c, int chain,
                        int link)
{
    const uint64_t row = DIM * sizeof(float);
    head_step of;
    clattn_submission submission;
    clattn_step step = step_of(h, 1 + (chain + link) % 2 * 2, &of);
    of.sequence = chain % 2 ? 0 : 50 + (uint64_t)chain;
    of.bindings[0].buffer = of.bindings[3].buffer = c->state;
    of.bindings[0].offset = ((uint64_t)link * CHAINS + (uint64_t)chain) * row;
    of.bindings[3].offset = ((uint64_t)(link + 1) * CHAINS + (uint64_t)chain) * row;
    clattn_submission_init(&submission);
    submission.steps = &step;
    submission.step_count = 1;
    if (chain % 2 && link) {
        submission.wait = &c->event[chain][link - 1];
        submission.wait_count = 1;
    }
    cr_assert_eq(clattn_submit(dispatcher, &submission, &c->event[chain][link]), CLATTN_OK, "%s",
                 clattn_error_message());
}

/* The last states into `result` (CHAINS, DIM). */
static void run_chains(const heads *h, clattn_dispatcher *dispatcher, float *result)
{
    chains c;
    const size_t rows = (LINKS + 1) * CHAINS, size = rows * DIM * sizeof(float);
    float *state = malloc(size);
    cr_assert_not_null(state);
    for (size_t i = 0; i < rows * DIM; i++)
        state[i] = i < CHAINS * DIM ? (float)(i % 13) / 13 - 0.5f : 0.0f / 0.0f;
    cr_assert_eq(clattn_buffer_create(h->context, size, &c.state), CLATTN_OK);
    cr_assert_eq(clattn_buffer_write(c.state, 0, state, size), CLATTN_OK);
    for (int link = 0; link < LINKS; link++)
        for (int chain = 0; chain < CHAINS; chain++)
            submit_link(h, dispatcher, &c, chain, link);
    cr_assert_eq(clattn_dispatcher_finish(dispatcher), CLATTN_OK, "%s", clattn_error_message());
    cr_assert_eq(clattn_buffer_read(c.state, 0, state, size), CLATTN_OK);
    memcpy(result, state + (size_t)LINKS * CHAINS * DIM, CHAINS * DIM * sizeof(float));
    for (int chain = 0; chain < CHAINS; chain++)
        for (int link = 0; link < LINKS; link++)
            clattn_event_release(c.event[chain][link]);
    cr_assert_eq(clattn_buffer_destroy(c.state), CLATTN_OK);
    free(state);
}

static void chains_alone(float *result)
{
    heads h;
    clattn_context_options options;
    clattn_dispatcher_options direct;
    clattn_context_options_init(&options);
    clattn_dispatcher_options_init(&direct);
    options.device = "0";
    direct.direct = 1;
    open_heads(&h, &options);
    clattn_dispatcher *dispatcher = open_dispatcher(&h, &direct);
    run_chains(&h, dispatcher, result);
    clattn_dispatcher_destroy(dispatcher);
    close_heads(&h);
}

static void compare_chains(uint32_t separate, int lose)
{
    static float alone[CHAINS * DIM], found[CHAINS * DIM];
    heads h;
    open_two(&h, separate);
    chains_alone(alone);
    const uint32_t first = failing_cl_lanes();
    clattn_dispatcher *dispatcher = open_dispatcher(&h, NULL);
    if (lose >= 0)
        failing_cl_lose(first + (uint32_t)lose, FAILING_CL_ENDS_BADLY);
    for (int i = 0; i < 4; i++) {
        run_chains(&h, dispatcher, found);
        cr_assert_eq(memcmp(found, alone, sizeof found), 0, "separate %u, time %d", separate, i);
    }
    const clattn_dispatcher_statistics made = statistics_of(dispatcher);
    cr_assert_eq(made.lanes, 2);
    cr_assert_eq(made.failed, 0);
    cr_assert_eq(made.lost, lose >= 0 ? (uint64_t)1 << lose : 0);
    cr_assert(lose >= 0 || (made.lane[0].submissions && made.lane[1].submissions),
              "a lane had nothing to do");
    if (lose < 0)
        cr_assert_eq(made.bytes_moved > 0, separate != NONE);
    clattn_dispatcher_destroy(dispatcher);
    close_heads(&h);
}

Test(dispatch_devices, lanes_that_share_memory)
{
    compare_chains(NONE, -1);
}

Test(dispatch_devices, a_lane_with_memory_of_its_own)
{
    compare_chains(SECOND, -1);
}

Test(dispatch_devices, all_lanes_with_memory_of_their_own)
{
    compare_chains(BOTH, -1);
}

Test(dispatch_devices, a_device_is_lost)
{
    compare_chains(NONE, 1);
    compare_chains(SECOND, 1);
    compare_chains(BOTH, 0);
}

/* Submissions that write between each other's rows, on devices of which one copies whole spans. */
Test(dispatch_devices, rows_that_interleave)
{
    enum { N = 8, ROUNDS = 6 };
    heads h;
    clattn_plan *plan = NULL;
    clattn_buffer *out = NULL;
    clattn_attention_desc desc;
    static float found[N * N * DIM], alone[DIM];
    open_two(&h, SECOND);
    expect_alone(&h);
    clattn_attention_desc_init(&desc);
    desc.batch = desc.n_head = desc.n_kv_head = 1;
    desc.n_q = N;
    desc.n_kv = 5;
    desc.head_dim = desc.value_dim = DIM;
    desc.tensor[CLATTN_SLOT_OUT].strided = 1;
    desc.tensor[CLATTN_SLOT_OUT].stride[3] = 1;
    desc.tensor[CLATTN_SLOT_OUT].stride[2] = N * DIM; /* between the rows are those of others */
    desc.tensor[CLATTN_SLOT_OUT].stride[1] = desc.tensor[CLATTN_SLOT_OUT].stride[0] = DIM;
    cr_assert_eq(clattn_plan_attention(h.context, &desc, &plan), CLATTN_OK, "%s",
                 clattn_error_message());
    cr_assert_eq(clattn_buffer_create(h.context, sizeof found, &out), CLATTN_OK);
    clattn_dispatcher *dispatcher = open_dispatcher(&h, NULL);
    for (int round = 0; round < ROUNDS; round++) {
        memset(found, 0xff, sizeof found);
        cr_assert_eq(clattn_buffer_write(out, 0, found, sizeof found), CLATTN_OK);
        for (uint64_t i = 0; i < N; i++) {
            const clattn_binding bindings[] = {
                {.slot = CLATTN_SLOT_Q, .buffer = h.q},
                {.slot = CLATTN_SLOT_K, .buffer = h.k},
                {.slot = CLATTN_SLOT_V, .buffer = h.v},
                {.slot = CLATTN_SLOT_OUT, .buffer = out, .offset = i * DIM * sizeof(float)}};
            const clattn_step step = {.plan = plan, .bindings = bindings, .binding_count = 4};
            clattn_submission submission;
            clattn_submission_init(&submission);
            submission.steps = &step;
            submission.step_count = 1;
            cr_assert_eq(clattn_submit(dispatcher, &submission, NULL), CLATTN_OK, "%s",
                         clattn_error_message());
        }
        cr_assert_eq(clattn_dispatcher_finish(dispatcher), CLATTN_OK);
        cr_assert_eq(clattn_buffer_read(out, 0, found, sizeof found), CLATTN_OK);
        for (int row = 0; row < N; row++) {
            memcpy(alone, found + row * N * DIM, sizeof alone);
            for (int i = 0; i < N; i++)
                cr_assert_eq(memcmp(found + (row * N + i) * DIM, alone, sizeof alone), 0,
                             "round %d, row %d of submission %d: %g instead of %g", round, row, i,
                             (double)found[(row * N + i) * DIM], (double)alone[0]);
            cr_assert(alone[0] == alone[0], "nothing was written");
        }
    }
    clattn_dispatcher_destroy(dispatcher);
    cr_assert_eq(clattn_buffer_destroy(out), CLATTN_OK);
    clattn_plan_destroy(plan);
    close_heads(&h);
}

/* A device for which no plan can be made takes no part, and clattn_explain says so. */
Test(dispatch_devices, a_device_without_a_plan)
{
    heads h;
    failing_cl_refuse_programs(1);
    open_with(&h, NONE, CLATTN_CONTEXT_NO_PROGRAM_CACHE);
    expect_alone(&h);
    forget_outputs(&h);
    cr_assert(strstr(clattn_explain(h.plan[0]), "has no part"), "%s", clattn_explain(h.plan[0]));
    clattn_dispatcher *dispatcher = open_dispatcher(&h, NULL);
    for (int i = 0; i < HEADS * 3; i++)
        clattn_event_release(submit_head(&h, dispatcher, i % HEADS, NULL, 0));
    cr_assert_eq(clattn_dispatcher_finish(dispatcher), CLATTN_OK, "%s", clattn_error_message());
    check_heads(&h);
    cr_assert_eq(statistics_of(dispatcher).lane[1].launches, 0);
    clattn_dispatcher_destroy(dispatcher);
    close_heads(&h);
}

/* One query of three keys by the one-call form. */
static void attend_once(clattn_context *context, float out[DIM])
{
    float q[DIM], k[DIM * 3], v[DIM * 3];
    clattn_attention_desc desc;
    clattn_attention_desc_init(&desc);
    desc.batch = desc.n_head = desc.n_kv_head = desc.n_q = 1;
    desc.n_kv = 3;
    desc.head_dim = desc.value_dim = DIM;
    for (int i = 0; i < DIM; i++)
        q[i] = (float)i / DIM;
    for (int i = 0; i < DIM * 3; i++) {
        k[i] = (float)(i % 7) / 7;
        v[i] = (float)(i % 5) / 5;
    }
    memset(out, 0xff, DIM * sizeof *out);
    cr_assert_eq(clattn_attention(context, &desc, q, k, v, out), CLATTN_OK, "%s",
                 clattn_error_message());
}

/* The one-call form takes the first device, whatever memory that has. */
Test(dispatch_devices, one_call)
{
    static const uint32_t separate[] = {NONE, FIRST};
    float out[2][DIM];
    for (int i = 0; i < 2; i++) {
        heads h;
        open_two(&h, separate[i]);
        attend_once(h.context, out[i]);
        close_heads(&h);
    }
    cr_assert_eq(memcmp(out[0], out[1], sizeof out[0]), 0);
    cr_assert(out[0][0] == out[0][0]);
}

/* And compiles for that one alone. */
Test(dispatch_devices, one_call_compiles_for_the_first)
{
    static const char *const selectors[] = {"0", "0+0"};
    uint32_t made[2];
    for (int i = 0; i < 2; i++) {
        clattn_context_options options;
        clattn_context *context = NULL;
        float out[DIM];
        failing_cl_options(&options);
        options.device = selectors[i];
        options.flags = CLATTN_CONTEXT_NO_PROGRAM_CACHE;
        cr_assert_eq(clattn_context_create(&options, &context), CLATTN_OK, "%s",
                     clattn_error_message());
        const uint32_t before = failing_cl_programs();
        attend_once(context, out);
        made[i] = failing_cl_programs() - before;
        cr_assert_eq(clattn_context_destroy(context), CLATTN_OK, "%s", clattn_error_message());
    }
    cr_assert(made[0] > 0 && made[1] == made[0], "%u programs for a device, %u for two", made[0],
              made[1]);
}

/* ---- the devices that there are -------------------------------------------------------------- */

static float furthest(const float *a, const float *b)
{
    float most = 0;
    for (int i = 0; i < HEADS * DIM; i++) {
        const float apart = a[i] > b[i] ? a[i] - b[i] : b[i] - a[i];
        cr_assert(apart >= 0, "a result is missing");
        most = apart > most ? apart : most;
    }
    return most;
}

/* Real ones, of whatever platforms: each has work, and what they make together is what one of them
 * makes, within the bound for one kind of device and another. */
Test(dispatch_devices, all_there_are)
{
    enum { TIMES = 40 };
    heads h;
    static float found[HEADS * DIM];
    clattn_event *events[HEADS * TIMES];
    clattn_context_options options;
    uint32_t count = 0;
    cr_assert_eq(clattn_device_list(NULL, NULL, 0, &count), CLATTN_OK);
    if (count < 2)
        cr_skip_test("there is one device");
    clattn_context_options_init(&options);
    options.device = "all";
    open_heads(&h, &options);
    expect_alone(&h);
    forget_outputs(&h);
    cr_assert_eq(clattn_context_device_count(h.context), count);
    clattn_dispatcher *dispatcher = open_dispatcher(&h, NULL);
    for (int i = 0; i < HEADS * TIMES; i++)
        events[i] = submit_head(&h, dispatcher, i % HEADS, NULL, 1 + (uint64_t)(i % HEADS));
    cr_assert_eq(clattn_event_wait_all(events, HEADS * TIMES, UINT64_MAX), CLATTN_OK, "%s",
                 clattn_error_message());
    cr_assert_eq(clattn_buffer_read(h.out, 0, found, sizeof found), CLATTN_OK);
    cr_assert(furthest(found, h.expected) < 1e-5f, "%g apart", (double)furthest(found, h.expected));
    const clattn_dispatcher_statistics made = statistics_of(dispatcher);
    cr_assert_eq(made.lanes, count);
    for (uint32_t i = 0; i < count; i++)
        cr_assert(made.lane[i].submissions > 0, "lane %u had nothing to do", i);
    for (int i = 0; i < HEADS * TIMES; i++)
        clattn_event_release(events[i]);
    clattn_dispatcher_destroy(dispatcher);
    close_heads(&h);
}

#ifdef CLATTN_PLAIN_TESTS
int main(void)
{
    dispatch_devices_contexts();
    dispatch_devices_parts_of_all_units();
    dispatch_devices_buffers();
    dispatch_devices_what_is_moved();
    dispatch_devices_lanes_that_share_memory();
    dispatch_devices_a_lane_with_memory_of_its_own();
    dispatch_devices_all_lanes_with_memory_of_their_own();
    dispatch_devices_a_device_is_lost();
    dispatch_devices_rows_that_interleave();
    dispatch_devices_a_device_without_a_plan();
    dispatch_devices_one_call();
    dispatch_devices_one_call_compiles_for_the_first();
    dispatch_devices_all_there_are();
    return 0;
}
#endif
