/* clattn programs list|clear|verify: the cache of compiled programs on disk. Opens no OpenCL. */
#include <stdio.h>
#include <string.h>

#include "tool/commands.h"
#include "tool/json.h"

/* What a walk through the cache collects. */
typedef struct listing {
    bool print;   /* a line each */
    cJSON *array; /* an object each, or NULL */
    unsigned programs, invalid;
} listing;

/* What is not valid says nothing about itself. */
static void print_entry(const clattn_program_entry *entry)
{
    printf("%s  %8llu  ", entry->key, (unsigned long long)entry->size);
    if (entry->valid)
        printf("%s, %s: ", entry->device, entry->label);
    printf("%s\n", entry->state);
}

static clattn_status visit(void *user, const clattn_program_entry *entry)
{
    listing *list = user;
    list->programs++;
    list->invalid += !entry->valid;
    if (list->print)
        print_entry(entry);
    if (list->array) {
        cJSON *object = cJSON_CreateObject();
        cJSON_AddStringToObject(object, "key", entry->key);
        cJSON_AddStringToObject(object, "device", entry->device);
        cJSON_AddStringToObject(object, "label", entry->label);
        cJSON_AddNumberToObject(object, "size", (double)entry->size);
        cJSON_AddBoolToObject(object, "valid", entry->valid != 0);
        cJSON_AddStringToObject(object, "state", entry->state);
        cJSON_AddItemToArray(list->array, object);
    }
    return CLATTN_OK;
}

static int cache_failure(void)
{
    return failure("programs", "%s", clattn_error_message());
}

/* The folder, to be printed. */
static const char *folder_name(char *path, size_t capacity)
{
    const bool good = clattn_program_cache_path(NULL, path, capacity) == CLATTN_OK && *path;
    return good ? path : "(no folder)";
}

static int list_programs(bool json, listing *list)
{
    char path[4096];
    cJSON *object = json ? cJSON_CreateObject() : NULL;
    cJSON_AddStringToObject(object, "folder", folder_name(path, sizeof path));
    list->array = cJSON_AddArrayToObject(object, "programs");
    list->print = !json;
    if (clattn_program_cache_list(NULL, visit, list) != CLATTN_OK) {
        cJSON_Delete(object);
        return cache_failure();
    }
    if (json)
        return json_print(object);
    printf("%u programs, %u of them not valid, in %s\n", list->programs, list->invalid,
           folder_name(path, sizeof path));
    return EXIT_RAN;
}

static int run_list(bool json)
{
    listing list = {0};
    return list_programs(json, &list);
}

/* The same, and fails where a program is not valid. */
static int run_verify(bool json)
{
    listing list = {0};
    const int status = list_programs(json, &list);
    if (status == EXIT_RAN && list.invalid)
        return failure("programs", "%u of %u are not valid and will be built again", list.invalid,
                       list.programs);
    return status;
}

static int run_clear(bool json)
{
    uint32_t removed = 0;
    if (clattn_program_cache_clear(NULL, 0, &removed) != CLATTN_OK)
        return cache_failure();
    if (!json) {
        printf("%u programs removed\n", (unsigned)removed);
        return EXIT_RAN;
    }
    cJSON *object = cJSON_CreateObject();
    cJSON_AddNumberToObject(object, "removed", removed);
    return json_print(object);
}

static const struct {
    const char *name;
    int (*run)(bool json);
} actions[] = {
    {"list", run_list},
    {"clear", run_clear},
    {"verify", run_verify},
};

int command_programs(const command *self, int argc, char **argv)
{
    bool json = false;
    int operand, status = EXIT_RAN;
    const option_row rows[] = {
        {"json", OPTION_FLAG, false, &json, NULL, "print JSON"},
        {0},
    };
    if (!options_parse(self, rows, argc, argv, &operand, &status))
        return status;
    if (argc - operand != 1)
        return usage_error("programs", "expects one of %s; see clattn programs --help",
                           self->operands);
    for (size_t i = 0; i < sizeof actions / sizeof actions[0]; i++)
        if (strcmp(argv[operand], actions[i].name) == 0)
            return actions[i].run(json);
    return usage_error(argv[operand], "is none of %s", self->operands);
}
