/* The ways of run.h: the one call on host memory, and submissions with buffers. */
#include "run.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "angles.h"
#include "stored.h"

bool fuzz_is_for(const fuzz_target *t, const fuzz_problem *p)
{
    static const char gradient[] = "gradient", highest[] = "top_k";
    return p->index % t->every == 0 &&
           (strncmp(t->kernel, gradient, sizeof gradient - 1) == 0) == p->gradient &&
           (strncmp(t->kernel, highest, sizeof highest - 1) == 0) == p->highest;
}

static size_t offset_of(const fuzz_memory *m)
{
    return (size_t)m->first * (size_t)fuzz_size_of(m->dtype);
}

/* Keys and values as they are stored, in the place of those that are bound; returns the count. */
static uint32_t bind_stored(const fuzz_problem *p, const fuzz_set *set, clattn_attention_desc *desc,
                            fuzz_stored *stored, clattn_host_binding *bindings, uint32_t count)
{
    fuzz_stored_make(p, set, desc, stored);
    for (int part = 0; part < 2; part++) {
        bindings[CLATTN_SLOT_K + part].data = stored->rows[part]; /* Q, K and V come first */
        if (stored->scales[part])
            bindings[count++] = (clattn_host_binding){(clattn_slot)(CLATTN_SLOT_K_SCALES + part), 0,
                                                      stored->scales[part]};
    }
    if (stored->table)
        bindings[count++] = (clattn_host_binding){CLATTN_SLOT_PAGES, 0, stored->table};
    return count;
}

/* Forward attention; `bindings` has room for what is added to the `count` that there are. */
static clattn_status run_attention(const fuzz_target *t, const fuzz_problem *p, const fuzz_set *set,
                                   clattn_host_binding *bindings, uint32_t count)
{
    clattn_attention_desc desc;
    fuzz_stored stored = {0};
    fuzz_angles angles = {0};
    fuzz_describe(p, &desc);
    if (fuzz_is_stored(p))
        count = bind_stored(p, set, &desc, &stored, bindings, count);
    if (p->rotated) {
        fuzz_angles_make(p, &desc, &angles);
        bindings[count++] = (clattn_host_binding){CLATTN_SLOT_ANGLES, 0, angles.table};
        if (angles.positions)
            bindings[count++] = (clattn_host_binding){angles.slot, 0, angles.positions};
    }
    const clattn_status status = clattn_run(t->context, &desc, bindings, count);
    fuzz_stored_free(&stored);
    fuzz_angles_free(&angles);
    return status;
}

static clattn_status run_on_host(const fuzz_target *t, const fuzz_problem *p, fuzz_set *set)
{
    clattn_host_binding bindings[FUZZ_SLOTS + 5];
    clattn_attention_desc desc;
    clattn_merge_desc merge;
    uint32_t count = 0;
    for (int slot = 0; slot < FUZZ_SLOTS; slot++)
        if (set->slot[slot].bytes)
            bindings[count++] = (clattn_host_binding){
                (clattn_slot)slot, 0, set->slot[slot].bytes + offset_of(&set->slot[slot])};
    if (p->merge) {
        fuzz_describe_merge(p, &merge);
        return clattn_merge(t->context, &merge, bindings, count);
    }
    if (!p->gradient)
        return run_attention(t, p, set, bindings, count);
    fuzz_describe(p, &desc);
    return clattn_run_gradient(t->context, &desc, bindings, count);
}

static clattn_status make_plan(const fuzz_target *t, const fuzz_problem *p, clattn_plan **plan)
{
    clattn_attention_desc desc;
    clattn_merge_desc merge;
    if (p->merge) {
        fuzz_describe_merge(p, &merge);
        return clattn_plan_merge(t->context, &merge, plan);
    }
    fuzz_describe(p, &desc);
    if (p->gradient)
        return clattn_plan_attention_gradient(t->context, &desc, plan);
    return clattn_plan_attention(t->context, &desc, plan);
}

/* The buffers of one submission. A slot that is bound from the host has none. */
typedef struct buffers {
    clattn_buffer *buffer[FUZZ_SLOTS]; /* owned; the shared one belongs to the first slot */
    clattn_buffer *shared;
    uint64_t offset[FUZZ_SLOTS]; /* of the slot's memory in its buffer */
} buffers;

static bool is_bound_from_host(const fuzz_problem *p, int slot)
{
    return p->host >> slot & 1;
}

/* Slots lie one behind the other, 8 to 24 bytes apart. */
static clattn_status share_buffer(const fuzz_target *t, const fuzz_problem *p, const fuzz_set *set,
                                  buffers *to)
{
    uint64_t size = 8;
    for (int slot = 0; slot < FUZZ_SLOTS; slot++) {
        if (!set->slot[slot].bytes || is_bound_from_host(p, slot))
            continue;
        to->offset[slot] = size;
        size += (set->slot[slot].size + 15) / 8 * 8 + 8 * ((uint64_t)slot % 3);
    }
    return clattn_buffer_create(t->context, size, &to->shared);
}

static clattn_status make_buffers(const fuzz_target *t, const fuzz_problem *p, const fuzz_set *set,
                                  buffers *to)
{
    clattn_status status = CLATTN_OK;
    if (p->path == FUZZ_SHARED)
        status = share_buffer(t, p, set, to);
    for (int slot = 0; slot < FUZZ_SLOTS && status == CLATTN_OK; slot++) {
        const fuzz_memory *m = &set->slot[slot];
        if (!m->bytes || is_bound_from_host(p, slot))
            continue;
        if (p->path == FUZZ_WRAP)
            status = clattn_buffer_wrap_host(t->context, m->bytes, m->size, &to->buffer[slot]);
        else if (p->path == FUZZ_OWN)
            status = clattn_buffer_create(t->context, m->size, &to->buffer[slot]);
        if (status == CLATTN_OK && p->path != FUZZ_WRAP)
            status = clattn_buffer_write(to->shared ? to->shared : to->buffer[slot],
                                         to->offset[slot], m->bytes, m->size);
    }
    return status;
}

static clattn_status submit(const fuzz_target *t, const fuzz_problem *p, const fuzz_set *set,
                            const buffers *from, const clattn_plan *plan)
{
    clattn_binding bindings[FUZZ_SLOTS];
    clattn_step step = {.plan = plan, .bindings = bindings};
    clattn_submission submission;
    for (int slot = 0; slot < FUZZ_SLOTS; slot++) {
        const fuzz_memory *m = &set->slot[slot];
        if (!m->bytes)
            continue;
        clattn_binding *binding = &bindings[step.binding_count++];
        *binding = (clattn_binding){.slot = (clattn_slot)slot};
        if (is_bound_from_host(p, slot)) {
            binding->host = m->bytes + offset_of(m);
        } else {
            binding->buffer = from->shared ? from->shared : from->buffer[slot];
            binding->offset = from->offset[slot] + offset_of(m);
        }
    }
    clattn_submission_init(&submission);
    submission.steps = &step;
    submission.step_count = 1;
    clattn_event *event = NULL;
    clattn_status status = clattn_submit(t->dispatcher, &submission, &event);
    if (status == CLATTN_OK)
        status = clattn_event_wait(event, UINT64_MAX);
    clattn_event_release(event);
    return status;
}

static clattn_status read_back(const fuzz_problem *p, fuzz_set *set, const buffers *from)
{
    clattn_status status = CLATTN_OK;
    for (int slot = 0; slot < FUZZ_SLOTS && status == CLATTN_OK; slot++) {
        fuzz_memory *m = &set->slot[slot];
        void *mapped;
        if (!m->bytes || is_bound_from_host(p, slot))
            continue;
        if (p->path == FUZZ_WRAP) {
            status = clattn_buffer_map(from->buffer[slot], &mapped);
            if (status == CLATTN_OK)
                status = clattn_buffer_unmap(from->buffer[slot]);
        } else {
            status = clattn_buffer_read(from->shared ? from->shared : from->buffer[slot],
                                        from->offset[slot], m->bytes, m->size);
        }
    }
    return status;
}

static clattn_status run_submission(const fuzz_target *t, const fuzz_problem *p, fuzz_set *set)
{
    clattn_plan *plan = NULL;
    buffers made = {0};
    clattn_status status = make_plan(t, p, &plan);
    if (status == CLATTN_OK)
        status = make_buffers(t, p, set, &made);
    if (status == CLATTN_OK)
        status = submit(t, p, set, &made, plan);
    if (status == CLATTN_OK)
        status = read_back(p, set, &made);
    for (int slot = 0; slot < FUZZ_SLOTS; slot++)
        if (clattn_buffer_destroy(made.buffer[slot]) != CLATTN_OK)
            status = CLATTN_ERR_INTERNAL;
    if (clattn_buffer_destroy(made.shared) != CLATTN_OK)
        status = CLATTN_ERR_INTERNAL;
    clattn_plan_destroy(plan);
    return status;
}

clattn_status fuzz_run(const fuzz_target *t, const fuzz_problem *p, fuzz_set *set, char *message,
                       size_t size)
{
    const clattn_status status =
        p->path == FUZZ_RUN ? run_on_host(t, p, set) : run_submission(t, p, set);
    if (status != CLATTN_OK)
        snprintf(message, size, "%s: %s", clattn_status_string(status), clattn_error_message());
    return status;
}
