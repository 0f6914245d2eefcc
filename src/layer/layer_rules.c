/* Rules about the descriptions of layers. */
#include "layer/layer_rules.h"

#include <inttypes.h>
#include <stddef.h>
#include <string.h>

#define BIT(name) CLATTN_LAYER_BIT(CLATTN_LAYER_##name)

/* Who sees whom. */
#define RESTRICTIONS (BIT(MASK) | BIT(Q_LENGTHS) | BIT(KV_LENGTHS))

typedef struct field_range {
    const char *name;
    int64_t value, least, most;
} field_range;

static clattn_status check_fields(const field_range *rows, size_t count)
{
    for (size_t i = 0; i < count; i++)
        if (rows[i].value < rows[i].least || rows[i].value > rows[i].most)
            return clattn__fail(CLATTN_ERR_ARGUMENT,
                                "%s: is %" PRId64 ", must be %" PRId64 " to %" PRId64, rows[i].name,
                                rows[i].value, rows[i].least, rows[i].most);
    return CLATTN_OK;
}

/* Bits of `set` that aren't in `allowed`. */
static clattn_status check_bits(const char *field, uint64_t set, uint64_t allowed)
{
    for (uint32_t tensor = 0; tensor < 64; tensor++) {
        const char *name = clattn__layer_tensor_name(tensor);
        if (set & ~allowed & CLATTN_LAYER_BIT(tensor))
            return clattn__fail(CLATTN_ERR_ARGUMENT, "%s: %s can't be named here", field,
                                name ? name : "what doesn't exist");
    }
    return CLATTN_OK;
}

/* Its strides are the operation's to check. */
static clattn_status check_mask(uint64_t optional, const clattn_tensor *mask)
{
    static const clattn_tensor none = {0};
    if (!(optional & BIT(MASK)) && memcmp(mask, &none, sizeof none) != 0)
        return clattn__fail(CLATTN_ERR_ARGUMENT, "mask: is set, but `optional` has no MASK");
    return CLATTN_OK;
}

/* So that no place in STATE or SCRATCH overflows. `bytes` in floating point for the same reason. */
static clattn_status check_size(double bytes)
{
    if (bytes > 0x1p58)
        return clattn__fail(CLATTN_ERR_UNSUPPORTED, "desc: the state has more than 2^58 bytes");
    return CLATTN_OK;
}

static double tokens(int64_t batch, int64_t n_q, int64_t n_kv)
{
    return (double)batch * ((double)n_q + (double)n_kv);
}

static void fill_defaults(clattn_multi_head_desc *d)
{
    if (!d->cross && d->n_kv == 0)
        d->n_kv = d->n_q;
    if (d->key_width == 0)
        d->key_width = d->width;
    if (d->value_width == 0)
        d->value_width = d->width;
    if (d->n_kv_head == 0)
        d->n_kv_head = d->n_head;
    if (d->head_dim == 0 && d->n_head > 0 && d->width % d->n_head == 0)
        d->head_dim = d->width / d->n_head;
    if (d->value_dim == 0)
        d->value_dim = d->head_dim;
}

static clattn_status check_ranges(const clattn_multi_head_desc *d)
{
    const field_range rows[] = {
        {"batch", d->batch, 0, INT32_MAX},
        {"n_q", d->n_q, 0, INT32_MAX},
        {"n_kv", d->n_kv, 0, INT32_MAX},
        {"width", d->width, 1, INT32_MAX},
        {"key_width", d->key_width, 1, INT32_MAX},
        {"value_width", d->value_width, 1, INT32_MAX},
        {"n_head", d->n_head, 1, INT32_MAX},
        {"n_kv_head", d->n_kv_head, 1, INT32_MAX},
        {"value_dim", d->value_dim, 1, 576},
        {"align", (int64_t)d->align, 0, CLATTN_ALIGN_BOTTOM_RIGHT},
        {"cross", d->cross, 0, 1},
        {"rotary_interleaved", d->rotary_interleaved, 0, 1},
        {"reserved", d->reserved, 0, 0},
    };
    if (d->head_dim < 1 || d->head_dim > 576)
        return clattn__fail(CLATTN_ERR_ARGUMENT,
                            "head_dim: is %" PRId64 ", must be 1 to 576, or 0 where width / n_head "
                            "is whole",
                            d->head_dim);
    return check_fields(rows, sizeof rows / sizeof rows[0]);
}

/* Each field alone is in its range. */
static clattn_status check_products(const clattn_multi_head_desc *d)
{
    const field_range rows[] = {
        {"n_head * head_dim", d->n_head * d->head_dim, 1, INT32_MAX},
        {"n_head * value_dim", d->n_head * d->value_dim, 1, INT32_MAX},
        {"n_kv_head * head_dim", d->n_kv_head * d->head_dim, 1, INT32_MAX},
        {"n_kv_head * value_dim", d->n_kv_head * d->value_dim, 1, INT32_MAX},
    };
    const double heads = (double)(d->n_kv_head > d->n_head ? d->n_kv_head : d->n_head);
    CLATTN__TRY(check_fields(rows, sizeof rows / sizeof rows[0]));
    return check_size(tokens(d->batch, d->n_q, d->n_kv) * heads * 1152 * sizeof(float));
}

static clattn_status check_self(const clattn_multi_head_desc *d)
{
    if (d->cross)
        return CLATTN_OK;
    if (d->n_kv != d->n_q)
        return clattn__fail(CLATTN_ERR_ARGUMENT,
                            "n_kv: is %" PRId64 ", must be 0 or n_q without `cross`", d->n_kv);
    if (d->key_width != d->width || d->value_width != d->width)
        return clattn__fail(CLATTN_ERR_ARGUMENT,
                            "key_width, value_width: must be 0 or width without `cross`");
    return CLATTN_OK;
}

static clattn_status check_rotary(const clattn_multi_head_desc *d)
{
    if (d->rotary_dim == 0)
        return CLATTN_OK;
    if (d->rotary_dim < 0 || d->rotary_dim % 2 || d->rotary_dim > d->head_dim)
        return clattn__fail(CLATTN_ERR_ARGUMENT,
                            "rotary_dim: is %" PRId64
                            ", must be even and at most head_dim, %" PRId64,
                            d->rotary_dim, d->head_dim);
    if (!(d->rotary_base > 0 && d->rotary_base < 1e300))
        return clattn__fail(CLATTN_ERR_ARGUMENT, "rotary_base: is %g, must be above 0 and finite",
                            d->rotary_base);
    return CLATTN_OK;
}

static clattn_status check_tensors(const clattn_multi_head_desc *d)
{
    uint64_t gradients = BIT(GRAD_X) | BIT(GRAD_WQ) | BIT(GRAD_WK) | BIT(GRAD_WV) | BIT(GRAD_WO);
    if (d->cross)
        gradients |= BIT(GRAD_KEY) | BIT(GRAD_VALUE);
    gradients |= (d->optional & CLATTN_LAYER_BIASES) << (CLATTN_LAYER_GRAD_BQ - CLATTN_LAYER_BQ);
    CLATTN__TRY(
        check_bits("optional", d->optional, CLATTN_LAYER_BIASES | RESTRICTIONS | BIT(WEIGHTS)));
    CLATTN__TRY(check_mask(d->optional, &d->mask));
    CLATTN__TRY(check_bits("gradients", d->gradients, gradients));
    return check_bits("accumulate", d->accumulate, d->gradients);
}

clattn_status clattn__multi_head_check(clattn_multi_head_desc *d)
{
    fill_defaults(d);
    CLATTN__TRY(check_ranges(d));
    CLATTN__TRY(check_products(d));
    CLATTN__TRY(check_self(d));
    CLATTN__TRY(check_rotary(d));
    return check_tensors(d);
}

clattn_status clattn__multiplicative_check(const clattn_multiplicative_desc *d)
{
    const field_range rows[] = {
        {"batch", d->batch, 0, INT32_MAX},         {"n_q", d->n_q, 0, INT32_MAX},
        {"n_kv", d->n_kv, 0, INT32_MAX},           {"width", d->width, 1, 576},
        {"key_width", d->key_width, 1, INT32_MAX}, {"value_width", d->value_width, 1, 576},
    };
    CLATTN__TRY(check_fields(rows, sizeof rows / sizeof rows[0]));
    CLATTN__TRY(check_size(tokens(d->batch, d->n_q, d->n_kv) * 576 * sizeof(float)));
    CLATTN__TRY(check_bits("optional", d->optional, RESTRICTIONS | BIT(WEIGHTS) | BIT(LSE)));
    CLATTN__TRY(check_mask(d->optional, &d->mask));
    CLATTN__TRY(check_bits("gradients", d->gradients,
                           BIT(GRAD_X) | BIT(GRAD_KEY) | BIT(GRAD_VALUE) | BIT(GRAD_W_SCORE)));
    return check_bits("accumulate", d->accumulate, d->gradients);
}

clattn_status clattn__additive_layer_check(const clattn_additive_layer_desc *d)
{
    const field_range rows[] = {
        {"batch", d->batch, 0, INT32_MAX},         {"n_q", d->n_q, 0, INT32_MAX},
        {"n_kv", d->n_kv, 0, INT32_MAX},           {"width", d->width, 1, INT32_MAX},
        {"key_width", d->key_width, 1, INT32_MAX}, {"value_width", d->value_width, 1, 4096},
        {"channels", d->channels, 1, 4096},
    };
    uint64_t gradients = BIT(GRAD_X) | BIT(GRAD_KEY) | BIT(GRAD_VALUE) | BIT(GRAD_WQ) |
                         BIT(GRAD_WK) | BIT(GRAD_W_SCORE);
    if (d->optional & BIT(BQ))
        gradients |= BIT(GRAD_BQ);
    CLATTN__TRY(check_fields(rows, sizeof rows / sizeof rows[0]));
    CLATTN__TRY(check_size(tokens(d->batch, d->n_q, d->n_kv) * 4096 * sizeof(float)));
    CLATTN__TRY(
        check_bits("optional", d->optional, BIT(BQ) | RESTRICTIONS | BIT(WEIGHTS) | BIT(LSE)));
    CLATTN__TRY(check_mask(d->optional, &d->mask));
    CLATTN__TRY(check_bits("gradients", d->gradients, gradients));
    return check_bits("accumulate", d->accumulate, d->gradients);
}
