/* The tables of slots.h. */
#include "slots.h"

#include <string.h>

typedef enum element_class { ELEMENT_FLOAT, ELEMENT_F32, ELEMENT_BOOL, ELEMENT_I32 } element_class;

/* A letter for each dimension: see extent_of(). `ragged`: NULL where it is the same. */
static const struct slot_facts {
    clattn_slot slot;
    const char *shape, *ragged;
    element_class elements;
} slots[] = {
    {CLATTN_SLOT_Q, "BHQD", "qHD", ELEMENT_FLOAT},
    {CLATTN_SLOT_K, "BGKD", "kGD", ELEMENT_FLOAT},
    {CLATTN_SLOT_V, "BGKE", "kGE", ELEMENT_FLOAT},
    {CLATTN_SLOT_OUT, "BHQE", "qHE", ELEMENT_FLOAT},
    {CLATTN_SLOT_LSE, "BHQ", "qH", ELEMENT_F32},
    {CLATTN_SLOT_WEIGHTS, "BHQN", NULL, ELEMENT_F32},
    {CLATTN_SLOT_MASK, "BHQN", NULL, ELEMENT_BOOL},
    {CLATTN_SLOT_BIAS, "BHQN", NULL, ELEMENT_FLOAT},
    {CLATTN_SLOT_ALIBI, "H", NULL, ELEMENT_F32},
    {CLATTN_SLOT_SINK, "H", NULL, ELEMENT_F32},
    {CLATTN_SLOT_Q_LENGTHS, "B", "C", ELEMENT_I32},
    {CLATTN_SLOT_KV_LENGTHS, "B", "C", ELEMENT_I32},
    {CLATTN_SLOT_PAST_K, "BGPD", NULL, ELEMENT_FLOAT},
    {CLATTN_SLOT_PAST_V, "BGPE", NULL, ELEMENT_FLOAT},
    {CLATTN_SLOT_PRESENT_K, "BGND", NULL, ELEMENT_FLOAT},
    {CLATTN_SLOT_PRESENT_V, "BGNE", NULL, ELEMENT_FLOAT},
    {CLATTN_SLOT_SCORES, "BHQN", NULL, ELEMENT_F32},
    {CLATTN_SLOT_INDICES, "BHQT", NULL, ELEMENT_I32},
    {CLATTN_SLOT_GRAD_OUT, "BHQE", "qHE", ELEMENT_FLOAT},
    {CLATTN_SLOT_GRAD_Q, "BHQD", "qHD", ELEMENT_FLOAT},
    {CLATTN_SLOT_GRAD_K, "BGKD", "kGD", ELEMENT_FLOAT},
    {CLATTN_SLOT_GRAD_V, "BGKE", "kGE", ELEMENT_FLOAT},
    {CLATTN_SLOT_GRAD_BIAS, "BHQN", NULL, ELEMENT_FLOAT},
    {CLATTN_SLOT_GRAD_SINK, "H", NULL, ELEMENT_F32},
};

static const struct type_pair {
    element_class elements;
    const char *npy, *memory;
    clattn_dtype dtype;
} types[] = {
    {ELEMENT_FLOAT, "f4", "f4", CLATTN_F32}, {ELEMENT_FLOAT, "f2", "f2", CLATTN_F16},
    {ELEMENT_F32, "f4", "f4", CLATTN_F32},   {ELEMENT_BOOL, "b1", "b1", CLATTN_BOOL},
    {ELEMENT_I32, "i4", "i4", CLATTN_I32},   {ELEMENT_I32, "i8", "i4", CLATTN_I32},
};

static const struct slot_facts *find(clattn_slot slot)
{
    for (size_t i = 0; i < sizeof slots / sizeof slots[0]; i++)
        if (slots[i].slot == slot)
            return &slots[i];
    return NULL;
}

/* What a letter of the table stands for. */
static int64_t extent_of(const clattn_attention_desc *d, char letter)
{
    const struct {
        char letter;
        int64_t extent;
    } letters[] = {
        {'B', d->batch},    {'C', d->batch + 1}, {'H', d->n_head},  {'G', d->n_kv_head},
        {'Q', d->n_q},      {'K', d->n_kv},      {'P', d->n_past},  {'N', d->n_past + d->n_kv},
        {'D', d->head_dim}, {'E', d->value_dim}, {'q', d->total_q}, {'k', d->total_kv},
        {'T', d->top_k},
    };
    for (size_t i = 0; i < sizeof letters / sizeof letters[0]; i++)
        if (letters[i].letter == letter)
            return letters[i].extent;
    return -1;
}

bool slot_shape_of(const clattn_attention_desc *desc, clattn_slot slot, slot_shape *shape)
{
    const struct slot_facts *facts = find(slot);
    if (!facts)
        return false;
    const char *letters = desc->ragged && facts->ragged ? facts->ragged : facts->shape;
    *shape = (slot_shape){.rank = (uint32_t)strlen(letters)};
    for (uint32_t i = 0; i < shape->rank; i++)
        shape->extent[i] = extent_of(desc, letters[i]);
    return true;
}

bool slot_type_of(clattn_slot slot, const char *npy_type, clattn_dtype *dtype, const char **memory)
{
    const struct slot_facts *facts = find(slot);
    for (size_t i = 0; facts && i < sizeof types / sizeof types[0]; i++) {
        if (types[i].elements != facts->elements || strcmp(types[i].npy, npy_type) != 0)
            continue;
        *dtype = types[i].dtype;
        *memory = types[i].memory;
        return true;
    }
    return false;
}
