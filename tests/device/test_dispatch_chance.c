/* Commands that end badly by chance, in a net of submissions of which each reads what others have
 * written, or writes over what they have read, ordered by sequences and wait lists, over two lanes:
 * what ends well has the bits that it has when nothing fails, what waits for a failure fails, and
 * everything ends. CLATTN_CHANCE_ROUNDS sets how many nets (20 by default), CLATTN_STRESS_SEED the
 * first. */
#include <stdio.h>

#include "dispatch_rig.h"
#include "failing_cl.h"

enum { NODES = 48, SEQUENCES = 4, MOST_WAITS = 2, MOST_TIME = 60 };

typedef struct node {
    int head, from; /* whose result is its query; -1: the first row of q */
    int out;        /* row of its result: its own, or that of another one's query */
    bool gone;      /* its result was written over */
    int readers;    /* of its result, so far */
    uint64_t sequence;
    int wait[MOST_WAITS], wait_count;
    clattn_event *event;
    clattn_status status;
} node;

typedef struct net {
    node node[NODES];
    clattn_buffer *rows; /* (NODES, DIM) results */
    float expected[NODES * DIM];
    uint32_t random;
} net;

static uint32_t below(net *n, uint32_t bound)
{
    n->random = n->random * 1664525u + 1013904223u;
    return (n->random >> 8) % bound;
}

static uint32_t number_of(const char *name, uint32_t otherwise)
{
    const char *text = getenv(name);
    return text ? (uint32_t)strtoul(text, NULL, 10) : otherwise;
}

/* The last one before it in its sequence, -1: none. */
static int before_in_sequence(const net *n, int i)
{
    for (int before = i - 1; before >= 0 && n->node[i].sequence; before--)
        if (n->node[before].sequence == n->node[i].sequence)
            return before;
    return -1;
}

/* It may write over the query of the one that it waits for, if nobody else reads that. */
static void choose_row(net *n, int i)
{
    node *of = &n->node[i];
    const int query = of->wait_count ? n->node[of->wait[0]].from : -1;
    of->out = i;
    if (query < 0 || query == of->from || n->node[query].gone || n->node[query].readers != 1 ||
        below(n, 2))
        return;
    of->out = n->node[query].out;
    n->node[query].gone = true;
}

/* Each reads the result of one that it waits for, or that is before it in its sequence. */
static void invent(net *n)
{
    for (int i = 0; i < NODES; i++) {
        node *of = &n->node[i];
        memset(of, 0, sizeof *of);
        of->head = (int)below(n, HEADS);
        of->sequence = below(n, SEQUENCES + 2) % (SEQUENCES + 1); /* 0: none, twice as often */
        of->from = before_in_sequence(n, i);
        of->wait_count = i ? (int)below(n, MOST_WAITS + 1) : 0;
        for (int w = 0; w < of->wait_count; w++)
            of->wait[w] = i < 6 ? (int)below(n, (uint32_t)i) : i - 1 - (int)below(n, 6);
        if (of->wait_count && (of->from < 0 || below(n, 2)))
            of->from = of->wait[0];
        if (of->from >= 0 && n->node[of->from].gone)
            of->from = -1;
        if (of->from >= 0)
            n->node[of->from].readers++;
        choose_row(n, i);
    }
}

static void submit_node(const heads *h, clattn_dispatcher *dispatcher, net *n, int i)
{
    const uint64_t row = DIM * sizeof(float);
    node *of = &n->node[i];
    clattn_event *waits[MOST_WAITS];
    head_step bindings;
    clattn_submission submission;
    clattn_step step = step_of(h, of->head, &bindings);
    bindings.sequence = of->sequence;
    bindings.bindings[0].offset = 0;
    if (of->from >= 0) {
        bindings.bindings[0].buffer = n->rows;
        bindings.bindings[0].offset = (uint64_t)n->node[of->from].out * row;
    }
    bindings.bindings[3].buffer = n->rows;
    bindings.bindings[3].offset = (uint64_t)of->out * row;
    for (int w = 0; w < of->wait_count; w++)
        waits[w] = n->node[of->wait[w]].event;
    clattn_submission_init(&submission);
    submission.steps = &step;
    submission.step_count = 1;
    submission.wait = waits;
    submission.wait_count = (uint32_t)of->wait_count;
    of->event = NULL;
    of->status = clattn_submit(dispatcher, &submission, &of->event);
    cr_assert(of->status == CLATTN_OK || of->wait_count, "%s", clattn_error_message());
}

/* What it waits for has failed. */
static bool should_fail(const net *n, int i)
{
    const node *of = &n->node[i];
    for (int w = 0; w < of->wait_count; w++)
        if (n->node[of->wait[w]].status != CLATTN_OK)
            return true;
    return false;
}

static void run(const heads *h, clattn_dispatcher *dispatcher, net *n)
{
    float nothing[NODES * DIM];
    memset(nothing, 0xff, sizeof nothing);
    cr_assert_eq(clattn_buffer_write(n->rows, 0, nothing, sizeof nothing), CLATTN_OK);
    int count = 0;
    for (; count < NODES; count++) {
        submit_node(h, dispatcher, n, count);
        if (!n->node[count].event)
            break; /* what it waits for has failed already: those behind it can't name it */
    }
    for (int i = 0; i < count; i++) {
        node *of = &n->node[i];
        of->status = clattn_event_wait(of->event, (uint64_t)MOST_TIME * 1000000000);
        cr_assert(of->status != CLATTN_ERR_TIMEOUT, "%d never ends", i);
    }
    for (int i = count; i < NODES; i++)
        n->node[i].status = CLATTN_ERR_CANCELLED; /* wasn't submitted */
}

static void release(net *n)
{
    for (int i = 0; i < NODES; i++)
        if (n->node[i].event)
            clattn_event_release(n->node[i].event);
}

/* Whether what it read was right. What is submitted when an earlier one of its sequence has failed
 * already is no follower of that, and reads what is there. */
static bool has_right_query(const net *n, int i)
{
    for (int from = n->node[i].from; from >= 0; from = n->node[from].from)
        if (n->node[from].status != CLATTN_OK)
            return false;
    return true;
}

/* Returns how many ended well, of those that read what was right. */
static int check(const net *n, uint32_t seed)
{
    float found[NODES * DIM];
    int good = 0;
    cr_assert_eq(clattn_buffer_read(n->rows, 0, found, sizeof found), CLATTN_OK);
    for (int i = 0; i < NODES; i++) {
        if (n->node[i].status != CLATTN_OK)
            continue;
        cr_assert(!should_fail(n, i), "seed %u: %d ended well behind a failure", seed, i);
        if (!has_right_query(n, i))
            continue;
        good++;
        const int row = n->node[i].out * DIM;
        cr_assert(n->node[i].gone ||
                      memcmp(found + row, n->expected + row, DIM * sizeof(float)) == 0,
                  "seed %u: %d has another result", seed, i);
    }
    return good;
}

/* Once well, once not; returns how many ended well then. */
static int try_net(const heads *h, clattn_dispatcher *dispatcher, net *n, uint32_t seed)
{
    n->random = seed * 2654435761u + 1;
    invent(n);
    failing_cl_spoil(0);
    run(h, dispatcher, n);
    cr_assert_eq(clattn_buffer_read(n->rows, 0, n->expected, sizeof n->expected), CLATTN_OK);
    for (int i = 0; i < NODES; i++)
        cr_assert_eq(n->node[i].status, CLATTN_OK);
    release(n);
    uint64_t spoiled = 0;
    for (int i = 0; i < 64; i++)
        spoiled |= (uint64_t)(below(n, 12) == 0) << i;
    failing_cl_spoil(spoiled);
    run(h, dispatcher, n);
    const int good = check(n, seed);
    release(n);
    return good;
}

Test(dispatch_chance, nets)
{
    static net n;
    heads h;
    int good = 0;
    uint64_t moved = 0;
    const uint32_t rounds = number_of("CLATTN_CHANCE_ROUNDS", 20);
    const uint32_t seed = number_of("CLATTN_STRESS_SEED", 0);
    if (!open_parts(&h, 2))
        cr_skip_test("the device can't be divided: %s", clattn_error_message());
    cr_assert_eq(clattn_buffer_create(h.context, NODES * DIM * sizeof(float), &n.rows), CLATTN_OK);
    clattn_dispatcher *dispatcher = open_dispatcher(&h, NULL);
    for (uint32_t i = 0; i < rounds; i++) {
        good += try_net(&h, dispatcher, &n, seed + i);
        const clattn_dispatcher_statistics made = statistics_of(dispatcher);
        if (!made.lost && i + 1 < rounds)
            continue;
        moved += made.moved;
        clattn_dispatcher_destroy(dispatcher); /* its lanes that failed too often are dead */
        dispatcher = open_dispatcher(&h, NULL);
    }
    cr_assert(moved > rounds, "only %d began again", (int)moved);
    cr_assert(good > (int)rounds * NODES / 4, "only %d ended well", good);
    clattn_dispatcher_destroy(dispatcher);
    cr_assert_eq(clattn_buffer_destroy(n.rows), CLATTN_OK);
    close_heads(&h);
}

#ifdef CLATTN_PLAIN_TESTS
int main(void)
{
    dispatch_chance_nets();
    return 0;
}
#endif
