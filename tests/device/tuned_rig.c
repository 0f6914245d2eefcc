/* Tuning files of tests: see tuned_rig.h. */
#include "tuned_rig.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

void tuned_begin(tuned_rig *r)
{
    clattn_context_options_init(&r->options);
    strcpy(r->folder, "/tmp/clattn-tuned-XXXXXX");
    cr_assert_not_null(mkdtemp(r->folder));
    r->options.cache_dir = r->folder;
    r->options.device = "0";
    cr_assert_eq(clattn_tuning_path(&r->options, r->path, sizeof r->path), CLATTN_OK);
}

void tuned_finish(const tuned_rig *r)
{
    char command[256];
    snprintf(command, sizeof command, "rm -rf '%s'", r->folder);
    cr_assert_eq(system(command), 0);
}

clattn_context *tuned_open(const tuned_rig *r)
{
    clattn_context *context;
    cr_assert_eq(clattn_context_create(&r->options, &context), CLATTN_OK, "%s",
                 clattn_error_message());
    return context;
}

clattn_device_info tuned_device(clattn_context *context)
{
    clattn_device_info info = {.struct_size = sizeof info};
    cr_assert_eq(clattn_context_device_info(context, &info), CLATTN_OK);
    return info;
}

void tuned_add_row(const tuned_rig *r, const char *kernel, const clattn_device_info *info,
                   const char *problem, const char *configuration)
{
    const int there = access(r->path, F_OK) == 0;
    FILE *file = fopen(r->path, "ab");
    cr_assert_not_null(file);
    if (!there)
        fputs("clattn tuning 1\n", file);
    fprintf(file, "%s\t%s\t%s\t%s\t%s\t%s\t%s\t%u\t1.5\n", kernel, problem, configuration,
            clattn_version_string(), info->name, info->driver, info->platform_version,
            (unsigned)info->compute_units);
    cr_assert_eq(fclose(file), 0);
}
