/* The ring of spans, and its JSON. */
#include "dispatch/trace.h"

#include <inttypes.h>

clattn_status clattn__trace_init(clattn__trace *trace, const clattn__env *env, uint32_t capacity)
{
    *trace = (clattn__trace){.env = env};
    if (capacity == 0)
        return CLATTN_OK;
    trace->span = clattn__alloc_array(env, capacity, sizeof *trace->span);
    if (!trace->span)
        return CLATTN_ERR_OUT_OF_MEMORY;
    trace->capacity = capacity;
    return CLATTN_OK;
}

void clattn__trace_finish(clattn__trace *trace)
{
    if (trace->span)
        clattn__free(trace->env, trace->span);
    trace->span = NULL;
    trace->capacity = trace->count = 0;
}

void clattn__trace_add(clattn__trace *trace, const clattn__trace_span *span, uint64_t now)
{
    const int64_t shift = (int64_t)now - (int64_t)span->ended;
    if (trace->capacity == 0)
        return;
    if (!trace->has_shift[span->lane] || shift < trace->shift[span->lane])
        trace->shift[span->lane] = shift;
    trace->has_shift[span->lane] = true;
    trace->span[trace->next] = *span;
    trace->next = (trace->next + 1) % trace->capacity;
    if (trace->count < trace->capacity)
        trace->count++;
}

static void write_span(const clattn__trace *trace, const clattn__trace_span *span,
                       clattn__text *text)
{
    const double began = (double)((int64_t)span->began + trace->shift[span->lane]) * 1e-3;
    clattn__text_add(text,
                     ",\n{\"ph\":\"X\",\"pid\":1,\"tid\":%" PRIu32
                     ",\"ts\":%.3f,\"dur\":%.3f,\"name\":\"%" PRIu32 " of #%" PRIu64
                     "\",\"args\":{\"launches\":%" PRIu32 ",\"steps\":%" PRIu32
                     ",\"submissions_ended\":%" PRIu32 "}}",
                     span->lane, began, (double)(span->ended - span->began) * 1e-3, span->entries,
                     span->number, span->launches, span->entries, span->jobs);
}

void clattn__trace_write(const clattn__trace *trace, clattn__text *text)
{
    uint32_t lanes = 0;
    for (uint32_t i = 0; i < trace->count; i++)
        lanes = trace->span[i].lane >= lanes ? trace->span[i].lane + 1 : lanes;
    clattn__text_add(text, "{\"displayTimeUnit\":\"ms\",\"traceEvents\":[\n"
                           "{\"ph\":\"M\",\"pid\":1,\"name\":\"process_name\","
                           "\"args\":{\"name\":\"clattn dispatcher\"}}");
    for (uint32_t lane = 0; lane < lanes; lane++)
        clattn__text_add(text,
                         ",\n{\"ph\":\"M\",\"pid\":1,\"tid\":%" PRIu32
                         ",\"name\":\"thread_name\",\"args\":{\"name\":\"lane %" PRIu32 "\"}}",
                         lane, lane);
    for (uint32_t i = 0; i < trace->count; i++) {
        const uint32_t oldest = trace->next + trace->capacity - trace->count;
        write_span(trace, &trace->span[(oldest + i) % trace->capacity], text);
    }
    clattn__text_add(text, "\n]}\n");
}
