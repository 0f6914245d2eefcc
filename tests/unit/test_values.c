/* Lengths and block lists that the host can read: one wrong value at a time, each with a sentence
 * that names the slot, its place and what it must be; strides and broadcasting; what is not read.
 */
#include <criterion/criterion.h>
#include <string.h>

#include "problem/values.h"

#define COUNT(array) (sizeof(array) / sizeof(array)[0])
#define BIT(slot)    CLATTN_SLOT_BIT(CLATTN_SLOT_##slot)

enum { BATCH = 3, HEADS = 2, LISTS = 3, LIMIT = 4 };

/* All arrays of one problem; names as the slots. Contents are valid. */
typedef struct arrays {
    int32_t q_lengths[BATCH + 1], kv_lengths[BATCH + 1];
    int32_t block_count[BATCH][HEADS][LISTS];
    int32_t block_index[BATCH][HEADS][LISTS][LIMIT];
} arrays;

static clattn_attention_desc describe(bool ragged)
{
    clattn_attention_desc desc;
    clattn_attention_desc_init(&desc);
    desc.batch = BATCH;
    desc.n_head = HEADS;
    desc.n_kv_head = 1;
    desc.n_q = 5;
    desc.n_kv = 9;
    desc.head_dim = desc.value_dim = 4;
    desc.ragged = ragged;
    desc.total_q = ragged ? 12 : 0;
    desc.total_kv = ragged ? 20 : 0;
    desc.block_q = 2;  /* 3 lists */
    desc.block_kv = 2; /* blocks 0 to 4 */
    desc.block_limit = LIMIT;
    desc.slots = BIT(Q_LENGTHS) | BIT(KV_LENGTHS) | BIT(BLOCK_COUNT) | BIT(BLOCK_INDEX);
    return desc;
}

static arrays valid(bool ragged)
{
    arrays a = {.q_lengths = {0, 5, 5, 10}, .kv_lengths = {0, 9, 9, 18}};
    if (!ragged) {
        memcpy(a.q_lengths, (int32_t[]){5, 0, 2, -9}, sizeof a.q_lengths);
        memcpy(a.kv_lengths, (int32_t[]){9, 0, 1, -9}, sizeof a.kv_lengths);
    }
    for (int n = 0; n < BATCH * HEADS * LISTS; n++) {
        int32_t *list = &a.block_index[0][0][0][0] + (size_t)n * LIMIT;
        (&a.block_count[0][0][0])[n] = n % (LIMIT + 1);
        for (int i = 0; i < LIMIT; i++) /* behind the count anything goes */
            list[i] = i < n % (LIMIT + 1) ? i + (i >= 2) : -77;
    }
    return a;
}

static clattn_status check(const clattn_attention_desc *desc, const arrays *a)
{
    clattn__problem problem;
    const void *at[CLATTN_SLOT_LIMIT] = {NULL};
    at[CLATTN_SLOT_Q_LENGTHS] = a->q_lengths;
    at[CLATTN_SLOT_KV_LENGTHS] = a->kv_lengths;
    at[CLATTN_SLOT_BLOCK_COUNT] = a->block_count;
    at[CLATTN_SLOT_BLOCK_INDEX] = a->block_index;
    cr_assert_eq(clattn__problem_init(&problem, desc), CLATTN_OK, "%s", clattn__message());
    clattn__fail(CLATTN_ERR_INTERNAL, "nothing was refused");
    return clattn__values_check(&problem, at);
}

/* An element of one array gets a value. */
typedef struct row {
    bool ragged;
    size_t element; /* of all of `arrays`, as int32_t */
    int32_t value;
    const char *says;
} row;

#define AT(field) (offsetof(arrays, field) / sizeof(int32_t))

static const row rows[] = {
    {false, AT(q_lengths[0]), 6, "Q_LENGTHS: element 0 is 6, must be 0 to 5 (n_q)"},
    {false, AT(q_lengths[2]), -1, "Q_LENGTHS: element 2 is -1, must be 0 to 5 (n_q)"},
    {false, AT(q_lengths[1]), INT32_MAX, "Q_LENGTHS: element 1 is 2147483647, must"},
    {false, AT(kv_lengths[0]), 10, "KV_LENGTHS: element 0 is 10, must be 0 to 9 (n_past + n_kv)"},
    {false, AT(kv_lengths[2]), INT32_MIN, "KV_LENGTHS: element 2 is -2147483648, must"},
    {true, AT(q_lengths[0]), 1, "Q_LENGTHS: begins with 1, must begin with 0"},
    {true, AT(kv_lengths[0]), -1, "KV_LENGTHS: begins with -1, must begin with 0"},
    {true, AT(q_lengths[1]), 6, "Q_LENGTHS: sequence 0 has 6 tokens, must have 0 to 5 (n_q)"},
    {true, AT(q_lengths[2]), 4, "Q_LENGTHS: sequence 1 has -1 tokens, must have 0 to 5 (n_q)"},
    {true, AT(q_lengths[3]), 11, "Q_LENGTHS: sequence 2 has 6 tokens"},
    {true, AT(kv_lengths[1]), -1, "KV_LENGTHS: sequence 0 has -1 tokens, must have 0 to 9"},
    {true, AT(kv_lengths[2]), INT32_MIN, "KV_LENGTHS: sequence 1 has -2147483657 tokens"},
    {true, AT(kv_lengths[3]), INT32_MAX, "KV_LENGTHS: sequence 2 has 2147483638 tokens"},
    {false, AT(block_count[0][0][0]), -1, "BLOCK_COUNT: query block 0 has -1 entries, must have 0"},
    {false, AT(block_count[2][1][2]), 5, "BLOCK_COUNT: query block 2 has 5 entries, must have 0"},
    {false, AT(block_count[1][0][1]), INT32_MIN, "BLOCK_COUNT: query block 1 has -2147483648"},
    {true, AT(block_count[1][1][0]), INT32_MAX, "BLOCK_COUNT: query block 0 has 2147483647"},
    {false, AT(block_index[0][0][1][0]), -1,
     "BLOCK_INDEX: entry 0 of query block 1 is -1, must be 0 to 4"},
    {false, AT(block_index[0][1][1][3]), 5, "BLOCK_INDEX: entry 3 of query block 1 is 5, must be"},
    {false, AT(block_index[0][1][1][1]), 0,
     "BLOCK_INDEX: entry 1 of query block 1 is 0 after 0, must ascend"},
    {false, AT(block_index[0][1][1][2]), 1,
     "BLOCK_INDEX: entry 2 of query block 1 is 1 after 1, must ascend"},
    {false, AT(block_index[0][1][1][2]), 4,
     "BLOCK_INDEX: entry 3 of query block 1 is 4 after 4, must ascend"},
    {true, AT(block_index[2][0][2][3]), INT32_MIN, "BLOCK_INDEX: entry 3 of query block 2 is -21"},
};

Test(values, every_wrong_one_has_its_sentence)
{
    for (size_t i = 0; i < COUNT(rows); i++) {
        const clattn_attention_desc desc = describe(rows[i].ragged);
        arrays a = valid(rows[i].ragged);
        cr_assert_eq(check(&desc, &a), CLATTN_OK, "%s", clattn__message());
        memcpy((char *)&a + rows[i].element * sizeof(int32_t), &rows[i].value, sizeof(int32_t));
        cr_expect_eq(check(&desc, &a), CLATTN_ERR_ARGUMENT, "row \"%s\"", rows[i].says);
        cr_expect(strncmp(clattn__message(), rows[i].says, strlen(rows[i].says)) == 0,
                  "\"%s\" does not begin with \"%s\"", clattn__message(), rows[i].says);
    }
}

Test(values, tokens_behind_the_total)
{
    clattn_attention_desc desc = describe(true);
    const arrays a = valid(true);
    desc.total_q = 10;
    desc.total_kv = 18;
    cr_expect_eq(check(&desc, &a), CLATTN_OK, "%s", clattn__message());
    desc.total_kv = 17;
    cr_expect_eq(check(&desc, &a), CLATTN_ERR_ARGUMENT);
    cr_expect_str_eq(clattn__message(), "KV_LENGTHS: ends with 18, must be at most 17 (total_kv)");
    desc.total_q = 9;
    cr_expect_eq(check(&desc, &a), CLATTN_ERR_ARGUMENT);
    cr_expect_str_eq(clattn__message(), "Q_LENGTHS: ends with 10, must be at most 9 (total_q)");
}

/* Every element is looked at, and none that isn't there: the arrays lie one behind the other with
 * wrong values around them. */
Test(values, strides_are_followed)
{
    enum { FAR = 40 };
    for (int64_t step = -3; step <= 3; step++)
        for (int64_t wrong = -1; wrong < BATCH; wrong++) {
            clattn_attention_desc desc = describe(false);
            clattn__problem problem;
            int32_t memory[2 * FAR];
            const void *at[CLATTN_SLOT_LIMIT] = {NULL};
            desc.tensor[CLATTN_SLOT_KV_LENGTHS] = (clattn_tensor){.strided = 1, .stride = {step}};
            cr_assert_eq(clattn__problem_init(&problem, &desc), CLATTN_OK);
            for (int i = 0; i < 2 * FAR; i++)
                memory[i] = -1;
            for (int64_t b = 0; b < BATCH; b++)
                memory[FAR + b * step] = (int32_t)b;
            if (wrong >= 0)
                memory[FAR + wrong * step] = 100;
            at[CLATTN_SLOT_KV_LENGTHS] = memory + FAR;
            cr_expect_eq(clattn__values_check(&problem, at),
                         wrong < 0 ? CLATTN_OK : CLATTN_ERR_ARGUMENT, "step %d, element %d",
                         (int)step, (int)wrong);
        }
}

/* Lists shared by heads, batch or query blocks are checked once, but all of them. */
Test(values, broadcast_lists)
{
    for (int shared = 0; shared < 8; shared++) {
        clattn_attention_desc desc = describe(false);
        const int64_t lists[3] = {HEADS * LISTS, LISTS, 1};
        for (int d = 0; d < 3; d++) {
            desc.tensor[CLATTN_SLOT_BLOCK_COUNT].stride[d] = shared >> d & 1 ? 0 : lists[d];
            desc.tensor[CLATTN_SLOT_BLOCK_INDEX].stride[d] = shared >> d & 1 ? 0 : lists[d] * LIMIT;
        }
        desc.tensor[CLATTN_SLOT_BLOCK_INDEX].stride[3] = 1;
        desc.tensor[CLATTN_SLOT_BLOCK_COUNT].strided = 1;
        desc.tensor[CLATTN_SLOT_BLOCK_INDEX].strided = 1;
        for (int n = 0; n < BATCH * HEADS * LISTS; n++) {
            arrays a = valid(false);
            const int at[3] = {n / (HEADS * LISTS), n / LISTS % HEADS, n % LISTS};
            bool is_used = true;
            for (int d = 0; d < 3; d++)
                is_used = is_used && (at[d] == 0 || !(shared >> d & 1));
            (&a.block_count[0][0][0])[n] = LIMIT + 1;
            cr_expect_eq(check(&desc, &a), is_used ? CLATTN_ERR_ARGUMENT : CLATTN_OK,
                         "broadcast %d, list %d", shared, n);
        }
    }
}

/* One count for lists that differ. */
Test(values, a_shared_count_with_lists_of_their_own)
{
    clattn_attention_desc desc = describe(false);
    arrays a = valid(false);
    desc.tensor[CLATTN_SLOT_BLOCK_COUNT].strided = 1; /* all strides 0 */
    a.block_count[0][0][0] = 1;
    for (int n = 0; n < BATCH * HEADS * LISTS; n++)
        (&a.block_index[0][0][0][0])[(size_t)n * LIMIT] = 3;
    cr_expect_eq(check(&desc, &a), CLATTN_OK, "%s", clattn__message());
    a.block_index[2][1][1][0] = 5;
    cr_expect_eq(check(&desc, &a), CLATTN_ERR_ARGUMENT);
}

Test(values, what_the_host_can_not_read)
{
    static const clattn_slot slots[] = {CLATTN_SLOT_Q_LENGTHS, CLATTN_SLOT_KV_LENGTHS,
                                        CLATTN_SLOT_BLOCK_COUNT, CLATTN_SLOT_BLOCK_INDEX};
    const int32_t wrong[BATCH * HEADS * LISTS * LIMIT] = {INT32_MIN};
    const void *at[CLATTN_SLOT_LIMIT] = {NULL};
    clattn_attention_desc desc = describe(false);
    clattn__problem problem;
    cr_assert_eq(clattn__problem_init(&problem, &desc), CLATTN_OK);
    cr_expect_eq(clattn__values_check(&problem, at), CLATTN_OK);
    at[CLATTN_SLOT_BLOCK_INDEX] = wrong; /* without counts nobody knows how much of it counts */
    cr_expect_eq(clattn__values_check(&problem, at), CLATTN_OK);
    desc.batch = 0;
    cr_assert_eq(clattn__problem_init(&problem, &desc), CLATTN_OK);
    for (size_t i = 0; i < COUNT(slots); i++)
        at[slots[i]] = wrong;
    cr_expect_eq(clattn__values_check(&problem, at), CLATTN_OK);
}

/* Keys of the last, narrower block, and no keys at all. */
Test(values, blocks_at_the_end)
{
    arrays a = valid(false);
    clattn_attention_desc desc = describe(false);
    memset(a.q_lengths, 0, sizeof a.q_lengths);
    memset(a.kv_lengths, 0, sizeof a.kv_lengths);
    memset(a.block_count, 0, sizeof a.block_count);
    a.block_count[0][0][0] = 1;
    for (int64_t n_kv = 0; n_kv < 9; n_kv++)
        for (int32_t index = 0; index < 5; index++) {
            desc.n_kv = n_kv;
            a.block_index[0][0][0][0] = index;
            cr_expect_eq(check(&desc, &a), index * 2 < n_kv ? CLATTN_OK : CLATTN_ERR_ARGUMENT,
                         "%d keys, block %d", (int)n_kv, (int)index);
        }
}

/* ---- pages ----------------------------------------------------------------------------------- */

enum { PAGE_LIMIT = 3, POOL = 10 }; /* pages of 4 tokens */

static clattn__problem paged(bool lengths)
{
    clattn__problem problem;
    clattn_attention_desc desc = describe(false);
    desc.block_q = desc.block_kv = desc.block_limit = 0;
    desc.page_size = 4;
    desc.page_limit = PAGE_LIMIT;
    desc.n_pages = POOL;
    desc.slots = BIT(PAGES) | (lengths ? BIT(KV_LENGTHS) : 0);
    cr_assert_eq(clattn__problem_init(&problem, &desc), CLATTN_OK, "%s", clattn__message());
    return problem;
}

Test(values, pages_that_hold_tokens)
{
    static const int32_t lengths[BATCH] = {9, 0, 4};
    int32_t pages[BATCH][PAGE_LIMIT] = {{0, 9, 3}, {-1, POOL, -1}, {9, -1, INT32_MIN}};
    const void *at[CLATTN_SLOT_LIMIT] = {NULL};
    const clattn__problem problem = paged(true), all = paged(false);
    at[CLATTN_SLOT_PAGES] = pages;
    cr_expect_eq(clattn__values_check(&problem, at), CLATTN_OK, "lengths are in a buffer");
    cr_expect_eq(clattn__values_check(&all, at), CLATTN_ERR_ARGUMENT);
    at[CLATTN_SLOT_KV_LENGTHS] = lengths;
    cr_expect_eq(clattn__values_check(&problem, at), CLATTN_OK, "%s", clattn__message());
    pages[0][2] = POOL;
    cr_expect_eq(clattn__values_check(&problem, at), CLATTN_ERR_ARGUMENT);
    cr_expect_str_eq(clattn__message(), "PAGES: page 2 of entry 0 is 10, must be 0 to 9");
}

/* Queries lie one after the other, keys in pages: lengths of both kinds. */
Test(values, ragged_queries_of_pages)
{
    static const int32_t queries[BATCH + 1] = {0, 5, 5, 7}, lengths[BATCH] = {9, 0, 4};
    int32_t pages[BATCH][PAGE_LIMIT] = {{0, 9, 3}, {-1, POOL, -1}, {9, -1, -1}}, wrong[BATCH + 1];
    const void *at[CLATTN_SLOT_LIMIT] = {NULL};
    clattn__problem problem;
    clattn_attention_desc desc = describe(true);
    desc.block_q = desc.block_kv = desc.block_limit = desc.total_kv = 0;
    desc.page_size = 4;
    desc.page_limit = PAGE_LIMIT;
    desc.n_pages = POOL;
    desc.slots = BIT(PAGES) | BIT(Q_LENGTHS) | BIT(KV_LENGTHS);
    cr_assert_eq(clattn__problem_init(&problem, &desc), CLATTN_OK, "%s", clattn__message());
    at[CLATTN_SLOT_PAGES] = pages;
    at[CLATTN_SLOT_Q_LENGTHS] = queries;
    at[CLATTN_SLOT_KV_LENGTHS] = lengths;
    cr_expect_eq(clattn__values_check(&problem, at), CLATTN_OK, "%s", clattn__message());
    memcpy(wrong, (int32_t[]){0, 10, 4}, 3 * sizeof *wrong);
    at[CLATTN_SLOT_KV_LENGTHS] = wrong;
    cr_expect_eq(clattn__values_check(&problem, at), CLATTN_ERR_ARGUMENT);
    cr_expect_str_eq(clattn__message(),
                     "KV_LENGTHS: element 1 is 10, must be 0 to 9 (n_past + n_kv)");
    memcpy(wrong, (int32_t[]){0, 6, 6, 7}, sizeof wrong);
    at[CLATTN_SLOT_KV_LENGTHS] = lengths;
    at[CLATTN_SLOT_Q_LENGTHS] = wrong;
    cr_expect_eq(clattn__values_check(&problem, at), CLATTN_ERR_ARGUMENT);
    cr_expect(strncmp(clattn__message(), "Q_LENGTHS: sequence 0 has 6 tokens", 34) == 0, "%s",
              clattn__message());
    at[CLATTN_SLOT_Q_LENGTHS] = queries;
    pages[2][0] = POOL;
    cr_expect_eq(clattn__values_check(&problem, at), CLATTN_ERR_ARGUMENT);
    cr_expect_str_eq(clattn__message(), "PAGES: page 0 of entry 2 is 10, must be 0 to 9");
}

Test(values, positions)
{
    clattn__problem problem;
    clattn_append_desc desc;
    int32_t positions[] = {0, 7}, lengths[] = {5, 5};
    int32_t pages[2][PAGE_LIMIT] = {{1, 2, -1}, {-1, 3, 4}};
    const void *at[CLATTN_SLOT_LIMIT] = {NULL};
    clattn_append_desc_init(&desc);
    desc.batch = 2;
    desc.n_kv_head = desc.head_dim = desc.value_dim = 1;
    desc.n_kv = 5;
    desc.page_size = 4;
    desc.page_limit = PAGE_LIMIT;
    desc.n_pages = POOL;
    desc.slots = BIT(KV_LENGTHS);
    cr_assert_eq(clattn__problem_init_append(&problem, &desc), CLATTN_OK);
    at[CLATTN_SLOT_PAGES] = pages;
    at[CLATTN_SLOT_POSITIONS] = positions;
    at[CLATTN_SLOT_KV_LENGTHS] = lengths;
    cr_expect_eq(clattn__values_check(&problem, at), CLATTN_OK, "%s", clattn__message());
    static const struct {
        int32_t position, length;
        const char *says;
    } wrong[] = {
        {-1, 1, "POSITIONS: element 1 is -1"},
        {8, 5, "POSITIONS: element 1 is 8, 5 tokens from there on"},
        {INT32_MAX, 5, "POSITIONS: element 1 is 2147483647"},
        {3, 1, "PAGES: page 0 of entry 1 is -1"},
        {4, 6, "KV_LENGTHS: element 1 is 6"},
    };
    for (size_t i = 0; i < COUNT(wrong); i++) {
        positions[1] = wrong[i].position;
        lengths[1] = wrong[i].length;
        cr_expect_eq(clattn__values_check(&problem, at), CLATTN_ERR_ARGUMENT);
        cr_expect(strncmp(clattn__message(), wrong[i].says, strlen(wrong[i].says)) == 0,
                  "\"%s\", not \"%s\"", clattn__message(), wrong[i].says);
    }
}

Test(values, shifts)
{
    clattn__problem problem;
    clattn_shift_desc desc;
    int32_t positions[] = {0, 7}, lengths[] = {5, 5}, shifts[] = {-8, 8};
    int32_t pages[2][PAGE_LIMIT] = {{1, 2, -1}, {-1, 3, 4}};
    const void *at[CLATTN_SLOT_LIMIT] = {NULL};
    clattn_shift_desc_init(&desc);
    desc.batch = 2;
    desc.n_kv_head = 1;
    desc.head_dim = desc.rotary_dim = 2;
    desc.n_kv = 5;
    desc.n_positions = 9;
    desc.page_size = 4;
    desc.page_limit = PAGE_LIMIT;
    desc.n_pages = POOL;
    cr_assert_eq(clattn__problem_init_shift(&problem, &desc), CLATTN_OK);
    at[CLATTN_SLOT_PAGES] = pages;
    at[CLATTN_SLOT_POSITIONS] = positions;
    at[CLATTN_SLOT_KV_LENGTHS] = lengths;
    at[CLATTN_SLOT_SHIFTS] = shifts;
    cr_expect_eq(clattn__values_check(&problem, at), CLATTN_OK, "%s", clattn__message());
    static const struct {
        int32_t position, length, shift;
        const char *says;
    } wrong[] = {
        {7, 5, 9, "SHIFTS: element 1 is 9, must be less than n_positions, 9, either way"},
        {7, 5, -9, "SHIFTS: element 1 is -9"},
        {7, 5, INT32_MIN, "SHIFTS: element 1 is -2147483648"},
        {-1, 1, 0, "POSITIONS: element 1 is -1"},
        {8, 5, 0, "POSITIONS: element 1 is 8, 5 tokens from there on aren't within page_size"},
        {3, 1, 0, "PAGES: page 0 of entry 1 is -1"},
        {4, 6, 0, "KV_LENGTHS: element 1 is 6"},
    };
    for (size_t i = 0; i < COUNT(wrong); i++) {
        positions[1] = wrong[i].position;
        lengths[1] = wrong[i].length;
        shifts[1] = wrong[i].shift;
        cr_expect_eq(clattn__values_check(&problem, at), CLATTN_ERR_ARGUMENT);
        cr_expect(strncmp(clattn__message(), wrong[i].says, strlen(wrong[i].says)) == 0,
                  "\"%s\", not \"%s\"", clattn__message(), wrong[i].says);
    }
}

/* With angles of 9 positions, and these slots. */
static clattn_attention_desc describe_rotated(bool ragged, uint64_t slots)
{
    clattn_attention_desc desc = describe(ragged);
    desc.slots = BIT(ANGLES) | slots;
    desc.block_q = desc.block_kv = desc.block_limit = 0;
    desc.rotary_dim = 4;
    desc.n_positions = 9;
    return desc;
}

/* Positions of queries that attention rotates: of those that there are. */
Test(values, positions_of_queries)
{
    clattn__problem problem;
    clattn_attention_desc desc = describe_rotated(false, BIT(POSITIONS) | BIT(Q_LENGTHS));
    int32_t positions[BATCH] = {0, 9, 5}, lengths[BATCH] = {5, 0, 4};
    const void *at[CLATTN_SLOT_LIMIT] = {NULL};
    cr_assert_eq(clattn__problem_init(&problem, &desc), CLATTN_OK, "%s", clattn__message());
    at[CLATTN_SLOT_POSITIONS] = positions;
    cr_expect_eq(clattn__values_check(&problem, at), CLATTN_OK, "lengths are in a buffer");
    at[CLATTN_SLOT_Q_LENGTHS] = lengths;
    cr_expect_eq(clattn__values_check(&problem, at), CLATTN_OK, "%s", clattn__message());
    positions[2] = 6;
    cr_expect_eq(clattn__values_check(&problem, at), CLATTN_ERR_ARGUMENT);
    cr_expect_str_eq(clattn__message(),
                     "POSITIONS: element 2 is 6, must be 0 to 5: n_positions, less 4 tokens");
    positions[2] = -1;
    cr_expect_eq(clattn__values_check(&problem, at), CLATTN_ERR_ARGUMENT);
}

/* A position for each query: of those that there are, wherever they lie. */
Test(values, positions_of_tokens)
{
    clattn__problem problem;
    clattn_attention_desc desc = describe_rotated(false, BIT(TOKEN_POSITIONS) | BIT(Q_LENGTHS));
    int32_t positions[BATCH][5] = {{0, 8, 0, 8, 4}, {99, 99, 99, 99, 99}, {3, 2, 2, 1, -1}};
    int32_t lengths[BATCH] = {5, 0, 4};
    const void *at[CLATTN_SLOT_LIMIT] = {NULL};
    desc.n_q = 5;
    cr_assert_eq(clattn__problem_init(&problem, &desc), CLATTN_OK, "%s", clattn__message());
    at[CLATTN_SLOT_TOKEN_POSITIONS] = positions;
    cr_expect_eq(clattn__values_check(&problem, at), CLATTN_OK, "lengths are in a buffer");
    at[CLATTN_SLOT_Q_LENGTHS] = lengths;
    cr_expect_eq(clattn__values_check(&problem, at), CLATTN_OK, "%s", clattn__message());
    positions[2][3] = 9;
    cr_expect_eq(clattn__values_check(&problem, at), CLATTN_ERR_ARGUMENT);
    cr_expect_str_eq(clattn__message(), "TOKEN_POSITIONS: token 3 of entry 2 is at 9, must be 0 to "
                                        "8, less than n_positions");
    positions[2][3] = 1;
    lengths[2] = 5;
    cr_expect_eq(clattn__values_check(&problem, at), CLATTN_ERR_ARGUMENT);
    cr_expect(strstr(clattn__message(), "token 4 of entry 2 is at -1"), "%s", clattn__message());
}

/* The same of sequences that lie one after the other. */
Test(values, positions_of_ragged_tokens)
{
    clattn__problem problem;
    clattn_attention_desc desc =
        describe_rotated(true, BIT(TOKEN_POSITIONS) | BIT(Q_LENGTHS) | BIT(KV_LENGTHS));
    int32_t positions[] = {0, 8, 3, 2, 1}, q_lengths[BATCH + 1] = {0, 2, 2, 5};
    int32_t kv_lengths[BATCH + 1] = {0, 1, 2, 3};
    const void *at[CLATTN_SLOT_LIMIT] = {NULL};
    desc.total_q = 5;
    cr_assert_eq(clattn__problem_init(&problem, &desc), CLATTN_OK, "%s", clattn__message());
    at[CLATTN_SLOT_TOKEN_POSITIONS] = positions;
    at[CLATTN_SLOT_Q_LENGTHS] = q_lengths;
    at[CLATTN_SLOT_KV_LENGTHS] = kv_lengths;
    cr_expect_eq(clattn__values_check(&problem, at), CLATTN_OK, "%s", clattn__message());
    positions[4] = 9;
    cr_expect_eq(clattn__values_check(&problem, at), CLATTN_ERR_ARGUMENT);
    cr_expect(strstr(clattn__message(), "token 2 of entry 2 is at 9"), "%s", clattn__message());
}

/* Tokens that are appended are where they are said to be, whatever their places in the pages. */
Test(values, positions_of_tokens_that_are_appended)
{
    clattn__problem problem;
    clattn_append_desc desc;
    int32_t places[] = {9, 0}, positions[2][3] = {{2, 2, 3}, {0, 9, 9}}, lengths[] = {3, 1};
    const void *at[CLATTN_SLOT_LIMIT] = {NULL};
    clattn_append_desc_init(&desc);
    desc.batch = 2;
    desc.n_kv_head = desc.value_dim = 1;
    desc.head_dim = desc.rotary_dim = 2;
    desc.n_kv = 3;
    desc.page_size = 4;
    desc.page_limit = PAGE_LIMIT;
    desc.n_pages = POOL;
    desc.n_positions = 4;
    desc.slots = BIT(KV_LENGTHS) | BIT(ANGLES) | BIT(TOKEN_POSITIONS);
    cr_assert_eq(clattn__problem_init_append(&problem, &desc), CLATTN_OK, "%s", clattn__message());
    at[CLATTN_SLOT_POSITIONS] = places;
    at[CLATTN_SLOT_KV_LENGTHS] = lengths;
    at[CLATTN_SLOT_TOKEN_POSITIONS] = positions;
    cr_expect_eq(clattn__values_check(&problem, at), CLATTN_OK, "%s", clattn__message());
    lengths[1] = 2;
    cr_expect_eq(clattn__values_check(&problem, at), CLATTN_ERR_ARGUMENT);
    cr_expect(strstr(clattn__message(), "TOKEN_POSITIONS: token 1 of entry 1 is at 9, must be 0"),
              "%s", clattn__message());
}
