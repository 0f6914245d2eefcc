/* Speculative decoding with a tree of drafts, over pages and several splits of keys: siblings have
 * the same position and don't see each other. Each path must be what it is as a sequence of its
 * own: keys to the bit, attention within the bound, because there the same keys lie at other places
 * and are added in another order. Every kernel, every device. */
#include <clattn/layer.h>
#include <criterion/criterion.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "rig.h"

enum { BATCH = 3, HEADS = 8, KV_HEADS = 2, DIM = 64, PAGE = 16, DRAFTS = 16 };
enum { POSITIONS = 1100, LONGEST = 1046, PATH = 77 /* id of the path that is decoded alone */ };

/* A draft comes behind its parent; an entry's tree has the first so many of them. */
static const int parents[DRAFTS] = {-1, 0, 1, 0, 3, -1, 5, 6, 6, 1, 2, 10, 11, -1, 4, 7};
static const int64_t prefixes[BATCH] = {600, 1030, 513}, drafts[BATCH] = {16, 5, 1};
static const uint64_t ids[BATCH] = {3, 1, 2};

static const char *const mask_function =
    "int visible(int batch, int head, int q, int k, __global const float *params)\n"
    "{\n"
    "    const int prefix = (int)params[batch * 17];\n"
    "    if (k < prefix)\n"
    "        return 1;\n"
    "    return (int)params[batch * 17 + 1 + q - prefix] >> (k - prefix) & 1;\n"
    "}\n";

typedef struct tree {
    clattn_context *context;
    const char *kernel; /* that it was made with */
    clattn_dispatcher *dispatcher;
    clattn_kv_cache *cache;
    clattn_buffer *angles;
    float *q, *k, *v;         /* (BATCH, heads, DRAFTS, DIM) */
    float *out, *of_function; /* (BATCH, HEADS, DRAFTS, DIM) of the trees */
    float *keys[BATCH];       /* (KV_HEADS, drafts, DIM) as the cache has them */
    uint8_t *mask;            /* (BATCH, 1, DRAFTS, LONGEST) */
    float params[BATCH][17];  /* the prefix, and the ancestors of each draft as bits */
    int32_t positions[BATCH][DRAFTS];
} tree;

static void good(clattn_status status)
{
    cr_assert_eq(status, CLATTN_OK, "%s: %s", rig_said(), clattn_error_message());
}

static void *room(int64_t count, size_t size)
{
    void *made = calloc((size_t)count, size);
    cr_assert_not_null(made);
    return made;
}

static float *numbers(int64_t count, uint32_t seed)
{
    float *made = room(count, sizeof *made);
    for (int64_t i = 0; i < count; i++)
        made[i] = rig_number(&seed);
    return made;
}

/* The path to a draft, itself last; returns its length. */
static int path_to(int draft, int path[DRAFTS])
{
    int length = 0;
    for (int at = draft; at >= 0; at = parents[at])
        length++;
    for (int at = draft, i = length; at >= 0; at = parents[at])
        path[--i] = at;
    return length;
}

static bool is_leaf(int64_t b, int draft)
{
    for (int64_t i = 0; i < drafts[b]; i++)
        if (parents[i] == draft)
            return false;
    return true;
}

static void make_entry(tree *t, int64_t b)
{
    t->params[b][0] = (float)prefixes[b];
    for (int i = 0; i < DRAFTS; i++) {
        int path[DRAFTS], ancestors = 0;
        const int length = path_to(i, path);
        uint8_t *row = t->mask + (b * DRAFTS + i) * LONGEST;
        memset(row, 1, (size_t)prefixes[b]);
        for (int n = 0; n < length; n++) {
            row[prefixes[b] + path[n]] = 1;
            ancestors |= 1 << path[n];
        }
        t->params[b][1 + i] = (float)ancestors;
        t->positions[b][i] = (int32_t)(prefixes[b] + length - 1);
    }
}

static void set_up(tree *t, clattn_context *context)
{
    float *angles = room((int64_t)POSITIONS * DIM, sizeof *angles);
    clattn_kv_cache_desc desc;
    memset(t, 0, sizeof *t);
    t->context = context;
    clattn_kv_cache_desc_init(&desc);
    desc.layers = 1;
    desc.n_kv_head = KV_HEADS;
    desc.head_dim = desc.value_dim = DIM;
    desc.page_size = PAGE;
    desc.pages = BATCH * (LONGEST / PAGE + 1) + 3;
    good(clattn_dispatcher_create(context, NULL, &t->dispatcher));
    good(clattn_kv_cache_create(context, &desc, &t->cache));
    good(clattn_rotary_angles(POSITIONS, DIM, 10000, NULL, angles));
    t->angles = rig_filled(context, angles, (uint64_t)POSITIONS * DIM * sizeof *angles);
    free(angles);
    t->q = numbers(BATCH * HEADS * DRAFTS * DIM, 1);
    t->k = numbers(BATCH * KV_HEADS * DRAFTS * DIM, 2);
    t->v = numbers(BATCH * KV_HEADS * DRAFTS * DIM, 3);
    t->out = room(BATCH * HEADS * DRAFTS * DIM, sizeof *t->out);
    t->of_function = room(BATCH * HEADS * DRAFTS * DIM, sizeof *t->out);
    t->mask = room(BATCH * DRAFTS * LONGEST, 1);
    for (int64_t b = 0; b < BATCH; b++) {
        t->keys[b] = room(KV_HEADS * DRAFTS * DIM, sizeof *t->keys[b]);
        make_entry(t, b);
        good(clattn_kv_cache_add(t->cache, ids[b]));
    }
}

static void tear_down(tree *t)
{
    float *const arrays[] = {t->q, t->k, t->v, t->out, t->of_function};
    clattn_kv_cache_destroy(t->cache);
    clattn_dispatcher_destroy(t->dispatcher);
    good(clattn_buffer_destroy(t->angles));
    for (size_t i = 0; i < sizeof arrays / sizeof arrays[0]; i++)
        free(arrays[i]);
    for (int64_t b = 0; b < BATCH; b++)
        free(t->keys[b]);
    free(t->mask);
}

/* ---- steps ----------------------------------------------------------------------------------- */

/* Tokens of some sequences, `most` places for each. */
typedef struct step {
    const uint64_t *ids;
    uint32_t count;
    int64_t most;
    const int64_t *tokens;    /* (count) */
    const int32_t *positions; /* (count, most) of each; NULL: by its place */
    int32_t added[BATCH], places[BATCH], lengths[BATCH], *pages;
    int64_t limit;
} step;

/* Room for the tokens, and where they go. */
static void extend(tree *t, step *s)
{
    s->limit = LONGEST / PAGE + 1;
    s->pages = room(s->count * s->limit, sizeof *s->pages);
    good(clattn_kv_cache_extend(t->cache, t->dispatcher, s->ids, s->tokens, s->count));
    good(clattn_kv_cache_tables(t->cache, s->ids, s->count, s->limit, s->pages, s->lengths));
    for (uint32_t n = 0; n < s->count; n++) {
        s->added[n] = (int32_t)s->tokens[n];
        s->places[n] = s->lengths[n] - s->added[n];
    }
}

/* k, v: (count, KV_HEADS, most, DIM) */
static void append(tree *t, const step *s, const float *k, const float *v)
{
    const uint64_t bytes = (uint64_t)(s->count * KV_HEADS * s->most * DIM) * sizeof *k;
    clattn_append_desc desc;
    clattn_plan *plan;
    clattn_append_desc_init(&desc);
    desc.batch = s->count;
    desc.n_kv = s->most;
    desc.slots = CLATTN_SLOT_BIT(CLATTN_SLOT_KV_LENGTHS) | CLATTN_SLOT_BIT(CLATTN_SLOT_ANGLES);
    desc.rotary_dim = DIM;
    desc.n_positions = POSITIONS;
    if (s->positions)
        desc.slots |= CLATTN_SLOT_BIT(CLATTN_SLOT_TOKEN_POSITIONS);
    good(clattn_kv_cache_describe_append(t->cache, LONGEST, &desc));
    clattn_binding bindings[9] = {
        {.slot = CLATTN_SLOT_K, .buffer = rig_filled(t->context, k, bytes)},
        {.slot = CLATTN_SLOT_V, .buffer = rig_filled(t->context, v, bytes)},
        {.slot = CLATTN_SLOT_ANGLES, .buffer = t->angles},
        {.slot = CLATTN_SLOT_PAGES, .host = s->pages},
        {.slot = CLATTN_SLOT_POSITIONS, .host = s->places},
        {.slot = CLATTN_SLOT_KV_LENGTHS, .host = s->added},
    };
    good(clattn_kv_cache_bind(t->cache, 0, 1, bindings + 6));
    bindings[8] = (clattn_binding){.slot = CLATTN_SLOT_TOKEN_POSITIONS, .host = s->positions};
    good(clattn_plan_append(t->context, &desc, &plan));
    rig_step(t->dispatcher, plan, bindings, s->positions ? 9 : 8);
    clattn_plan_destroy(plan);
    good(clattn_buffer_destroy(bindings[0].buffer));
    good(clattn_buffer_destroy(bindings[1].buffer));
}

/* How the queries of a step see keys. */
typedef enum seeing { BY_MASK, BY_FUNCTION, CAUSALLY } seeing;

static clattn_attention_desc describe(tree *t, const step *s, seeing how)
{
    clattn_attention_desc desc;
    clattn_attention_desc_init(&desc);
    desc.batch = s->count;
    desc.n_head = HEADS;
    desc.n_q = s->most;
    desc.n_kv = LONGEST;
    desc.rotary_dim = DIM;
    desc.n_positions = POSITIONS;
    desc.slots = CLATTN_SLOT_BIT(CLATTN_SLOT_ANGLES) | CLATTN_SLOT_BIT(CLATTN_SLOT_Q_LENGTHS);
    if (how == BY_MASK) {
        desc.slots |= CLATTN_SLOT_BIT(CLATTN_SLOT_MASK);
        desc.tensor[CLATTN_SLOT_MASK] =
            (clattn_tensor){.strided = 1, .stride = {DRAFTS * LONGEST, 0, LONGEST, 1}};
    } else {
        desc.align = CLATTN_ALIGN_BOTTOM_RIGHT;
    }
    if (how == BY_FUNCTION) {
        desc.mask_function = mask_function;
        desc.slots |= CLATTN_SLOT_BIT(CLATTN_SLOT_PARAMS);
        desc.n_params = sizeof t->params / sizeof(float);
    }
    desc.causal = how == CAUSALLY;
    if (s->positions)
        desc.slots |= CLATTN_SLOT_BIT(CLATTN_SLOT_TOKEN_POSITIONS);
    good(clattn_kv_cache_describe_attention(t->cache, &desc));
    return desc;
}

/* q, out: (count, HEADS, most, DIM) */
static void attend(tree *t, const step *s, seeing how, const float *q, float *out)
{
    const uint64_t bytes = (uint64_t)(s->count * HEADS * s->most * DIM) * sizeof *q;
    const clattn_attention_desc desc = describe(t, s, how);
    clattn_plan *plan;
    uint32_t count = 8;
    clattn_binding bindings[10] = {
        {.slot = CLATTN_SLOT_Q, .buffer = rig_filled(t->context, q, bytes)},
        {.slot = CLATTN_SLOT_OUT, .buffer = rig_filled(t->context, NULL, bytes)},
        {.slot = CLATTN_SLOT_ANGLES, .buffer = t->angles},
        {.slot = CLATTN_SLOT_PAGES, .host = s->pages},
        {.slot = CLATTN_SLOT_KV_LENGTHS, .host = s->lengths},
        {.slot = CLATTN_SLOT_Q_LENGTHS, .host = s->added},
    };
    good(clattn_kv_cache_bind(t->cache, 0, 0, bindings + 6));
    if (s->positions)
        bindings[count++] =
            (clattn_binding){.slot = CLATTN_SLOT_TOKEN_POSITIONS, .host = s->positions};
    clattn_buffer *mask = rig_filled(t->context, t->mask, (uint64_t)BATCH * DRAFTS * LONGEST);
    if (how == BY_MASK)
        bindings[count++] = (clattn_binding){.slot = CLATTN_SLOT_MASK, .buffer = mask};
    if (how == BY_FUNCTION)
        bindings[count++] = (clattn_binding){.slot = CLATTN_SLOT_PARAMS, .host = t->params};
    good(clattn_plan_attention(t->context, &desc, &plan));
    if (strcmp(t->kernel, "attention_decode_simd") == 0)
        rig_expect_kernel(t->context, &desc, t->kernel); /* and not its companion */
    rig_step(t->dispatcher, plan, bindings, count);
    good(clattn_buffer_read(bindings[1].buffer, 0, out, bytes));
    clattn_plan_destroy(plan);
    good(clattn_buffer_destroy(mask));
    good(clattn_buffer_destroy(bindings[0].buffer));
    good(clattn_buffer_destroy(bindings[1].buffer));
}

/* ---- trees and paths ------------------------------------------------------------------------- */

static void append_prefixes(tree *t)
{
    step s = {.ids = ids, .count = BATCH, .most = 1030, .tokens = prefixes};
    float *k = numbers(BATCH * KV_HEADS * s.most * DIM, 5);
    float *v = numbers(BATCH * KV_HEADS * s.most * DIM, 6);
    extend(t, &s);
    append(t, &s, k, v);
    free(s.pages);
    free(k);
    free(v);
}

/* Whether rows of heads, `step` apart, are the same within the bound. */
static void expect_near(const float *a, int64_t a_step, const float *b, int64_t b_step)
{
    for (int64_t h = 0; h < HEADS; h++)
        for (int64_t d = 0; d < DIM; d++) {
            const float x = a[h * a_step + d], y = b[h * b_step + d];
            cr_assert(fabsf(x - y) <= 2 * (float)RIG_BOUND, "%s: head %d, element %d is %g, not %g",
                      rig_said(), (int)h, (int)d, (double)x, (double)y);
        }
}

/* All drafts of all trees in one step; then the prefixes alone are left. */
static void run_trees(tree *t, bool function_too)
{
    step s = {.ids = ids,
              .count = BATCH,
              .most = DRAFTS,
              .tokens = drafts,
              .positions = &t->positions[0][0]};
    extend(t, &s);
    append(t, &s, t->k, t->v);
    attend(t, &s, BY_MASK, t->q, t->out);
    if (function_too)
        attend(t, &s, BY_FUNCTION, t->q, t->of_function);
    for (int64_t b = 0; b < BATCH; b++) {
        const clattn_kv_range range = {ids[b], 0, prefixes[b], drafts[b]};
        float *values = room(KV_HEADS * DRAFTS * DIM, sizeof *values);
        good(clattn_kv_cache_read(t->cache, &range, t->keys[b], values));
        good(clattn_kv_cache_truncate(t->cache, ids[b], prefixes[b]));
        free(values);
        for (int64_t i = 0; function_too && i < drafts[b]; i++) {
            const int64_t row = b * HEADS * DRAFTS * DIM + i * DIM;
            rig_say("entry %d, draft %d, mask function", (int)b, (int)i);
            expect_near(t->of_function + row, DRAFTS * DIM, t->out + row, DRAFTS * DIM);
        }
    }
    free(s.pages);
}

/* Rows of a path, (heads, length, DIM). */
static float *gather(const float *from, int64_t heads, int64_t b, const int *path, int length)
{
    float *made = room(heads * length * DIM, sizeof *made);
    for (int64_t h = 0; h < heads; h++)
        for (int i = 0; i < length; i++)
            memcpy(made + (h * length + i) * DIM, from + ((b * heads + h) * DRAFTS + path[i]) * DIM,
                   DIM * sizeof *made);
    return made;
}

static void check_path(const tree *t, int64_t b, const int *path, int length, const float *out)
{
    float *keys = room(KV_HEADS * DRAFTS * DIM, sizeof *keys),
          *values = room(KV_HEADS * DRAFTS * DIM, sizeof *values);
    const clattn_kv_range range = {PATH, 0, prefixes[b], length};
    good(clattn_kv_cache_read(t->cache, &range, keys, values));
    for (int64_t i = 0; i < length; i++) {
        expect_near(t->out + (b * HEADS * DRAFTS + path[i]) * DIM, DRAFTS * DIM, out + i * DIM,
                    (int64_t)length * DIM);
        for (int64_t h = 0; h < KV_HEADS; h++)
            cr_assert_eq(memcmp(t->keys[b] + (h * drafts[b] + path[i]) * DIM,
                                keys + (h * length + i) * DIM, DIM * sizeof *keys),
                         0, "%s: the key of draft %d has other bits", rig_said(), path[i]);
    }
    free(keys);
    free(values);
}

/* A path as the only one: by place, and causally. */
static void run_path(tree *t, int64_t b, int leaf)
{
    int path[DRAFTS];
    const uint64_t id = PATH;
    const int64_t length = path_to(leaf, path);
    step s = {.ids = &id, .count = 1, .most = length, .tokens = &length};
    float *q = gather(t->q, HEADS, b, path, (int)length);
    float *k = gather(t->k, KV_HEADS, b, path, (int)length);
    float *v = gather(t->v, KV_HEADS, b, path, (int)length);
    float *out = room(HEADS * length * DIM, sizeof *out);
    good(clattn_kv_cache_fork(t->cache, PATH, ids[b], prefixes[b]));
    extend(t, &s);
    append(t, &s, k, v);
    attend(t, &s, CAUSALLY, q, out);
    check_path(t, b, path, (int)length, out);
    good(clattn_kv_cache_remove(t->cache, PATH));
    free(s.pages);
    free(q);
    free(k);
    free(v);
    free(out);
}

/* The mask function is another program: of the kernels that it is for. */
static void trees_and_paths(clattn_context *context, const char *kernel)
{
    tree t;
    set_up(&t, context);
    t.kernel = kernel;
    append_prefixes(&t);
    run_trees(&t, strstr(kernel, "decode"));
    for (int64_t b = 0; b < BATCH; b++)
        for (int leaf = 0; leaf < drafts[b]; leaf++)
            if (is_leaf(b, leaf)) {
                rig_say("%s, entry %d, path to draft %d", kernel, (int)b, leaf);
                run_path(&t, b, leaf);
            }
    tear_down(&t);
}

Test(tree, has_paths_that_are_sequences, .timeout = 600)
{
    rig_each_kernel(trees_and_paths);
}
