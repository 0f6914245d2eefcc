/* Options of the tool: what reaches the targets, and which status ends the command. The lines of
 * errors are checked by tests/tool, where they are seen as a user sees them. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include <criterion/criterion.h>
#include <criterion/redirect.h>

#include "tool/options.h"

static const command self = {"test", "A command.", NULL, NULL};

/* One target of each kind. */
typedef struct targets {
    bool flag;
    const char *text;
    option_number number;
    option_integer integer;
    option_pair pair;
    option_list list;
    int choice;
    int operand;
    int status;
} targets;

/* Words are separated by spaces; operands are accepted. */
static bool parse(targets *t, const char *words)
{
    static char copy[4096];
    static char *argv[512];
    int argc = 0;
    const option_row rows[] = {
        {"flag", OPTION_FLAG, false, &t->flag, NULL, "a flag"},
        {"text", OPTION_TEXT, false, &t->text, "TEXT", "a text"},
        {"number", OPTION_NUMBER, false, &t->number, "X", "a number"},
        {"integer", OPTION_INTEGER, false, &t->integer, "N", "an integer"},
        {"pair", OPTION_PAIR, false, &t->pair, "A,B", "two integers"},
        {"list", OPTION_LIST, false, &t->list, "TEXT", "a list"},
        {"choice", OPTION_CHOICE, false, &t->choice, "one|two|three", "a choice"},
        {0},
    };
    memset(t, 0, sizeof *t);
    t->status = -1;
    snprintf(copy, sizeof copy, "test %s", words);
    for (char *word = strtok(copy, " "); word && argc < 511; word = strtok(NULL, " "))
        argv[argc++] = word;
    argv[argc] = NULL;
    return options_parse(&self, rows, argc, argv, &t->operand, &t->status);
}

Test(options, every_kind_reaches_its_target)
{
    targets t;
    cr_assert(parse(&t, "--flag --text t --number 2.5e-3 --integer -7 --list a --list=b "
                        "--choice two operand"));
    cr_expect(t.flag);
    cr_expect_str_eq(t.text, "t");
    cr_expect(t.number.given && t.number.value == 2.5e-3);
    cr_expect(t.integer.given && t.integer.value == -7);
    cr_expect_eq(t.list.count, 2);
    cr_expect_str_eq(t.list.value[0], "a");
    cr_expect_str_eq(t.list.value[1], "b");
    cr_expect_eq(t.choice, 2);
    cr_expect_eq(t.status, -1);
}

Test(options, pairs)
{
    targets t;
    cr_assert(parse(&t, "--pair -1,3"));
    cr_expect(t.pair.given && t.pair.value[0] == -1 && t.pair.value[1] == 3);
    cr_assert(parse(&t, "--pair=9223372036854775807,-9223372036854775808"));
    cr_expect(t.pair.value[0] == INT64_MAX && t.pair.value[1] == INT64_MIN);
    cr_redirect_stderr();
    static const char *const wrong[] = {
        "--pair 1",   "--pair ,",    "--pair 1,",    "--pair ,1",
        "--pair 1;2", "--pair 1,2,", "--pair 1,2.5", "--pair 9223372036854775808,1",
    };
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        cr_expect(!parse(&t, wrong[i]), "%s", wrong[i]);
        cr_expect_eq(t.status, EXIT_USAGE);
    }
}

Test(options, nothing_given_leaves_targets_alone)
{
    targets t;
    cr_assert(parse(&t, ""));
    cr_expect(!t.flag && !t.text && !t.number.given && !t.integer.given);
    cr_expect(t.list.count == 0 && t.choice == 0);
    cr_expect_eq(t.operand, 1);
}

Test(options, values_may_begin_with_a_minus)
{
    targets t;
    cr_assert(parse(&t, "--text -1,3 --number -0.5 --list --flag"));
    cr_expect_str_eq(t.text, "-1,3");
    cr_expect_eq(t.number.value, -0.5);
    cr_expect_str_eq(t.list.value[0], "--flag");
    cr_expect(!t.flag);
}

Test(options, a_later_value_replaces_an_earlier_one)
{
    targets t;
    cr_assert(parse(&t, "--text a --text b --choice three --choice one"));
    cr_expect_str_eq(t.text, "b");
    cr_expect_eq(t.choice, 1);
}

Test(options, bad_values_are_usage_errors)
{
    static const char *const words[] = {
        "--number x",
        "--number 1e999",
        "--number nan",
        "--integer 1.5",
        "--integer",
        "--text=",
        "--integer 9223372036854775808",
        "--choice x",
        "--choice=",
        "--choice one|two",
        "--choice on",
        "--flag=1",
        "--nonsense",
        "-z",
        "--number=",
    };
    cr_redirect_stderr();
    for (size_t i = 0; i < sizeof words / sizeof words[0]; i++) {
        targets t;
        cr_expect(!parse(&t, words[i]), "%s was accepted", words[i]);
        cr_expect_eq(t.status, EXIT_USAGE, "%s", words[i]);
    }
}

Test(options, a_list_has_an_end)
{
    char words[4096] = "";
    targets t;
    cr_redirect_stderr();
    for (int i = 0; i < OPTION_MOST_VALUES; i++)
        strcat(words, "--list=x ");
    cr_expect(parse(&t, words));
    cr_expect_eq(t.list.count, OPTION_MOST_VALUES);
    strcat(words, "--list=x ");
    cr_expect(!parse(&t, words));
    cr_expect_eq(t.status, EXIT_USAGE);
}

Test(options, help_ends_the_command_well)
{
    targets t;
    cr_redirect_stdout();
    cr_expect(!parse(&t, "--help"));
    cr_expect_eq(t.status, EXIT_RAN);
}

Test(options, required_options_and_operands)
{
    const char *text = NULL;
    const option_row rows[] = {{"text", OPTION_TEXT, true, &text, "T", "needed"}, {0}};
    char name[] = "test", option[] = "--text=t", extra[] = "extra";
    int status = -1;
    cr_redirect_stderr();
    cr_expect(!options_parse(&self, rows, 1, (char *[]){name, NULL}, NULL, &status));
    cr_expect_eq(status, EXIT_USAGE);
    cr_expect(options_parse(&self, rows, 2, (char *[]){name, option, NULL}, NULL, &status));
    cr_expect(!options_parse(&self, rows, 3, (char *[]){name, extra, option, NULL}, NULL, &status));
}
