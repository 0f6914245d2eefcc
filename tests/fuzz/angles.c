/* See angles.h. */
#include "angles.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "memory.h"

/* A position for each token, even ones in some order; the others' angles show where they are used.
 */
static void scatter(const fuzz_problem *p, const clattn_attention_desc *desc, fuzz_angles *angles)
{
    const int64_t count = p->ragged ? fuzz_total(p, true) : p->batch * p->n_q;
    angles->slot = CLATTN_SLOT_TOKEN_POSITIONS;
    angles->positions = fuzz_alloc((size_t)count, sizeof *angles->positions);
    for (int64_t i = 0; i < count; i++)
        angles->positions[i] = (int32_t)(i * 7 % ((desc->n_positions + 1) / 2) * 2);
    for (int64_t n = 0; n < desc->n_positions * desc->rotary_dim; n++)
        if (n / desc->rotary_dim % 2)
            angles->table[n] = NAN;
}

void fuzz_angles_make(const fuzz_problem *p, clattn_attention_desc *desc, fuzz_angles *angles)
{
    const bool implied = p->align == CLATTN_ALIGN_TOP_LEFT || p->align == CLATTN_ALIGN_BOTTOM_RIGHT;
    desc->rotary_dim = p->head_dim / 2 * 2;
    desc->interleaved = p->head_dim % 3 == 0;
    desc->n_positions = p->n_q > fuzz_keys(p) ? p->n_q : fuzz_keys(p);
    if (desc->n_positions == 0)
        desc->n_positions = 1;
    desc->slots |= CLATTN_SLOT_BIT(CLATTN_SLOT_ANGLES);
    const int64_t count = desc->n_positions * desc->rotary_dim;
    angles->table = fuzz_alloc((size_t)count, sizeof *angles->table);
    for (int64_t n = 0; n < count; n++)
        angles->table[n] = n % 2 ? 0 : 1;
    angles->positions = NULL;
    angles->slot = CLATTN_SLOT_POSITIONS;
    if ((p->n_head + p->n_q) % 3 == 0) {
        scatter(p, desc, angles);
    } else if (!implied) {
        angles->positions = fuzz_alloc((size_t)p->batch, sizeof *angles->positions);
        memset(angles->positions, 0, (size_t)p->batch * sizeof *angles->positions);
    }
    if (angles->positions)
        desc->slots |= CLATTN_SLOT_BIT(angles->slot);
}

void fuzz_angles_free(fuzz_angles *angles)
{
    free(angles->table);
    free(angles->positions);
}
