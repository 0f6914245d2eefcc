/* The kernels' own offset arithmetic (cl/common/item.h), compiled for the host: strides up to 2^57,
 * lengths that are no lengths. */
#include <criterion/criterion.h>
#include <stdint.h>
#include <string.h>

/* What OpenCL C has and C11 has not; its long has 64 bits on every system. */
#define __global
#define clamp(x, least, most) ((x) < (least) ? (least) : (x) > (most) ? (most) : (x))
#define min(a, b)             ((a) < (b) ? (a) : (b))
#define uint                  uint32_t
#if defined(__clang__)
#pragma clang diagnostic ignored "-Wkeyword-macro"
#endif
#define long int64_t
#include "common/item.h"
#undef long

static int64_t at(int64_t power, int64_t sign)
{
    return sign * (((int64_t)1 << power) + 5);
}

Test(item, where_a_head_begins)
{
    static clattn_problem_row row;
    static clattn_base base;
    for (int64_t power = 20; power <= 57; power++)
        for (int64_t sign = -1; sign <= 1; sign += 2) {
            clattn_tensor_row *t = &row.tensor[CLATTN_T_MASK];
            base.offset[CLATTN_T_MASK] = at(power, 1);
            t->offset = 3;
            t->stride[0] = at(power, sign);
            t->stride[1] = -sign * 7;
            cr_expect_eq(tensor_begin(&row, &base, CLATTN_T_MASK, 2, 3),
                         at(power, 1) + 3 + 2 * at(power, sign) - sign * 21);
            t->stride[0] = 11;
            t->stride[1] = at(power / 2, sign);
            cr_expect_eq(tensor_begin(&row, &base, CLATTN_T_MASK, 1, INT32_MAX),
                         at(power, 1) + 14 + INT32_MAX * at(power / 2, sign));
        }
}

/* Past keys first, then new ones: key j is at begin + j * step of its tensor. */
Test(item, past_and_new_rows)
{
    static clattn_problem_row row;
    static clattn_base base;
    const float past[1] = {0}, now[1] = {0};
    for (int64_t power = 20; power <= 57; power++)
        for (int64_t sign = -1; sign <= 1; sign += 2) {
            row.n_past = 3;
            row.tensor[CLATTN_T_PAST_K].stride[2] = at(power, sign);
            row.tensor[CLATTN_T_K].stride[2] = at(power, -sign);
            row.tensor[CLATTN_T_K].stride[3] = 2;
            row.tensor[CLATTN_T_K].stride[0] = 1000;
            base.offset[CLATTN_T_K] = at(40, 1);
            const rows_of rows =
                rows_init(&row, &base, past, CLATTN_T_PAST_K, now, CLATTN_T_K, 1, 0, 0, NULL);
            cr_expect(rows.memory[0] == past && rows.memory[1] == now && rows.n_past == 3);
            cr_expect_eq(rows.begin[0] + 2 * rows.step[0], 2 * at(power, sign));
            cr_expect_eq(rows.begin[1] + 4 * rows.step[1], at(40, 1) + 1000 + at(power, -sign),
                         "key 4 is the second new one");
            cr_expect_eq(rows.inner[1], 2);
        }
}

/* The first token of a ragged sequence, far behind. */
Test(item, rows_of_a_late_sequence)
{
    static clattn_problem_row row;
    static clattn_base base;
    row.tensor[CLATTN_T_V].stride[2] = at(26, 1);
    const rows_of rows =
        rows_init(&row, &base, NULL, CLATTN_T_PAST_V, NULL, CLATTN_T_V, 0, 0, INT32_MAX, NULL);
    cr_expect_eq(rows.begin[1], INT32_MAX * at(26, 1));
}

/* Token 7 of entry 1 in pages of 4 tokens: token 3 of the second page of its table. */
Test(item, rows_in_pages)
{
    static clattn_problem_row row;
    static clattn_base base;
    int32_t table[16] = {0};
    row.page_size = 4;
    row.n_pages = 9;
    row.tensor[CLATTN_T_PAGES].stride[0] = 8;
    row.tensor[CLATTN_T_PAGES].stride[1] = 2;
    row.tensor[CLATTN_T_K].stride[0] = at(40, 1);
    row.tensor[CLATTN_T_K].stride[1] = 1000;
    row.tensor[CLATTN_T_K].stride[2] = 16;
    for (int n = 0; n < 3; n++) {
        const int32_t given[] = {5, INT32_MAX, -3}, used[] = {5, 8, 0};
        table[10] = given[n];
        const rows_of rows =
            rows_init(&row, &base, NULL, CLATTN_T_PAST_K, NULL, CLATTN_T_K, 1, 2, 0, table);
        cr_expect_eq(row_begin(&rows, 7), used[n] * at(40, 1) + 2 * 1000 + 3 * 16);
    }
}

static const int32_t numbers[] = {INT32_MIN, -1, 0, 1, 2, 7, 99, 100, 101, INT32_MAX};
enum { NUMBERS = sizeof numbers / sizeof numbers[0], BOUND = 7, TOTAL = 100 };

Test(item, lengths_are_clamped)
{
    for (int64_t step = -3; step <= 3; step++)
        for (int n = 0; n < NUMBERS; n++) {
            int32_t memory[41] = {0};
            memory[20 + 4 * step] = numbers[n];
            const tokens of = tokens_of(memory + 20, step, 4, BOUND, 0, 0);
            const int32_t wanted = numbers[n] < 0 ? 0 : numbers[n] > BOUND ? BOUND : numbers[n];
            cr_expect(of.first == 0 && of.count == wanted, "length %d", (int)numbers[n]);
        }
}

/* Whatever the two numbers are, the tokens are there and no more than the bound. */
Test(item, ragged_lengths_are_clamped)
{
    for (int a = 0; a < NUMBERS; a++)
        for (int b = 0; b < NUMBERS; b++)
            for (int64_t step = 0; step <= 2; step++) {
                int32_t memory[12] = {0};
                memory[3 * step] = numbers[a];
                memory[4 * step] = numbers[b];
                const tokens of = tokens_of(memory, step, 3, BOUND, TOTAL, 1);
                cr_expect(of.first >= 0 && of.count >= 0 && of.count <= BOUND);
                cr_expect(of.first + of.count <= TOTAL);
                cr_expect(of.count == 0 || (step > 0 && numbers[b] > of.first));
                const bool is_right = step > 0 && numbers[a] >= 0 && numbers[b] >= numbers[a] &&
                                      numbers[b] - numbers[a] <= BOUND && numbers[b] <= TOTAL;
                if (is_right)
                    cr_expect(of.first == numbers[a] && of.count == numbers[b] - numbers[a],
                              "%d to %d", (int)numbers[a], (int)numbers[b]);
            }
}

/* Past keys come before those of a ragged sequence; keys in pages have lengths of their own. */
Test(item, keys_of_ragged_sequences)
{
    static clattn_problem_row row;
    static clattn_base base;
    const int32_t ends[] = {0, 5, 5, 9}, lengths[] = {7, 0, 11};
    row.flags = CLATTN_F_RAGGED | CLATTN_F_KV_LENGTHS;
    row.n_kv = 12;
    row.n_past = 3;
    row.total_kv = 10;
    row.tensor[CLATTN_T_KV_LENGTHS].stride[0] = 1;
    for (int b = 0; b < 3; b++) {
        const tokens of = keys_of(&row, &base, ends, b);
        cr_expect(of.first == ends[b] && of.count == 3 + ends[b + 1] - ends[b], "entry %d", b);
        cr_expect_eq(packed_begin(&row, of, b), ends[b] + 3 * b);
    }
    row.n_past = 0;
    row.page_size = 4;
    for (int b = 0; b < 3; b++) {
        const tokens of = keys_of(&row, &base, lengths, b);
        cr_expect(of.first == 0 && of.count == lengths[b], "entry %d in pages", b);
        cr_expect_eq(packed_begin(&row, of, b), 0);
    }
}
