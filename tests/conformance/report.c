/* The report of report.h. */
#include "report.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "compare.h"

static void add_pair(pair_list *to, const char *name, const char *output)
{
    if (to->count == to->capacity) {
        const size_t capacity = to->capacity ? 2 * to->capacity : 64;
        char **grown = realloc(to->pair, capacity * sizeof *grown);
        if (!grown)
            return;
        to->pair = grown;
        to->capacity = capacity;
    }
    const size_t size = strlen(name) + strlen(output) + 2;
    char *pair = malloc(size);
    if (!pair)
        return;
    snprintf(pair, size, "%s:%s", name, output);
    to->pair[to->count++] = pair;
}

/* Sets the reason of a computed result that is wrong; true: it is right. */
static bool judge(const test_case *c, int index, const stored_as *stored, result *r)
{
    if (!r->computed)
        return false;
    const case_array *output = &c->output[index];
    tolerance allowed = tolerance_of(c, output);
    if (stored && stored->tolerance > 0)
        allowed.of_largest = stored->tolerance;
    return compare_arrays(&r->array, &output->array, allowed, r->reason, sizeof r->reason);
}

/* "FAIL name: out, lse: reason; dq: reason" */
static void print_failures(const test_case *c, const results *r, const bool *good)
{
    const char *last = NULL;
    printf("FAIL %s: ", c->name);
    for (int i = 0; i < c->output_count; i++) {
        if (!r->output[i].wanted || good[i])
            continue;
        const char *reason = r->output[i].reason[0] ? r->output[i].reason : "was not computed";
        if (last && strcmp(last, reason) == 0)
            printf(", %s", c->output[i].name);
        else
            printf("%s%s%s%s", last ? ": " : "", last ? last : "", last ? "; " : "",
                   c->output[i].name);
        last = reason;
    }
    printf(": %s\n", last);
}

void report_case(report *to, const test_case *c, results *r)
{
    bool good[CASE_MOST_ARRAYS] = {false};
    int wanted = 0, right = 0, declined = 0;
    for (int i = 0; i < c->output_count; i++) {
        if (!r->output[i].wanted)
            continue;
        wanted++;
        good[i] = judge(c, i, r->stored, &r->output[i]);
        right += good[i];
        declined += !good[i] && r->output[i].declined;
        if (good[i] || r->output[i].declined)
            add_pair(good[i] ? &to->right : &to->declined, c->name, c->output[i].name);
        if (good[i] && to->list)
            printf("%s:%s\n", c->name, c->output[i].name);
    }
    if (wanted == 0)
        return;
    if (right == wanted) {
        to->passed++;
        return;
    }
    to->failed++;
    to->declined_cases += declined != 0;
    print_failures(c, r, good);
}

void report_broken(report *to, const char *name, const char *why)
{
    printf("FAIL %s: %s\n", name, why);
    to->failed++;
}

static bool has_pair(const pair_list *list, const char *pair)
{
    for (size_t i = 0; i < list->count; i++)
        if (strcmp(list->pair[i], pair) == 0)
            return true;
    return false;
}

int report_missing(const report *from, const char *path, bool may_decline)
{
    char line[1024];
    int pairs = 0, missing = 0;
    FILE *stream = fopen(path, "r");
    if (!stream)
        return -1;
    while (fgets(line, sizeof line, stream)) {
        line[strcspn(line, "#\r\n \t")] = 0;
        if (!line[0])
            continue;
        pairs++;
        if (has_pair(&from->right, line) || (may_decline && has_pair(&from->declined, line)))
            continue;
        missing++;
        printf("MUST PASS, but does not: %s\n", line);
    }
    fclose(stream);
    return pairs ? missing : -1;
}

static void finish_list(pair_list *list)
{
    for (size_t i = 0; i < list->count; i++)
        free(list->pair[i]);
    free(list->pair);
}

void report_finish(report *r)
{
    finish_list(&r->right);
    finish_list(&r->declined);
    *r = (report){0};
}
