/* Arithmetic and memory traffic of a problem, whichever takes longer. */
#include "schedule/estimate.h"

#define OPERATIONS_EACH_NS 100.0
#define BYTES_EACH_NS      10.0
#define LAUNCH_NS          5000.0
/* PCI Express 3.0 of 16 lanes brings about 12. */
#define MOVED_BYTES_EACH_NS 10.0

/* Keys of all batch entries together. */
static double keys_of(const clattn__problem *problem, const int32_t *kv_lengths)
{
    const int64_t batch = problem->extent[CLATTN__BATCH], n_kv = problem->extent[CLATTN__N_KV];
    double keys = 0;
    if (clattn__problem_has_ragged_keys(problem))
        return (double)problem->extent[CLATTN__TOTAL_KV] +
               (double)batch * (double)problem->extent[CLATTN__N_PAST];
    if (!kv_lengths)
        return (double)batch * (double)n_kv;
    for (int64_t b = 0; b < batch; b++)
        keys += (double)(kv_lengths[b] < n_kv ? kv_lengths[b] : n_kv);
    return keys;
}

/* Queries of a batch entry, of ragged ones on average. */
static double queries_of(const clattn__problem *problem)
{
    const int64_t *extent = problem->extent;
    return problem->ragged && extent[CLATTN__BATCH] > 0
               ? (double)extent[CLATTN__TOTAL_Q] / (double)extent[CLATTN__BATCH]
               : (double)extent[CLATTN__N_Q];
}

/* Bytes of the tensors of a problem that does little with each element. */
static double bytes_of_slots(const clattn__problem *problem)
{
    double bytes = 0;
    for (uint32_t slot = 0; slot < clattn__slot_count(); slot++) {
        double elements = clattn__problem_has(problem, (clattn_slot)slot) ? 4 : 0;
        for (uint32_t dim = 0; elements > 0 && dim < clattn__slot_get(slot)->rank; dim++)
            elements *= (double)clattn__slot_extent(problem, (clattn_slot)slot, dim);
        bytes += elements;
    }
    return bytes;
}

/* Pairs that bounds leave, for the share that a causal mask takes away. */
static double visible_share(const clattn__problem *problem)
{
    const double n_q = (double)problem->extent[CLATTN__N_Q];
    const double n_kv = (double)problem->extent[CLATTN__N_KV];
    double keys = n_kv;
    if (problem->right < CLATTN__UNLIMITED && n_q > 1 && n_kv > 0)
        keys = n_kv > n_q ? n_kv - n_q / 2 : n_kv / 2;
    if (problem->left < CLATTN__UNLIMITED && keys > (double)problem->left + n_q)
        keys = (double)problem->left + n_q;
    return n_kv > 0 ? keys / n_kv : 0;
}

double clattn__estimate_work(const clattn__problem *problem, uint32_t launches,
                             const int32_t *kv_lengths)
{
    const int64_t *extent = problem->extent;
    const double dims = (double)(extent[CLATTN__HEAD_DIM] + extent[CLATTN__VALUE_DIM]);
    const double start = LAUNCH_NS * launches;
    if (problem->kind != CLATTN__ATTENTION && problem->kind != CLATTN__GRADIENT &&
        problem->kind != CLATTN__TOP_K)
        return start + bytes_of_slots(problem) / BYTES_EACH_NS;
    const double keys = keys_of(problem, kv_lengths) * visible_share(problem);
    const double operations = 2 * keys * (double)extent[CLATTN__N_HEAD] * queries_of(problem) *
                              dims * (problem->kind == CLATTN__GRADIENT ? 2.5 : 1);
    const double bytes = 4 * keys * (double)extent[CLATTN__N_KV_HEAD] * dims;
    const double arithmetic = operations / OPERATIONS_EACH_NS, traffic = bytes / BYTES_EACH_NS;
    return start + (arithmetic > traffic ? arithmetic : traffic);
}

double clattn__estimate_transfer(uint64_t bytes)
{
    return (double)bytes / MOVED_BYTES_EACH_NS;
}
