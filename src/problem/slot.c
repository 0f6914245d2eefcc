/* The table of slots. */
#include "problem/slot.h"

#include <stddef.h>

#define F32_ONLY         (1u << CLATTN_F32)
#define READ             false, false
#define WRITTEN          false, true
#define WRITTEN_IF_ASKED true, true

static const clattn__slot_info table[] = {
    {CLATTN_SLOT_Q,
     "Q",
     4,
     {CLATTN__BATCH, CLATTN__N_HEAD, CLATTN__N_Q, CLATTN__HEAD_DIM},
     READ,
     F32_ONLY},
    {CLATTN_SLOT_K,
     "K",
     4,
     {CLATTN__BATCH, CLATTN__N_KV_HEAD, CLATTN__N_KV, CLATTN__HEAD_DIM},
     READ,
     F32_ONLY},
    {CLATTN_SLOT_V,
     "V",
     4,
     {CLATTN__BATCH, CLATTN__N_KV_HEAD, CLATTN__N_KV, CLATTN__VALUE_DIM},
     READ,
     F32_ONLY},
    {CLATTN_SLOT_OUT,
     "OUT",
     4,
     {CLATTN__BATCH, CLATTN__N_HEAD, CLATTN__N_Q, CLATTN__VALUE_DIM},
     WRITTEN,
     F32_ONLY},
    {CLATTN_SLOT_LSE,
     "LSE",
     3,
     {CLATTN__BATCH, CLATTN__N_HEAD, CLATTN__N_Q},
     WRITTEN_IF_ASKED,
     F32_ONLY},
    {CLATTN_SLOT_WEIGHTS,
     "WEIGHTS",
     4,
     {CLATTN__BATCH, CLATTN__N_HEAD, CLATTN__N_Q, CLATTN__N_KV},
     WRITTEN_IF_ASKED,
     F32_ONLY},
};

static const char *const extent_names[CLATTN__EXTENT_COUNT] = {
    [CLATTN__BATCH] = "batch",         [CLATTN__N_HEAD] = "n_head",
    [CLATTN__N_KV_HEAD] = "n_kv_head", [CLATTN__N_Q] = "n_q",
    [CLATTN__N_KV] = "n_kv",           [CLATTN__HEAD_DIM] = "head_dim",
    [CLATTN__VALUE_DIM] = "value_dim",
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
