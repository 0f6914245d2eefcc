/* The table of tensor options. A new tensor of the operation is a row here. */
#include "tool/attention_table.h"

#define ROW_FOR(USE, SLOT, NAME, READ, TYPE, FORM, HELP, ...)                                      \
    {                                                                                              \
        .slot = CLATTN_SLOT_##SLOT, .name = NAME, .argument = "--" NAME, .read = READ,             \
        .type = TYPE_##TYPE, .form = FORM_##FORM, .help = HELP, .use = USE_##USE,                  \
        .rank = sizeof((const tensor_dim[]){__VA_ARGS__}) / sizeof(tensor_dim), .shape = {         \
            __VA_ARGS__                                                                            \
        }                                                                                          \
    }
#define ROW(...) ROW_FOR(BOTH, __VA_ARGS__)
#define FLOATS   npy_read_floats
#define WHOLE    npy_read_integers
#define B        DIM_BATCH
#define H        DIM_N_HEAD
#define HKV      DIM_N_KV_HEAD
#define NQ       DIM_N_Q
#define NKEYS    DIM_N_KEYS

static const tensor_option table[] = {
    ROW(Q, "q", FLOATS, STORED, SEQUENCE, "queries, .npy, (batch, head, query, dim)", B, H, NQ,
        DIM_HEAD_DIM),
    ROW(K, "k", FLOATS, STORED, SEQUENCE, "keys, (batch, key/value head, key, dim)", B, HKV,
        DIM_N_KV, DIM_HEAD_DIM),
    ROW(V, "v", FLOATS, STORED, SEQUENCE, "values, (batch, key/value head, key, value dim)", B, HKV,
        DIM_N_KV, DIM_VALUE_DIM),
    ROW(PAST_K, "past-k", FLOATS, STORED, SEQUENCE,
        "keys before those of --k, (batch, key/value head, key, dim)", B, HKV, DIM_N_PAST,
        DIM_HEAD_DIM),
    ROW(PAST_V, "past-v", FLOATS, STORED, SEQUENCE, "their values", B, HKV, DIM_N_PAST,
        DIM_VALUE_DIM),
    ROW(Q_LENGTHS, "q-lengths", WHOLE, LENGTH, VECTOR,
        "queries of each batch entry, int32 or int64, (batch)", B),
    ROW(KV_LENGTHS, "kv-lengths", WHOLE, LENGTH, VECTOR, "keys of each batch entry, (batch)", B),
    ROW(Q_LENGTHS, "cu-seqlens-q", WHOLE, LENGTH, VECTOR,
        "ragged: where each sequence's queries begin and the last ends, (sequences + 1); then "
        "--q, --k, --v are (token, head, dim)",
        DIM_ENDS),
    ROW(KV_LENGTHS, "cu-seqlens-k", WHOLE, LENGTH, VECTOR, "the same of the keys", DIM_ENDS),
    ROW(ALIBI, "alibi", FLOATS, FLOAT, VECTOR,
        "slopes, (head): scores get - slope * |i + offset - j|", H),
    ROW(SINK, "sink", FLOATS, FLOAT, VECTOR, "logits that take part in the softmax's sum, (head)",
        H),
    ROW(PARAMS, "params", FLOATS, FLOAT, VECTOR, "numbers for --score-mod and --mask-mod, (any)",
        DIM_N_PARAMS),
    ROW(MASK, "mask", npy_read_bools, BOOL, BROADCAST,
        "bool, true: visible; broadcast to (batch, head, query, key)", B, H, NQ, NKEYS),
    ROW(BIAS, "bias", FLOATS, FLOAT, BROADCAST,
        "added to the scores; broadcast to (batch, head, query, key)", B, H, NQ, NKEYS),
    ROW_FOR(GRAD, GRAD_OUT, "grad-out", FLOATS, STORED, SEQUENCE,
            "derivatives of the loss by the output, (batch, head, query, value dim)", B, H, NQ,
            DIM_VALUE_DIM),
    ROW_FOR(GRAD, GRAD_LSE, "grad-lse", FLOATS, FLOAT, SEQUENCE,
            "derivatives of the loss by the log-sum-exp, (batch, head, query)", B, H, NQ),
    ROW(OUT, "out", NULL, STORED, SEQUENCE, "output, (batch, head, query, value dim)", B, H, NQ,
        DIM_VALUE_DIM),
    ROW(LSE, "lse", NULL, FLOAT, SEQUENCE,
        "log-sum-exp, (batch, head, query); ragged: (token, head)", B, H, NQ),
    ROW_FOR(GRAD, GRAD_Q, "dq", NULL, STORED, SEQUENCE, "gradient of --q", B, H, NQ, DIM_HEAD_DIM),
    ROW_FOR(GRAD, GRAD_K, "dk", NULL, STORED, SEQUENCE, "gradient of --k", B, HKV, DIM_N_KV,
            DIM_HEAD_DIM),
    ROW_FOR(GRAD, GRAD_V, "dv", NULL, STORED, SEQUENCE, "gradient of --v", B, HKV, DIM_N_KV,
            DIM_VALUE_DIM),
    ROW_FOR(GRAD, GRAD_BIAS, "dbias", NULL, FLOAT, BROADCAST,
            "gradient of --bias, summed to its shape", B, H, NQ, NKEYS),
    ROW_FOR(GRAD, GRAD_SINK, "dsink", NULL, FLOAT, VECTOR, "gradient of --sink, (head)", H),
    ROW_FOR(GRAD, GRAD_PAST_K, "dpast-k", NULL, STORED, SEQUENCE, "gradient of --past-k", B, HKV,
            DIM_N_PAST, DIM_HEAD_DIM),
    ROW_FOR(GRAD, GRAD_PAST_V, "dpast-v", NULL, STORED, SEQUENCE, "gradient of --past-v", B, HKV,
            DIM_N_PAST, DIM_VALUE_DIM),
    ROW_FOR(ATTENTION, WEIGHTS, "weights", NULL, FLOAT, RESULT,
            "softmax of the scores, (batch, head, query, key)", B, H, NQ, NKEYS),
    ROW_FOR(ATTENTION, INDICES, "indices", NULL, INDEX, RESULT,
            "with --top-k: the keys, int32, the highest score first, -1 where there are fewer", B,
            H, NQ, DIM_LISTED),
    ROW_FOR(ATTENTION, WEIGHTS_MEAN, "weights-mean", NULL, FLOAT, RESULT,
            "their mean over the heads, (batch, query, key)", B, NQ, NKEYS),
    ROW_FOR(ATTENTION, WEIGHTS_SUM, "weights-sum", NULL, FLOAT, RESULT,
            "their sum over the queries, (batch, head, key)", B, H, NKEYS),
    ROW_FOR(ATTENTION, SCORES, "scores", NULL, FLOAT, RESULT,
            "scores at --score-stage, (batch, head, query, key)", B, H, NQ, NKEYS),
    ROW_FOR(ATTENTION, PRESENT_K, "present-k", NULL, STORED, SEQUENCE,
            "the keys of --past-k, then those of --k", B, HKV, NKEYS, DIM_HEAD_DIM),
    ROW_FOR(ATTENTION, PRESENT_V, "present-v", NULL, STORED, SEQUENCE,
            "the values of --past-v, then those of --v", B, HKV, NKEYS, DIM_VALUE_DIM),
};

static const char *const dim_names[TENSOR_DIMS] = {
    [DIM_ONE] = "1",
    [DIM_BATCH] = "batch",
    [DIM_N_HEAD] = "number of heads",
    [DIM_N_KV_HEAD] = "number of heads",
    [DIM_N_Q] = "number of queries",
    [DIM_N_KV] = "number of keys",
    [DIM_N_PAST] = "number of keys",
    [DIM_N_KEYS] = "number of keys",
    [DIM_HEAD_DIM] = "head dimension",
    [DIM_VALUE_DIM] = "value dimension",
    [DIM_TOTAL_Q] = "number of tokens",
    [DIM_TOTAL_KV] = "number of tokens",
    [DIM_ENDS] = "length",
    [DIM_N_PARAMS] = "length",
    [DIM_LISTED] = "number of indices",
};

const tensor_option *tensor_option_get(uint32_t index)
{
    return index < sizeof table / sizeof table[0] ? &table[index] : NULL;
}

const tensor_option *tensor_option_of(clattn_slot slot)
{
    const tensor_option *option = table;
    while (option->slot != slot)
        option++;
    return option;
}

bool tensor_option_is_required(const tensor_option *option)
{
    return option->slot <= CLATTN_SLOT_OUT || option->slot == CLATTN_SLOT_GRAD_OUT;
}

const char *tensor_dim_name(tensor_dim dim)
{
    return dim_names[dim];
}
