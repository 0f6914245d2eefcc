/* See kv_flights.h. */
#include "kv_flights.h"

#include <criterion/criterion.h>
#include <string.h>

#include "rig.h"

static void good(clattn_status status)
{
    cr_assert_eq(status, CLATTN_OK, "%s: %s", rig_said(), clattn_error_message());
}

void kv_flights_open(kv_flights *flights, clattn_context *context, clattn_dispatcher *dispatcher,
                     clattn_kv_cache *cache)
{
    const uint64_t rows = IDS * MOST_TOKENS * KV_HEADS * sizeof(float);
    flights->dispatcher = dispatcher;
    flights->cache = cache;
    for (int n = 0; n < FLIGHTS; n++)
        for (int layer = 0; layer < LAYERS; layer++) {
            kv_flight *f = &flights->flight[n];
            good(clattn_buffer_create(context, rows * DIM, &f->k[layer]));
            good(clattn_buffer_create(context, rows * VALUE_DIM, &f->v[layer]));
            good(clattn_buffer_create(context, IDS * sizeof(kv_queries), &f->q[layer]));
            good(clattn_buffer_create(context, IDS * sizeof(kv_outputs), &f->out[layer]));
        }
}

void kv_flights_close(kv_flights *flights)
{
    kv_flights_land_all(flights);
    for (int n = 0; n < FLIGHTS; n++)
        for (int layer = 0; layer < LAYERS; layer++) {
            kv_flight *f = &flights->flight[n];
            clattn_buffer *const buffers[] = {f->k[layer], f->v[layer], f->q[layer], f->out[layer]};
            for (size_t i = 0; i < sizeof buffers / sizeof buffers[0]; i++)
                good(clattn_buffer_destroy(buffers[i]));
        }
}

static void land(kv_flights *flights, kv_flight *f)
{
    static kv_outputs out[IDS];
    for (int layer = 0; f->is_up && layer < LAYERS; layer++) {
        good(clattn_event_wait(f->event[layer], UINT64_MAX));
        clattn_event_release(f->event[layer]);
        if (f->checks)
            good(clattn_buffer_read(f->out[layer], 0, out, sizeof out));
        for (uint32_t n = 0; n < f->checks; n++)
            cr_assert_eq(memcmp(out[n], f->expected[layer][n], sizeof out[n]), 0,
                         "%s: sequence %d of %d tokens, layer %d: other bits", rig_said(),
                         (int)f->ids[n], (int)f->lengths[n], layer);
        flights->attended += (int)f->checks;
    }
    f->is_up = false;
}

void kv_flights_land_next(kv_flights *flights)
{
    int n = 0;
    while (n < FLIGHTS && !flights->flight[(flights->next + n) % FLIGHTS].is_up)
        n++;
    land(flights, &flights->flight[(flights->next + n) % FLIGHTS]);
}

void kv_flights_land_all(kv_flights *flights)
{
    for (int n = 0; n < FLIGHTS; n++)
        kv_flights_land_next(flights);
}

kv_flight *kv_flights_next(kv_flights *flights, const uint64_t *ids, uint32_t count)
{
    kv_flight *f = &flights->flight[flights->next];
    land(flights, f);
    flights->next = (flights->next + 1) % FLIGHTS;
    memcpy(f->ids, ids, count * sizeof *ids);
    f->count = count;
    f->checks = 0;
    f->waits = false;
    return f;
}

clattn_event *kv_flights_submit(kv_flights *flights, const kv_flight *f, clattn_step *steps,
                                uint32_t count)
{
    uint64_t sequences[IDS] = {0}; /* 0 has no order */
    clattn_event *wait[FLIGHTS * LAYERS], *event;
    clattn_submission submission;
    for (uint32_t n = 0; n < f->count; n++)
        sequences[n] = f->ids[n] + 1;
    for (uint32_t n = 0; n < count; n++)
        steps[n].sequences = sequences;
    clattn_submission_init(&submission);
    submission.steps = steps;
    submission.step_count = count;
    submission.wait = wait;
    for (int n = 0; f->waits && n < FLIGHTS; n++)
        for (int layer = 0; flights->flight[n].is_up && layer < LAYERS; layer++)
            wait[submission.wait_count++] = flights->flight[n].event[layer];
    good(clattn_submit(flights->dispatcher, &submission, &event));
    good(clattn_kv_cache_guard(flights->cache, event, f->ids, f->count));
    return event;
}

void kv_flights_take_off(kv_flights *flights, kv_flight *f)
{
    int up = 0;
    f->is_up = true;
    for (int n = 0; n < FLIGHTS; n++)
        up += flights->flight[n].is_up;
    flights->most_up = up > flights->most_up ? up : flights->most_up;
}
