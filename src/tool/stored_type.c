/* The table of storage types. Conversions work in place: element i of 2 bytes lies in front of
 * float i or at its beginning, so narrowing goes upwards and widening downwards. */
#include "tool/stored_type.h"

#include <string.h>

#include "tests/oracle/storage.h"

/* In the order of --dtype, which is that of clattn_dtype. */
static const struct {
    stored_type type;
    uint16_t (*narrow)(float x); /* NULL: nothing to do */
    float (*widen)(uint16_t bits);
} table[] = {
    {{"f32", CLATTN_F32, 4}, NULL, NULL},
    {{"f16", CLATTN_F16, 2}, oracle_to_f16, oracle_from_f16},
    {{"bf16", CLATTN_BF16, 2}, oracle_to_bf16, oracle_from_bf16},
};

const stored_type *stored_type_get(int choice)
{
    return &table[choice > 0 ? choice - 1 : 0].type;
}

void stored_type_narrow(const stored_type *type, void *data, int64_t count)
{
    unsigned char *bytes = data;
    uint16_t (*const narrow)(float) = table[type->dtype].narrow;
    for (int64_t i = 0; narrow && i < count; i++) {
        float value;
        memcpy(&value, bytes + 4 * i, sizeof value);
        const uint16_t bits = narrow(value);
        memcpy(bytes + 2 * i, &bits, sizeof bits);
    }
}

void stored_type_widen(const stored_type *type, void *data, int64_t count)
{
    unsigned char *bytes = data;
    float (*const widen)(uint16_t) = table[type->dtype].widen;
    for (int64_t i = count; widen && i-- > 0;) {
        uint16_t bits;
        memcpy(&bits, bytes + 2 * i, sizeof bits);
        const float value = widen(bits);
        memcpy(bytes + 4 * i, &value, sizeof value);
    }
}
