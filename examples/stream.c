/* Decoding without an end: a sequence keeps its first tokens and a window of the last ones (Xiao et
 * al. 2024), and positions are counted within the cache, so that they never pass what a model was
 * trained for. Queries and keys are RMS normalised and rotated: keys when they are appended,
 * queries by attention; when the window moves, its keys are rotated to where they are now. Each
 * step is compared with all of it computed anew. stream [TOKENS] */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <clattn/layer.h>

/* The window moves by 64 tokens, when the cache has 256. */
enum { HEADS = 8, KV_HEADS = 2, DIM = 64, PAGE = 16, SINK = 16, WINDOW = 176, MOST = 256 };

#define EPSILON 1e-6f
static const uint64_t id = 1;

/* Tokens in the cache as the projections gave them, (head, token, dim), for the comparison. */
static float plain_k[KV_HEADS][MOST][DIM], plain_v[KV_HEADS][MOST][DIM];
static float q[HEADS][DIM], k[KV_HEADS][DIM], v[KV_HEADS][DIM], out[HEADS][DIM];
static float angles[MOST][DIM / 2][2];

static clattn_context *context;
static clattn_dispatcher *dispatcher;
static clattn_kv_cache *cache;
static clattn_plan *shift, *append, *attend, *rotate_q, *rotate_k; /* the last two to compare */
static clattn_buffer *q_buffer, *k_buffer, *v_buffer, *out_buffer, *angle_buffer;
static double seconds; /* spent in steps, without the comparison */

static void check(clattn_status status)
{
    if (status == CLATTN_OK)
        return;
    fprintf(stderr, "stream: %s: %s\n", clattn_status_string(status), clattn_error_message());
    exit(1);
}

static double now(void)
{
    struct timespec time;
    timespec_get(&time, TIME_UTC);
    return (double)time.tv_sec + 1e-9 * (double)time.tv_nsec;
}

static float number(void)
{
    static uint32_t state = 1;
    state = state * 1664525u + 1013904223u;
    return (float)(state >> 8) * 0x1p-23f - 1;
}

/* ---- once ------------------------------------------------------------------------------------ */

static clattn_buffer *make_buffer(uint64_t size)
{
    clattn_buffer *buffer;
    check(clattn_buffer_create(context, size, &buffer));
    return buffer;
}

static void open_all(void)
{
    clattn_kv_cache_desc desc;
    clattn_kv_cache_desc_init(&desc);
    desc.layers = 1;
    desc.n_kv_head = KV_HEADS;
    desc.head_dim = desc.value_dim = DIM;
    desc.page_size = PAGE;
    desc.pages = MOST / PAGE;
    check(clattn_context_create(NULL, &context));
    check(clattn_dispatcher_create(context, NULL, &dispatcher));
    check(clattn_kv_cache_create(context, &desc, &cache));
    check(clattn_kv_cache_add(cache, id));
    q_buffer = make_buffer(sizeof q);
    k_buffer = make_buffer(sizeof plain_k);
    v_buffer = make_buffer(sizeof v);
    out_buffer = make_buffer(sizeof plain_k);
    angle_buffer = make_buffer(sizeof angles);
    check(clattn_rotary_angles(MOST, DIM, 10000, NULL, &angles[0][0][0]));
    check(clattn_buffer_write(angle_buffer, 0, angles, sizeof angles));
}

/* The three steps of a token. */
static void make_plans(void)
{
    clattn_shift_desc moved;
    clattn_append_desc added;
    clattn_attention_desc attended;
    clattn_shift_desc_init(&moved);
    moved.batch = 1;
    moved.rotary_dim = DIM;
    moved.n_positions = MOST;
    check(clattn_kv_cache_describe_shift(cache, MOST, &moved));
    check(clattn_plan_shift(context, &moved, &shift));
    clattn_append_desc_init(&added);
    added.batch = added.n_kv = 1;
    added.slots = CLATTN_SLOT_BIT(CLATTN_SLOT_ANGLES);
    added.rotary_dim = DIM;
    added.n_positions = MOST;
    added.rms_norm = 1;
    added.rms_epsilon = EPSILON;
    check(clattn_kv_cache_describe_append(cache, MOST, &added));
    check(clattn_plan_append(context, &added, &append));
    clattn_attention_desc_init(&attended);
    attended.batch = attended.n_q = 1;
    attended.n_head = HEADS;
    attended.n_kv = MOST;
    attended.align = CLATTN_ALIGN_BOTTOM_RIGHT; /* the query is the last token */
    attended.slots = CLATTN_SLOT_BIT(CLATTN_SLOT_ANGLES);
    attended.rotary_dim = DIM;
    attended.n_positions = MOST;
    attended.rms_norm = 1;
    attended.rms_epsilon = EPSILON;
    check(clattn_kv_cache_describe_attention(cache, &attended));
    check(clattn_plan_attention(context, &attended, &attend));
}

/* Normalisation and rotation as an operation. */
static clattn_plan *make_rotation(int64_t heads, int64_t tokens)
{
    clattn_plan *plan;
    clattn_rotary_desc desc;
    clattn_rotary_desc_init(&desc);
    desc.batch = 1;
    desc.n_head = heads;
    desc.n = tokens;
    desc.head_dim = desc.rotary_dim = DIM;
    desc.n_positions = MOST;
    desc.rms_norm = 1;
    desc.rms_epsilon = EPSILON;
    check(clattn_plan_rotary(context, &desc, &plan));
    return plan;
}

static void close_all(void)
{
    clattn_plan *const plans[] = {shift, append, attend, rotate_q, rotate_k};
    clattn_buffer *const buffers[] = {q_buffer, k_buffer, v_buffer, out_buffer, angle_buffer};
    for (int i = 0; i < 5; i++)
        clattn_plan_destroy(plans[i]);
    clattn_kv_cache_destroy(cache);
    for (int i = 0; i < 5; i++)
        check(clattn_buffer_destroy(buffers[i]));
    clattn_dispatcher_destroy(dispatcher);
    check(clattn_context_destroy(context));
}

/* ---- a token --------------------------------------------------------------------------------- */

static void submit(const clattn_step *steps, uint32_t count)
{
    clattn_submission submission;
    clattn_submission_init(&submission);
    submission.steps = steps;
    submission.step_count = count;
    check(clattn_submit(dispatcher, &submission, NULL));
    check(clattn_dispatcher_finish(dispatcher));
}

/* A model's projections would be here. The comparison forgets what the cache forgets. */
static void make_token(int64_t place, int64_t evicted)
{
    for (int h = 0; h < HEADS; h++)
        for (int d = 0; d < DIM; d++)
            q[h][d] = 4 * number();
    for (int h = 0; h < KV_HEADS; h++) {
        const size_t left = (size_t)(place - SINK) * sizeof plain_k[h][0];
        if (evicted) {
            memmove(plain_k[h][SINK], plain_k[h][SINK + evicted], left);
            memmove(plain_v[h][SINK], plain_v[h][SINK + evicted], left);
        }
        for (int d = 0; d < DIM; d++) {
            plain_k[h][place][d] = k[h][d] = number();
            plain_v[h][place][d] = v[h][d] = number();
        }
    }
    check(clattn_buffer_write(q_buffer, 0, q, sizeof q));
    check(clattn_buffer_write(k_buffer, 0, k, sizeof k));
    check(clattn_buffer_write(v_buffer, 0, v, sizeof v));
}

/* Moves the window where it is time to; the tokens evicted. */
static int64_t move_window(int32_t *position, int32_t *length, int32_t *by)
{
    int64_t tokens;
    clattn_kv_shift moved;
    *by = 0;
    check(clattn_kv_cache_length(cache, id, &tokens));
    if (tokens < MOST)
        return 0;
    clattn_kv_shift_init(&moved);
    moved.ids = &id;
    moved.count = 1;
    moved.sink = SINK;
    moved.window = WINDOW;
    moved.positions = position;
    moved.lengths = length;
    moved.shifts = by;
    check(clattn_kv_cache_shift(cache, dispatcher, &moved));
    return -*by;
}

/* One token of the stream; its place in the cache. */
static int64_t step(void)
{
    static int32_t pages[MOST / PAGE];
    const int64_t one = 1;
    const double start = now();
    int32_t position, length, by, after;
    const int64_t evicted = move_window(&position, &length, &by);
    check(clattn_kv_cache_extend(cache, dispatcher, &id, &one, 1));
    check(clattn_kv_cache_tables(cache, &id, 1, MOST / PAGE, pages, &after));
    seconds += now() - start;
    const int32_t place = after - 1;
    make_token(place, evicted);
    clattn_binding shifted[7] = {{.slot = CLATTN_SLOT_ANGLES, .buffer = angle_buffer},
                                 {.slot = CLATTN_SLOT_PAGES, .host = pages},
                                 {.slot = CLATTN_SLOT_POSITIONS, .host = &position},
                                 {.slot = CLATTN_SLOT_KV_LENGTHS, .host = &length},
                                 {.slot = CLATTN_SLOT_SHIFTS, .host = &by}};
    clattn_binding appended[7] = {{.slot = CLATTN_SLOT_K, .buffer = k_buffer},
                                  {.slot = CLATTN_SLOT_V, .buffer = v_buffer},
                                  {.slot = CLATTN_SLOT_ANGLES, .buffer = angle_buffer},
                                  {.slot = CLATTN_SLOT_PAGES, .host = pages},
                                  {.slot = CLATTN_SLOT_POSITIONS, .host = &place}};
    clattn_binding attended[7] = {{.slot = CLATTN_SLOT_Q, .buffer = q_buffer},
                                  {.slot = CLATTN_SLOT_OUT, .buffer = out_buffer},
                                  {.slot = CLATTN_SLOT_ANGLES, .buffer = angle_buffer},
                                  {.slot = CLATTN_SLOT_PAGES, .host = pages},
                                  {.slot = CLATTN_SLOT_KV_LENGTHS, .host = &after}};
    check(clattn_kv_cache_bind(cache, 0, 1, shifted + 5)); /* of keys alone: 6 bindings */
    check(clattn_kv_cache_bind(cache, 0, 1, appended + 5));
    check(clattn_kv_cache_bind(cache, 0, 0, attended + 5));
    const clattn_step steps[] = {{.plan = shift, .bindings = shifted, .binding_count = 6},
                                 {.plan = append, .bindings = appended, .binding_count = 7},
                                 {.plan = attend, .bindings = attended, .binding_count = 7}};
    const double again = now();
    submit(evicted ? steps : steps + 1, evicted ? 3 : 2);
    seconds += now() - again;
    check(clattn_buffer_read(out_buffer, 0, out, sizeof out));
    return place;
}

/* ---- the comparison -------------------------------------------------------------------------- */

static void rotate(const clattn_plan *plan, clattn_buffer *from, int32_t position)
{
    const clattn_binding bindings[] = {{.slot = CLATTN_SLOT_Q, .buffer = from},
                                       {.slot = CLATTN_SLOT_OUT, .buffer = out_buffer},
                                       {.slot = CLATTN_SLOT_ANGLES, .buffer = angle_buffer},
                                       {.slot = CLATTN_SLOT_POSITIONS, .host = &position}};
    const clattn_step only = {.plan = plan, .bindings = bindings, .binding_count = 4};
    submit(&only, 1);
}

/* The larger of two errors; NaN is the largest. */
static double worse(double a, double b)
{
    return a > b || isnan(a) ? a : b;
}

/* The same from the tokens that the cache should have, as the projections gave them. */
static double difference(int64_t place)
{
    static float rotated_q[HEADS][DIM], rotated_k[KV_HEADS][MOST][DIM], expected[HEADS][DIM];
    double most = 0;
    clattn_attention_desc desc;
    rotate(rotate_q, q_buffer, (int32_t)place);
    check(clattn_buffer_read(out_buffer, 0, rotated_q, sizeof rotated_q));
    check(clattn_buffer_write(k_buffer, 0, plain_k, sizeof plain_k));
    rotate(rotate_k, k_buffer, 0);
    check(clattn_buffer_read(out_buffer, 0, rotated_k, sizeof rotated_k));
    clattn_attention_desc_init(&desc);
    desc.batch = desc.n_q = 1;
    desc.n_head = HEADS;
    desc.n_kv_head = KV_HEADS;
    desc.n_kv = place + 1;
    desc.head_dim = desc.value_dim = DIM;
    for (int slot = CLATTN_SLOT_K; slot <= CLATTN_SLOT_V; slot++)
        desc.tensor[slot] =
            (clattn_tensor){.strided = 1, .stride = {0, (int64_t)MOST * DIM, DIM, 1}};
    check(clattn_attention(context, &desc, rotated_q, rotated_k, plain_v, expected));
    for (int h = 0; h < HEADS; h++)
        for (int d = 0; d < DIM; d++)
            most = worse(most, fabs((double)out[h][d] - (double)expected[h][d]));
    return most;
}

int main(int argc, char **argv)
{
    const long tokens = argc > 1 ? strtol(argv[1], NULL, 10) : 600;
    double most = 0;
    if (argc > 2 || tokens < 1) {
        fprintf(stderr, "usage: stream [TOKENS]\n");
        return 2;
    }
    open_all();
    make_plans();
    rotate_q = make_rotation(HEADS, 1);
    rotate_k = make_rotation(KV_HEADS, MOST);
    for (long i = 0; i < tokens; i++) {
        most = worse(most, difference(step()));
        fprintf(stderr, "\rtoken %ld of %ld", i + 1, tokens);
    }
    fprintf(stderr, "\n");
    printf("%ld tokens in a window of %d: %.0f tokens/s, largest difference from computing anew "
           "%.1e\n",
           tokens, MOST, (double)tokens / seconds, most);
    close_all();
    return !(most <= 1e-4);
}
