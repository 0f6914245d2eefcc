/* See linear.h. */
#include "linear.h"

#include <stddef.h>

static void forward(const oracle_linear *of, int64_t row)
{
    for (int64_t o = 0; o < of->out; o++) {
        double sum = of->b ? (double)of->b[o] : 0;
        for (int64_t i = 0; i < of->in; i++)
            sum += (double)of->x[row * of->in + i] * (double)of->w[o * of->in + i];
        of->y[row * of->out + o] = sum;
    }
}

static void by_x(const oracle_linear *of, int64_t row)
{
    for (int64_t i = 0; i < of->in; i++) {
        double sum = 0;
        for (int64_t o = 0; o < of->out; o++)
            sum += (double)of->dy[row * of->out + o] * (double)of->w[o * of->in + i];
        of->dx[row * of->in + i] = sum;
    }
}

static void by_w(const oracle_linear *of, int64_t rows)
{
    for (int64_t o = 0; o < of->out; o++)
        for (int64_t i = 0; i < of->in; i++) {
            double sum = 0;
            for (int64_t row = 0; row < rows; row++)
                sum += (double)of->dy[row * of->out + o] * (double)of->x[row * of->in + i];
            of->dw[o * of->in + i] = sum;
        }
}

static void by_b(const oracle_linear *of, int64_t rows)
{
    for (int64_t o = 0; o < of->out; o++) {
        of->db[o] = 0;
        for (int64_t row = 0; row < rows; row++)
            of->db[o] += (double)of->dy[row * of->out + o];
    }
}

void oracle_linear_run(const oracle_linear *of)
{
    const int64_t rows = of->batch * of->rows;
    for (int64_t row = 0; of->y && row < rows; row++)
        forward(of, row);
    for (int64_t row = 0; of->dx && row < rows; row++)
        by_x(of, row);
    if (of->dw)
        by_w(of, rows);
    if (of->db)
        by_b(of, rows);
}
