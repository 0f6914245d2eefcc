/* See stress_jobs.h. */
#include "stress_jobs.h"

#include <clattn/layer.h>

/* PROMPT queries of PROMPT_HEADS heads; TERMS rows of x and dy, of DIM numbers each. */
enum { PROMPT = 200, PROMPT_HEADS = 4, TERMS = 8, RESULT = PROMPT_HEADS * PROMPT * DIM };
enum { SUM = DIM * DIM, CHAINED = 3 };
/* Either may err by 1e-5, of values up to 1: docs/numerics.md. */
#define BOUND 2e-5f

static const uint64_t result_size = RESULT * sizeof(float);
static const uint64_t sums_offset = RESULT * sizeof(float); /* they are behind the results */

/* ---- plans and memory ------------------------------------------------------------------------ */

static clattn_buffer *made_of(clattn_context *context, const float *data, uint64_t size)
{
    clattn_buffer *buffer = NULL;
    cr_assert_eq(clattn_buffer_create(context, size, &buffer), CLATTN_OK);
    cr_assert_eq(clattn_buffer_write(buffer, 0, data, size), CLATTN_OK);
    return buffer;
}

static float *floats(size_t count)
{
    float *made = calloc(count, sizeof *made);
    cr_assert_not_null(made);
    return made;
}

static void open_prompt(stress_work *work)
{
    clattn_attention_desc desc;
    float *data = floats((size_t)3 * RESULT);
    clattn_attention_desc_init(&desc);
    desc.batch = 1;
    desc.n_head = desc.n_kv_head = PROMPT_HEADS;
    desc.n_q = desc.n_kv = PROMPT;
    desc.head_dim = desc.value_dim = DIM;
    desc.causal = 1;
    desc.align = CLATTN_ALIGN_BOTTOM_RIGHT;
    cr_assert_eq(clattn_plan_attention(work->h.context, &desc, &work->prompt_plan), CLATTN_OK, "%s",
                 clattn_error_message());
    for (uint32_t i = 0; i < 3 * RESULT; i++)
        data[i] = (float)(i * 2654435761u >> 8) / (float)(1 << 23) - 1.0f;
    work->prompt = made_of(work->h.context, data, 3 * result_size);
    free(data);
}

/* Small whole numbers: however often they are added, sums are exact, on any device. */
static void open_sum(stress_work *work)
{
    clattn_linear_desc desc;
    float terms[2][TERMS][DIM];
    clattn_linear_desc_init(&desc);
    desc.pass = CLATTN_LINEAR_GRADIENT_W;
    desc.accumulate = 1;
    desc.slots = CLATTN_SLOT_BIT(CLATTN_SLOT_W);
    desc.batch = 1;
    desc.rows = TERMS;
    desc.in = desc.out = DIM;
    cr_assert_eq(clattn_plan_linear(work->h.context, &desc, &work->sum_plan), CLATTN_OK, "%s",
                 clattn_error_message());
    work->sum = floats(SUM);
    for (int row = 0; row < TERMS; row++)
        for (int i = 0; i < DIM; i++) {
            terms[0][row][i] = (float)((row * 5 + i * 3) % 7 - 3);
            terms[1][row][i] = (float)((row * 3 + i * 2) % 5 - 1);
        }
    for (int out = 0; out < DIM; out++)
        for (int in = 0; in < DIM; in++)
            for (int row = 0; row < TERMS; row++)
                work->sum[out * DIM + in] += terms[1][row][out] * terms[0][row][in];
    work->terms = made_of(work->h.context, terms[0][0], sizeof terms);
}

bool stress_place_open(const stress_work *work, stress_place *place)
{
    const uint64_t room = STRESS_REGIONS * SUM * sizeof(float);
    float *zero = calloc(STRESS_REGIONS * SUM, sizeof *zero);
    *place = (stress_place){.memory = NULL};
    const bool good =
        zero &&
        clattn_buffer_create(work->h.context, result_size + room, &place->memory) == CLATTN_OK &&
        clattn_buffer_write(place->memory, sums_offset, zero, room) == CLATTN_OK;
    free(zero);
    return good;
}

bool stress_place_next_sum(stress_place *place)
{
    place->sums = 0;
    return ++place->region < STRESS_REGIONS;
}

bool stress_place_forget(const stress_place *place)
{
    float *nothing = malloc(result_size);
    if (!nothing)
        return false;
    memset(nothing, 0xff, result_size);
    const clattn_status status = clattn_buffer_write(place->memory, 0, nothing, result_size);
    free(nothing);
    return status == CLATTN_OK;
}

/* ---- jobs ------------------------------------------------------------------------------------ */

static uint64_t row_at(uint64_t row)
{
    return row * DIM * sizeof(float);
}

/* The step of a head whose result goes to a row of the place, and whose query, unless `from` is
 * below 0, is another row of it. */
static void add_head(const stress_work *work, const stress_place *place, stress_job *job, int head,
                     int from, uint64_t to)
{
    head_step *of = &job->of[job->steps];
    job->step[job->steps] = step_of(&work->h, head % HEADS, of);
    of->sequence = job->sequence;
    of->bindings[3].buffer = place->memory;
    of->bindings[3].offset = to;
    if (from >= 0) {
        of->bindings[0].buffer = place->memory;
        of->bindings[0].offset = row_at((uint64_t)from);
    }
    job->steps++;
}

static void make_decode(const stress_work *work, const stress_place *place, stress_job *job)
{
    add_head(work, place, job, job->head, -1, 0);
}

static void add_step(stress_job *job, const clattn_plan *plan, uint32_t count)
{
    job->step[job->steps++] = (clattn_step){.plan = plan,
                                            .bindings = job->bindings,
                                            .binding_count = count,
                                            .sequences = &job->sequence};
}

static void make_prompt(const stress_work *work, const stress_place *place, stress_job *job)
{
    for (int slot = 0; slot < 4; slot++)
        job->bindings[slot] =
            (clattn_binding){.slot = (clattn_slot)slot,
                             .buffer = slot == CLATTN_SLOT_OUT ? place->memory : work->prompt,
                             .offset = slot == CLATTN_SLOT_OUT ? 0 : result_size * (uint64_t)slot};
    add_step(job, work->prompt_plan, 4);
}

static void make_chain(const stress_work *work, const stress_place *place, stress_job *job)
{
    add_head(work, place, job, job->head, -1, row_at(0));
    add_head(work, place, job, job->head + 1, 0, row_at(1));
    add_head(work, place, job, job->head + 2, -1, row_at(2));
}

static void make_sum(const stress_work *work, const stress_place *place, stress_job *job)
{
    const clattn_binding bindings[] = {
        {.slot = CLATTN_SLOT_X, .buffer = work->terms},
        {.slot = CLATTN_SLOT_Y, .buffer = work->terms, .offset = row_at(TERMS)},
        {.slot = CLATTN_SLOT_W,
         .buffer = place->memory,
         .offset = sums_offset + (uint64_t)place->region * SUM * sizeof(float)},
    };
    memcpy(job->bindings, bindings, sizeof bindings);
    add_step(job, work->sum_plan, 3);
    add_head(work, place, job, job->head, -1, 0);
}

static void (*const makers[STRESS_KINDS])(const stress_work *, const stress_place *,
                                          stress_job *) = {
    [STRESS_DECODE] = make_decode,
    [STRESS_PROMPT] = make_prompt,
    [STRESS_CHAIN] = make_chain,
    [STRESS_SUM] = make_sum,
};

void stress_job_make(const stress_work *work, const stress_place *place, stress_kind kind, int head,
                     uint64_t sequence, stress_job *job)
{
    memset(job, 0, sizeof *job);
    job->kind = kind;
    job->head = head;
    job->sequence = sequence;
    makers[kind](work, place, job);
}

/* ---- results --------------------------------------------------------------------------------- */

/* Whether `found` is what is `expected`: the same bits, or near where devices differ. NaN is near
 * nothing. */
static bool is_right(const stress_work *work, const float *found, const float *expected,
                     size_t count)
{
    if (!work->mixed)
        return memcmp(found, expected, count * sizeof *found) == 0;
    for (size_t i = 0; i < count; i++) {
        const float apart =
            found[i] > expected[i] ? found[i] - expected[i] : expected[i] - found[i];
        if (!(apart <= BOUND))
            return false;
    }
    return true;
}

/* The sum in use, and none of those to come. */
static bool sums_are_right(const stress_work *work, const stress_place *place, const float *found)
{
    for (uint32_t region = place->region; region < STRESS_REGIONS; region++)
        for (uint32_t i = 0; i < SUM; i++)
            if (found[region * SUM + i] !=
                (region == place->region ? (float)place->sums * work->sum[i] : 0))
                return false;
    return true;
}

static bool result_is_right(const stress_work *work, const stress_job *job, const float *found)
{
    const float *const expected[STRESS_KINDS] = {
        [STRESS_DECODE] = work->h.expected + job->head * DIM,
        [STRESS_PROMPT] = work->prompt_expected,
        [STRESS_CHAIN] = work->chain_expected + job->head * CHAINED * DIM,
        [STRESS_SUM] = work->h.expected + job->head * DIM,
    };
    const size_t written[STRESS_KINDS] = {DIM, RESULT, CHAINED * DIM, DIM};
    return is_right(work, found, expected[job->kind], written[job->kind]);
}

static bool is_untouched(const float *found)
{
    for (uint64_t i = 0; i < result_size; i++)
        if (((const unsigned char *)found)[i] != 0xff)
            return false;
    return true;
}

const char *stress_job_check(const stress_work *work, const stress_place *place,
                             const stress_job *job, bool ran)
{
    const uint64_t size = result_size + STRESS_REGIONS * SUM * sizeof(float);
    const char *wrong = NULL;
    float *found = malloc(size);
    if (!found || clattn_buffer_read(place->memory, 0, found, size) != CLATTN_OK)
        wrong = "reading its result";
    else if (ran ? !result_is_right(work, job, found) : !is_untouched(found))
        wrong = "its result";
    else if (!sums_are_right(work, place, found + RESULT))
        wrong = "its sum: something was lost, or has run twice";
    free(found);
    return wrong;
}

bool stress_heads_are_right(const stress_work *work)
{
    float found[HEADS * DIM];
    cr_assert_eq(clattn_buffer_read(work->h.out, 0, found, sizeof found), CLATTN_OK);
    return is_right(work, found, work->h.expected, HEADS * DIM);
}

/* ---- what is expected ------------------------------------------------------------------------ */

/* Where and by whom jobs run that nothing else runs beside. */
typedef struct quiet {
    const stress_work *work;
    stress_place place;
    clattn_dispatcher *dispatcher;
} quiet;

/* Each step of a job by itself; reads `count` numbers of its result. Returns the launches of the
 * last one. */
static uint32_t run_alone(const quiet *alone, stress_kind kind, int head, float *result,
                          size_t count)
{
    clattn_event_profile profile = {.struct_size = sizeof profile};
    stress_job job;
    clattn_submission submission;
    stress_job_make(alone->work, &alone->place, kind, head, 0, &job);
    clattn_submission_init(&submission);
    submission.step_count = 1;
    cr_assert(stress_place_forget(&alone->place));
    for (uint32_t i = 0; i < job.steps; i++) {
        clattn_event *event = NULL;
        submission.steps = &job.step[i];
        cr_assert_eq(clattn_submit(alone->dispatcher, &submission, &event), CLATTN_OK, "%s",
                     clattn_error_message());
        cr_assert_eq(clattn_event_wait(event, UINT64_MAX), CLATTN_OK);
        cr_assert_eq(clattn_event_get_profile(event, &profile), CLATTN_OK);
        clattn_event_release(event);
    }
    cr_assert_eq(clattn_buffer_read(alone->place.memory, 0, result, count * sizeof *result),
                 CLATTN_OK);
    for (size_t i = 0; i < count; i++)
        cr_assert(result[i] == result[i], "a result is missing");
    return profile.launches;
}

static void expect_jobs(stress_work *work)
{
    quiet alone = {.work = work, .dispatcher = open_dispatcher(&work->h, NULL)};
    cr_assert(stress_place_open(work, &alone.place), "%s", clattn_error_message());
    work->prompt_expected = floats(RESULT);
    work->chain_expected = floats((size_t)HEADS * CHAINED * DIM);
    work->prompt_launches = run_alone(&alone, STRESS_PROMPT, 0, work->prompt_expected, RESULT);
    for (int head = 0; head < HEADS; head++)
        (void)run_alone(&alone, STRESS_CHAIN, head, work->chain_expected + head * CHAINED * DIM,
                        CHAINED * DIM);
    clattn_dispatcher_destroy(alone.dispatcher);
    cr_assert_eq(clattn_buffer_destroy(alone.place.memory), CLATTN_OK);
}

static bool is_same_kind(const clattn_device_info *a, const clattn_device_info *b)
{
    return strcmp(a->name, b->name) == 0 && strcmp(a->platform, b->platform) == 0 &&
           strcmp(a->driver, b->driver) == 0;
}

static bool has_kinds(clattn_context *context)
{
    clattn_device_info first = {.struct_size = sizeof first}, other = first;
    bool same = true;
    cr_assert_eq(clattn_context_get_device(context, 0, &first), CLATTN_OK);
    for (uint32_t i = 1; i < clattn_context_device_count(context); i++) {
        cr_assert_eq(clattn_context_get_device(context, i, &other), CLATTN_OK);
        same = same && is_same_kind(&first, &other);
    }
    return !same;
}

void stress_work_open(stress_work *work, const clattn_context_options *options)
{
    memset(work, 0, sizeof *work);
    open_heads(&work->h, options);
    expect_heads(&work->h);
    work->mixed = has_kinds(work->h.context);
    open_prompt(work);
    open_sum(work);
    expect_jobs(work);
}

void stress_work_close(stress_work *work)
{
    free(work->prompt_expected);
    free(work->chain_expected);
    free(work->sum);
    clattn_plan_destroy(work->prompt_plan);
    clattn_plan_destroy(work->sum_plan);
    cr_assert_eq(clattn_buffer_destroy(work->prompt), CLATTN_OK);
    cr_assert_eq(clattn_buffer_destroy(work->terms), CLATTN_OK);
    close_heads(&work->h);
}
