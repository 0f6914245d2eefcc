/* Gradient descent on a model, and how well it does. */
#include "trainer.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "optimiser.h"
#include "stop.h"

static size_t rows_of(const model *m)
{
    return m->batch * m->outputs;
}

static void *room(size_t count, size_t size)
{
    void *memory = calloc(count, size);
    if (!memory)
        stop("memory", "no %zu elements are left", count);
    return memory;
}

/* ---- the tensors of a model ------------------------------------------------------------------ */

void model_create(model *m, const int32_t *targets, size_t examples, uint64_t seed)
{
    float *one_hot = room(rows_of(m) * m->outputs, sizeof *one_hot);
    for (size_t row = 0; row < rows_of(m); row++)
        one_hot[row * m->outputs + row % m->outputs] = 1;
    parameters_create(&m->parameters, m->device, seed);
    m->targets = NEW_TENSOR(m->device, examples, m->outputs);
    m->position = NEW_TENSOR(m->device, rows_of(m), m->outputs);
    m->logits = NEW_TENSOR(m->device, rows_of(m), m->symbols);
    m->grad_logits = NEW_TENSOR(m->device, rows_of(m), m->symbols);
    m->losses = NEW_TENSOR(m->device, TRAINER_REPORT, rows_of(m));
    m->predicted = NEW_TENSOR(m->device, rows_of(m));
    tensor_write(m->device, &m->targets, 0, targets, m->targets.count);
    tensor_write(m->device, &m->position, 0, one_hot, m->position.count);
    free(one_hot);
}

void model_destroy(model *m)
{
    tensor *const tensors[] = {&m->targets,     &m->position, &m->logits,
                               &m->grad_logits, &m->losses,   &m->predicted};
    for (size_t i = 0; i < sizeof tensors / sizeof tensors[0]; i++)
        tensor_destroy(m->device, tensors[i]);
    parameters_destroy(&m->parameters, m->device);
}

/* ---- loss and predictions -------------------------------------------------------------------- */

/* Forward, and the loss of each row into place `slot` of `losses`. */
static void forward(model *m, size_t first, size_t slot)
{
    const cl_uint symbols = (cl_uint)m->symbols, target = (cl_uint)(first * m->outputs);
    const cl_uint losses_first = (cl_uint)(slot * rows_of(m));
    m->forward(m, first);
    LAUNCH(m->device, KERNEL_CROSS_ENTROPY, rows_of(m), TENSOR(&m->logits), ARGUMENT(symbols),
           TENSOR(&m->targets), ARGUMENT(target), TENSOR(&m->grad_logits), TENSOR(&m->losses),
           ARGUMENT(losses_first), TENSOR(&m->predicted));
}

/* The mean over the first `slots` places. */
static double mean_loss(model *m, size_t slots)
{
    const size_t count = slots * rows_of(m);
    float *losses = room(count, sizeof *losses);
    double sum = 0;
    device_finish(m->device);
    tensor_read(m->device, &m->losses, 0, losses, count);
    for (size_t i = 0; i < count; i++)
        sum += (double)losses[i];
    free(losses);
    return sum / (double)count;
}

double model_loss(model *m, size_t first)
{
    forward(m, first, 0);
    return mean_loss(m, 1);
}

void model_predict(model *m, size_t first, int32_t *predicted)
{
    forward(m, first, 0);
    device_finish(m->device);
    tensor_read(m->device, &m->predicted, 0, predicted, rows_of(m));
}

double model_exact_match(model *m)
{
    const size_t last = m->held_out.first + m->held_out.count;
    int32_t *predicted = room(2 * rows_of(m), sizeof *predicted);
    int32_t *wanted = predicted + rows_of(m);
    size_t right = 0;
    for (size_t first = m->held_out.first; first < last; first += m->batch) {
        model_predict(m, first, predicted);
        tensor_read(m->device, &m->targets, first * m->outputs, wanted, rows_of(m));
        for (size_t i = 0; i < rows_of(m); i += m->outputs)
            right += memcmp(predicted + i, wanted + i, m->outputs * sizeof *wanted) == 0;
    }
    free(predicted);
    return (double)right / (double)m->held_out.count;
}

/* ---- training -------------------------------------------------------------------------------- */

static double now(void)
{
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (double)time.tv_sec + 1e-9 * (double)time.tv_nsec;
}

enum { BAR = 30 };

static void clear_bar(void)
{
    if (isatty(STDERR_FILENO))
        fprintf(stderr, "\r%*s\r", BAR + 40, "");
}

static void show_bar(long done, long steps, double loss, double seconds)
{
    char bar[BAR + 1];
    if (!isatty(STDERR_FILENO))
        return;
    memset(bar, ' ', BAR);
    memset(bar, '#', (size_t)(BAR * done / steps));
    bar[BAR] = 0;
    fprintf(stderr, "\r[%s] %3ld %%  loss %.4f  %.0f s ", bar, 100 * done / steps, loss, seconds);
}

/* Step `step` of those of `options`, from 0 on. */
static void train_step(model *m, const training_options *options, long step, size_t slot)
{
    const size_t batches = m->learned.count / m->batch;
    const size_t first = m->learned.first + (size_t)step % batches * m->batch;
    forward(m, first, slot);
    m->backward(m);
    optimiser_step(options->optimiser, m->device, &m->parameters, step, options->steps);
}

void model_train(model *m, const training_options *options)
{
    const double start = now();
    /* about ten lines, and one for the first step and the last one */
    const long line = (options->steps / (10L * TRAINER_REPORT) + 1) * TRAINER_REPORT;
    size_t slots = 0;
    for (long step = 0; step < options->steps; step++) {
        const long done = step + 1;
        train_step(m, options, step, slots++);
        if (step != 0 && done % TRAINER_REPORT != 0 && done != options->steps)
            continue;
        const double loss = mean_loss(m, slots);
        clear_bar();
        if (step == 0 || done % line == 0 || done == options->steps)
            printf("step %5ld  loss %.4f\n", done, loss);
        fflush(stdout);
        if (done != options->steps)
            show_bar(done, options->steps, loss, now() - start);
        slots = 0;
    }
}

/* `when`: "before" training, or "after". */
static void look(model *m, const training_options *options, const char *when)
{
    if (options->out)
        m->draw(m, options->out, when);
    printf("\nWeights %s training, by what is written (rows) and read (columns):\n", when);
    m->print(m);
}

bool model_run(model *m, const training_options *options)
{
    printf("%zu examples to learn from, %zu held out, %zu parameters\n", m->learned.count,
           m->held_out.count, parameters_number(&m->parameters));
    look(m, options, "before");
    model_train(m, options);
    look(m, options, "after");
    m->show(m);
    printf("exact match %.1f %%\n", 100 * model_exact_match(m));
    return !options->check || model_check_gradients(m, (uint64_t)options->seed);
}
