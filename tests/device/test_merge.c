/* Merging: any number of parts in every storage and layout against the oracle, parts without keys
 * whatever they hold, and attention over parts of the keys, merged, against attention over all. */
#include <criterion/criterion.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "varieties.h"

#define COUNT(array) (sizeof(array) / sizeof(array)[0])
#define BIT          VARIETY_BIT

enum { MOST_PARTS = 7 };

/* --- partial results as they come ------------------------------------------------------------- */

static const variety merges[] = {
    {"merge", 0, VARIETY_F32, 0, {.merge = true}},
    {"merge with LSE", BIT(LSE), VARIETY_GAPS, 0, {.merge = true}},
    {"merge with sink", BIT(LSE) | BIT(SINK), VARIETY_F32, 0, {.merge = true}},
    {"f16 with sink", BIT(LSE) | BIT(SINK), VARIETY_F16, 0, {.merge = true}},
    {"bf16", BIT(LSE), VARIETY_BF16, 0, {.merge = true}},
    {"mixed with gaps", BIT(LSE) | BIT(SINK), VARIETY_GAPS, 0, {.merge = true}},
};

/* What the LSEs of the parts are. */
static const fuzz_values kinds[] = {FUZZ_UNIT, FUZZ_LARGE, FUZZ_HIDING, FUZZ_SAME, FUZZ_ZERO};

static void make_merge(const variety *of, int64_t parts, uint64_t index, fuzz_problem *p)
{
    static const variety_size sizes[] = {
        {1, 1, 1, 1}, {63, 1, 1, 33}, {65, 1, 1, 17}, {64, 1, 1, 64}, {3, 1, 1, 129}};
    variety_make(of, &sizes[index % COUNT(sizes)], 0, index, p);
    p->parts = parts;
    for (int slot = 0; slot < FUZZ_SLOTS; slot++)
        p->tensor[slot].present = slot == CLATTN_SLOT_OUT || slot == CLATTN_SLOT_PARTIAL_OUT ||
                                  slot == CLATTN_SLOT_PARTIAL_LSE || (of->slots >> slot & 1);
    p->tensor[CLATTN_SLOT_PARTIAL_LSE].values = kinds[index % COUNT(kinds)];
    if (of->storage == VARIETY_GAPS && index % 2) /* not the type of the parts */
        p->tensor[CLATTN_SLOT_OUT].dtype = CLATTN_BF16;
    p->poison = FUZZ_BOTH; /* NaN and the like in PARTIAL_OUT of parts with LSE -inf */
    p->poison_kind = (int)(index % 5);
}

Test(merge, any_number_of_parts)
{
    variety_open_devices();
    for (size_t n = 0; n < COUNT(merges); n++)
        for (int64_t parts = 1; parts <= MOST_PARTS; parts++)
            for (uint64_t again = 0; again < 5; again++) {
                fuzz_problem p;
                fuzz_set set;
                make_merge(&merges[n], parts, 7 * again + (uint64_t)parts, &p);
                fuzz_set_make(&p, &set);
                variety_check(&p, &set, merges[n].name);
                fuzz_set_free(&set);
            }
    variety_close();
}

/* Every part of some rows has LSE -inf: they see nothing, or the sink alone. */
Test(merge, parts_that_saw_nothing)
{
    variety_open_devices();
    for (size_t n = 0; n < COUNT(merges); n++)
        for (int64_t parts = 1; parts <= MOST_PARTS; parts += 3) {
            fuzz_problem p;
            fuzz_set set;
            int64_t at[5];
            make_merge(&merges[n], parts, n + (uint64_t)parts, &p);
            fuzz_set_make(&p, &set);
            for (at[0] = 0; at[0] < parts; at[0]++)
                for (at[1] = 0; at[1] < p.batch; at[1]++)
                    for (at[2] = 0; at[2] < p.n_head; at[2]++)
                        for (at[3] = 0; at[3] < p.n_q; at[3] += 2)
                            fuzz_store(&set.slot[CLATTN_SLOT_PARTIAL_LSE],
                                       fuzz_element(&p, &set, CLATTN_SLOT_PARTIAL_LSE, at),
                                       -(double)INFINITY);
            variety_check(&p, &set, merges[n].name);
            fuzz_set_free(&set);
        }
    variety_close();
}

/* A NaN in a part that counts shows in its row alone. */
Test(merge, a_visible_nan_shows)
{
    variety_open_devices();
    for (size_t n = 0; n < COUNT(merges); n++)
        for (int slot = CLATTN_SLOT_PARTIAL_OUT; slot <= CLATTN_SLOT_PARTIAL_LSE; slot++) {
            const int64_t at[5] = {2, 1, 0, 0, 0};
            fuzz_problem p;
            fuzz_set set;
            make_merge(&merges[n], 4, n, &p);
            p.tensor[CLATTN_SLOT_PARTIAL_LSE].values = FUZZ_UNIT;
            p.poison = FUZZ_CLEAN;
            fuzz_set_make(&p, &set);
            fuzz_store(&set.slot[slot], fuzz_element(&p, &set, slot, at), (double)NAN);
            cr_assert(variety_check(&p, &set, merges[n].name), "%s: hidden", merges[n].name);
            fuzz_set_free(&set);
        }
    variety_close();
}

/* --- attention in parts ----------------------------------------------------------------------- */

/* What the whole is; its parts are made of it. */
static const variety wholes[] = {
    {"plain", BIT(LSE), VARIETY_F32, 0, {.index = 0}},
    {"sink", BIT(LSE) | BIT(SINK), VARIETY_F32, 0, {.index = 0}},
    {"causal", BIT(LSE), VARIETY_F32, 0, {.causal = true, .align = CLATTN_ALIGN_BOTTOM_RIGHT}},
    {"window, sink",
     BIT(LSE) | BIT(SINK),
     VARIETY_F32,
     0,
     {.has_window = true, .align = CLATTN_ALIGN_BOTTOM_RIGHT, .window_left = 30}},
    {"mask", BIT(LSE) | BIT(MASK), VARIETY_F32, 0, {.softcap = 2}},
    {"f16, causal", BIT(LSE), VARIETY_F16, 0, {.causal = true, .align = CLATTN_ALIGN_BOTTOM_RIGHT}},
    {"bf16, sink", BIT(LSE) | BIT(SINK), VARIETY_BF16, 0, {.index = 0}},
};

/* One problem, its memory, and room for partial results. */
typedef struct split {
    clattn_context *context;
    const fuzz_problem *p;
    fuzz_set *set;
    int64_t parts, cut[MOST_PARTS + 1]; /* part n has keys cut[n] .. cut[n + 1] - 1 */
    unsigned char *partial_out;         /* (parts, B, H, n_q, value_dim), as OUT; owned */
    float *partial_lse;                 /* (parts, B, H, n_q) owned */
} split;

static void *address(const split *s, int slot, int64_t elements)
{
    const fuzz_memory *m = &s->set->slot[slot];
    return m->bytes + (m->first + elements) * fuzz_size_of(m->dtype);
}

static int64_t rows_of(const fuzz_problem *p)
{
    return p->batch * p->n_head * p->n_q;
}

static size_t partial_size(const split *s)
{
    const int size = fuzz_size_of(s->p->tensor[CLATTN_SLOT_OUT].dtype);
    return (size_t)(rows_of(s->p) * s->p->value_dim * size);
}

/* Keys begin at 0 again, so positions are shifted; the sink comes at the end. */
static void describe_part(const split *s, int64_t part, clattn_attention_desc *desc)
{
    static const int of_keys[] = {CLATTN_SLOT_K, CLATTN_SLOT_V, CLATTN_SLOT_MASK};
    fuzz_describe(s->p, desc);
    desc->slots &= ~BIT(SINK);
    desc->n_kv = s->cut[part + 1] - s->cut[part];
    if (desc->align == CLATTN_ALIGN_BOTTOM_RIGHT) {
        desc->align = CLATTN_ALIGN_OFFSET;
        desc->align_offset = s->p->n_kv - s->p->n_q - s->cut[part];
    }
    for (size_t n = 0; n < COUNT(of_keys); n++) {
        desc->tensor[of_keys[n]].strided = 1;
        memcpy(desc->tensor[of_keys[n]].stride, s->set->slot[of_keys[n]].stride,
               sizeof desc->tensor[0].stride);
    }
}

static void run_part(const split *s, int64_t part)
{
    const int64_t *k = s->set->slot[CLATTN_SLOT_K].stride, *v = s->set->slot[CLATTN_SLOT_V].stride;
    const int64_t key = s->cut[part];
    clattn_attention_desc desc;
    describe_part(s, part, &desc);
    const clattn_host_binding bindings[] = {
        {CLATTN_SLOT_Q, 0, address(s, CLATTN_SLOT_Q, 0)},
        {CLATTN_SLOT_K, 0, address(s, CLATTN_SLOT_K, key * k[2])},
        {CLATTN_SLOT_V, 0, address(s, CLATTN_SLOT_V, key * v[2])},
        {CLATTN_SLOT_OUT, 0, s->partial_out + (size_t)part * partial_size(s)},
        {CLATTN_SLOT_LSE, 0, s->partial_lse + part * rows_of(s->p)},
        {CLATTN_SLOT_MASK, 0,
         fuzz_has(s->p, CLATTN_SLOT_MASK)
             ? address(s, CLATTN_SLOT_MASK, key * s->set->slot[CLATTN_SLOT_MASK].stride[3])
             : NULL},
    };
    cr_assert_eq(clattn_run(s->context, &desc, bindings, fuzz_has(s->p, CLATTN_SLOT_MASK) ? 6 : 5),
                 CLATTN_OK, "%s", clattn_error_message());
}

/* Rows that saw nothing of a part get NaN there. */
static void spoil_what_saw_nothing(const split *s)
{
    const size_t row = partial_size(s) / (size_t)rows_of(s->p);
    for (int64_t n = 0; n < s->parts * rows_of(s->p); n++)
        if (s->partial_lse[n] == -INFINITY)
            memset(s->partial_out + (size_t)n * row, 0xff, row);
}

static void merge_parts(const split *s)
{
    clattn_merge_desc desc;
    clattn_merge_desc_init(&desc);
    desc.parts = s->parts;
    desc.batch = s->p->batch;
    desc.n_head = s->p->n_head;
    desc.n_q = s->p->n_q;
    desc.value_dim = s->p->value_dim;
    desc.slots = BIT(LSE) | (fuzz_has(s->p, CLATTN_SLOT_SINK) ? BIT(SINK) : 0);
    desc.tensor[CLATTN_SLOT_OUT].dtype = s->p->tensor[CLATTN_SLOT_OUT].dtype;
    desc.tensor[CLATTN_SLOT_PARTIAL_OUT].dtype = s->p->tensor[CLATTN_SLOT_OUT].dtype;
    const clattn_host_binding bindings[] = {
        {CLATTN_SLOT_PARTIAL_OUT, 0, s->partial_out},
        {CLATTN_SLOT_PARTIAL_LSE, 0, s->partial_lse},
        {CLATTN_SLOT_OUT, 0, address(s, CLATTN_SLOT_OUT, 0)},
        {CLATTN_SLOT_LSE, 0, address(s, CLATTN_SLOT_LSE, 0)},
        {CLATTN_SLOT_SINK, 0,
         fuzz_has(s->p, CLATTN_SLOT_SINK) ? address(s, CLATTN_SLOT_SINK, 0) : NULL},
    };
    cr_assert_eq(
        clattn_merge(s->context, &desc, bindings, fuzz_has(s->p, CLATTN_SLOT_SINK) ? 5 : 4),
        CLATTN_OK, "%s", clattn_error_message());
}

/* Parts of different lengths, some without a key. */
static void cut_keys(split *s, int64_t n_kv)
{
    for (int64_t n = 0; n <= s->parts; n++)
        s->cut[n] = n == s->parts ? n_kv : n * n * n_kv / (s->parts * s->parts);
    if (s->parts > 3)
        s->cut[3] = s->cut[2];
}

static void attend_in_parts(clattn_context *context, const variety *of, int64_t parts,
                            const char *kernel)
{
    static const variety_size size = {37, 150, 24, 20};
    fuzz_problem p;
    fuzz_set set, before;
    fuzz_expected e;
    fuzz_verdict verdict = {.good = true};
    variety_make(of, &size, 0, (uint64_t)parts, &p);
    fuzz_set_make(&p, &set);
    fuzz_set_copy(&set, &before);
    fuzz_expect(&p, &set, &e);
    split s = {.context = context, .p = &p, .set = &set, .parts = parts};
    cut_keys(&s, p.n_kv);
    s.partial_out = fuzz_alloc((size_t)parts, partial_size(&s));
    s.partial_lse = fuzz_alloc((size_t)(parts * rows_of(&p)), sizeof(float));
    for (int64_t part = 0; part < parts; part++)
        run_part(&s, part);
    spoil_what_saw_nothing(&s);
    merge_parts(&s);
    fuzz_compare(&p, &e, &before, &set, &verdict);
    cr_assert(verdict.good, "%s, %s in %d parts: %s", kernel, of->name, (int)parts, verdict.why);
    fuzz_expected_free(&e);
    fuzz_set_free(&before);
    fuzz_set_free(&set);
    free(s.partial_out);
    free(s.partial_lse);
}

Test(merge, attention_in_parts)
{
    variety_open_devices();
    for (uint32_t t = 0; t < variety_targets; t++) {
        for (size_t n = 0; n < COUNT(wholes); n++)
            for (int64_t parts = 1; parts <= MOST_PARTS; parts++)
                attend_in_parts(variety_target[t].context, &wholes[n], parts,
                                variety_target[t].kernel);
        variety_target[t].ran++;
    }
    variety_close();
}
