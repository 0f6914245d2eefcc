/* Training of a model that reads sequences of symbols and writes sequences of symbols: gradient
 * descent, its progress, how often the model is right, and whether its gradients are. */
#ifndef EXAMPLES_TRAINING_TRAINER_H
#define EXAMPLES_TRAINING_TRAINER_H

#include "optimiser.h"

/* A run of examples, in whole batches. */
typedef struct example_range {
    size_t first, count;
} example_range;

/* What the trainer knows of a model. The program's own struct begins with one, so that `forward`
 * and `backward` find the rest. */
typedef struct model model;
struct model {
    device *device; /* borrowed */
    parameters parameters;
    size_t batch, outputs, symbols;
    example_range learned, held_out;
    tensor targets;  /* (examples, outputs) int32_t: the symbols that are wanted */
    tensor position; /* (batch, outputs, outputs) one-hot */
    tensor logits;   /* (batch, outputs, symbols), as grad_logits */
    tensor grad_logits;
    tensor losses;    /* (TRAINER_REPORT, batch, outputs) */
    tensor predicted; /* (batch, outputs) int32_t */
    /* From the batch that begins with example `first` to `logits`; and, of the same batch, from
     * `grad_logits` to `parameters.gradient`. */
    void (*forward)(model *m, size_t first);
    void (*backward)(model *m);
    /* Pictures of what it attends to, named by `when`; one of them and some examples on stdout. */
    void (*draw)(model *m, const char *folder, const char *when);
    void (*print)(model *m);
    void (*show)(model *m);
};

/* After how many steps the device is waited for, and the loss is shown. */
enum { TRAINER_REPORT = 20 };

/* What the command line says. */
typedef struct training_options {
    long steps;
    long seed;
    const optimiser *optimiser;
    const char *out; /* folder for pictures, NULL: none */
    bool check;      /* compare gradients with finite differences in the end */
} training_options;

/* What --help says of a program. `usage` is its first lines. */
typedef struct training_program {
    const char *name, *usage;
    long steps; /* defaults */
    const char *optimiser;
} training_program;

/* Reads the command line; ends the program where it is wrong, and after --help. */
training_options training_read_options(const training_program *program, int count, char **values);

/* The tensors of struct model, once all parameters were added and batch, outputs and symbols are
 * set; `targets` (examples, outputs) are copied. */
void model_create(model *m, const int32_t *targets, size_t examples, uint64_t seed);
void model_destroy(model *m);

/* All that the options ask for: pictures, training, examples, how often it is right, gradients.
 * False where gradients are wrong. */
bool model_run(model *m, const training_options *options);

/* Shows the loss on stdout, and on a terminal a bar on stderr. */
void model_train(model *m, const training_options *options);

/* What the model writes for the batch that begins with example `first`: (batch, outputs). */
void model_predict(model *m, size_t first, int32_t *predicted);

/* The part of the examples held out for which every symbol is right, 0 to 1. */
double model_exact_match(model *m);

/* Compares the gradients of the first batch with finite differences of the loss, parameter by
 * parameter, and shows both; false where they differ. They mean most where the model has learned a
 * little: where all that follows a parameter is 0, so is its gradient. */
bool model_check_gradients(model *m, uint64_t seed);

/* The mean loss of the batch that begins with `first`; gradients of the logits, too. */
double model_loss(model *m, size_t first);

#endif
