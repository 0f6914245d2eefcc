/* clattn_run and clattn_attention: what they refuse, and the plans they remember. */
#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

#include "rig.h"

#define COUNT(array) (sizeof(array) / sizeof(array)[0])

/* A good call, in one array so that tensors can be moved over each other. */
typedef struct call {
    float data[64];
    clattn_attention_desc desc;
    clattn_host_binding binding[8];
    uint32_t count;
    bool without_bindings;
} call;

/* 2 queries, 3 keys, dimension 4; Q at 0, K at 8, V at 20, OUT at 32, LSE at 40, WEIGHTS at 42. */
static void set_up(call *c)
{
    static const int begin[RIG_SLOTS] = {0, 8, 20, 32, 40, 42};
    memset(c, 0, sizeof *c);
    for (int i = 0; i < 32; i++)
        c->data[i] = (float)(i % 7) - 3;
    clattn_attention_desc_init(&c->desc);
    c->desc.batch = c->desc.n_head = c->desc.n_kv_head = 1;
    c->desc.n_q = 2;
    c->desc.n_kv = 3;
    c->desc.head_dim = c->desc.value_dim = 4;
    c->desc.slots = RIG_FULL;
    c->count = RIG_SLOTS;
    for (int slot = 0; slot < RIG_SLOTS; slot++)
        c->binding[slot] = (clattn_host_binding){(clattn_slot)slot, 0, c->data + begin[slot]};
}

static void good(call *c)
{
    (void)c;
}
static void missing(call *c)
{
    c->count--;
}
static void none(call *c)
{
    c->count = 0;
}
static void null_array(call *c)
{
    c->without_bindings = true;
}
static void twice(call *c)
{
    c->binding[c->count++] = c->binding[CLATTN_SLOT_K];
}
static void unknown(call *c)
{
    c->binding[c->count++].slot = (clattn_slot)63;
}
static void negative(call *c)
{
    c->binding[0].slot = (clattn_slot)-7;
}
static void not_asked_for(call *c)
{
    c->desc.slots = CLATTN_SLOT_BIT(CLATTN_SLOT_LSE);
}
static void null_data(call *c)
{
    c->binding[CLATTN_SLOT_V].data = NULL;
}
static void misaligned(call *c)
{
    c->binding[CLATTN_SLOT_K].data = (char *)c->binding[CLATTN_SLOT_K].data + 1;
}
static void reserved(call *c)
{
    c->binding[CLATTN_SLOT_Q].reserved = 1;
}
static void out_is_v(call *c)
{
    c->binding[CLATTN_SLOT_OUT].data = c->binding[CLATTN_SLOT_V].data;
}
static void outputs_touch(call *c)
{
    c->binding[CLATTN_SLOT_LSE].data = c->data + 39; /* the last element of OUT */
}
static void weights_touch_q(call *c)
{
    c->binding[CLATTN_SLOT_Q].data = c->data + 47; /* the last of WEIGHTS */
}
static void shared_inputs(call *c)
{
    c->binding[CLATTN_SLOT_V].data = c->binding[CLATTN_SLOT_K].data;
}
static void bad_desc(call *c)
{
    c->desc.head_dim = 577;
}
static void zero_desc(call *c)
{
    memset(&c->desc, 0, sizeof c->desc);
}

static const struct {
    const char *name;
    void (*change)(call *c);
    clattn_status status;
    const char *says; /* a part of the sentence */
} calls[] = {
    {"good", good, CLATTN_OK, ""},
    {"inputs may be the same", shared_inputs, CLATTN_OK, ""},
    {"a slot is missing", missing, CLATTN_ERR_ARGUMENT, "WEIGHTS: is not bound"},
    {"no bindings", none, CLATTN_ERR_ARGUMENT, "Q: is not bound"},
    {"bindings NULL", null_array, CLATTN_ERR_ARGUMENT, "bindings: is NULL"},
    {"twice", twice, CLATTN_ERR_ARGUMENT, "K: is bound twice"},
    {"unknown slot", unknown, CLATTN_ERR_ARGUMENT, "63 is not a slot"},
    {"negative slot", negative, CLATTN_ERR_ARGUMENT, "-7 is not a slot"},
    {"not asked for", not_asked_for, CLATTN_ERR_ARGUMENT, "WEIGHTS: is bound, but"},
    {"data NULL", null_data, CLATTN_ERR_ARGUMENT, "V: data is NULL"},
    {"misaligned", misaligned, CLATTN_ERR_ARGUMENT, "K: data is not aligned"},
    {"reserved", reserved, CLATTN_ERR_ARGUMENT, "Q: reserved"},
    {"OUT is V", out_is_v, CLATTN_ERR_ARGUMENT, "OUT: is written and shares memory with V"},
    {"outputs touch", outputs_touch, CLATTN_ERR_ARGUMENT, "is written and shares memory with"},
    {"WEIGHTS touch Q", weights_touch_q, CLATTN_ERR_ARGUMENT, "WEIGHTS: is written and shares"},
    {"bad description", bad_desc, CLATTN_ERR_ARGUMENT, "head_dim: is 577"},
    {"zeroed description", zero_desc, CLATTN_ERR_ARGUMENT, "struct_size"},
};

Test(one_call, what_is_refused)
{
    clattn_context *context = rig_open();
    for (size_t i = 0; i < COUNT(calls); i++) {
        call c, before;
        set_up(&c);
        calls[i].change(&c);
        before = c;
        const clattn_status status =
            clattn_run(context, &c.desc, c.without_bindings ? NULL : c.binding, c.count);
        cr_assert_eq(status, calls[i].status, "%s: %s", calls[i].name,
                     clattn_status_string(status));
        if (status != CLATTN_OK) {
            cr_assert(strstr(clattn_error_message(), calls[i].says), "%s: %s", calls[i].name,
                      clattn_error_message());
            cr_assert_eq(memcmp(before.data, c.data, sizeof c.data), 0, "%s: was written",
                         calls[i].name);
        }
    }
    rig_close(context);
}

Test(one_call, without_objects)
{
    call c;
    clattn_context *context = rig_open();
    float *x = c.data;
    set_up(&c);
    cr_assert_eq(clattn_run(NULL, &c.desc, c.binding, c.count), CLATTN_ERR_ARGUMENT);
    cr_assert_eq(clattn_run(context, NULL, c.binding, c.count), CLATTN_ERR_ARGUMENT);
    cr_assert_eq(clattn_attention(context, NULL, x, x, x, x), CLATTN_ERR_ARGUMENT);
    cr_assert_eq(clattn_attention(context, &c.desc, x, x + 8, x + 20, x + 32), CLATTN_ERR_ARGUMENT,
                 "slots must be 0");
    c.desc.slots = 0;
    cr_assert_eq(clattn_attention(context, &c.desc, x, x + 8, x + 20, NULL), CLATTN_ERR_ARGUMENT);
    cr_assert_eq(clattn_attention(context, &c.desc, x, x + 8, x + 20, x + 32), CLATTN_OK);
    rig_close(context);
}

/* More problems than a context remembers, twice around, in changing order. */
Test(one_call, more_problems_than_are_remembered)
{
    clattn_context *context = rig_open();
    for (int i = 0; i < 300; i++) {
        const int64_t n = 1 + (i * 37) % 97;
        const rig_shape shape = {1, 1, 1, 3, n, 8, 8, CLATTN_ALIGN_BOTTOM_RIGHT};
        rig_problem problem;
        rig_say("call %d, n_kv %d", i, (int)n);
        rig_make(&problem, &shape, RIG_FULL, &rig_contiguous);
        rig_expect(&problem);
        cr_assert_eq(rig_run(context, &problem), CLATTN_OK);
        rig_check(&problem);
        rig_free(&problem);
    }
    rig_close(context);
}

/* Problems that differ in one thing only are different problems. */
Test(one_call, every_difference_counts)
{
    static const rig_shape shapes[] = {
        {2, 4, 2, 6, 10, 16, 16, CLATTN_ALIGN_NONE},
        {2, 4, 2, 6, 10, 16, 16, CLATTN_ALIGN_TOP_LEFT},
        {2, 4, 2, 6, 10, 16, 16, CLATTN_ALIGN_BOTTOM_RIGHT},
        {2, 4, 4, 6, 10, 16, 16, CLATTN_ALIGN_NONE},
        {4, 2, 2, 6, 10, 16, 16, CLATTN_ALIGN_NONE},
        {2, 4, 2, 10, 6, 16, 16, CLATTN_ALIGN_NONE},
        {2, 4, 2, 6, 10, 16, 17, CLATTN_ALIGN_NONE},
        {2, 4, 2, 6, 10, 17, 16, CLATTN_ALIGN_NONE},
    };
    static const rig_layout swapped = {.order = {0, 2, 1, 3}, .step = 1};
    clattn_context *context = rig_open();
    for (size_t i = 0; i < COUNT(shapes); i++)
        for (int variant = 0; variant < 8; variant++) {
            rig_problem problem;
            rig_say("shape %d, variant %d", (int)i, variant);
            rig_make(&problem, &shapes[i], variant & 1 ? RIG_FULL : 0,
                     variant & 2 ? &swapped : &rig_contiguous);
            problem.has_scale = variant & 4;
            problem.scale = -0.75f;
            rig_expect(&problem);
            cr_assert_eq(rig_run(context, &problem), CLATTN_OK);
            rig_check(&problem);
            rig_free(&problem);
        }
    rig_close(context);
}
