/* See linear.h. One text serves both precisions: every operation is done in double and, for the
 * plain computation, rounded to float32, which is what float32 would have given. */
#include "linear.h"

#include <stddef.h>

static double f32(const oracle_linear *of, double x)
{
    return of->plain ? (double)(float)x : x;
}

static double added(const oracle_linear *of, double sum, float a, float b)
{
    return f32(of, sum + f32(of, (double)a * (double)b));
}

static void write(const oracle_linear *of, double *to, double sum)
{
    const double all = of->accumulate ? f32(of, sum + *to) : sum;
    *to = of->plain ? (double)oracle_rounded(of->type, (float)all) : all;
}

static void forward(const oracle_linear *of, int64_t row)
{
    for (int64_t o = 0; o < of->out; o++) {
        double sum = 0;
        for (int64_t i = 0; i < of->in; i++)
            sum = added(of, sum, of->x[row * of->in + i], of->w[o * of->in + i]);
        write(of, &of->y[row * of->out + o], of->b ? f32(of, sum + (double)of->b[o]) : sum);
    }
}

static void by_x(const oracle_linear *of, int64_t row)
{
    for (int64_t i = 0; i < of->in; i++) {
        double sum = 0;
        for (int64_t o = 0; o < of->out; o++)
            sum = added(of, sum, of->dy[row * of->out + o], of->w[o * of->in + i]);
        write(of, &of->dx[row * of->in + i], sum);
    }
}

static void by_w(const oracle_linear *of, int64_t rows)
{
    for (int64_t o = 0; o < of->out; o++)
        for (int64_t i = 0; i < of->in; i++) {
            double sum = 0;
            for (int64_t row = 0; row < rows; row++)
                sum = added(of, sum, of->dy[row * of->out + o], of->x[row * of->in + i]);
            write(of, &of->dw[o * of->in + i], sum);
        }
}

static void by_b(const oracle_linear *of, int64_t rows)
{
    for (int64_t o = 0; o < of->out; o++) {
        double sum = 0;
        for (int64_t row = 0; row < rows; row++)
            sum = f32(of, sum + (double)of->dy[row * of->out + o]);
        write(of, &of->db[o], sum);
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
