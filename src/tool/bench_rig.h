/* Work for the benchmarks of the dispatcher: plans, memory, and steps on slices of it. */
#ifndef CLATTN_TOOL_BENCH_RIG_H
#define CLATTN_TOOL_BENCH_RIG_H

#include <clattn/clattn.h>

/* Attention with a length of keys, Q, K, V and OUT one after the other in one buffer. */
typedef struct bench_rig {
    clattn_context *context;
    clattn_plan *plan;
    clattn_buffer *memory;
    uint64_t query, keys; /* bytes of Q and of K of one piece of work */
    uint32_t pieces;
} bench_rig;

typedef struct bench_piece {
    clattn_binding bindings[5];
    clattn_step step;
    int32_t length;
    uint64_t sequence;
} bench_piece;

double bench_now(void);
/* Processor time of the calling thread. */
double bench_thread_now(void);

enum { BENCH_RIG_DIM = 64 };

typedef struct bench_extents {
    int64_t heads, kv_heads, n_q, n_kv;
} bench_extents;

/* With head_dim BENCH_RIG_DIM and a length of keys; causal where there are several queries. */
clattn_status bench_rig_plan(clattn_context *context, const bench_extents *of, int64_t batch,
                             clattn_plan **plan);

/* The same with memory, for a batch of 1. */
clattn_status bench_rig_init(bench_rig *rig, clattn_context *context, bench_extents of,
                             uint32_t pieces);
void bench_rig_finish(bench_rig *rig);

/* Piece `index` with this number of keys, of a sequence. */
void bench_rig_piece(const bench_rig *rig, uint32_t index, int32_t length, uint64_t sequence,
                     bench_piece *piece);
clattn_status bench_rig_submit(clattn_dispatcher *dispatcher, const bench_piece *piece,
                               int32_t priority, clattn_event **event);

#endif
