/* --verify of --top-k: the keys that were chosen are a matter of their own, and with them all other
 * results are those of attention to these keys alone. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "tool/verify_problem.h"

/* One query's scores, -infinity where not visible, and what was listed for it. */
typedef struct row {
    double *score; /* (keys); NaN becomes infinite, as it counts as the highest */
    int64_t keys;
    int32_t *listed; /* (top_k), -1 behind the last one */
    int64_t top_k;
    uint8_t *chosen; /* (keys) */
} row;

static double larger(double a, double b)
{
    return a > b ? a : b;
}

static int64_t count_visible(const row *r)
{
    int64_t count = 0;
    for (int64_t j = 0; j < r->keys; j++)
        count += r->score[j] > -HUGE_VAL;
    return count;
}

/* Marks the keys that are listed; how many, or -1: it is no list of visible keys, each once. */
static int64_t mark_listed(const row *r)
{
    int64_t count = 0;
    memset(r->chosen, 0, (size_t)r->keys);
    while (count < r->top_k && r->listed[count] != -1) {
        const int32_t j = r->listed[count++];
        if (j < 0 || j >= r->keys || r->chosen[j] || !(r->score[j] > -HUGE_VAL))
            return -1;
        r->chosen[j] = 1;
    }
    for (int64_t n = count; n < r->top_k; n++)
        if (r->listed[n] != -1)
            return -1;
    return count;
}

/* By how much a key is above one that is listed before it, or that is listed while it isn't. */
static double disorder(const row *r, int64_t count)
{
    double error = 0, least = HUGE_VAL;
    for (int64_t n = 0; n < count; n++) {
        const double score = r->score[r->listed[n]];
        if (n > 0 && score > least)
            error = larger(error, score - least);
        least = score < least ? score : least;
    }
    for (int64_t j = 0; count > 0 && j < r->keys; j++)
        if (!r->chosen[j] && r->score[j] > least)
            error = larger(error, r->score[j] - least);
    return error;
}

static void check_row(const row *r, verify_tally *sum)
{
    const int64_t visible = count_visible(r), count = mark_listed(r);
    if (count != (visible < r->top_k ? visible : r->top_k))
        sum->error = HUGE_VAL;
    else
        sum->error = larger(sum->error, disorder(r, count));
    for (int64_t j = 0; j < r->keys; j++)
        if (isfinite(r->score[j]))
            sum->largest = larger(sum->largest, fabs(r->score[j]));
}

static void check_rows(verify_problem *of, double *scores, int32_t *listed, verify_tally *sum)
{
    const oracle_problem *p = &of->oracle;
    const npy_array *indices = &of->tensors->array[CLATTN_SLOT_INDICES];
    for (int64_t n = 0; n < p->n_head * p->n_q; n++) {
        const int64_t at[3] = {of->b, n / p->n_q, of->first + n % p->n_q};
        const row r = {scores + n * p->n_kv, p->n_kv, listed, of->desc->top_k,
                       of->mask + n * p->n_kv};
        memcpy(listed, indices->data + verify_element(of->tensors, CLATTN_SLOT_INDICES, at),
               (size_t)r.top_k * sizeof *listed);
        for (int64_t j = 0; j < r.keys; j++)
            if (isnan(r.score[j]))
                r.score[j] = HUGE_VAL;
        check_row(&r, sum);
    }
}

bool verify_choice(verify_problem *of, verify_tally *sum)
{
    oracle_problem p = of->oracle;
    double *scores = calloc((size_t)(p.n_head * p.n_q * p.n_kv) + 1, sizeof *scores);
    int32_t *listed = calloc((size_t)of->desc->top_k, sizeof *listed);
    p.scores = scores;
    p.score_stage = ORACLE_VISIBLE;
    const bool good = scores && listed && oracle_attention(&p);
    if (good)
        check_rows(of, scores, listed, sum);
    free(scores);
    free(listed);
    return good;
}
