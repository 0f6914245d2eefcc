/* How a work-group finds its work: where tensors begin, and what lengths leave of a batch entry. */
#ifndef CLATTN_ITEM_H
#define CLATTN_ITEM_H

#include "common/arguments.h"

/* Where a tensor begins: launches of several plans have it in their rows, others in the base. */
static inline long tensor_start(__global const clattn_problem_row *row, const clattn_base *base,
                                int tensor)
{
    return base->offset[tensor] + row->tensor[tensor].offset;
}

/* Element (batch, head, 0, 0) of a tensor, in elements from the begin of its memory object. */
static inline long tensor_begin(__global const clattn_problem_row *row, const clattn_base *base,
                                int tensor, int batch, int head)
{
    __global const clattn_tensor_row *t = &row->tensor[tensor];
    return base->offset[tensor] + t->offset + batch * t->stride[0] + head * t->stride[1];
}

/* The tokens of a batch entry along one axis. */
typedef struct tokens {
    int first; /* in a ragged tensor, else 0 */
    int count;
} tokens;

/* What the caller's numbers, `step` apart, leave, clamped to `bound` tokens and, ragged, to `total`
 * in all. lengths (B), ragged: (B + 1) */
static inline tokens tokens_of(__global const int *lengths, long step, int batch, int bound,
                               int total, int ragged)
{
    tokens of;
    of.first = 0;
    if (!ragged) {
        of.count = clamp(lengths[batch * step], 0, bound);
        return of;
    }
    of.first = clamp(lengths[batch * step], 0, total);
    const long count = (long)lengths[(batch + 1) * step] - of.first;
    of.count = (int)clamp(count, 0L, (long)min(bound, total - of.first));
    return of;
}

static inline tokens queries_of(__global const clattn_problem_row *row, const clattn_base *base,
                                __global const int *q_lengths, int batch)
{
    tokens all;
    all.first = 0;
    all.count = row->n_q;
    if (!(row->flags & CLATTN_F_Q_LENGTHS))
        return all;
    return tokens_of(q_lengths + tensor_start(row, base, CLATTN_T_Q_LENGTHS),
                     row->tensor[CLATTN_T_Q_LENGTHS].stride[0], batch, row->n_q, row->total_q,
                     row->flags & CLATTN_F_RAGGED);
}

/* Whether new keys of the batch entries lie one after the other; those in pages don't. */
static inline int has_ragged_keys(__global const clattn_problem_row *row)
{
    return row->flags & CLATTN_F_RAGGED && row->page_size == 0;
}

/* Past keys are counted in; `first` is that of new ones. */
static inline tokens keys_of(__global const clattn_problem_row *row, const clattn_base *base,
                             __global const int *kv_lengths, int batch)
{
    const int ragged = has_ragged_keys(row), past = ragged ? row->n_past : 0;
    tokens all;
    all.first = 0;
    all.count = row->n_kv;
    if (!(row->flags & CLATTN_F_KV_LENGTHS))
        return all;
    all = tokens_of(kv_lengths + tensor_start(row, base, CLATTN_T_KV_LENGTHS),
                    row->tensor[CLATTN_T_KV_LENGTHS].stride[0], batch, row->n_kv - past,
                    row->total_kv, ragged);
    all.count += past;
    return all;
}

/* Where ragged keys begin once they are packed: behind those of earlier entries, past and new. */
static inline long packed_begin(__global const clattn_problem_row *row, tokens keys, int batch)
{
    return has_ragged_keys(row) ? keys.first + (long)batch * row->n_past : 0;
}

/* Where key or value `j` of a head is: in the tensor of past ones or in that of new ones. */
typedef struct rows_of {
    __global const void *memory[2]; /* past, new */
    long begin[2]; /* element (batch, head, 0, 0); new: of key 0, if it were there */
    long step[2], inner[2];
    uint dtype[2];
    int n_past;
    int page_size; /* 0: none. Else new ones are in pages: */
    int last_page;
    long page_step, table_step;
    __global const int *pages;    /* of the batch entry */
    __global const float *scales; /* the memory object; 0: none. Of new ones: */
    long scale_begin, scale_step, scale_inner, scale_page_step;
    int scale_channels; /* 0: a scale for all of them */
} rows_of;

static inline rows_of rows_init(__global const clattn_problem_row *row, const clattn_base *base,
                                __global const void *past, int past_tensor,
                                __global const void *now, int now_tensor, int batch, int head,
                                int first, __global const int *pages)
{
    rows_of of;
    of.memory[0] = past;
    of.memory[1] = now;
    of.n_past = row->n_past;
    for (int i = 0; i < 2; i++) {
        const int tensor = i ? now_tensor : past_tensor;
        of.begin[i] = tensor_begin(row, base, tensor, batch, head);
        of.step[i] = row->tensor[tensor].stride[2];
        of.inner[i] = row->tensor[tensor].stride[3];
        of.dtype[i] = row->dtype[tensor];
    }
    of.begin[1] += (first - row->n_past) * of.step[1];
    of.page_size = row->page_size;
    of.last_page = row->n_pages - 1;
    of.page_step = row->tensor[now_tensor].stride[0];
    of.table_step = row->tensor[CLATTN_T_PAGES].stride[1];
    of.pages = pages;
    of.scales = 0;
    if (of.page_size) {
        of.begin[1] -= batch * of.page_step; /* the first dimension is that of pages */
        of.pages += tensor_begin(row, base, CLATTN_T_PAGES, 0, 0) +
                    batch * row->tensor[CLATTN_T_PAGES].stride[0];
    }
    return of;
}

/* Element (j, 0) in memory[j < n_past ? 0 : 1]. Page numbers that don't exist are clamped. */
static inline long row_begin(const rows_of *of, int j)
{
    if (j < of->n_past)
        return of->begin[0] + j * of->step[0];
    if (of->page_size == 0)
        return of->begin[1] + j * of->step[1];
    const int page = clamp(of->pages[j / of->page_size * of->table_step], 0, of->last_page);
    return of->begin[1] + page * of->page_step + j % of->page_size * of->step[1];
}

/* Gives rows as rows_init makes them the scales that integers have. */
static inline void rows_scale(rows_of *of, __global const clattn_problem_row *row,
                              const clattn_base *base, __global const float *scales, int tensor,
                              int batch, int head, int first)
{
    __global const clattn_tensor_row *t = &row->tensor[tensor];
    if (of->dtype[1] < CLATTN_D_I8)
        return;
    of->scales = scales;
    of->scale_begin =
        tensor_begin(row, base, tensor, of->page_size ? 0 : batch, head) + first * t->stride[2];
    of->scale_step = t->stride[2];
    of->scale_inner = t->stride[3];
    of->scale_page_step = t->stride[0];
    of->scale_channels = row->scale_channels;
}

/* The first scale of row j. */
static inline long scale_begin(const rows_of *of, int j)
{
    if (of->page_size == 0)
        return of->scale_begin + j * of->scale_step;
    const int page = clamp(of->pages[j / of->page_size * of->table_step], 0, of->last_page);
    return of->scale_begin + page * of->scale_page_step + j % of->page_size * of->scale_step;
}

/* What an element of row j, dimension d, is multiplied with; 1 where there are no scales. */
static inline float scale_of(const rows_of *of, int j, int d)
{
    if (!of->scales)
        return 1.0f;
    const int group = of->scale_channels ? d / of->scale_channels : 0;
    return of->scales[scale_begin(of, j) + group * of->scale_inner];
}

#endif
