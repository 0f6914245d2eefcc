/* The same bits for every option: 200 times over, with one thread and with two, as a batch and
 * entry by entry, ragged and trimmed to each sequence. Kernels and devices are not compared with
 * each other. */
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/shortened.h"
#include "varieties.h"

#define COUNT(array) (sizeof(array) / sizeof(array)[0])
#define REPETITIONS  (is_shortened() ? 10 : 200)
#define PROBLEMS     20

/* The last one is decoding over several splits of 512 keys, which are merged. */
static const variety_size sizes[] = {
    {49, 65, 20, 17}, {47, 130, 16, 33}, {5, 257, 40, 24}, {97, 17, 65, 8}, {3, 1537, 40, 33}};
static int splits_merged; /* runs of that size by a kernel for decoding */

/* What problem_at makes: of attention, or of its gradients. */
static bool of_gradients;

static void open_kernels(bool gradients)
{
    of_gradients = gradients;
    if (gradients)
        variety_open_gradients();
    else
        variety_open();
}

/* The `n`th of PROBLEMS, from all over the table. */
static const variety *problem_at(size_t n, fuzz_problem *p)
{
    const variety *of = &varieties[n * variety_count / PROBLEMS];
    variety_make(of, &sizes[n % COUNT(sizes)], n % 2 ? VARIETY_OUTPUTS : VARIETY_BIT(LSE), n, p);
    p->path = FUZZ_RUN;
    if (of_gradients)
        variety_take_gradient(p);
    return of;
}

static uint64_t hash_bytes(const unsigned char *bytes, size_t size, uint64_t hash)
{
    for (size_t n = 0; n < size; n++)
        hash = (hash ^ bytes[n]) * 0x100000001b3;
    return hash;
}

/* FNV-1a of all that is written; 0: the kernel declined. */
static uint64_t hash_of_run(const fuzz_target *t, const fuzz_problem *p, const fuzz_set *from)
{
    fuzz_set set;
    char why[256] = "";
    uint64_t hash = 0xcbf29ce484222325;
    fuzz_set_copy(from, &set);
    const clattn_status status = fuzz_run(t, p, &set, why, sizeof why);
    cr_assert(status == CLATTN_OK || (status == CLATTN_ERR_UNSUPPORTED && !t->must_accept),
              "%s: %s", t->kernel, why);
    for (int slot = 0; slot < FUZZ_SLOTS; slot++)
        if (set.slot[slot].bytes && fuzz_is_written(p, slot))
            hash = hash_bytes(set.slot[slot].bytes, set.slot[slot].size, hash);
    fuzz_set_free(&set);
    return status == CLATTN_OK ? hash : 0;
}

/* --- again and again -------------------------------------------------------------------------- */

static void repeat(fuzz_target *t, size_t n, int times, uint64_t *hash)
{
    fuzz_problem p;
    fuzz_set set;
    const variety *of = problem_at(n, &p);
    fuzz_set_make(&p, &set);
    *hash = hash_of_run(t, &p, &set);
    t->ran += *hash != 0;
    splits_merged += *hash && n % COUNT(sizes) == COUNT(sizes) - 1 && strstr(t->kernel, "decode");
    for (int again = 1; *hash && again < times; again++)
        cr_assert_eq(hash_of_run(t, &p, &set), *hash, "%s on device %u, %s: other bits in run %d",
                     t->kernel, (unsigned)t->device, of->name, again);
    fuzz_set_free(&set);
}

/* Fewer of gradients and of what has many keys: they take as long. */
static int repetitions(size_t n, int gradients)
{
    const int fewer = n % COUNT(sizes) == COUNT(sizes) - 1 ? 4 : 1;
    return (gradients ? REPETITIONS / 10 : REPETITIONS) / fewer;
}

Test(bits, again_and_again)
{
    uint64_t hash;
    for (int gradients = 0; gradients < 2; gradients++) {
        open_kernels(gradients);
        for (uint32_t t = 0; t < variety_targets; t++)
            for (size_t n = 0; n < PROBLEMS; n++)
                repeat(&variety_target[t], n, repetitions(n, gradients), &hash);
        variety_close();
    }
    cr_assert(splits_merged > 0, "no kernel for decoding has merged splits");
}

/* --- threads ---------------------------------------------------------------------------------- */

enum { MOST_HASHES = 32 * PROBLEMS };

/* Runs all problems in a process of its own whose OpenCL has this many threads: PoCL reads the
 * variable when it is opened. Elsewhere it does nothing. */
static size_t hashes_with_threads(const char *threads, uint64_t *hashes)
{
    int way[2], state;
    cr_assert_eq(pipe(way), 0);
    const pid_t child = fork();
    cr_assert(child >= 0);
    if (child == 0) {
        size_t count = 0;
        setenv("POCL_MAX_PTHREAD_COUNT", threads, 1);
        for (int gradients = 0; gradients < 2; gradients++) {
            open_kernels(gradients);
            for (uint32_t t = 0; t < variety_targets; t++)
                for (size_t n = 0; n < PROBLEMS; n++)
                    repeat(&variety_target[t], n, 1, &hashes[count++]);
            variety_close();
        }
        cr_assert(splits_merged > 0, "no kernel for decoding has merged splits");
        const bool sent = write(way[1], hashes, count * sizeof *hashes) > 0;
        _exit(sent ? 0 : 1);
    }
    close(way[1]);
    size_t size = 0;
    for (ssize_t got = 1; got > 0; size += (size_t)(got > 0 ? got : 0))
        got = read(way[0], (char *)hashes + size, MOST_HASHES * sizeof *hashes - size);
    close(way[0]);
    cr_assert_eq(waitpid(child, &state, 0), child);
    cr_assert(WIFEXITED(state) && WEXITSTATUS(state) == 0, "with %s threads", threads);
    return size / sizeof *hashes;
}

Test(bits, with_any_number_of_threads)
{
    static const char *const threads[] = {"1", "2", "3"};
    static uint64_t first[MOST_HASHES], hashes[MOST_HASHES];
    const size_t count = hashes_with_threads(threads[0], first);
    cr_assert(count >= PROBLEMS);
    for (size_t n = 1; n < COUNT(threads); n++) {
        cr_assert_eq(hashes_with_threads(threads[n], hashes), count);
        for (size_t i = 0; i < count; i++)
            cr_assert_eq(hashes[i], first[i], "%s threads, target %d, %s", threads[n],
                         (int)(i / PROBLEMS),
                         varieties[i % PROBLEMS * variety_count / PROBLEMS].name);
    }
}

/* --- batch mates ------------------------------------------------------------------------------ */

static bool has_batch(int slot)
{
    return slot != CLATTN_SLOT_ALIBI && slot != CLATTN_SLOT_SINK && slot != CLATTN_SLOT_PARAMS &&
           slot != CLATTN_SLOT_SEED;
}

/* Batch entry b alone; with trim also without what its lengths leave out. */
static void describe_entry(const fuzz_problem *p, const fuzz_set *set, int64_t b, bool trim,
                           clattn_attention_desc *desc)
{
    const uint64_t lengths = VARIETY_BIT(Q_LENGTHS) | VARIETY_BIT(KV_LENGTHS);
    fuzz_describe(p, desc);
    desc->batch = 1;
    for (int slot = 0; slot < FUZZ_SLOTS; slot++) {
        desc->tensor[slot].strided = 1;
        memcpy(desc->tensor[slot].stride, set->slot[slot].stride, sizeof desc->tensor[slot].stride);
    }
    if (!trim)
        return;
    if (fuzz_has(p, CLATTN_SLOT_Q_LENGTHS))
        desc->n_q = p->q_length[b];
    if (fuzz_has(p, CLATTN_SLOT_KV_LENGTHS))
        desc->n_kv = p->kv_length[b];
    desc->slots &= ~lengths;
    desc->ragged = 0;
    desc->total_q = desc->total_kv = 0;
}

static clattn_status run_entry(const fuzz_target *t, const fuzz_problem *p, fuzz_set *set,
                               int64_t b, bool trim)
{
    clattn_attention_desc desc;
    clattn_host_binding bindings[FUZZ_SLOTS];
    uint32_t count = 0;
    describe_entry(p, set, b, trim, &desc);
    for (int slot = 0; slot < FUZZ_SLOTS; slot++) {
        const int64_t at[CLATTN_RANK_LIMIT] = {has_batch(slot) ? b : 0};
        fuzz_memory *m = &set->slot[slot];
        if (!m->bytes || (slot > CLATTN_SLOT_OUT && !(desc.slots >> slot & 1)))
            continue;
        bindings[count++] = (clattn_host_binding){(clattn_slot)slot, 0,
                                                  m->bytes + fuzz_element(p, set, slot, at) *
                                                                 fuzz_size_of(m->dtype)};
    }
    return clattn_run(t->context, &desc, bindings, count);
}

/* Rows of OUT and LSE that are within the lengths. */
static void expect_equal_rows(const fuzz_problem *p, const fuzz_set *a, const fuzz_set *b,
                              const char *name)
{
    int64_t at[CLATTN_RANK_LIMIT] = {0};
    for (at[0] = 0; at[0] < p->batch; at[0]++)
        for (at[1] = 0; at[1] < p->n_head; at[1]++)
            for (at[2] = 0; at[2] < p->q_length[at[0]]; at[2]++)
                for (at[3] = 0; at[3] <= p->value_dim; at[3]++) {
                    const int slot = at[3] < p->value_dim ? CLATTN_SLOT_OUT : CLATTN_SLOT_LSE;
                    const int64_t n = fuzz_element(p, a, slot, at);
                    const size_t size = (size_t)fuzz_size_of(a->slot[slot].dtype);
                    const size_t byte = (size_t)n * size;
                    cr_assert_eq(
                        memcmp(a->slot[slot].bytes + byte, b->slot[slot].bytes + byte, size), 0,
                        "%s: %s[%d,%d,%d,%d] is %.9g alone, %.9g in the batch", name,
                        fuzz_slot_of(slot)->name, (int)at[0], (int)at[1], (int)at[2], (int)at[3],
                        fuzz_load(&b->slot[slot], n), fuzz_load(&a->slot[slot], n));
                }
}

static void compare_entries(fuzz_target *t, const fuzz_problem *p, const char *of, bool trim)
{
    fuzz_set together, alone;
    fuzz_verdict verdict = {.good = true};
    char name[160], why[256];
    snprintf(name, sizeof name, "%s on device %u, %s%s", t->kernel, (unsigned)t->device, of,
             trim ? ", trimmed" : "");
    fuzz_set_make(p, &together);
    fuzz_set_copy(&together, &alone);
    const clattn_status status = fuzz_run(t, p, &together, why, sizeof why);
    cr_assert(status == CLATTN_OK || (status == CLATTN_ERR_UNSUPPORTED && !t->must_accept),
              "%s: %s", name, why);
    for (int64_t b = 0; status == CLATTN_OK && b < p->batch; b++)
        cr_assert_eq(run_entry(t, p, &alone, b, trim), CLATTN_OK, "%s: %s", name,
                     clattn_error_message());
    if (status == CLATTN_OK && trim)
        expect_equal_rows(p, &together, &alone, name);
    else if (status == CLATTN_OK)
        fuzz_compare_runs(p, &together, &alone, &verdict);
    cr_assert(verdict.good, "%s: %s", name, verdict.why);
    t->ran += status == CLATTN_OK;
    fuzz_set_free(&alone);
    fuzz_set_free(&together);
}

/* Dropout and the caller's functions know which entry they are in. */
static bool is_alike_in_any_entry(const fuzz_problem *p)
{
    return p->dropout == 0 && p->functions == 0;
}

/* Batch mates have lengths of their own where the row has lengths. */
static void compare_variety(fuzz_target *t, size_t n)
{
    fuzz_problem p;
    const variety_size *size = &sizes[n % COUNT(sizes)];
    variety_make(&varieties[n], size, n % 2 ? VARIETY_OUTPUTS : VARIETY_BIT(LSE), n, &p);
    p.path = FUZZ_RUN;
    if (is_alike_in_any_entry(&p) && !p.ragged)
        compare_entries(t, &p, varieties[n].name, false);
    variety_make(&varieties[n], size, VARIETY_BIT(LSE), n, &p);
    p.path = FUZZ_RUN;
    const bool has_lengths =
        fuzz_has(&p, CLATTN_SLOT_Q_LENGTHS) || fuzz_has(&p, CLATTN_SLOT_KV_LENGTHS);
    if (!fuzz_has(&p, CLATTN_SLOT_Q_LENGTHS))
        for (int64_t b = 0; b < p.batch; b++)
            p.q_length[b] = (int32_t)p.n_q;
    /* lists of blocks name keys that trimming takes away, which is refused */
    const bool has_blocks = fuzz_has(&p, CLATTN_SLOT_BLOCK_INDEX);
    if (is_alike_in_any_entry(&p) && has_lengths && !has_blocks && p.n_past == 0)
        compare_entries(t, &p, varieties[n].name, true);
}

Test(bits, alone_and_in_a_batch)
{
    variety_open();
    for (uint32_t t = 0; t < variety_targets; t++)
        for (size_t n = 0; n < variety_count; n++)
            compare_variety(&variety_target[t], n);
    variety_close();
}
