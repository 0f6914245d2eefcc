/* Command-line options as tables: parsing (getopt_long), --help, and errors in one line. */
#ifndef CLATTN_TOOL_OPTIONS_H
#define CLATTN_TOOL_OPTIONS_H

#include <stdbool.h>
#include <stdint.h>

/* Exit statuses of every command. */
enum { EXIT_RAN = 0, EXIT_FAILED = 1, EXIT_USAGE = 2 };

typedef enum option_kind {
    OPTION_FLAG,    /* bool *target: true if given */
    OPTION_TEXT,    /* const char **target; an empty value is refused */
    OPTION_NUMBER,  /* option_number *target: a finite number */
    OPTION_INTEGER, /* option_integer *target */
    OPTION_PAIR,    /* option_pair *target: two whole numbers, "-1,3" */
    OPTION_LIST,    /* option_list *target: may be given several times, in order */
    OPTION_CHOICE   /* int *target: 1, 2, ... = which of the names in `value`; 0: not given */
} option_kind;

typedef struct option_number {
    bool given;
    double value;
} option_number;

typedef struct option_integer {
    bool given;
    int64_t value;
} option_integer;

typedef struct option_pair {
    bool given;
    int64_t value[2];
} option_pair;

#define OPTION_MOST_VALUES 256
typedef struct option_list {
    uint32_t count;
    const char *value[OPTION_MOST_VALUES];
} option_list;

typedef struct option_row {
    const char *name; /* without "--" */
    option_kind kind;
    bool required;
    void *target;
    const char *value; /* name of the value for --help, NULL for a flag; a choice: "one|two" */
    const char *help;
} option_row; /* tables end with a NULL name, and have at most OPTION_MOST_ROWS rows before it */
#define OPTION_MOST_ROWS 64

typedef struct command {
    const char *name;     /* "attention" */
    const char *summary;  /* one line */
    const char *operands; /* after the options in --help, such as "list|clear|verify"; NULL: none */
    int (*run)(const struct command *self, int argc, char **argv); /* argv[0] is the name */
} command;

/* Fills the targets. Returns true if the command should run. Otherwise it has printed help or an
 * error line and *status is the exit status. *operand (NULL: none is accepted) receives the index
 * in argv of the first operand, argc if there is none. */
bool options_parse(const command *self, const option_row *rows, int argc, char **argv, int *operand,
                   int *status);

/* Prints `clattn: what: why` on stderr, always one line, and returns EXIT_USAGE. */
#if defined(__GNUC__)
__attribute__((format(printf, 2, 3)))
#endif
int usage_error(const char *what, const char *why, ...);

/* The same, returning EXIT_FAILED. */
#if defined(__GNUC__)
__attribute__((format(printf, 2, 3)))
#endif
int failure(const char *what, const char *why, ...);

#endif
