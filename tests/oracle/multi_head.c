/* See multi_head.h. One text serves both precisions: every operation is done in double and, for the
 * plain computation, rounded to float32, which is what float32 would have given. */
#include "multi_head.h"

#include <math.h>
#include <stdlib.h>

/* What passes between the steps, tokens before heads; all owned. */
typedef struct middle {
    const oracle_multi_head *of;
    double *x[3];                  /* inputs */
    double *p[ORACLE_PROJECTIONS]; /* q, k, v, and what the last projection reads */
    double *d[ORACLE_PROJECTIONS]; /* derivatives by them */
    double *dy, *y;
    double *w, *a; /* (n_kv) of a query and head: weights; derivatives by weights, by scores */
} middle;

static double f32(const oracle_multi_head *of, double x)
{
    return of->plain ? (double)(float)x : x;
}

static double stored(const oracle_multi_head *of, double x)
{
    return of->plain ? (double)oracle_rounded(of->type, (float)x) : x;
}

static double added(const oracle_multi_head *of, double sum, double a, double b)
{
    return f32(of, sum + f32(of, a * b));
}

/* ---- projections ----------------------------------------------------------------------------- */

static int64_t rows_of(const oracle_multi_head *of, int which)
{
    const bool queries = which == ORACLE_QUERIES || which == ORACLE_RESULTS;
    return of->batch * (queries ? of->n_q : of->n_kv);
}

/* What a projection makes of a row, and of what. */
static int64_t out_of(const oracle_multi_head *of, int which)
{
    const int64_t out[] = {of->n_head * of->head_dim, of->n_kv_head * of->head_dim,
                           of->n_kv_head * of->value_dim, of->width[0]};
    return out[which];
}

static int64_t in_of(const oracle_multi_head *of, int which)
{
    const int own = of->cross ? which : 0;
    return which == ORACLE_RESULTS ? of->n_head * of->value_dim : of->width[own];
}

static void project(const oracle_multi_head *of, int which, const double *x, double *y)
{
    const int64_t in = in_of(of, which), out = out_of(of, which);
    for (int64_t row = 0; row < rows_of(of, which); row++)
        for (int64_t o = 0; o < out; o++) {
            double sum = 0;
            for (int64_t i = 0; i < in; i++)
                sum = added(of, sum, x[row * in + i], (double)of->w[which][o * in + i]);
            if (of->b[which])
                sum = f32(of, sum + (double)of->b[which][o]);
            y[row * out + o] = stored(of, sum);
        }
}

/* Adds to what dx holds, which was stored, too. */
static void back_to_x(const oracle_multi_head *of, int which, const double *dy, double *dx)
{
    const int64_t in = in_of(of, which), out = out_of(of, which);
    for (int64_t row = 0; dx && row < rows_of(of, which); row++)
        for (int64_t i = 0; i < in; i++) {
            double sum = 0;
            for (int64_t o = 0; o < out; o++)
                sum = added(of, sum, dy[row * out + o], (double)of->w[which][o * in + i]);
            dx[row * in + i] = stored(of, dx[row * in + i] + stored(of, sum));
        }
}

static void back_to_parameters(const oracle_multi_head *of, int which, const double *x,
                               const double *dy)
{
    const int64_t in = in_of(of, which), out = out_of(of, which), rows = rows_of(of, which);
    for (int64_t o = 0; o < out; o++) {
        double sum = 0;
        for (int64_t row = 0; row < rows; row++)
            sum = f32(of, sum + dy[row * out + o]);
        if (of->grad_b[which])
            of->grad_b[which][o] = stored(of, sum);
        for (int64_t i = 0; of->grad_w[which] && i < in; i++) {
            sum = 0;
            for (int64_t row = 0; row < rows; row++)
                sum = added(of, sum, dy[row * out + o], x[row * in + i]);
            of->grad_w[which][o * in + i] = stored(of, sum);
        }
    }
}

/* ---- attention ------------------------------------------------------------------------------- */

/* A query of a head: where its rows and those of key 0 begin. */
typedef struct place {
    int64_t i, keys; /* those that it sees */
    int64_t at[ORACLE_PROJECTIONS];
    int64_t step[3]; /* from key to key */
} place;

static place place_of(const oracle_multi_head *of, int64_t b, int64_t h, int64_t i)
{
    const int64_t g = h / (of->n_head / of->n_kv_head);
    place p = {.i = i, .keys = of->causal && i + 1 < of->n_kv ? i + 1 : of->n_kv};
    p.step[ORACLE_KEYS] = of->n_kv_head * of->head_dim;
    p.step[ORACLE_VALUES] = of->n_kv_head * of->value_dim;
    p.at[ORACLE_QUERIES] = ((b * of->n_q + i) * of->n_head + h) * of->head_dim;
    p.at[ORACLE_KEYS] = b * of->n_kv * p.step[ORACLE_KEYS] + g * of->head_dim;
    p.at[ORACLE_VALUES] = b * of->n_kv * p.step[ORACLE_VALUES] + g * of->value_dim;
    p.at[ORACLE_RESULTS] = ((b * of->n_q + i) * of->n_head + h) * of->value_dim;
    return p;
}

static double product(const oracle_multi_head *of, const double *a, const double *b, int64_t count)
{
    double sum = 0;
    for (int64_t n = 0; n < count; n++)
        sum = added(of, sum, a[n], b[n]);
    return sum;
}

static double scale_of(const oracle_multi_head *of)
{
    return f32(of, 1 / sqrt((double)of->head_dim));
}

static void weigh(const middle *m, const place *p)
{
    const oracle_multi_head *of = m->of;
    double most = -INFINITY, sum = 0;
    for (int64_t j = 0; j < p->keys; j++) {
        const double *k = m->p[ORACLE_KEYS] + p->at[ORACLE_KEYS] + j * p->step[ORACLE_KEYS];
        const double *q = m->p[ORACLE_QUERIES] + p->at[ORACLE_QUERIES];
        m->w[j] = stored(of, product(of, q, k, of->head_dim) * scale_of(of));
        most = m->w[j] > most ? m->w[j] : most;
    }
    for (int64_t j = 0; j < p->keys; j++) {
        m->w[j] = f32(of, exp(f32(of, m->w[j] - most)));
        sum = f32(of, sum + m->w[j]);
    }
    for (int64_t j = 0; j < p->keys; j++)
        m->w[j] = stored(of, m->w[j] / sum);
}

static void attend(const middle *m, const place *p)
{
    const oracle_multi_head *of = m->of;
    weigh(m, p);
    for (int64_t c = 0; c < of->value_dim; c++) {
        double sum = 0;
        for (int64_t j = 0; j < p->keys; j++)
            sum = added(of, sum, m->w[j],
                        m->p[ORACLE_VALUES][p->at[ORACLE_VALUES] + j * p->step[ORACLE_VALUES] + c]);
        m->p[ORACLE_RESULTS][p->at[ORACLE_RESULTS] + c] = stored(of, sum);
    }
}

/* Sums in float32; stored when all is there. */
static void add(const middle *m, int which, int64_t at, double factor, const double *by,
                int64_t count)
{
    for (int64_t n = 0; n < count; n++)
        m->d[which][at + n] = added(m->of, m->d[which][at + n], factor, by[n]);
}

static void attend_back(const middle *m, const place *p)
{
    const oracle_multi_head *of = m->of;
    const double *by_o = m->d[ORACLE_RESULTS] + p->at[ORACLE_RESULTS];
    double mean = 0;
    weigh(m, p);
    for (int64_t j = 0; j < p->keys; j++) {
        const double *v = m->p[ORACLE_VALUES] + p->at[ORACLE_VALUES] + j * p->step[ORACLE_VALUES];
        m->a[j] = stored(of, product(of, by_o, v, of->value_dim));
        mean = added(of, mean, m->w[j], m->a[j]);
    }
    for (int64_t j = 0; j < p->keys; j++) {
        const int64_t q = p->at[ORACLE_QUERIES];
        const int64_t k = p->at[ORACLE_KEYS] + j * p->step[ORACLE_KEYS];
        const int64_t v = p->at[ORACLE_VALUES] + j * p->step[ORACLE_VALUES];
        const double by_s = stored(of, m->w[j] * f32(of, m->a[j] - mean));
        const double scaled = stored(of, by_s * scale_of(of));
        add(m, ORACLE_QUERIES, q, scaled, m->p[ORACLE_KEYS] + k, of->head_dim);
        add(m, ORACLE_KEYS, k, scaled, m->p[ORACLE_QUERIES] + q, of->head_dim);
        add(m, ORACLE_VALUES, v, m->w[j], by_o, of->value_dim);
    }
}

static void each_query(const middle *m, void (*visit)(const middle *m, const place *p))
{
    const oracle_multi_head *of = m->of;
    for (int64_t b = 0; b < of->batch; b++)
        for (int64_t h = 0; h < of->n_head; h++)
            for (int64_t i = 0; i < of->n_q; i++) {
                const place p = place_of(of, b, h, i);
                visit(m, &p);
            }
}

/* ---- the layer ------------------------------------------------------------------------------- */

static double *room(int64_t count)
{
    return calloc((size_t)count + 1, sizeof(double));
}

static double *widened(const float *from, int64_t count)
{
    double *made = room(count);
    for (int64_t n = 0; made && n < count; n++)
        made[n] = (double)from[n];
    return made;
}

static bool begin(const oracle_multi_head *of, middle *m)
{
    const int64_t results = rows_of(of, ORACLE_RESULTS);
    bool good = true;
    *m = (middle){.of = of};
    for (int n = 0; n < 3; n++) {
        const int own = of->cross ? n : 0;
        m->x[n] = widened(of->x[own], rows_of(of, n) * of->width[own]);
        good = good && m->x[n];
    }
    for (int n = 0; n < ORACLE_PROJECTIONS; n++) {
        const int64_t count =
            n == ORACLE_RESULTS ? results * in_of(of, n) : rows_of(of, n) * out_of(of, n);
        m->p[n] = room(count);
        m->d[n] = room(count);
        good = good && m->p[n] && m->d[n];
    }
    m->dy = widened(of->by_y, results * of->width[0]);
    m->y = room(results * of->width[0]);
    m->w = room(of->n_kv);
    m->a = room(of->n_kv);
    return good && m->dy && m->y && m->w && m->a;
}

static void finish(middle *m)
{
    for (int n = 0; n < 3; n++)
        free(m->x[n]);
    for (int n = 0; n < ORACLE_PROJECTIONS; n++) {
        free(m->p[n]);
        free(m->d[n]);
    }
    free(m->dy);
    free(m->y);
    free(m->w);
    free(m->a);
}

static void run_forward(const middle *m)
{
    const oracle_multi_head *of = m->of;
    for (int n = 0; n < 3; n++)
        project(of, n, m->x[n], m->p[n]);
    each_query(m, attend);
    project(of, ORACLE_RESULTS, m->p[ORACLE_RESULTS], of->y ? of->y : m->y);
}

static void run_backward(const middle *m)
{
    const oracle_multi_head *of = m->of;
    back_to_parameters(of, ORACLE_RESULTS, m->p[ORACLE_RESULTS], m->dy);
    back_to_x(of, ORACLE_RESULTS, m->dy, m->d[ORACLE_RESULTS]);
    each_query(m, attend_back);
    for (int n = 0; n < 3; n++) {
        const int own = of->cross ? n : 0;
        for (int64_t at = 0; at < rows_of(of, n) * out_of(of, n); at++)
            m->d[n][at] = stored(of, m->d[n][at]);
        for (int64_t at = 0; of->grad_x[own] && (n == own) && at < rows_of(of, n) * of->width[own];
             at++)
            of->grad_x[own][at] = 0;
        back_to_parameters(of, n, m->x[n], m->d[n]);
        back_to_x(of, n, m->d[n], of->grad_x[own]);
    }
}

bool oracle_multi_head_compute(const oracle_multi_head *of)
{
    middle m;
    const bool good = begin(of, &m);
    if (good) {
        run_forward(&m);
        run_backward(&m);
    }
    finish(&m);
    return good;
}
