/* Memory and elements of memory.h. */
#include "memory.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "expected.h"
#include "stored.h"
#include "tests/oracle/storage.h"
#include "values.h"

void *fuzz_alloc(size_t count, size_t size)
{
    void *memory = calloc(count * size + 1, 1);
    if (!memory) {
        fputs("fuzz_attention: out of memory\n", stderr);
        exit(1);
    }
    return memory;
}

static void make(const fuzz_problem *p, int slot, fuzz_memory *m)
{
    const fuzz_layout layout = fuzz_layout_of(p, slot);
    m->dtype = p->tensor[slot].dtype;
    const size_t size = (size_t)fuzz_size_of(m->dtype);
    m->size = 2 * FUZZ_GUARD + (size_t)layout.count * size;
    m->bytes = fuzz_alloc(m->size, 1);
    m->elements = (int64_t)(m->size / size);
    m->first = FUZZ_GUARD / (int64_t)size + layout.origin;
    memcpy(m->stride, layout.stride, sizeof m->stride);
}

void fuzz_set_make(const fuzz_problem *p, fuzz_set *set)
{
    memset(set, 0, sizeof *set);
    for (int slot = 0; slot < FUZZ_SLOTS; slot++) {
        if (!fuzz_has(p, slot))
            continue;
        make(p, slot, &set->slot[slot]);
        if (fuzz_is_written(p, slot))
            memset(set->slot[slot].bytes, FUZZ_UNTOUCHED, set->slot[slot].size);
    }
    fuzz_fill(p, set);
    if (p->integers)
        fuzz_make_integers(p, set);
    if (p->gradient)
        fuzz_fill_forward(p, set);
}

void fuzz_set_copy(const fuzz_set *from, fuzz_set *to)
{
    *to = *from;
    for (int slot = 0; slot < FUZZ_SLOTS; slot++) {
        if (!from->slot[slot].bytes)
            continue;
        to->slot[slot].bytes = fuzz_alloc(from->slot[slot].size, 1);
        memcpy(to->slot[slot].bytes, from->slot[slot].bytes, from->slot[slot].size);
    }
}

void fuzz_set_free(fuzz_set *set)
{
    for (int slot = 0; slot < FUZZ_SLOTS; slot++)
        free(set->slot[slot].bytes);
    memset(set, 0, sizeof *set);
}

int64_t fuzz_element(const fuzz_problem *p, const fuzz_set *set, int slot, const int64_t *at)
{
    const fuzz_memory *m = &set->slot[slot];
    const int rank = fuzz_slot_of(slot)->rank;
    int64_t element = m->first;
    int first = 0;
    if (fuzz_is_ragged(p, slot)) {
        const bool is_query = fuzz_is_query_slot(slot);
        for (int64_t b = 0; b < at[0]; b++)
            element += m->stride[2] * (is_query ? p->q_length[b] : p->kv_length[b]);
        first = 1;
    }
    for (int d = first; d < rank; d++)
        element += at[d] * m->stride[d];
    return element;
}

static uint32_t bits_at(const fuzz_memory *m, int64_t element)
{
    uint32_t bits = 0;
    const size_t size = (size_t)fuzz_size_of(m->dtype);
    memcpy(&bits, m->bytes + (size_t)element * size, size < 4 ? size : 4);
    return bits;
}

double fuzz_load(const fuzz_memory *m, int64_t element)
{
    const uint32_t bits = bits_at(m, element);
    float value;
    memcpy(&value, &bits, sizeof value);
    switch (m->dtype) {
    case CLATTN_F32:
        return (double)value;
    case CLATTN_F16:
        return (double)oracle_from_f16((uint16_t)bits);
    case CLATTN_BF16:
        return (double)oracle_from_bf16((uint16_t)bits);
    default:
        return (double)fuzz_load_integer(m, element);
    }
}

int64_t fuzz_load_integer(const fuzz_memory *m, int64_t element)
{
    int64_t wide;
    int32_t narrow;
    if (m->dtype == CLATTN_BOOL)
        return m->bytes[element];
    if (m->dtype == CLATTN_I32) {
        memcpy(&narrow, m->bytes + element * 4, sizeof narrow);
        return narrow;
    }
    memcpy(&wide, m->bytes + element * 8, sizeof wide);
    return wide;
}

void fuzz_store(fuzz_memory *m, int64_t element, double value)
{
    unsigned char *to = m->bytes + element * fuzz_size_of(m->dtype);
    const float single = (float)value;
    const uint16_t half = oracle_to_f16(single), brain = oracle_to_bf16(single);
    const bool is_integer = m->dtype > CLATTN_BF16;
    const int32_t narrow = is_integer ? (int32_t)value : 0;
    const int64_t wide = is_integer ? (int64_t)value : 0;
    const unsigned char byte = (unsigned char)narrow;
    const void *const from[] = {&single, &half, &brain, &byte, &narrow, &wide};
    memcpy(to, from[m->dtype], (size_t)fuzz_size_of(m->dtype));
}
