/* The words of describe.h: a line for the operation, a line for each tensor. */
#include "describe.h"

#include <inttypes.h>

#include "functions.h"

static const char *const paths[] = {"run", "own buffers", "wrapped memory", "one shared buffer"};
static const char *const aligns[] = {"none", "top-left", "bottom-right", "offset"};
static const char *const types[] = {"f32", "f16", "bf16", "bool", "i32", "i64"};
static const char *const values[] = {"unit",     "small",  "large",  "huge",     "denormal",
                                     "zero",     "same",   "sparse", "integers", "nan",
                                     "infinite", "hiding", "lowest", "extremes", "all lowest"};
static const char *const poisons[] = {"clean", "poisoned", "clean and poisoned"};

static void print_lengths(FILE *to, const char *name, const int32_t *length, int64_t count)
{
    fprintf(to, ", %s", name);
    for (int64_t b = 0; b < count; b++)
        fprintf(to, "%c%" PRId32, b ? ' ' : '=', length[b]);
}

static void print_options(FILE *to, const fuzz_problem *p)
{
    if (p->has_scale)
        fprintf(to, ", scale=%g", (double)p->scale);
    if (p->softcap != 0)
        fprintf(to, ", softcap=%g", (double)p->softcap);
    if (p->causal)
        fprintf(to, ", causal");
    if (p->align != CLATTN_ALIGN_NONE)
        fprintf(to, ", align=%s", aligns[p->align]);
    if (p->align == CLATTN_ALIGN_OFFSET)
        fprintf(to, " %" PRId64, p->align_offset);
    if (p->has_window)
        fprintf(to, ", window=%" PRId64 ",%" PRId64, p->window_left, p->window_right);
    if (p->dropout != 0)
        fprintf(to, ", dropout=%g%s", (double)p->dropout, p->weights_dropped ? " in weights" : "");
    if (p->functions)
        fprintf(to, ", functions: %s", fuzz_functions_of(p->functions)->name);
    if (p->block_q)
        fprintf(to, ", blocks=%" PRId64 "x%" PRId64 " limit %" PRId64, p->block_q, p->block_kv,
                p->block_limit);
    if (p->page_size)
        fprintf(to, ", pages of %" PRId64 "%s%s", p->page_size,
                p->tokens_first ? ", tokens first" : "", p->cascade ? ", cascade" : "");
    if (p->integers)
        fprintf(to, ", integers of %d bits, %" PRId64 " channels a scale", p->integers,
                p->scale_channels);
    if (p->highest)
        fprintf(to, ", top_k=%" PRId64 "%s", p->top_k, p->sample ? ", one drawn" : "");
    if (p->rotated)
        fprintf(to, ", rotated");
    if (fuzz_has(p, CLATTN_SLOT_SCORES))
        fprintf(to, ", score_stage=%d", (int)p->score_stage);
    if (p->ragged)
        fprintf(to, ", ragged with %" PRId64 " and %" PRId64 " tokens", fuzz_total(p, true),
                fuzz_total(p, false));
    if (fuzz_has(p, CLATTN_SLOT_Q_LENGTHS))
        print_lengths(to, "q_lengths", p->q_length, p->batch);
    if (fuzz_has(p, CLATTN_SLOT_KV_LENGTHS))
        print_lengths(to, "kv_lengths", p->kv_length, p->batch);
}

static void print_tensor(FILE *to, const fuzz_problem *p, int slot)
{
    int64_t shape[CLATTN_RANK_LIMIT];
    const fuzz_tensor *t = &p->tensor[slot];
    const fuzz_layout layout = fuzz_layout_of(p, slot);
    const int rank = fuzz_shape(p, slot, shape);
    fprintf(to, "    %-12s %-4s", fuzz_slot_of(slot)->name, types[t->dtype]);
    for (int d = 0; d < rank; d++)
        fprintf(to, "%c%" PRId64, d ? ',' : '(', shape[d]);
    fputs(t->strided ? ") strides" : ") contiguous", to);
    for (int d = 0; t->strided && d < rank; d++)
        fprintf(to, "%c%" PRId64, d ? ',' : ' ', layout.stride[d]);
    if (!fuzz_is_written(p, slot))
        fprintf(to, ", %s", values[t->values]);
    fprintf(to, "%s%s\n", t->shift ? ", shifted" : "", p->host >> slot & 1 ? ", host array" : "");
}

void fuzz_print(FILE *to, const fuzz_problem *p)
{
    fprintf(to, "  %s batch=%" PRId64 " n_head=%" PRId64,
            p->merge      ? "merge"
            : p->gradient ? "gradient"
                          : "attention",
            p->batch, p->n_head);
    if (p->merge)
        fprintf(to, " parts=%" PRId64, p->parts);
    else
        fprintf(to, " n_kv_head=%" PRId64 " n_kv=%" PRId64 " n_past=%" PRId64 " head_dim=%" PRId64,
                p->n_kv_head, p->n_kv, p->n_past, p->head_dim);
    fprintf(to, " n_q=%" PRId64 " value_dim=%" PRId64, p->n_q, p->value_dim);
    if (!p->merge)
        print_options(to, p);
    fprintf(to, "; %s, %s%s\n", paths[p->path], poisons[p->poison],
            p->wild ? ", wild lengths and lists" : "");
    for (int slot = 0; slot < FUZZ_SLOTS; slot++)
        if (fuzz_has(p, slot))
            print_tensor(to, p, slot);
}
