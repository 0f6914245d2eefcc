/* reference_cases PATH...: the oracle against the conformance cases of kind attention and ragged
 * and of ONNX's operator below the paths, so that what judges the library is judged itself. Prints
 * a line per output that differs and, last, "N passed, M failed", outputs counted. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/conformance/compare.h"
#include "tests/conformance/walk.h"
#include "tests/oracle/oracle.h"

#define TENSORS 16

/* A problem with its memory. */
typedef struct reference {
    oracle_problem p;
    void *owned[TENSORS];
    int owned_count;
    int64_t n_past; /* keys in front of the case's */
} reference;

static void *own(reference *r, size_t size)
{
    void *memory = calloc(size + 1, 1);
    if (!memory || r->owned_count == TENSORS) {
        fputs("reference_cases: out of memory\n", stderr);
        exit(1);
    }
    r->owned[r->owned_count++] = memory;
    return memory;
}

static double *own_doubles(reference *r, int64_t count)
{
    return own(r, (size_t)count * sizeof(double));
}

/* Extents of a tensor (batch, heads, length, dim), whatever its rank in the case. */
typedef struct extents {
    int64_t batch, heads, length, dim;
} extents;

static extents extents_of(const npy_array *a, double heads)
{
    const int64_t h = (int64_t)heads;
    return a->rank == 4 ? (extents){a->shape[0], a->shape[1], a->shape[2], a->shape[3]}
                        : (extents){a->shape[0], h, a->shape[1], a->shape[2] / h};
}

/* Element (b, h, i, d) of such a tensor: 3-D ones are (batch, length, heads * dim). */
static int64_t element(const npy_array *a, const extents *e, const int64_t at[4])
{
    if (a->rank == 4)
        return ((at[0] * e->heads + at[1]) * e->length + at[2]) * e->dim + at[3];
    return (at[0] * e->length + at[2]) * e->heads * e->dim + at[1] * e->dim + at[3];
}

/* Appends the tensor along the sequence to `to`: (batch, heads, total, dim), from `first` on. */
static void place(const npy_array *a, double heads, float *to, int64_t total, int64_t first)
{
    const extents e = extents_of(a, heads);
    int64_t at[4];
    for (at[0] = 0; at[0] < e.batch; at[0]++)
        for (at[1] = 0; at[1] < e.heads; at[1]++)
            for (at[2] = 0; at[2] < e.length; at[2]++)
                for (at[3] = 0; at[3] < e.dim; at[3]++)
                    to[((at[0] * e.heads + at[1]) * total + first + at[2]) * e.dim + at[3]] =
                        (float)a->value[element(a, &e, at)];
}

/* Past and new rows, one after the other: (batch, heads, total, dim). */
static float *joined(reference *r, const npy_array *past, const npy_array *new_rows, double heads)
{
    const extents e = extents_of(new_rows, heads);
    const int64_t n_past = past ? past->shape[2] : 0, total = n_past + e.length;
    float *to = own(r, (size_t)(e.batch * e.heads * total * e.dim) * sizeof *to);
    if (past)
        place(past, heads, to, total, 0);
    place(new_rows, heads, to, total, n_past);
    return to;
}

static float *floats(reference *r, const npy_array *a)
{
    float *to = own(r, (size_t)a->count * sizeof *to);
    for (int64_t n = 0; n < a->count; n++)
        to[n] = (float)a->value[n];
    return to;
}

static int32_t *integers(reference *r, const npy_array *a)
{
    int32_t *to = own(r, (size_t)a->count * sizeof *to);
    for (int64_t n = 0; n < a->count; n++)
        to[n] = (int32_t)a->value[n];
    return to;
}

/* The element of a tensor broadcast to (batch, n_head, n_q, n_kv); -1: beyond its last key. */
static int64_t broadcast_element(const npy_array *a, const int64_t at[4])
{
    int64_t index = 0;
    for (uint32_t n = 0; n < a->rank; n++) {
        const int64_t x = at[4 - a->rank + n];
        if (n == a->rank - 1 && a->shape[n] != 1 && x >= a->shape[n])
            return -1;
        index = index * a->shape[n] + (a->shape[n] == 1 ? 0 : x);
    }
    return index;
}

/* Sets mask or bias; keys beyond the tensor's last are not visible. */
static void set_mask(reference *r, const npy_array *a)
{
    oracle_problem *p = &r->p;
    const size_t count = (size_t)(p->batch * p->n_head * p->n_q * p->n_kv);
    uint8_t *mask = own(r, count);
    float *bias = own(r, count * sizeof *bias);
    int64_t at[4], n = 0;
    for (at[0] = 0; at[0] < p->batch; at[0]++)
        for (at[1] = 0; at[1] < p->n_head; at[1]++)
            for (at[2] = 0; at[2] < p->n_q; at[2]++)
                for (at[3] = 0; at[3] < p->n_kv; at[3]++, n++) {
                    const int64_t from = broadcast_element(a, at);
                    const bool is_bool = a->type[0] == 'b';
                    mask[n] = from >= 0 && (!is_bool || a->value[from] != 0);
                    bias[n] = from < 0 || is_bool ? 0 : (float)a->value[from];
                }
    p->mask = mask;
    p->bias = bias;
}

static void own_outputs(reference *r)
{
    oracle_problem *p = &r->p;
    const int64_t rows = p->batch * p->n_head * p->n_q;
    p->out = own_doubles(r, rows * p->value_dim);
    p->lse = own_doubles(r, rows);
    p->weights = own_doubles(r, rows * p->n_kv);
    p->scores = own_doubles(r, rows * p->n_kv);
}

static void set_extents(reference *r, const npy_array *const qkv[3], const double heads[3])
{
    const extents q = extents_of(qkv[0], heads[0]), k = extents_of(qkv[1], heads[1]);
    const extents v = extents_of(qkv[2], heads[2]);
    oracle_problem *p = &r->p;
    p->batch = q.batch;
    p->n_head = q.heads;
    p->n_q = q.length;
    p->head_dim = q.dim;
    p->n_kv_head = k.heads;
    p->n_kv = k.length + r->n_past;
    p->value_dim = v.dim;
}

static void set_options(reference *r, const test_case *c)
{
    oracle_problem *p = &r->p;
    const npy_array *bias = case_input(c, "bias"), *mask = case_input(c, "mask");
    const npy_array *alibi = case_input(c, "alibi_slopes"), *sink = case_input(c, "sink");
    const npy_array *lengths = case_input(c, "kv_lengths");
    const cJSON *window = case_attribute(c, "window");
    p->scale = case_number(c, "scale", 1 / sqrt((double)p->head_dim));
    p->softcap = case_number(c, "softcap", 0);
    p->causal = case_flag(c, "causal");
    p->bottom_right = strcmp(case_text(c, "align", ""), "bottom-right") == 0;
    p->has_window = window != NULL;
    p->window_left = window ? (int64_t)cJSON_GetArrayItem(window, 0)->valuedouble : 0;
    p->window_right = window ? (int64_t)cJSON_GetArrayItem(window, 1)->valuedouble : 0;
    p->alibi = alibi ? floats(r, alibi) : NULL;
    p->sink = sink ? floats(r, sink) : NULL;
    p->kv_lengths = lengths ? integers(r, lengths) : NULL;
    if (mask || bias)
        set_mask(r, mask ? mask : bias);
}

static void set_attention(reference *r, const test_case *c)
{
    const npy_array *qkv[] = {case_input(c, "q"), case_input(c, "k"), case_input(c, "v")};
    set_extents(r, qkv, (const double[]){0, 0, 0});
    r->p.q = floats(r, qkv[0]);
    r->p.k = floats(r, qkv[1]);
    r->p.v = floats(r, qkv[2]);
    set_options(r, c);
}

/* Tokens (token, head, dim) to padded sequences (sequence, head, longest, dim). */
static float *padded(reference *r, const npy_array *a, const npy_array *cumulative)
{
    const int64_t batch = cumulative->count - 1, heads = a->shape[1], dim = a->shape[2];
    const int64_t longest = a->shape[0];
    float *to = own(r, (size_t)(batch * a->count) * sizeof *to);
    for (int64_t b = 0; b < batch; b++)
        for (int64_t t = (int64_t)cumulative->value[b]; t < (int64_t)cumulative->value[b + 1]; t++)
            for (int64_t h = 0; h < heads; h++)
                for (int64_t d = 0; d < dim; d++)
                    to[((b * heads + h) * longest + t - (int64_t)cumulative->value[b]) * dim + d] =
                        (float)a->value[(t * heads + h) * dim + d];
    return to;
}

static int32_t *lengths_of(reference *r, const npy_array *cumulative)
{
    int32_t *length = own(r, (size_t)cumulative->count * sizeof *length);
    for (int64_t b = 0; b + 1 < cumulative->count; b++)
        length[b] = (int32_t)(cumulative->value[b + 1] - cumulative->value[b]);
    return length;
}

static void set_ragged(reference *r, const test_case *c)
{
    const npy_array *q = case_input(c, "q"), *k = case_input(c, "k"), *v = case_input(c, "v");
    const npy_array *of_q = case_input(c, "cu_seqlens_q"), *of_k = case_input(c, "cu_seqlens_k");
    oracle_problem *p = &r->p;
    p->batch = of_q->count - 1;
    p->n_head = q->shape[1];
    p->n_kv_head = k->shape[1];
    p->n_q = q->shape[0];
    p->n_kv = k->shape[0];
    p->head_dim = q->shape[2];
    p->value_dim = v->shape[2];
    p->q = padded(r, q, of_q);
    p->k = padded(r, k, of_k);
    p->v = padded(r, v, of_k);
    set_options(r, c);
    p->q_lengths = lengths_of(r, of_q);
    p->kv_lengths = lengths_of(r, of_k);
}

static void set_onnx(reference *r, const test_case *c)
{
    const npy_array *qkv[] = {case_input(c, "Q"), case_input(c, "K"), case_input(c, "V")};
    const npy_array *past_k = case_input(c, "past_key"), *past_v = case_input(c, "past_value");
    const npy_array *mask = case_input(c, "attn_mask"), *n = case_input(c, "nonpad_kv_seqlen");
    const double kv_heads = case_number(c, "kv_num_heads", 1);
    const double heads[] = {case_number(c, "q_num_heads", 1), kv_heads, kv_heads};
    oracle_problem *p = &r->p;
    r->n_past = past_k ? past_k->shape[2] : 0;
    set_extents(r, qkv, heads);
    p->q = joined(r, NULL, qkv[0], heads[0]);
    p->k = joined(r, past_k, qkv[1], kv_heads);
    p->v = joined(r, past_v, qkv[2], kv_heads);
    p->scale = case_number(c, "scale", 1 / sqrt((double)p->head_dim));
    p->softcap = case_number(c, "softcap", 0);
    p->causal = case_flag(c, "is_causal");
    p->causal_offset = r->n_past;
    p->bottom_right = n != NULL;
    p->window_left = (int64_t)case_number(c, "left_window_size", -1);
    p->window_right = (int64_t)case_number(c, "right_window_size", -1);
    p->has_window = true;
    p->kv_lengths = n ? integers(r, n) : NULL;
    p->score_stage = (oracle_stage)case_number(c, "qk_matmul_output_mode", 0);
    if (mask)
        set_mask(r, mask);
}

/* Element n of an output of the case. */
static double computed(const reference *r, const test_case *c, const case_array *output, int64_t n)
{
    const oracle_problem *p = &r->p;
    const npy_array *a = &output->array;
    const char first = output->name[0];
    if (strcmp(output->name, "lse") != 0 && strcmp(output->name, "out") != 0 && first != 'Y')
        return first == 'w' ? p->weights[n] : p->scores[n];
    const int64_t dim = first == 'l' ? 1 : p->value_dim;
    const double *from = first == 'l' ? p->lse : p->out;
    if (strcmp(c->kind, "ragged") == 0) {
        const npy_array *cumulative = case_input(c, "cu_seqlens_q");
        const int64_t token = n / dim / p->n_head, h = n / dim % p->n_head;
        int64_t b = 0;
        while ((int64_t)cumulative->value[b + 1] <= token)
            b++;
        const int64_t i = token - (int64_t)cumulative->value[b];
        return from[((b * p->n_head + h) * p->n_q + i) * dim + n % dim];
    }
    if (first != 'Y' || a->rank == 4)
        return from[n];
    const int64_t d = n % dim, h = n / dim % p->n_head, i = n / dim / p->n_head % p->n_q;
    return from[((n / dim / p->n_head / p->n_q * p->n_head + h) * p->n_q + i) * dim + d];
}

static bool is_known(const char *output)
{
    static const char *const names[] = {"out", "lse", "weights", "Y", "qk_matmul_output"};
    for (size_t n = 0; n < sizeof names / sizeof names[0]; n++)
        if (strcmp(output, names[n]) == 0)
            return true;
    return false;
}

static void check(const reference *r, const test_case *c, int count[2])
{
    for (int o = 0; o < c->output_count; o++) {
        const case_array *output = &c->output[o];
        npy_array found = output->array;
        char why[256];
        if (!is_known(output->name))
            continue;
        found.value = calloc((size_t)found.count + 1, sizeof *found.value);
        if (!found.value)
            exit(1);
        for (int64_t n = 0; n < found.count; n++)
            found.value[n] = computed(r, c, output, n);
        const bool good =
            compare_arrays(&found, &output->array, tolerance_of(c, output), why, sizeof why);
        if (!good)
            printf("%s %s: %s\n", c->name, output->name, why);
        count[good ? 0 : 1]++;
        free(found.value);
    }
}

static void run(const test_case *c, int count[2])
{
    reference r = {0};
    if (strcmp(c->kind, "attention") == 0)
        set_attention(&r, c);
    else if (strcmp(c->kind, "ragged") == 0)
        set_ragged(&r, c);
    else if (strcmp(c->kind, "onnx") == 0)
        set_onnx(&r, c);
    else
        return;
    own_outputs(&r);
    if (oracle_attention(&r.p))
        check(&r, c, count);
    for (int n = 0; n < r.owned_count; n++)
        free(r.owned[n]);
}

int main(int argc, char **argv)
{
    walk_list cases = {0};
    int count[2] = {0, 0};
    for (int n = 1; n < argc; n++)
        if (!walk_find_cases(argv[n], &cases))
            fprintf(stderr, "reference_cases: %s can't be read\n", argv[n]);
    for (size_t n = 0; n < cases.count; n++) {
        test_case c;
        char error[256];
        const case_state state = case_load(&c, cases.path[n], cases.path[n], error, sizeof error);
        if (state == CASE_LOADED)
            run(&c, count);
        if (state == CASE_BROKEN)
            printf("%s: %s\n", cases.path[n], error);
        count[1] += state == CASE_BROKEN;
        case_finish(&c);
    }
    walk_finish(&cases);
    printf("%d passed, %d failed\n", count[0], count[1]);
    return count[0] > 0 && count[1] == 0 ? 0 : 1;
}
