/* What the sequences of a key/value cache should hold, as plain arrays: for test_kv_cache.c. Of a
 * cache of integers that is what was read back when tokens were appended: test_quantised.c holds it
 * to the formula. */
#ifndef TESTS_DEVICE_KV_MODEL_H
#define TESTS_DEVICE_KV_MODEL_H

#include <clattn/layer.h>
#include <stdbool.h>

enum { IDS = 5, HEADS = 4, KV_HEADS = 2, DIM = 32, VALUE_DIM = 48, LAYERS = 2, LONGEST = 700 };
enum { QUERIES = 2, MOST_TOKENS = 40, SINK = 20 };

/* Rows of one layer, (token, head, dim); of integers numbers are these, and scale is not 1. */
typedef struct kv_rows {
    float k[LONGEST][KV_HEADS][DIM], v[LONGEST][KV_HEADS][VALUE_DIM];
    float k_scale[LONGEST][KV_HEADS], v_scale[LONGEST][KV_HEADS];
} kv_rows;

typedef struct kv_sequence {
    bool exists;
    bool is_new; /* a fork that no step has had yet */
    int64_t length;
    kv_rows layer[LAYERS];
} kv_sequence;

typedef float kv_queries[HEADS][QUERIES][DIM];
typedef float kv_outputs[HEADS][QUERIES][VALUE_DIM];

bool kv_has_scales(clattn_dtype dtype);

/* The range's rows become what the cache has. */
void kv_model_fetch(clattn_kv_cache *cache, clattn_dtype dtype, const clattn_kv_range *range,
                    kv_rows *rows);
/* They must be what the cache has, number by number. */
void kv_model_compare(clattn_kv_cache *cache, clattn_dtype dtype, const clattn_kv_range *range,
                      const kv_rows *rows);

/* A key turned by quarters of a circle, in all pairs. */
void kv_model_turn(float row[DIM], int64_t quarters);
/* Tokens from `begin` on go, so many; the keys behind them are turned back by as many quarters. */
void kv_model_lose(kv_sequence *of, int64_t begin, int64_t lost, bool turned);

/* Attention to a sequence as it is now, side by side, by its own call. */
void kv_model_attend(clattn_context *context, clattn_dtype dtype, const kv_sequence *of, int layer,
                     kv_queries q, kv_outputs out);

#endif
