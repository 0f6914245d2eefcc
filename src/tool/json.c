/* See json.h. */
#include "tool/json.h"

#include <stdio.h>

#include "tool/options.h"

int json_print(cJSON *object)
{
    char *text = object ? cJSON_Print(object) : NULL;
    cJSON_Delete(object);
    if (!text)
        return failure("--json", "out of memory");
    printf("%s\n", text);
    cJSON_free(text);
    return EXIT_RAN;
}
