/* The scenario: attention with 2 query heads on 1 key/value head, all outputs, in both ways of
 * calling, checked against the formula. */
#include "scenario.h"

#include <dirent.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <criterion/criterion.h>

#include "faulty_opencl.h"

/* Values that are whole vectors aren't packed, which is a program less to build in every run. */
enum { HEADS = 2, QUERIES = 3, KEYS = 5, DIM = 16, SLOTS = 6 };

static const float tolerance = 1e-5f;

static char message[1024];     /* of the last run */
static char old_message[1024]; /* before it */

/* The tensors of a run, by slot, on the host. */
typedef struct tensors {
    float q[HEADS][QUERIES][DIM], k[KEYS][DIM], v[KEYS][DIM];
    float out[HEADS][QUERIES][DIM], lse[HEADS][QUERIES], weights[HEADS][QUERIES][KEYS];
} tensors;

/* What exists while the scenario runs. */
typedef struct stage {
    clattn_context *context;
    clattn_plan *plan;
    clattn_buffer *buffer[SLOTS];
    clattn_dispatcher *dispatcher;
    clattn_event *event;
} stage;

#define TRY(call)                                                                                  \
    do {                                                                                           \
        const clattn_status try_status = (call);                                                   \
        if (try_status != CLATTN_OK)                                                               \
            return try_status;                                                                     \
    } while (0)

static void fill(tensors *t)
{
    float *const values[] = {&t->q[0][0][0], &t->k[0][0], &t->v[0][0]};
    const size_t counts[] = {sizeof t->q / 4, sizeof t->k / 4, sizeof t->v / 4};
    for (size_t which = 0; which < 3; which++)
        for (size_t i = 0; i < counts[which]; i++)
            values[which][i] = (float)((i * 37 + which * 11) % 23) / 23.0f - 0.5f;
    memset(t->out, 0xff, sizeof t->out); /* NaN */
    memset(t->lse, 0xff, sizeof t->lse);
    memset(t->weights, 0xff, sizeof t->weights);
}

static void describe(clattn_attention_desc *desc)
{
    clattn_attention_desc_init(desc);
    desc->slots = CLATTN_SLOT_BIT(CLATTN_SLOT_LSE) | CLATTN_SLOT_BIT(CLATTN_SLOT_WEIGHTS);
    desc->batch = 1;
    desc->n_head = HEADS;
    desc->n_kv_head = 1;
    desc->n_q = QUERIES;
    desc->n_kv = KEYS;
    desc->head_dim = DIM;
    desc->value_dim = DIM;
}

static float score(const tensors *t, int head, int query, int key)
{
    float sum = 0;
    for (int d = 0; d < DIM; d++)
        sum += t->q[head][query][d] * t->k[key][d];
    return sum / sqrtf((float)DIM);
}

static void expect_near(float got, float expected, const char *what)
{
    cr_assert(fabsf(got - expected) <= tolerance, "%s is %g, expected %g", what, (double)got,
              (double)expected);
}

static void check_row(const tensors *t, int head, int query)
{
    float sum = 0;
    for (int key = 0; key < KEYS; key++)
        sum += expf(score(t, head, query, key));
    expect_near(t->lse[head][query], logf(sum), "LSE");
    float out[DIM] = {0};
    for (int key = 0; key < KEYS; key++) {
        const float weight = expf(score(t, head, query, key)) / sum;
        expect_near(t->weights[head][query][key], weight, "a weight");
        for (int d = 0; d < DIM; d++)
            out[d] += weight * t->v[key][d];
    }
    for (int d = 0; d < DIM; d++)
        expect_near(t->out[head][query][d], out[d], "an output");
}

static void check(const tensors *t)
{
    for (int head = 0; head < HEADS; head++)
        for (int query = 0; query < QUERIES; query++)
            check_row(t, head, query);
}

static void slot_memory(tensors *t, void *data[SLOTS], size_t size[SLOTS])
{
    void *const where[SLOTS] = {t->q, t->k, t->v, t->out, t->lse, t->weights};
    const size_t bytes[SLOTS] = {sizeof t->q,   sizeof t->k,   sizeof t->v,
                                 sizeof t->out, sizeof t->lse, sizeof t->weights};
    memcpy(data, where, sizeof where);
    memcpy(size, bytes, sizeof bytes);
}

static clattn_status make_buffers(stage *s, void *data[SLOTS], const size_t size[SLOTS])
{
    for (int slot = 0; slot < SLOTS; slot++) {
        TRY(clattn_buffer_create(s->context, size[slot], &s->buffer[slot]));
        TRY(clattn_buffer_write(s->buffer[slot], 0, data[slot], size[slot]));
    }
    return CLATTN_OK;
}

static clattn_status submit(stage *s)
{
    clattn_binding bindings[SLOTS];
    memset(bindings, 0, sizeof bindings);
    for (int slot = 0; slot < SLOTS; slot++) {
        bindings[slot].slot = (clattn_slot)slot;
        bindings[slot].buffer = s->buffer[slot];
    }
    clattn_step step;
    memset(&step, 0, sizeof step);
    step.plan = s->plan;
    step.bindings = bindings;
    step.binding_count = SLOTS;
    clattn_submission submission;
    clattn_submission_init(&submission);
    submission.steps = &step;
    submission.step_count = 1;
    TRY(clattn_submit(s->dispatcher, &submission, &s->event));
    return clattn_event_wait(s->event, UINT64_MAX);
}

/* LSE and weights come back by reading, the output by mapping. */
static clattn_status fetch(stage *s, void *data[SLOTS], const size_t size[SLOTS])
{
    for (int slot = CLATTN_SLOT_LSE; slot < SLOTS; slot++)
        TRY(clattn_buffer_read(s->buffer[slot], 0, data[slot], size[slot]));
    void *mapped = NULL;
    TRY(clattn_buffer_map(s->buffer[CLATTN_SLOT_OUT], &mapped));
    memcpy(data[CLATTN_SLOT_OUT], mapped, size[CLATTN_SLOT_OUT]);
    return clattn_buffer_unmap(s->buffer[CLATTN_SLOT_OUT]);
}

static clattn_status by_submission(stage *s)
{
    tensors t;
    void *data[SLOTS];
    size_t size[SLOTS];
    clattn_attention_desc desc;
    fill(&t);
    describe(&desc);
    slot_memory(&t, data, size);
    TRY(clattn_plan_attention(s->context, &desc, &s->plan));
    TRY(make_buffers(s, data, size));
    TRY(clattn_dispatcher_create(s->context, NULL, &s->dispatcher));
    TRY(submit(s));
    TRY(fetch(s, data, size));
    TRY(clattn_dispatcher_finish(s->dispatcher));
    check(&t);
    return CLATTN_OK;
}

static clattn_status by_one_call(stage *s)
{
    tensors t;
    void *data[SLOTS];
    size_t size[SLOTS];
    clattn_attention_desc desc;
    clattn_host_binding bindings[SLOTS];
    fill(&t);
    describe(&desc);
    slot_memory(&t, data, size);
    memset(bindings, 0, sizeof bindings);
    for (int slot = 0; slot < SLOTS; slot++) {
        bindings[slot].slot = (clattn_slot)slot;
        bindings[slot].data = data[slot];
    }
    TRY(clattn_run(s->context, &desc, bindings, SLOTS));
    check(&t);
    return CLATTN_OK;
}

static clattn_status act(stage *s, const clattn_context_options *options)
{
    TRY(clattn_context_create(options, &s->context));
    TRY(by_submission(s));
    return by_one_call(s);
}

static void give_back(stage *s)
{
    clattn_event_release(s->event);
    clattn_dispatcher_destroy(s->dispatcher);
    for (int slot = 0; slot < SLOTS; slot++) {
        /* A buffer whose unmapping failed is still mapped; a second try must do. */
        if (clattn_buffer_destroy(s->buffer[slot]) == CLATTN_ERR_BUSY) {
            cr_expect_eq(clattn_buffer_unmap(s->buffer[slot]), CLATTN_OK);
            cr_expect_eq(clattn_buffer_destroy(s->buffer[slot]), CLATTN_OK);
        }
    }
    clattn_plan_destroy(s->plan);
    cr_assert_eq(clattn_context_destroy(s->context), CLATTN_OK, "the context stays: %s",
                 clattn_error_message());
}

/* A failure whose sentence is known: whoever fails next has to replace it. */
static void forget_message(void)
{
    clattn_context *context = NULL;
    clattn_context_options options;
    clattn_context_options_init(&options);
    options.struct_size = 1;
    cr_assert_eq(clattn_context_create(&options, &context), CLATTN_ERR_ARGUMENT);
    snprintf(old_message, sizeof old_message, "%s", clattn_error_message());
    cr_assert_str_not_empty(old_message);
}

clattn_status scenario_run(const clattn_context_options *options)
{
    stage s;
    memset(&s, 0, sizeof s);
    forget_message();
    const clattn_status status = act(&s, options);
    snprintf(message, sizeof message, "%s", status == CLATTN_OK ? "" : clattn_error_message());
    give_back(&s);
    cr_assert(status <= 0, "the status is %s", clattn_status_string(status));
    if (status != CLATTN_OK) {
        cr_assert_str_not_empty(message);
        cr_assert_str_neq(message, old_message, "%s has no sentence", clattn_status_string(status));
        cr_assert_null(strchr(message, '\n'), "more than a line: %s", message);
    }
    const char *kind = "";
    const long left = faulty_live(&kind);
    cr_assert_eq(left, 0, "%ld OpenCL objects left or released twice (%s), after: %s", left, kind,
                 message);
    return status;
}

const char *scenario_message(void)
{
    return message;
}

void scenario_begin(clattn_context_options *options)
{
    static char folder[64];
    strcpy(folder, "/tmp/clattn-fault-XXXXXX"); /* mkdtemp replaces the last letters */
    cr_assert_not_null(mkdtemp(folder));
    clattn_context_options_init(options);
    options->get_proc = faulty_get_proc;
    options->cache_dir = folder;
    faulty_clear();
}

void scenario_forget_programs(const clattn_context_options *options)
{
    char path[512];
    DIR *folder = opendir(options->cache_dir);
    cr_assert_not_null(folder);
    for (struct dirent *entry = readdir(folder); entry; entry = readdir(folder)) {
        snprintf(path, sizeof path, "%s/%s", options->cache_dir, entry->d_name);
        (void)unlink(path); /* of "." and ".." it fails, as it should */
    }
    closedir(folder);
}

void scenario_end(clattn_context_options *options)
{
    scenario_forget_programs(options);
    cr_expect_eq(rmdir(options->cache_dir), 0, "the program cache has folders in it");
}
