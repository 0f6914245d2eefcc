/* Steps of test_kv_cache.c that were submitted and not waited for: each has memory of its own, and
 * what must come out of it. */
#ifndef TESTS_DEVICE_KV_FLIGHTS_H
#define TESTS_DEVICE_KV_FLIGHTS_H

#include "kv_model.h"

enum { FLIGHTS = 3 };

/* A submission a layer. */
typedef struct kv_flight {
    bool is_up;
    bool waits;             /* for all that are up */
    uint32_t count, checks; /* sequences; of them those whose outputs are compared, the first */
    uint64_t ids[IDS];
    int64_t lengths[IDS];
    clattn_event *event[LAYERS];
    clattn_buffer *k[LAYERS], *v[LAYERS], *q[LAYERS], *out[LAYERS]; /* of IDS sequences */
    kv_outputs expected[LAYERS][IDS];
} kv_flight;

typedef struct kv_flights {
    clattn_dispatcher *dispatcher;
    clattn_kv_cache *cache;
    kv_flight flight[FLIGHTS];
    int next; /* to be used, so the oldest */
    int attended, most_up;
} kv_flights;

void kv_flights_open(kv_flights *flights, clattn_context *context, clattn_dispatcher *dispatcher,
                     clattn_kv_cache *cache);
void kv_flights_close(kv_flights *flights);

/* The next flight, of these sequences; an old one lands first. */
kv_flight *kv_flights_next(kv_flights *flights, const uint64_t *ids, uint32_t count);
/* Submits steps of the flight's sequences, whose pages are guarded from then on. */
clattn_event *kv_flights_submit(kv_flights *flights, const kv_flight *f, clattn_step *steps,
                                uint32_t count);
/* All layers are submitted. */
void kv_flights_take_off(kv_flights *flights, kv_flight *f);

/* Waits for one or all that are up, and compares. */
void kv_flights_land_next(kv_flights *flights);
void kv_flights_land_all(kv_flights *flights);

#endif
