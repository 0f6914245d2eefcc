/* Score and mask functions of the caller's: the files of examples/functions on every kernel and
 * every device against the double-precision oracle, which gets the same functions in C. */
#include <criterion/criterion.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "functions_rig.h"
#include "tests/for_attention.h"
#include "tests/shortened.h"

#define COUNT(array) (sizeof(array) / sizeof(array)[0])
#define FORM         "int batch, int head, int q, int k, __global const float *params)\n"
#define VECTOR       "int batch, int head, int q, vint k, __global const float *params)\n"
#define TILE                                                                                       \
    "#define CLATTN_VISIBLE_TILE\n"                                                                \
    "int visible_tile(int batch, int head, int q_begin, int q_end, int k_begin, int k_end,\n"      \
    "                 __global const float *params)\n"

/* ---- the examples, once more in C ------------------------------------------------------------ */

static double relative_bias(const void *user, double s, const int64_t at[4])
{
    const float *params = user;
    const int64_t reach = (int64_t)params[0], distance = at[3] - at[2];
    const int64_t clipped = distance < -reach ? -reach : distance > reach ? reach : distance;
    return s + (double)params[1 + at[1] * (2 * reach + 1) + reach + clipped];
}

static double tanh_cap(const void *user, double s, const int64_t at[4])
{
    const float *params = user;
    (void)at;
    return (double)params[0] * tanh(s / (double)params[0]);
}

static bool document_mask(const void *user, const int64_t at[4])
{
    const float *document = (const float *)user + 1 + at[0] * (int64_t) * (const float *)user;
    return document[at[2]] == document[at[3]];
}

static bool prefix_lm(const void *user, const int64_t at[4])
{
    return at[3] <= at[2] || (double)at[3] < (double)((const float *)user)[at[0]];
}

static bool dilated_window(const void *user, const int64_t at[4])
{
    const float *params = user;
    const int64_t distance = at[3] > at[2] ? at[3] - at[2] : at[2] - at[3];
    return distance % (int64_t)params[0] == 0 && distance <= (int64_t)params[1];
}

static int64_t bias_params(float *params, int64_t n_kv)
{
    uint32_t state = 5;
    (void)n_kv;
    params[0] = 20;
    for (int i = 0; i < FUNCTIONS_HEADS * 41; i++)
        params[1 + i] = 2 * rig_number(&state);
    return 1 + FUNCTIONS_HEADS * 41;
}

static int64_t cap_params(float *params, int64_t n_kv)
{
    (void)n_kv;
    params[0] = 0.75f;
    return 1;
}

/* Documents of 1, 2, 4, 8, ... tokens; in the second entry of 90 and more. */
static int64_t document_params(float *params, int64_t n_kv)
{
    params[0] = (float)n_kv;
    for (int64_t i = 0; i < n_kv; i++) {
        params[1 + i] = floorf(log2f((float)i + 1));
        params[1 + n_kv + i] = (float)(i / 90);
    }
    return 1 + FUNCTIONS_BATCH * n_kv;
}

static int64_t prefix_params(float *params, int64_t n_kv)
{
    params[0] = 3;
    params[1] = (float)(n_kv / 2);
    return FUNCTIONS_BATCH;
}

static int64_t window_params(float *params, int64_t n_kv)
{
    (void)n_kv;
    params[0] = 3;
    params[1] = 40;
    return 2;
}

/* Sizes and alignments beyond self-attention; the documents are for that alone. The last is one for
 * decoding. */
static const functions_size sizes[] = {
    {97, 97, CLATTN_ALIGN_NONE, 0},          {300, 300, CLATTN_ALIGN_TOP_LEFT, 0},
    {37, 301, CLATTN_ALIGN_BOTTOM_RIGHT, 0}, {50, 33, CLATTN_ALIGN_BOTTOM_RIGHT, 0},
    {20, 200, CLATTN_ALIGN_OFFSET, 77},      {8, 600, CLATTN_ALIGN_BOTTOM_RIGHT, 0},
};

/* The size of tests that need only one: what the kernel is for. */
static const functions_size *usual_size(const char *kernel)
{
    return is_for_few_queries(kernel) ? &sizes[COUNT(sizes) - 1] : &sizes[2];
}

static const struct {
    const char *file;
    functions_set functions;
    size_t sizes; /* how many of `sizes` */
} examples[] = {
    {"relative_bias.cl", {.score_function = relative_bias, .params = bias_params}, COUNT(sizes)},
    {"tanh_cap.cl", {.score_function = tanh_cap, .params = cap_params}, COUNT(sizes)},
    {"document_mask.cl", {.mask_function = document_mask, .params = document_params}, 2},
    {"prefix_lm.cl", {.mask_function = prefix_lm, .params = prefix_params}, COUNT(sizes)},
    {"dilated_window.cl", {.mask_function = dilated_window, .params = window_params}, COUNT(sizes)},
};

/* The text with its vector forms and predicates no longer announced. */
static char *scalar_only(const char *text)
{
    char *copy = functions_copy(text), *at = copy;
    while ((at = strstr(at, "#define CLATTN_")))
        memcpy(at + 8, "USER_NO", 7);
    return copy;
}

/* True if the kernel has accepted it. `full`: with WEIGHTS, which not every kernel returns. */
static bool run_example(clattn_context *context, functions_set of, char *text,
                        const functions_size *size, bool full)
{
    functions_trial whole, scalar;
    char *plain = scalar_only(text);
    *(of.score_function ? &of.score : &of.mask) = text;
    functions_set_up(&whole, &of, size);
    whole.full = full;
    *(of.score_function ? &of.score : &of.mask) = plain;
    functions_set_up(&scalar, &of, size);
    const bool ran = functions_run(context, &whole);
    if (ran)
        functions_check(&whole);
    if (strcmp(text, plain) != 0 && functions_run(context, &scalar)) {
        functions_check(&scalar);
        /* masks only choose; scores may be computed in other instructions */
        cr_assert(ran, "%s: declined with vector forms alone", rig_said());
        if (of.mask)
            cr_assert(functions_equal(&whole, &scalar), "%s: other bits without vector forms",
                      rig_said());
    }
    functions_tear_down(&whole);
    functions_tear_down(&scalar);
    free(plain);
    return ran;
}

/* Every text; in short, or of kernels that are slow to compile, the first and the last one. */
static size_t step_of_texts(const char *kernel, size_t count)
{
    return is_for_lanes(kernel) || is_shortened() ? count - 1 : 1;
}

static void examples_on(clattn_context *context, const char *kernel)
{
    int ran = 0;
    for (size_t i = 0; i < COUNT(examples); i += step_of_texts(kernel, COUNT(examples))) {
        char *text = functions_read(FUNCTION_FOLDER, examples[i].file);
        const size_t step = is_shortened() && !is_for_few_queries(kernel) ? 2 : 1;
        for (size_t n = 0; n < examples[i].sizes; n += step) {
            rig_say("%s, %s, size %d", kernel, examples[i].file, (int)n);
            ran += run_example(context, examples[i].functions, text, &sizes[n],
                               !is_for_few_queries(kernel));
        }
        free(text);
    }
    cr_assert(ran > 0, "%s has declined everything", kernel);
}

Test(functions, the_examples)
{
    rig_each_kernel_alone(examples_on);
}

/* ---- which form is called -------------------------------------------------------------------- */

static double by_key(const void *user, double s, const int64_t at[4])
{
    (void)user;
    return s + 0.25 * (double)(at[3] % 8);
}

static bool even_keys(const void *user, const int64_t at[4])
{
    (void)user;
    return at[3] % 2 == 0;
}

/* A vector form takes the scalar one's place: here that one would be seen, or is missing. */
static const functions_set forms[] = {
    {.score = "float score(float s, " FORM "{ return 0.0f; }\n"
              "#define CLATTN_SCORE_VECTOR\n"
              "vfloat score_vector(vfloat s, " VECTOR
              "{ return s + 0.25f * convert_vfloat(k % (vint)8); }\n",
     .score_function = by_key},
    {.score = "#define CLATTN_SCORE_VECTOR\n"
              "vfloat score_vector(vfloat s, " VECTOR
              "{ return s + 0.25f * convert_vfloat(k & (vint)7); }\n",
     .score_function = by_key},
    {.mask = "int visible(" FORM "{ return 0; }\n"
             "#define CLATTN_VISIBLE_VECTOR\n"
             "vint visible_vector(" VECTOR "{ return (k & (vint)1) == (vint)0; }\n",
     .mask_function = even_keys},
    {.score = "#define CLATTN_SCORE_VECTOR\n"
              "vfloat score_vector(vfloat s, " VECTOR
              "{ return s + 0.25f * convert_vfloat(k & (vint)7); }\n",
     .mask = "#define CLATTN_VISIBLE_VECTOR\n"
             "vint visible_vector(" VECTOR "{ return (k & (vint)1) - (vint)1; }\n",
     .score_function = by_key,
     .mask_function = even_keys},
};

static void forms_on(clattn_context *context, const char *kernel)
{
    for (size_t i = 0; i < COUNT(forms); i += step_of_texts(kernel, COUNT(forms))) {
        functions_trial trial;
        rig_say("%s, form %d", kernel, (int)i);
        functions_set_up(&trial, &forms[i], usual_size(kernel));
        cr_assert(functions_run(context, &trial), "%s: declined", rig_said());
        functions_check(&trial);
        functions_tear_down(&trial);
    }
}

Test(functions, vector_forms_replace_scalar_ones)
{
    rig_each_kernel_alone(forms_on);
}

/* ---- tiles ----------------------------------------------------------------------------------- */

static bool sees_nothing(const void *user, const int64_t at[4])
{
    (void)user;
    (void)at;
    return false;
}

static bool sees_all(const void *user, const int64_t at[4])
{
    (void)user;
    (void)at;
    return true;
}

/* A predicate that contradicts `visible`: kernels that look at whole tiles believe it, others don't
 * ask. */
static void tiles_on(clattn_context *context, const char *kernel)
{
    const bool skips = strcmp(kernel, "attention_simd") == 0;
    const functions_set hiding = {
        .mask = "int visible(" FORM "{ return 1; }\n" TILE "{ return 0; }\n",
        .mask_function = skips ? sees_nothing : sees_all,
    };
    for (size_t n = 0; n < COUNT(sizes); n++) {
        functions_trial trial;
        rig_say("%s, hidden tiles, size %d", kernel, (int)n);
        functions_set_up(&trial, &hiding, &sizes[n]);
        if (functions_run(context, &trial))
            functions_check(&trial);
        functions_tear_down(&trial);
    }
}

Test(functions, a_hidden_tile_is_skipped)
{
    rig_each_kernel_alone(tiles_on);
}

/* Says 0, and hides everything that way, if it is ever asked what docs/functions.md excludes. */
static void ranges_on(clattn_context *context, const char *kernel)
{
    const functions_set careful = {
        .mask = "int visible(" FORM "{ return 1; }\n" TILE "{\n"
                "    const int from = (int)params[0], queries = (int)params[1];\n"
                "    return q_begin >= from && q_begin < q_end && q_end <= from + queries &&\n"
                "           k_begin >= 0 && k_begin < k_end && k_end <= (int)params[2];\n"
                "}\n",
        .mask_function = sees_all,
        .params = functions_range_params,
    };
    for (size_t n = 0; n < COUNT(sizes); n++) {
        functions_trial trial;
        rig_say("%s, ranges of tiles, size %d", kernel, (int)n);
        functions_set_up(&trial, &careful, &sizes[n]);
        trial.params[0] = (float)functions_offset(&sizes[n]);
        trial.params[1] = (float)sizes[n].n_q;
        if (functions_run(context, &trial))
            functions_check(&trial);
        functions_tear_down(&trial);
    }
}

Test(functions, tiles_are_ranges_of_what_is_there)
{
    rig_each_kernel_alone(ranges_on);
}

/* ---- names ----------------------------------------------------------------------------------- */

static bool odd_keys(const void *user, const int64_t at[4])
{
    (void)user;
    return at[3] % 2 == 1;
}

/* Names that begin with user_ are nobody else's, whatever follows. */
static void names_on(clattn_context *context, const char *kernel)
{
    const functions_set own = {
        .score = "typedef float user_block;\n"
                 "#define USER_PANEL 8\n"
                 "static user_block user_weight(int j) { return (user_block)(j % USER_PANEL); }\n"
                 "float score(float s, " FORM "{ return s + 0.25f * user_weight(k); }\n",
        .mask = "static int user_pairs(int k) { return k % 2 == 1; }\n"
                "int visible(" FORM "{ return user_pairs(k); }\n",
        .score_function = by_key,
        .mask_function = odd_keys,
    };
    functions_trial trial;
    rig_say("%s, names", kernel);
    functions_set_up(&trial, &own, usual_size(kernel));
    trial.full = !is_for_few_queries(kernel);
    cr_assert(functions_run(context, &trial), "%s: declined", rig_said());
    functions_check(&trial);
    functions_tear_down(&trial);
}

Test(functions, helpers)
{
    rig_each_kernel_alone(names_on);
}

/* ---- what doesn't build ---------------------------------------------------------------------- */

#define SCORE   "float score(float s, " FORM "{ return s; }\n"
#define VISIBLE "int visible(" FORM "{ return 1; }\n"

static const struct {
    const char *score, *mask, *says, *also;
} refused[] = {
    {"float score(float s, " FORM "{\n\n    return s + nothing;\n}\n", NULL,
     "score_function: attention_", "score_function:4"},
    {"/* a\n   comment */\nfloat score(float s, " FORM "{ return s }\n", NULL,
     "score_function: attention_", "score_function:4"},
    {NULL, "int visible(" FORM "{\n    return k <= ;\n}\n", "mask_function: attention_",
     "mask_function:3"},
    {SCORE, "int visible(" FORM "{ return x; }\n", "score_function, mask_function: attention_",
     "mask_function:2"},
    {"float sc0re(float s, " FORM "{ return s; }\n", NULL,
     "score_function: the text defines no function `score`", "did not build"},
    {"// float score(float s, " FORM "", NULL,
     "score_function: the text defines no function `score`", "did not build"},
    {SCORE "#define CLATTN_SCORE_VECTOR\n", NULL,
     "score_function: the text defines no function `score_vector`", "did not build"},
    {NULL, SCORE, "mask_function: the text defines no function `visible`", "did not build"},
    {SCORE, SCORE, "mask_function: the text defines no function `visible`", "did not build"},
    {NULL, VISIBLE "#define CLATTN_VISIBLE_VECTOR\n",
     "mask_function: the text defines no function `visible_vector`", "did not build"},
    /* two helpers of one name, and names that the library has */
    {"float user_f(float s) { return s; }\n" SCORE, "int user_f(int k) { return k; }\n" VISIBLE,
     "score_function, mask_function: attention_", "mask_function:1"},
    {"float keys_of(float s) { return s; }\n" SCORE, NULL, "score_function: attention_", "keys_of"},
    {"typedef float tokens;\n" SCORE, NULL, "score_function: attention_", "tokens"},
};

static void refusals_on(clattn_context *context, const char *kernel)
{
    for (size_t i = 0; i < COUNT(refused); i++) {
        const functions_set bad = {.score = refused[i].score, .mask = refused[i].mask};
        clattn_status status;
        functions_trial trial;
        functions_set_up(&trial, &bad, &sizes[0]);
        status = functions_try(context, &trial);
        functions_tear_down(&trial);
        if (status == CLATTN_ERR_UNSUPPORTED)
            continue; /* not a kernel for attention, or for this device */
        cr_assert_eq(status, CLATTN_ERR_BUILD, "%s, row %d: status %d", kernel, (int)i, status);
        const char *message = clattn_error_message();
        cr_assert_eq(strncmp(message, refused[i].says, strlen(refused[i].says)), 0,
                     "%s, row %d: %s", kernel, (int)i, message);
        cr_assert(strstr(message, refused[i].also), "%s, row %d: %s", kernel, (int)i, message);
    }
}

Test(functions, what_does_not_build)
{
    rig_each_kernel(refusals_on);
}
