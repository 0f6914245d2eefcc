/* clattn version: of the tool and of the library that it runs with. */
#include <stdio.h>

#include "tool/commands.h"
#include "tool/json.h"

int command_version(const command *self, int argc, char **argv)
{
    bool json = false;
    int status = EXIT_RAN;
    const option_row rows[] = {
        {"json", OPTION_FLAG, false, &json, NULL, "print JSON"},
        {0},
    };
    if (!options_parse(self, rows, argc, argv, NULL, &status))
        return status;
    if (!json) {
        printf("clattn %s\n", clattn_version_string());
        return EXIT_RAN;
    }
    cJSON *object = cJSON_CreateObject();
    cJSON_AddStringToObject(object, "version", clattn_version_string());
    return json_print(object);
}
