/* The promise about the accuracy of gradients (docs/numerics.md): the largest error against float64
 * is at most three times that of the plain unfused computation, and 4 ulp of the largest element.
 * Every kernel, every device, three types, options, magnitudes.
 *
 * As in test_bound.c both errors are the largest over several problems of a kind, because over one
 * the plain computation may be lucky. Plain is computed in the coarser of the types of OUT and the
 * gradient. */
#include <criterion/criterion.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "tests/fuzz/values.h"
#include "tests/shortened.h"
#include "tests/oracle/storage.h"
#include "varieties.h"

#define COUNT(array) (sizeof(array) / sizeof(array)[0])
#define BIT          VARIETY_BIT

enum { DRAWS = 6 };

/* Around blocks of the kernels, and keys of more than one range. */
static const variety_size sizes[] = {{49, 65, 64, 64}, {30, 131, 33, 16}, {5, 530, 16, 8}};

#define TOP                CLATTN_ALIGN_TOP_LEFT
#define BOTTOM             CLATTN_ALIGN_BOTTOM_RIGHT
#define VALUES(slot, kind) .tensor[CLATTN_SLOT_##slot].values = FUZZ_##kind

/* Of any type: the storage is filled in. */
static const variety options[] = {
    {"plain", 0, VARIETY_F32, 0, {.index = 0}},
    {"small scores", 0, VARIETY_F32, 0, {VALUES(Q, SMALL)}},
    {"large scores", 0, VARIETY_F32, 0, {VALUES(Q, LARGE), VALUES(K, LARGE)}},
    {"large values", 0, VARIETY_F32, 0, {VALUES(V, LARGE), VALUES(GRAD_OUT, LARGE)}},
    {"causal, softcap", 0, VARIETY_F32, 0, {.causal = true, .align = BOTTOM, .softcap = 2}},
    {"window, lengths",
     BIT(Q_LENGTHS) | BIT(KV_LENGTHS),
     VARIETY_F32,
     0,
     {.has_window = true, .align = TOP, .window_left = 21, .window_right = 30}},
    {"bias, mask", BIT(BIAS) | BIT(MASK), VARIETY_F32, 0, {.index = 0}},
    {"sink, alibi", BIT(SINK) | BIT(ALIBI), VARIETY_F32, 0, {.align = BOTTOM}},
    {"dropout", 0, VARIETY_F32, 0, {.dropout = 0.3F}},
    {"past, ragged", 0, VARIETY_F32, 0, {.ragged = true, .n_past = 19}},
};

/* The largest of the problems so far. */
typedef struct worst {
    double own, plain, largest, lse;
    uint64_t elements;
} worst;

/* |LSE| from which on its rounding counts, see docs/numerics.md. */
#define LARGE_LSE   64
#define LARGEST_LSE 1024 /* beyond it maximum and sum are computed once more */

/* One slot of one problem. */
typedef struct looking {
    const fuzz_problem *p;
    const fuzz_set *after;
    const fuzz_expected *e;
    int slot;
    worst *of;
} looking;

static double error_of(double x, double expected)
{
    return isnan(x) ? INFINITY : fabs(x - expected);
}

static void look(void *context, const int64_t *at)
{
    const looking *l = context;
    const int64_t n = fuzz_expected_index(l->p, l->slot, at);
    const double expected = l->e->exact[l->slot][n];
    const double x = fuzz_load(&l->after->slot[l->slot], fuzz_element(l->p, l->after, l->slot, at));
    cr_assert(isfinite(expected) && isfinite(l->e->plain[l->slot][n]));
    l->of->own = fmax(l->of->own, error_of(x, expected));
    l->of->plain = fmax(l->of->plain, error_of(l->e->plain[l->slot][n], expected));
    l->of->largest = fmax(l->of->largest, fabs(expected));
    l->of->elements++;
}

static void look_at_lse(void *context, const int64_t *at)
{
    const looking *l = context;
    const double lse = fuzz_load(&l->after->slot[CLATTN_SLOT_LSE],
                                 fuzz_element(l->p, l->after, CLATTN_SLOT_LSE, at));
    if (fabs(lse) <= LARGEST_LSE)
        l->of->lse = fmax(l->of->lse, fabs(lse));
}

static double allowed(const worst *of, double ulp)
{
    const double rounding = of->lse > LARGE_LSE ? 0x1p-24 * of->lse : 0;
    return 3 * of->plain + (4 * ulp + rounding) * of->largest;
}

/* A problem on a target; false where it is declined. */
static bool draw(fuzz_target *t, const fuzz_problem *p, worst of[FUZZ_SLOTS])
{
    fuzz_set before, after;
    fuzz_expected e;
    char message[256];
    fuzz_set_make(p, &before);
    fuzz_set_copy(&before, &after);
    const clattn_status status = fuzz_run(t, p, &after, message, sizeof message);
    cr_assert(status == CLATTN_OK || (status == CLATTN_ERR_UNSUPPORTED && !t->must_accept), "%s",
              message);
    if (status == CLATTN_OK) {
        fuzz_expect(p, &before, &e);
        for (int slot = CLATTN_SLOT_GRAD_Q; slot < FUZZ_SLOTS; slot++)
            if (fuzz_has(p, slot)) {
                looking l = {p, &after, &e, slot, &of[slot]};
                fuzz_each(p, slot, look, &l);
                fuzz_each(p, CLATTN_SLOT_LSE, look_at_lse, &l);
            }
        fuzz_expected_free(&e);
        t->ran++;
    }
    fuzz_set_free(&before);
    fuzz_set_free(&after);
    return status == CLATTN_OK;
}

/* The problem of an option in a type; draw: which one of it. */
static fuzz_problem make(const variety *option, variety_storage storage, const variety_size *size,
                         uint64_t drawn)
{
    variety of = *option;
    fuzz_problem p;
    of.storage = storage;
    variety_make(&of, size, 0, drawn, &p);
    variety_take_gradient(&p);
    return p;
}

static void keep_the_promise(fuzz_target *t, const variety *option, variety_storage storage,
                             const variety_size *size)
{
    static const char *const names[] = {"float32", "float16", "bfloat16"};
    worst of[FUZZ_SLOTS] = {{0, 0, 0, 0, 0}};
    fuzz_problem p = make(option, storage, size, 0);
    for (uint64_t n = 0; n < DRAWS; n++) {
        p = make(option, storage, size, n);
        if (!draw(t, &p, of))
            return;
    }
    for (int slot = CLATTN_SLOT_GRAD_Q; slot < FUZZ_SLOTS; slot++) {
        const double ulp = oracle_ulp((oracle_type)p.tensor[slot].dtype);
        const double most = allowed(&of[slot], ulp);
        cr_assert_eq(of[slot].elements > 0, fuzz_has(&p, slot));
        cr_expect(of[slot].own <= most,
                  "%s on device %u, %s in %s, %d queries, %d keys, %s: error %.3g, allowed %.3g",
                  t->kernel, (unsigned)t->device, option->name, names[storage], (int)p.n_q,
                  (int)p.n_kv, fuzz_slot_of(slot)->name, of[slot].own, most);
    }
}

Test(gradient_bound, every_kernel_keeps_the_promise)
{
    variety_open_gradients();
    for (uint32_t n = 0; n < variety_targets; n++)
        for (size_t option = 0; option < COUNT(options); option += is_shortened() ? 3 : 1)
            for (int storage = VARIETY_F32; storage <= VARIETY_BF16; storage++)
                keep_the_promise(&variety_target[n], &options[option], (variety_storage)storage,
                                 &sizes[(option + (size_t)storage) % COUNT(sizes)]);
    variety_close();
}
