/* clattn devices: lists what OpenCL offers, and measures it with --measure. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tool/commands.h"
#include "tool/json.h"
#include "tool/progress.h"

static const char *const type_names[] = {
    [CLATTN_DEVICE_CPU] = "cpu",
    [CLATTN_DEVICE_GPU] = "gpu",
    [CLATTN_DEVICE_ACCELERATOR] = "accelerator",
    [CLATTN_DEVICE_OTHER] = "other",
};

/* All devices, or those that fit the selector. Owned by the caller; NULL: failed, with its line. */
static clattn_device_info *list_devices(const char *selector, uint32_t *count)
{
    clattn_context_options options;
    clattn_context_options_init(&options);
    options.device = selector;
    clattn_status status = clattn_device_list(&options, NULL, 0, count);
    if (status != CLATTN_OK) {
        device_failure(selector, status);
        return NULL;
    }
    clattn_device_info *infos = calloc(*count, sizeof *infos);
    if (!infos) {
        failure("devices", "out of memory");
        return NULL;
    }
    status = clattn_device_list(&options, infos, *count, count);
    if (status == CLATTN_OK)
        return infos;
    device_failure(selector, status);
    free(infos);
    return NULL;
}

static bool is_number(const char *text)
{
    return text[strspn(text, "0123456789")] == 0;
}

/* Devices with the numbers that select them, which a list by selector does not have. */
typedef struct device_choice {
    const char *selector;              /* NULL: all */
    clattn_device_info *all, *fitting; /* owned */
    uint32_t all_count, fitting_count;
} device_choice;

static bool choice_init(device_choice *choice, const char *selector)
{
    *choice = (device_choice){.selector = selector};
    choice->all = list_devices(NULL, &choice->all_count);
    if (choice->all && selector)
        choice->fitting = list_devices(selector, &choice->fitting_count);
    return choice->all && (choice->fitting || !selector);
}

static void choice_finish(device_choice *choice)
{
    free(choice->all);
    free(choice->fitting);
}

static bool choice_has(const device_choice *choice, uint32_t index)
{
    if (!choice->selector)
        return true;
    if (is_number(choice->selector))
        return strtoul(choice->selector, NULL, 10) == index;
    for (uint32_t i = 0; i < choice->fitting_count; i++)
        if (memcmp(&choice->all[index], &choice->fitting[i], sizeof *choice->all) == 0)
            return true;
    return false;
}

static bool measure(uint32_t index, clattn_device_measurement *measured)
{
    char selector[16];
    int status;
    clattn_context *context;
    snprintf(selector, sizeof selector, "%u", (unsigned)index);
    if (!open_context(selector, NULL, &context, &status))
        return false;
    progress *line = progress_start("measuring");
    measured->struct_size = sizeof *measured;
    const clattn_status result = clattn_device_measure(context, measured);
    progress_stop(line);
    if (result != CLATTN_OK)
        failure("--measure", "device %s: %s", selector, clattn_error_message());
    clattn_context_destroy(context);
    return result == CLATTN_OK;
}

/* "fp16 fp64", "-" where there is nothing. */
static const char *describe_features(const clattn_device_info *info, char *text, size_t capacity)
{
    snprintf(text, capacity, "%s%s%s%s", info->fp16 ? " fp16" : "", info->fp64 ? " fp64" : "",
             info->subgroups ? " sub-groups" : "", info->unified_memory ? " unified memory" : "");
    return *text ? text + 1 : "-";
}

static void print_device(uint32_t index, const clattn_device_info *info)
{
    char features[64];
    printf("%u: %s\n", (unsigned)index, info->name);
    printf("   platform            %s, %s\n", info->platform, info->platform_version);
    printf("   type                %s, kernel family %s\n", type_names[info->type], info->family);
    printf("   driver              %s\n", info->driver);
    printf("   language            %s\n", info->opencl_c);
    printf("   compute units       %u\n", (unsigned)info->compute_units);
    printf("   native vector       %u floats\n", (unsigned)info->vector_width);
    printf("   local memory        %.0f KiB\n", (double)info->local_memory / 1024);
    printf("   largest allocation  %.0f MiB of %.0f MiB\n",
           (double)info->max_allocation / (1024 * 1024),
           (double)info->global_memory / (1024 * 1024));
    printf("   features            %s\n", describe_features(info, features, sizeof features));
}

static void print_measurement(const clattn_device_measurement *measured)
{
    printf("   multiply-add peak   %.1f GF/s (float32)\n", measured->fma_gflops);
    printf("   read bandwidth      %.1f GB/s\n", measured->read_gbytes);
    printf("   launch              %.1f us, %.1f us in a row\n", measured->launch_us,
           measured->enqueue_us);
}

static cJSON *device_object(uint32_t index, const clattn_device_info *info)
{
    cJSON *object = cJSON_CreateObject();
    cJSON_AddNumberToObject(object, "index", index);
    cJSON_AddStringToObject(object, "name", info->name);
    cJSON_AddStringToObject(object, "type", type_names[info->type]);
    cJSON_AddStringToObject(object, "platform", info->platform);
    cJSON_AddStringToObject(object, "platform_version", info->platform_version);
    cJSON_AddStringToObject(object, "vendor", info->vendor);
    cJSON_AddStringToObject(object, "driver", info->driver);
    cJSON_AddStringToObject(object, "opencl_c", info->opencl_c);
    cJSON_AddStringToObject(object, "family", info->family);
    cJSON_AddNumberToObject(object, "compute_units", info->compute_units);
    cJSON_AddNumberToObject(object, "vector_width", info->vector_width);
    cJSON_AddNumberToObject(object, "local_memory", (double)info->local_memory);
    cJSON_AddNumberToObject(object, "global_memory", (double)info->global_memory);
    cJSON_AddNumberToObject(object, "max_allocation", (double)info->max_allocation);
    cJSON_AddNumberToObject(object, "max_work_group", (double)info->max_work_group);
    cJSON_AddNumberToObject(object, "clock_mhz", info->clock_mhz);
    cJSON_AddBoolToObject(object, "fp16", info->fp16);
    cJSON_AddBoolToObject(object, "fp64", info->fp64);
    cJSON_AddBoolToObject(object, "subgroups", info->subgroups);
    cJSON_AddBoolToObject(object, "unified_memory", info->unified_memory);
    return object;
}

static void add_measurement(cJSON *object, const clattn_device_measurement *measured)
{
    cJSON *values = cJSON_AddObjectToObject(object, "measured");
    cJSON_AddNumberToObject(values, "fma_gflops", measured->fma_gflops);
    cJSON_AddNumberToObject(values, "read_gbytes", measured->read_gbytes);
    cJSON_AddNumberToObject(values, "launch_us", measured->launch_us);
    cJSON_AddNumberToObject(values, "enqueue_us", measured->enqueue_us);
}

/* `array` NULL: as text. */
static bool show(const device_choice *choice, bool measured, cJSON *array)
{
    for (uint32_t i = 0; i < choice->all_count; i++) {
        clattn_device_measurement values;
        if (!choice_has(choice, i))
            continue;
        if (measured && !measure(i, &values))
            return false;
        if (!array) {
            print_device(i, &choice->all[i]);
            if (measured)
                print_measurement(&values);
            continue;
        }
        cJSON *object = device_object(i, &choice->all[i]);
        if (measured)
            add_measurement(object, &values);
        cJSON_AddItemToArray(array, object);
    }
    return true;
}

static int run(const char *selector, bool measured, bool json)
{
    device_choice choice;
    cJSON *object = json ? cJSON_CreateObject() : NULL;
    cJSON *array = cJSON_AddArrayToObject(object, "devices");
    const bool good = choice_init(&choice, selector) && show(&choice, measured, array);
    choice_finish(&choice);
    if (good && json)
        return json_print(object);
    cJSON_Delete(object);
    return good ? EXIT_RAN : EXIT_FAILED;
}

int command_devices(const command *self, int argc, char **argv)
{
    const char *device = NULL;
    bool measured = false, json = false;
    int status = EXIT_RAN;
    const option_row rows[] = {
        {"device", OPTION_TEXT, false, &device, "SELECTOR",
         "only these: cpu, gpu, an index, a part of a name"},
        {"measure", OPTION_FLAG, false, &measured, NULL,
         "measure multiply-adds, bandwidth and launches: seconds for each device"},
        {"json", OPTION_FLAG, false, &json, NULL, "print JSON"},
        {0},
    };
    if (!options_parse(self, rows, argc, argv, NULL, &status))
        return status;
    return run(device, measured, json);
}
