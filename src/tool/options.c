/* Parses a command's options into the targets of its table, prints --help from the same table, and
 * prints errors: one line each, whatever a file's name or a compiler's message contains. */
#include "tool/options.h"

#include <assert.h>
#include <errno.h>
#include <getopt.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* What getopt_long returns for row 0; above every character. */
enum { FIRST_ROW = 256 };

#if defined(__GNUC__)
__attribute__((format(printf, 2, 0)))
#endif
static void
print_line(const char *what, const char *format, va_list arguments)
{
    char text[2048];
    const int start = snprintf(text, sizeof text, "clattn: %.512s: ", what);
    vsnprintf(text + start, sizeof text - (size_t)start, format, arguments);
    for (char *c = text; *c; c++)
        if ((unsigned char)*c < ' ' || *c == 127)
            *c = ' ';
    fprintf(stderr, "%s\n", text);
}

int usage_error(const char *what, const char *why, ...)
{
    va_list arguments;
    va_start(arguments, why);
    print_line(what, why, arguments);
    va_end(arguments);
    return EXIT_USAGE;
}

int failure(const char *what, const char *why, ...)
{
    va_list arguments;
    va_start(arguments, why);
    print_line(what, why, arguments);
    va_end(arguments);
    return EXIT_FAILED;
}

/* "--name VALUE" */
static int signature(const option_row *row, char *text, size_t capacity)
{
    const bool has_value = row->kind != OPTION_FLAG;
    return snprintf(text, capacity, "--%s%s%s", row->name, has_value ? " " : "",
                    has_value ? row->value : "");
}

/* Words of `text` in lines of at most `width`, each but the first behind `column` spaces. */
static void print_wrapped(const char *text, int column, int width)
{
    int used = 0;
    while (*text) {
        const int size = (int)strcspn(text, " ");
        if (used && used + 1 + size > width) {
            printf("\n%*s", column, "");
            used = 0;
        }
        printf("%s%.*s", used ? " " : "", size, text);
        used += size + (used > 0);
        text += size + (text[size] == ' ');
    }
    printf("\n");
}

static void print_row(const char *option, const char *help, const char *remark)
{
    enum { COLUMN = 24, MARGIN = 28, WIDTH = 100 };
    char text[512];
    snprintf(text, sizeof text, "%s%s", help, remark);
    if ((int)strlen(option) > COLUMN)
        printf("  %s\n  %-*s  ", option, COLUMN, "");
    else
        printf("  %-*s  ", COLUMN, option);
    print_wrapped(text, MARGIN, WIDTH - MARGIN);
}

static void print_help(const command *self, const option_row *rows)
{
    char text[256];
    printf("usage: clattn %s [OPTION]...%s%s\n\n%s\n\n", self->name, self->operands ? " " : "",
           self->operands ? self->operands : "", self->summary);
    for (; rows->name; rows++) {
        signature(rows, text, sizeof text);
        print_row(text, rows->help,
                  rows->required              ? " (required)"
                  : rows->kind == OPTION_LIST ? " (may be given several times)"
                                              : "");
    }
    print_row("-h, --help", "show this help", "");
    printf("\nExit status: 0 done, 1 failed, 2 wrong usage.\n");
}

static bool parse_number(const char *text, option_number *number)
{
    char *end;
    number->value = strtod(text, &end);
    number->given = true;
    return end != text && *end == 0 && isfinite(number->value);
}

static bool parse_integer(const char *text, option_integer *integer)
{
    char *end;
    errno = 0;
    integer->value = strtoll(text, &end, 10);
    integer->given = true;
    return end != text && *end == 0 && errno == 0;
}

static bool parse_pair(const char *text, option_pair *pair)
{
    char *end, *last;
    errno = 0;
    pair->given = true;
    pair->value[0] = strtoll(text, &end, 10);
    if (end == text || *end != ',')
        return false;
    pair->value[1] = strtoll(end + 1, &last, 10);
    return last != end + 1 && *last == 0 && errno == 0;
}

static bool append(const char *text, option_list *list)
{
    if (list->count == OPTION_MOST_VALUES)
        return false;
    list->value[list->count++] = text;
    return true;
}

/* Looks `text` up among the names "one|two|three". */
static bool choose(const char *text, const char *names, int *choice)
{
    const size_t size = strlen(text);
    for (int number = 1; *names; number++) {
        const size_t length = strcspn(names, "|");
        if (size > 0 && length == size && memcmp(names, text, size) == 0) {
            *choice = number;
            return true;
        }
        names += length + (names[length] == '|');
    }
    return false;
}

static bool store(const option_row *row, const char *text)
{
    switch (row->kind) {
    case OPTION_FLAG:
        return *(bool *)row->target = true;
    case OPTION_TEXT:
        *(const char **)row->target = text;
        return *text != 0;
    case OPTION_NUMBER:
        return parse_number(text, row->target);
    case OPTION_INTEGER:
        return parse_integer(text, row->target);
    case OPTION_PAIR:
        return parse_pair(text, row->target);
    case OPTION_LIST:
        return append(text, row->target);
    case OPTION_CHOICE:
        return choose(text, row->value, row->target);
    }
    return false;
}

/* Why store() refused. */
static int complain_about_value(const option_row *row, const char *text)
{
    static const char *const expected[] = {[OPTION_TEXT] = "a text that is not empty",
                                           [OPTION_NUMBER] = "a finite number",
                                           [OPTION_INTEGER] = "a whole number",
                                           [OPTION_PAIR] = "two whole numbers with a comma",
                                           [OPTION_LIST] = "fewer values"};
    char what[128];
    snprintf(what, sizeof what, "--%s", row->name);
    if (row->kind == OPTION_CHOICE)
        return usage_error(what, "'%.200s' is none of %s", text, row->value);
    return usage_error(what, "'%.200s' is not accepted, expected %s", text, expected[row->kind]);
}

/* For what getopt_long answers with '?' or ':'; `word` is the argument it stopped at. */
static int complain_about_option(const command *self, const option_row *rows, int code,
                                 const char *word)
{
    char what[128];
    const char *why = "is no option";
    snprintf(what, sizeof what, "%.100s", word);
    if (optopt >= FIRST_ROW) {
        snprintf(what, sizeof what, "--%s", rows[optopt - FIRST_ROW].name);
        why = code == ':' ? "needs a value" : "takes no value";
    } else if (optopt == 'h') {
        return usage_error("--help", "takes no value");
    } else if (optopt) {
        snprintf(what, sizeof what, "-%c", optopt);
    }
    return usage_error(what, "%s; see clattn %s --help", why, self->name);
}

static void fill_table(const option_row *rows, struct option *table)
{
    int i = 0;
    for (; rows[i].name; i++) {
        assert(i < OPTION_MOST_ROWS);
        const int argument = rows[i].kind == OPTION_FLAG ? no_argument : required_argument;
        table[i] = (struct option){rows[i].name, argument, NULL, FIRST_ROW + i};
    }
    table[i++] = (struct option){"help", no_argument, NULL, 'h'};
    table[i] = (struct option){0};
}

/* Everything required is there, and no operand where none is taken. */
static bool is_complete(const command *self, const option_row *rows, const uint64_t seen,
                        const char *extra, int *status)
{
    for (int i = 0; rows[i].name; i++)
        if (rows[i].required && !(seen >> i & 1)) {
            char what[128];
            snprintf(what, sizeof what, "--%s", rows[i].name);
            *status = usage_error(what, "is required; see clattn %s --help", self->name);
            return false;
        }
    if (extra) {
        *status = usage_error(extra, "is unexpected; see clattn %s --help", self->name);
        return false;
    }
    return true;
}

bool options_parse(const command *self, const option_row *rows, int argc, char **argv, int *operand,
                   int *status)
{
    struct option table[OPTION_MOST_ROWS + 2];
    uint64_t seen = 0; /* bit i: row i was given */
    int code;
    fill_table(rows, table);
    optind = 0; /* start anew, with another table than an earlier call's */
    opterr = 0;
    while ((code = getopt_long(argc, argv, ":h", table, NULL)) != -1) {
        if (code == 'h') {
            print_help(self, rows);
            *status = EXIT_RAN;
            return false;
        }
        if (code < FIRST_ROW) {
            *status = complain_about_option(self, rows, code, argv[optind - 1]);
            return false;
        }
        if (!store(&rows[code - FIRST_ROW], optarg)) {
            *status = complain_about_value(&rows[code - FIRST_ROW], optarg);
            return false;
        }
        seen |= (uint64_t)1 << (code - FIRST_ROW);
    }
    if (operand)
        *operand = optind;
    return is_complete(self, rows, seen, !operand && optind < argc ? argv[optind] : NULL, status);
}
