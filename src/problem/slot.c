/* The table of slots. */
#include "problem/slot.h"

#include <stddef.h>

#define BIT(dtype) (1u << (dtype))
#define FLOATS     (BIT(CLATTN_F32) | BIT(CLATTN_F16) | BIT(CLATTN_BF16))
/* where scales have a part: rules_scales.c */
#define STORED (FLOATS | BIT(CLATTN_I8) | BIT(CLATTN_I4))

#define B   CLATTN__BATCH
#define H   CLATTN__N_HEAD
#define HKV CLATTN__N_KV_HEAD
#define NQ  CLATTN__N_Q
#define NKV CLATTN__N_KV

/* part: {attention, merge, gradient, append, rotary, top-k}, others by name */
#define OF_QUERIES                                                                                 \
    {                                                                                              \
        CLATTN__ALWAYS, CLATTN__NEVER, CLATTN__ALWAYS, CLATTN__NEVER, CLATTN__ALWAYS,              \
            CLATTN__ALWAYS, [CLATTN__ADDITIVE] = CLATTN__ALWAYS,                                   \
                            [CLATTN__ADDITIVE_GRADIENT] = CLATTN__ALWAYS                           \
    }
#define OF_KEYS                                                                                    \
    {                                                                                              \
        CLATTN__ALWAYS, CLATTN__NEVER, CLATTN__ALWAYS, CLATTN__ALWAYS, CLATTN__NEVER,              \
            CLATTN__ALWAYS, [CLATTN__ADDITIVE] = CLATTN__ALWAYS,                                   \
                            [CLATTN__ADDITIVE_GRADIENT] = CLATTN__ALWAYS                           \
    }
#define OF_OUTPUT                                                                                  \
    {                                                                                              \
        CLATTN__ALWAYS, CLATTN__ALWAYS, CLATTN__ALWAYS, CLATTN__NEVER, CLATTN__ALWAYS,             \
            CLATTN__ALWAYS, [CLATTN__ADDITIVE] = CLATTN__ALWAYS,                                   \
                            [CLATTN__ADDITIVE_GRADIENT] = CLATTN__ALWAYS                           \
    }
#define OF_LSE                                                                                     \
    {                                                                                              \
        CLATTN__IF_ASKED, CLATTN__IF_ASKED, CLATTN__IF_ASKED, CLATTN__NEVER, CLATTN__NEVER,        \
            CLATTN__IF_ASKED, [CLATTN__ADDITIVE] = CLATTN__IF_ASKED,                               \
                              [CLATTN__ADDITIVE_GRADIENT] = CLATTN__ALWAYS                         \
    }
#define OF_SINK                                                                                    \
    {                                                                                              \
        CLATTN__IF_ASKED, CLATTN__IF_ASKED, CLATTN__IF_ASKED, CLATTN__NEVER, CLATTN__NEVER,        \
            CLATTN__IF_ASKED                                                                       \
    }
#define OF_WEIGHTS                                                                                 \
    {                                                                                              \
        CLATTN__IF_ASKED, CLATTN__NEVER, CLATTN__NEVER, CLATTN__NEVER, CLATTN__NEVER,              \
            CLATTN__IF_ASKED, [CLATTN__ADDITIVE] = CLATTN__IF_ASKED                                \
    }
#define IN_BOTH                                                                                    \
    {                                                                                              \
        CLATTN__IF_ASKED, CLATTN__NEVER, CLATTN__IF_ASKED, CLATTN__NEVER, CLATTN__NEVER,           \
            CLATTN__IF_ASKED                                                                       \
    }
#define OF_MASK                                                                                    \
    {                                                                                              \
        CLATTN__IF_ASKED, CLATTN__NEVER, CLATTN__IF_ASKED, CLATTN__NEVER, CLATTN__NEVER,           \
            CLATTN__IF_ASKED, [CLATTN__ADDITIVE] = CLATTN__IF_ASKED,                               \
                              [CLATTN__ADDITIVE_GRADIENT] = CLATTN__IF_ASKED                       \
    }
#define OF_LENGTHS                                                                                 \
    {                                                                                              \
        CLATTN__IF_ASKED, CLATTN__NEVER, CLATTN__IF_ASKED, CLATTN__IF_ASKED, CLATTN__NEVER,        \
            CLATTN__IF_ASKED, [CLATTN__ADDITIVE] = CLATTN__IF_ASKED,                               \
                              [CLATTN__ADDITIVE_GRADIENT] = CLATTN__IF_ASKED,                      \
                              [CLATTN__SHIFT] = CLATTN__ALWAYS                                     \
    }
#define OF_PRESENT(shift)                                                                          \
    {                                                                                              \
        CLATTN__IF_ASKED, CLATTN__NEVER, CLATTN__NEVER, CLATTN__ALWAYS, CLATTN__NEVER,             \
            CLATTN__NEVER, [CLATTN__SHIFT] = CLATTN__##shift                                       \
    }
#define OF_PAGES                                                                                   \
    {                                                                                              \
        CLATTN__IF_ASKED, CLATTN__NEVER, CLATTN__NEVER, CLATTN__ALWAYS, CLATTN__NEVER,             \
            CLATTN__IF_ASKED, [CLATTN__SHIFT] = CLATTN__ALWAYS                                     \
    }
/* rotary: with rotary_dim, without being named, unless TOKEN_POSITIONS takes part */
#define OF_POSITIONS                                                                               \
    {                                                                                              \
        CLATTN__IF_ASKED, CLATTN__NEVER, CLATTN__NEVER, CLATTN__ALWAYS, CLATTN__IF_ASKED,          \
            CLATTN__IF_ASKED, [CLATTN__SHIFT] = CLATTN__ALWAYS                                     \
    }
#define OF_ANGLES                                                                                  \
    {                                                                                              \
        CLATTN__IF_ASKED, CLATTN__NEVER, CLATTN__NEVER, CLATTN__IF_ASKED, CLATTN__IF_ASKED,        \
            CLATTN__IF_ASKED, [CLATTN__SHIFT] = CLATTN__ALWAYS                                     \
    }
#define OF_ROTATION                                                                                \
    {                                                                                              \
        CLATTN__IF_ASKED, CLATTN__NEVER, CLATTN__NEVER, CLATTN__IF_ASKED, CLATTN__IF_ASKED,        \
            CLATTN__IF_ASKED                                                                       \
    }
#define OF_SHIFTS                                                                                  \
    {                                                                                              \
        [CLATTN__SHIFT] = CLATTN__ALWAYS                                                           \
    }
#define OF_TOP                                                                                     \
    {                                                                                              \
        CLATTN__NEVER, CLATTN__NEVER, CLATTN__NEVER, CLATTN__NEVER, CLATTN__NEVER,                 \
            CLATTN__IF_ASKED                                                                       \
    }
#define OF_SCALES                                                                                  \
    {                                                                                              \
        CLATTN__IF_ASKED, CLATTN__NEVER, CLATTN__NEVER, CLATTN__IF_ASKED, CLATTN__NEVER,           \
            CLATTN__IF_ASKED                                                                       \
    }
#define OF_W_SCORE                                                                                 \
    {                                                                                              \
        [CLATTN__ADDITIVE] = CLATTN__ALWAYS, [CLATTN__ADDITIVE_GRADIENT] = CLATTN__ALWAYS          \
    }
#define OF_CHANNEL_BIAS                                                                            \
    {                                                                                              \
        [CLATTN__ADDITIVE] = CLATTN__IF_ASKED, [CLATTN__ADDITIVE_GRADIENT] = CLATTN__IF_ASKED      \
    }
#define OF_ADDITIVE_GRADIENT                                                                       \
    {                                                                                              \
        [CLATTN__ADDITIVE_GRADIENT] = CLATTN__IF_ASKED                                             \
    }
#define OF_GRADIENT(part)                                                                          \
    {                                                                                              \
        [CLATTN__GRADIENT] = CLATTN__##part, [CLATTN__ADDITIVE_GRADIENT] = CLATTN__##part          \
    }
#define OF_FULL_GRADIENT                                                                           \
    {                                                                                              \
        CLATTN__NEVER, CLATTN__NEVER, CLATTN__IF_ASKED                                             \
    }
/* linear, and its gradients by x and by W and b, and packing */
#define OF_LINEAR(y, x, w, pack)                                                                   \
    {                                                                                              \
        [CLATTN__LINEAR] = CLATTN__##y, [CLATTN__LINEAR_X] = CLATTN__##x,                          \
        [CLATTN__LINEAR_W] = CLATTN__##w, [CLATTN__LINEAR_PACK] = CLATTN__##pack                   \
    }
#define IF_ASKED                                                                                   \
    {                                                                                              \
        CLATTN__IF_ASKED, CLATTN__NEVER                                                            \
    }
#define IN_MERGE                                                                                   \
    {                                                                                              \
        CLATTN__NEVER, CLATTN__ALWAYS                                                              \
    }
/* written: everywhere, or OUT and LSE, which the gradients read */
#define WRITTEN (1u << CLATTN__KIND_COUNT) - 1
#define FORWARD                                                                                    \
    BIT(CLATTN__ATTENTION) | BIT(CLATTN__MERGE) | BIT(CLATTN__ROTARY) | BIT(CLATTN__TOP_K) |       \
        BIT(CLATTN__ADDITIVE)

/* Columns: slot, name, rank, shape, types, part, written, host too, tokens. */
#define ROW(name, ...)                                                                             \
    {                                                                                              \
        CLATTN_SLOT_##name, #name, __VA_ARGS__                                                     \
    }
#define SHAPE(...)                                                                                 \
    {                                                                                              \
        __VA_ARGS__                                                                                \
    }
#define PLAIN CLATTN__ONE
static const clattn__slot_info table[] = {
    ROW(Q, 4, SHAPE(B, H, NQ, CLATTN__HEAD_DIM), FLOATS, OF_QUERIES, false, false, CLATTN__TOTAL_Q),
    ROW(K, 4, SHAPE(B, HKV, CLATTN__N_NEW, CLATTN__HEAD_DIM), STORED, OF_KEYS, false, false,
        CLATTN__TOTAL_KV),
    ROW(V, 4, SHAPE(B, HKV, CLATTN__N_NEW, CLATTN__VALUE_DIM), STORED, OF_KEYS, false, false,
        CLATTN__TOTAL_KV),
    ROW(OUT, 4, SHAPE(B, H, NQ, CLATTN__VALUE_DIM), FLOATS, OF_OUTPUT, FORWARD, false,
        CLATTN__TOTAL_Q),
    ROW(LSE, 3, SHAPE(B, H, NQ), BIT(CLATTN_F32), OF_LSE, FORWARD, false, CLATTN__TOTAL_Q),
    ROW(WEIGHTS, 4, SHAPE(B, H, NQ, NKV), BIT(CLATTN_F32), OF_WEIGHTS, WRITTEN, false, PLAIN),
    ROW(MASK, 4, SHAPE(B, H, NQ, NKV), BIT(CLATTN_BOOL), OF_MASK, false, false, PLAIN),
    ROW(BIAS, 4, SHAPE(B, H, NQ, NKV), FLOATS, IN_BOTH, false, false, PLAIN),
    ROW(ALIBI, 1, SHAPE(H), BIT(CLATTN_F32), IN_BOTH, false, true, PLAIN),
    ROW(SINK, 1, SHAPE(H), BIT(CLATTN_F32), OF_SINK, false, true, PLAIN),
    ROW(Q_LENGTHS, 1, SHAPE(CLATTN__LENGTHS), BIT(CLATTN_I32), OF_MASK, false, true, PLAIN),
    ROW(KV_LENGTHS, 1, SHAPE(CLATTN__KEY_LENGTHS), BIT(CLATTN_I32), OF_LENGTHS, false, true, PLAIN),
    ROW(BLOCK_COUNT, 3, SHAPE(B, H, CLATTN__QUERY_BLOCKS), BIT(CLATTN_I32), IN_BOTH, false, true,
        PLAIN),
    ROW(BLOCK_INDEX, 4, SHAPE(B, H, CLATTN__QUERY_BLOCKS, CLATTN__BLOCK_LIMIT), BIT(CLATTN_I32),
        IN_BOTH, false, true, PLAIN),
    ROW(PARAMS, 1, SHAPE(CLATTN__N_PARAMS), BIT(CLATTN_F32), IN_BOTH, false, true, PLAIN),
    ROW(SEED, 1, SHAPE(CLATTN__TWO), BIT(CLATTN_I64), IN_BOTH, false, true, PLAIN),
    ROW(PAST_K, 4, SHAPE(B, HKV, CLATTN__N_PAST, CLATTN__HEAD_DIM), FLOATS, IN_BOTH, false, false,
        PLAIN),
    ROW(PAST_V, 4, SHAPE(B, HKV, CLATTN__N_PAST, CLATTN__VALUE_DIM), FLOATS, IN_BOTH, false, false,
        PLAIN),
    ROW(PRESENT_K, 4, SHAPE(B, HKV, NKV, CLATTN__HEAD_DIM), STORED, OF_PRESENT(ALWAYS), WRITTEN,
        false, PLAIN),
    ROW(PRESENT_V, 4, SHAPE(B, HKV, NKV, CLATTN__VALUE_DIM), STORED, OF_PRESENT(NEVER), WRITTEN,
        false, PLAIN),
    ROW(WEIGHTS_MEAN, 3, SHAPE(B, NQ, NKV), BIT(CLATTN_F32), IF_ASKED, WRITTEN, false, PLAIN),
    ROW(WEIGHTS_SUM, 3, SHAPE(B, H, NKV), BIT(CLATTN_F32), IF_ASKED, WRITTEN, false, PLAIN),
    ROW(SCORES, 4, SHAPE(B, H, NQ, NKV), BIT(CLATTN_F32), IF_ASKED, WRITTEN, false, PLAIN),
    ROW(PARTIAL_OUT, 5, SHAPE(CLATTN__PARTS, B, H, NQ, CLATTN__VALUE_DIM), FLOATS, IN_MERGE, false,
        false, PLAIN),
    ROW(PARTIAL_LSE, 4, SHAPE(CLATTN__PARTS, B, H, NQ), BIT(CLATTN_F32), IN_MERGE, false, false,
        PLAIN),
    ROW(GRAD_OUT, 4, SHAPE(B, H, NQ, CLATTN__VALUE_DIM), FLOATS, OF_GRADIENT(ALWAYS), false, false,
        CLATTN__TOTAL_Q),
    ROW(GRAD_LSE, 3, SHAPE(B, H, NQ), BIT(CLATTN_F32), OF_GRADIENT(IF_ASKED), false, false,
        CLATTN__TOTAL_Q),
    ROW(GRAD_Q, 4, SHAPE(B, H, NQ, CLATTN__HEAD_DIM), FLOATS, OF_GRADIENT(IF_ASKED), WRITTEN, false,
        CLATTN__TOTAL_Q),
    ROW(GRAD_K, 4, SHAPE(B, HKV, CLATTN__N_NEW, CLATTN__HEAD_DIM), FLOATS, OF_GRADIENT(IF_ASKED),
        WRITTEN, false, CLATTN__TOTAL_KV),
    ROW(GRAD_V, 4, SHAPE(B, HKV, CLATTN__N_NEW, CLATTN__VALUE_DIM), FLOATS, OF_GRADIENT(IF_ASKED),
        WRITTEN, false, CLATTN__TOTAL_KV),
    ROW(GRAD_BIAS, 4, SHAPE(B, H, NQ, NKV), FLOATS, OF_FULL_GRADIENT, WRITTEN, false, PLAIN),
    ROW(GRAD_SINK, 1, SHAPE(H), BIT(CLATTN_F32), OF_FULL_GRADIENT, WRITTEN, false, PLAIN),
    ROW(GRAD_PAST_K, 4, SHAPE(B, HKV, CLATTN__N_PAST, CLATTN__HEAD_DIM), FLOATS, OF_FULL_GRADIENT,
        WRITTEN, false, PLAIN),
    ROW(GRAD_PAST_V, 4, SHAPE(B, HKV, CLATTN__N_PAST, CLATTN__VALUE_DIM), FLOATS, OF_FULL_GRADIENT,
        WRITTEN, false, PLAIN),
    ROW(PAGES, 2, SHAPE(B, CLATTN__PAGE_LIMIT), BIT(CLATTN_I32), OF_PAGES, false, true, PLAIN),
    ROW(POSITIONS, 1, SHAPE(B), BIT(CLATTN_I32), OF_POSITIONS, false, true, PLAIN),
    ROW(ANGLES, 3, SHAPE(CLATTN__N_POSITIONS, CLATTN__N_ANGLES, CLATTN__TWO), BIT(CLATTN_F32),
        OF_ANGLES, false, false, PLAIN),
    ROW(INDICES, 4, SHAPE(B, H, NQ, CLATTN__LISTED), BIT(CLATTN_I32), OF_TOP, WRITTEN, false,
        PLAIN),
    ROW(X, 3, SHAPE(B, CLATTN__ROWS, CLATTN__IN), FLOATS, OF_LINEAR(ALWAYS, ALWAYS, ALWAYS, NEVER),
        BIT(CLATTN__LINEAR_X), false, PLAIN),
    ROW(W, 2, SHAPE(CLATTN__OUT, CLATTN__IN), FLOATS,
        OF_LINEAR(IF_ASKED, IF_ASKED, IF_ASKED, ALWAYS), BIT(CLATTN__LINEAR_W), false, PLAIN),
    ROW(B, 1, SHAPE(CLATTN__OUT), FLOATS, OF_LINEAR(IF_ASKED, NEVER, IF_ASKED, NEVER),
        BIT(CLATTN__LINEAR_W), false, PLAIN),
    ROW(Y, 3, SHAPE(B, CLATTN__ROWS, CLATTN__OUT), FLOATS, OF_LINEAR(ALWAYS, ALWAYS, ALWAYS, NEVER),
        BIT(CLATTN__LINEAR), false, PLAIN),
    ROW(PACKED_W, 1, SHAPE(CLATTN__PACKED), BIT(CLATTN_F32),
        OF_LINEAR(IF_ASKED, IF_ASKED, NEVER, ALWAYS), BIT(CLATTN__LINEAR_PACK), false, PLAIN),
    ROW(W_SCORE, 2, SHAPE(H, CLATTN__HEAD_DIM), FLOATS, OF_W_SCORE, false, false, PLAIN),
    ROW(CHANNEL_BIAS, 2, SHAPE(H, CLATTN__HEAD_DIM), FLOATS, OF_CHANNEL_BIAS, false, false, PLAIN),
    ROW(GRAD_W_SCORE, 2, SHAPE(H, CLATTN__HEAD_DIM), FLOATS, OF_ADDITIVE_GRADIENT, WRITTEN, false,
        PLAIN),
    ROW(GRAD_CHANNEL_BIAS, 2, SHAPE(H, CLATTN__HEAD_DIM), FLOATS, OF_ADDITIVE_GRADIENT, WRITTEN,
        false, PLAIN),
    ROW(K_SCALES, 4, SHAPE(B, HKV, CLATTN__N_NEW, CLATTN__K_GROUPS), BIT(CLATTN_F32), OF_SCALES,
        BIT(CLATTN__APPEND), false, CLATTN__TOTAL_KV),
    ROW(V_SCALES, 4, SHAPE(B, HKV, CLATTN__N_NEW, CLATTN__V_GROUPS), BIT(CLATTN_F32), OF_SCALES,
        BIT(CLATTN__APPEND), false, CLATTN__TOTAL_KV),
    ROW(RMS_WEIGHT, 2, SHAPE(H, CLATTN__HEAD_DIM), FLOATS, OF_ROTATION, false, false, PLAIN),
    ROW(SHIFTS, 1, SHAPE(B), BIT(CLATTN_I32), OF_SHIFTS, false, true, PLAIN),
    ROW(TOKEN_POSITIONS, 2, SHAPE(B, CLATTN__N_TOKENS), BIT(CLATTN_I32), OF_ROTATION, false, true,
        CLATTN__TOTAL_Q),
};

static const char *const extent_names[CLATTN__EXTENT_COUNT] = {
    [CLATTN__BATCH] = "batch",
    [CLATTN__N_HEAD] = "n_head",
    [CLATTN__N_KV_HEAD] = "n_kv_head",
    [CLATTN__N_Q] = "n_q",
    [CLATTN__N_KV] = "n_past + n_kv",
    [CLATTN__HEAD_DIM] = "head_dim",
    [CLATTN__VALUE_DIM] = "value_dim",
    [CLATTN__N_NEW] = "n_kv",
    [CLATTN__N_PAST] = "n_past",
    [CLATTN__TOTAL_Q] = "total_q",
    [CLATTN__TOTAL_KV] = "total_kv",
    [CLATTN__LENGTHS] = "number of lengths",
    [CLATTN__KEY_LENGTHS] = "number of lengths",
    [CLATTN__QUERY_BLOCKS] = "ceil(n_q / block_q)",
    [CLATTN__BLOCK_LIMIT] = "block_limit",
    [CLATTN__N_PARAMS] = "n_params",
    [CLATTN__N_PAGES] = "n_pages",
    [CLATTN__PAGE_SIZE] = "page_size",
    [CLATTN__PAGE_LIMIT] = "page_limit",
    [CLATTN__N_POSITIONS] = "n_positions",
    [CLATTN__N_ANGLES] = "rotary_dim / 2",
    [CLATTN__N_TOKENS] = "tokens of an entry",
    [CLATTN__TOP] = "top_k",
    [CLATTN__LISTED] = "number of indices",
    [CLATTN__ROWS] = "rows",
    [CLATTN__IN] = "in",
    [CLATTN__OUT] = "out",
    [CLATTN__PACKED] = "elements of packed weights",
    [CLATTN__K_GROUPS] = "scales of a key",
    [CLATTN__V_GROUPS] = "scales of a value",
    [CLATTN__PARTS] = "parts",
    [CLATTN__ONE] = "1",
    [CLATTN__TWO] = "2",
};

uint32_t clattn__slot_count(void)
{
    return sizeof table / sizeof table[0];
}

const clattn__slot_info *clattn__slot_get(uint32_t slot)
{
    return slot < clattn__slot_count() ? &table[slot] : NULL;
}

const char *clattn__extent_name(clattn__extent extent)
{
    return extent_names[extent];
}
