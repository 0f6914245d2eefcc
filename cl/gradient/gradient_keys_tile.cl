/* GRAD_K, GRAD_V and those of past ones for devices whose work-items are lanes: a group does
 * BLOCK_M keys of a key/value head, and goes through the queries of all heads that share them; how,
 * is in tile_gradient.h. */
#define KEYS_ARE_ROWS 1
#include "common/tile_gradient.h"

/* Where a group is in the queries that may see its keys. It is in local memory, where one work-item
 * keeps it: as a variable of all of them, changed in loops within a loop that has barriers, it took
 * PoCL minutes to compile. */
typedef struct query_walk {
    int begin, end; /* the tile's keys */
    int from, to;   /* queries of each head that may see any of them */
    int head_end;
    int head, first, columns; /* of the block of queries: see `tile` */
    run r;                    /* of keys that they see */
    int found;                /* 0: that was the last block */
} query_walk;

/* To the next block of queries that has a run of the tile's keys. */
INLINE void next_queries(tile *x, __local query_walk *kept)
{
    query_walk w = *kept;
    w.found = 0;
    while (!w.found && w.head < w.head_end) {
        x->head = w.head;
        const pairs of = pairs_of_row(x, 0);
        w.found = next_run(&of, &w.r, w.first, w.begin, w.end);
        if (w.found)
            break;
        w.first += w.columns;
        if (w.first >= w.to) {
            w.first = w.from;
            w.head++;
        }
        w.columns = queries_of_list(x->row, w.first, w.to, BLOCK_N);
        w.r = run_init();
    }
    *kept = w;
}

INLINE void begin_queries(tile *x, int begin, int end, __local query_walk *kept)
{
    const pairs of = pairs_of_row(x, 0);
    const bounds see = queries_that_see(&of, begin, end);
    query_walk w;
    w.r = run_init();
    w.begin = begin;
    w.end = end;
    w.from = see.from;
    w.to = see.to;
    w.head = x->head;
    w.head_end = begin < end && w.from < w.to ? x->head + x->row->group : x->head;
    w.first = w.from;
    w.found = 0;
    w.columns = queries_of_list(x->row, w.first, w.to, BLOCK_N);
    *kept = w;
    next_queries(x, kept);
}

/* What keys and values get of the block of queries that the walk is at. */
INLINE void add_queries(tile *x, __local const query_walk *w, __global const float *gradient_rows,
                        int of_keys, int of_values, sums *dk, sums *dv)
{
    const int start = w->begin;
    const run r = w->r;
    x->head = w->head;
    x->first = w->first;
    x->columns = w->columns;
    const pairs of = pairs_of_row(x, 0);
    find_gradient_queries(x, &of, gradient_rows);
    barrier(CLK_LOCAL_MEM_FENCE);
    product_blocks(x, start, 1 + of_keys);
    barrier(CLK_LOCAL_MEM_FENCE);
    turn_block(x, &of, &r, start, of_keys);
    barrier(CLK_LOCAL_MEM_FENCE);
    sum_block(x, x->p, OF_VALUES, 0, of_values ? x->columns : 0, dv);
    sum_block(x, x->ds, OF_SCORES, 0, of_keys ? x->columns : 0, dk);
}

/* The work-item's rows, keys `begin` to `end` - 1, to the past's tensor or the new one, if it is
 * wanted: bits of row->gradients. */
INLINE void write_keys(const tile *x, const sums *of, const rows_of *to, int begin, int end,
                       int dim, uint past_bit, uint new_bit)
{
#pragma unroll 1
    for (int n = 0; n < ROWS; n++) {
        const int j = begin + x->y * ROWS + n, past = j < to->n_past;
        if (j >= end || !(x->row->gradients & (past ? past_bit : new_bit)))
            continue;
        write_row_of(x, of, n, 1.0f, (__global void *)(past ? to->memory[0] : to->memory[1]),
                     row_begin(to, j), past ? to->inner[0] : to->inner[1], dim,
                     past ? to->dtype[0] : to->dtype[1]);
    }
}

__kernel __attribute__((reqd_work_group_size(WG_SIZE, 1, 1))) void
gradient_keys_tile(GRADIENT_PARAMETERS, __global void *grad_k, __global void *grad_past_k,
                   __global void *grad_v, __global void *grad_past_v, OPTION_PARAMETERS,
                   const clattn_base base, __global const clattn_problem_row *rows,
                   __global const clattn_work_item *items, uint first, uint count)
{
    GRADIENT_ARRAYS;
    __local query_walk walk_of_tile;
    if (get_group_id(0) < count) {
        const clattn_work_item item = items[first + get_group_id(0)];
        __global const clattn_problem_row *row = &rows[item.row];
        const tokens own = keys_of(row, &base, kv_lengths, item.batch);
        const int begin = item.k_begin, end = min(item.k_end, own.count);
        const int written = row->flags & CLATTN_F_RAGGED ? end : item.k_end;
        const int of_keys = (row->gradients & (CLATTN_G_K | CLATTN_G_PAST_K)) != 0;
        const int of_values = (row->gradients & (CLATTN_G_V | CLATTN_G_PAST_V)) != 0;
        sums dk, dv;
        tile x = TILE_OF(item.batch, item.head, item.head * row->group, 0);
        GRADIENT_OF_ARRAYS(x);
        x.rows = end - begin;
        place_item(&x);
        clear_sums(&dk);
        clear_sums(&dv);
        find_keys(&x, begin, end);
        if (x.me == 0) {
            *x.odd = 0;
            begin_queries(&x, begin, end, &walk_of_tile);
        }
        barrier(CLK_LOCAL_MEM_FENCE);
        int found = walk_of_tile.found;
        while (found) {
            add_queries(&x, &walk_of_tile, gradient_rows, of_keys, of_values, &dk, &dv);
            if (x.me == 0)
                next_queries(&x, &walk_of_tile);
            barrier(CLK_LOCAL_MEM_FENCE);
            found = walk_of_tile.found;
        }
        const rows_of to_k = rows_init(row, &base, grad_past_k, CLATTN_T_GRAD_PAST_K, grad_k,
                                       CLATTN_T_GRAD_K, item.batch, item.head, own.first, pages);
        const rows_of to_v = rows_init(row, &base, grad_past_v, CLATTN_T_GRAD_PAST_V, grad_v,
                                       CLATTN_T_GRAD_V, item.batch, item.head, own.first, pages);
        write_keys(&x, &dk, &to_k, begin, written, row->head_dim, CLATTN_G_PAST_K, CLATTN_G_K);
        write_keys(&x, &dv, &to_v, begin, written, row->value_dim, CLATTN_G_PAST_V, CLATTN_G_V);
    }
}
