/* Multi-head attention with projections: which plans, in which order, on which tensors. */
#include <stddef.h>

#include "layer/layer_rules.h"

/* A projection and what its gradients are. Tensors of the layer. */
typedef struct projection {
    int64_t rows, in, out;
    uint32_t x, w, b, y, packed, turned;
    uint32_t grad_x, grad_w, grad_b, grad_y;
} projection;

enum { QUERIES, KEYS, VALUES, RESULTS, PROJECTIONS };

typedef struct builder {
    clattn_layer *layer;
    clattn_multi_head_desc d; /* with what 0 stands for */
    projection projection[PROJECTIONS];
} builder;

#define BIT(name) CLATTN_LAYER_BIT(CLATTN_LAYER_##name)

/* ---- projections ----------------------------------------------------------------------------- */

static bool wants(const builder *b, uint32_t gradient)
{
    return gradient < CLATTN__LAYER_PUBLIC && (b->d.gradients & CLATTN_LAYER_BIT(gradient)) != 0;
}

static bool accumulates(const builder *b, uint32_t gradient)
{
    return gradient < CLATTN__LAYER_PUBLIC && (b->d.accumulate & CLATTN_LAYER_BIT(gradient)) != 0;
}

static bool has_bias(const builder *b, const projection *p)
{
    return (b->d.optional & CLATTN_LAYER_BIT(p->b)) != 0;
}

/* Whether something is made of the gradient by the projection's y. */
static bool is_needed(const builder *b, int which)
{
    const projection *p = &b->projection[which];
    return wants(b, p->grad_x) || wants(b, p->grad_w) || wants(b, p->grad_b);
}

static bool needs_attention(const builder *b)
{
    return is_needed(b, QUERIES) || is_needed(b, KEYS) || is_needed(b, VALUES);
}

static void list_projections(builder *b)
{
    const clattn_multi_head_desc *d = &b->d;
    const bool cross = d->cross, turns = d->rotary_dim > 0;
    b->projection[QUERIES] =
        (projection){d->n_q,
                     d->width,
                     d->n_head * d->head_dim,
                     CLATTN_LAYER_X,
                     CLATTN_LAYER_WQ,
                     CLATTN_LAYER_BQ,
                     turns ? CLATTN__LAYER_PLAIN_Q : CLATTN__LAYER_Q,
                     CLATTN__LAYER_PACKED_WQ,
                     CLATTN__LAYER_TURNED_WQ,
                     CLATTN_LAYER_GRAD_X,
                     CLATTN_LAYER_GRAD_WQ,
                     CLATTN_LAYER_GRAD_BQ,
                     turns ? CLATTN__LAYER_GRAD_PLAIN_Q : CLATTN__LAYER_GRAD_Q};
    b->projection[KEYS] = (projection){d->n_kv,
                                       d->key_width,
                                       d->n_kv_head * d->head_dim,
                                       cross ? CLATTN_LAYER_KEY : CLATTN_LAYER_X,
                                       CLATTN_LAYER_WK,
                                       CLATTN_LAYER_BK,
                                       turns ? CLATTN__LAYER_PLAIN_K : CLATTN__LAYER_K,
                                       CLATTN__LAYER_PACKED_WK,
                                       CLATTN__LAYER_TURNED_WK,
                                       cross ? CLATTN_LAYER_GRAD_KEY : CLATTN_LAYER_GRAD_X,
                                       CLATTN_LAYER_GRAD_WK,
                                       CLATTN_LAYER_GRAD_BK,
                                       turns ? CLATTN__LAYER_GRAD_PLAIN_K : CLATTN__LAYER_GRAD_K};
    b->projection[VALUES] = (projection){d->n_kv,
                                         d->value_width,
                                         d->n_kv_head * d->value_dim,
                                         cross ? CLATTN_LAYER_VALUE : CLATTN_LAYER_X,
                                         CLATTN_LAYER_WV,
                                         CLATTN_LAYER_BV,
                                         CLATTN__LAYER_V,
                                         CLATTN__LAYER_PACKED_WV,
                                         CLATTN__LAYER_TURNED_WV,
                                         cross ? CLATTN_LAYER_GRAD_VALUE : CLATTN_LAYER_GRAD_X,
                                         CLATTN_LAYER_GRAD_WV,
                                         CLATTN_LAYER_GRAD_BV,
                                         CLATTN__LAYER_GRAD_V};
    b->projection[RESULTS] = (projection){d->n_q,
                                          d->n_head * d->value_dim,
                                          d->width,
                                          CLATTN__LAYER_O,
                                          CLATTN_LAYER_WO,
                                          CLATTN_LAYER_BO,
                                          CLATTN_LAYER_OUT,
                                          CLATTN__LAYER_PACKED_WO,
                                          CLATTN__LAYER_TURNED_WO,
                                          CLATTN__LAYER_GRAD_O,
                                          CLATTN_LAYER_GRAD_WO,
                                          CLATTN_LAYER_GRAD_BO,
                                          CLATTN_LAYER_GRAD_OUT};
}

/* What the layer makes for itself is float32. */
static clattn_dtype type_of(const builder *b, uint32_t tensor)
{
    return tensor < CLATTN__LAYER_PUBLIC ? b->d.dtype : CLATTN_F32;
}

static clattn_status add_linear(builder *b, clattn__pass pass, const projection *p,
                                clattn_linear_desc *desc, clattn__tensors *tensors)
{
    static const clattn_slot slots[] = {CLATTN_SLOT_X, CLATTN_SLOT_W, CLATTN_SLOT_B, CLATTN_SLOT_Y};
    desc->batch = b->d.batch;
    desc->rows = p->rows;
    desc->in = p->in;
    desc->out = p->out;
    for (size_t i = 0; i < sizeof slots / sizeof slots[0]; i++)
        desc->tensor[slots[i]].dtype = type_of(b, tensors->of[slots[i]]);
    return clattn__layer_add_linear(b->layer, pass, desc, tensors);
}

static clattn_status project(builder *b, int which)
{
    const projection *p = &b->projection[which];
    clattn_linear_desc desc;
    clattn__tensors tensors = {{0}};
    clattn_linear_desc_init(&desc);
    desc.slots = has_bias(b, p) ? CLATTN_SLOT_BIT(CLATTN_SLOT_B) : 0;
    tensors.of[CLATTN_SLOT_X] = (uint8_t)p->x;
    tensors.of[CLATTN_SLOT_W] = (uint8_t)p->w;
    tensors.of[CLATTN_SLOT_B] = (uint8_t)p->b;
    tensors.of[CLATTN_SLOT_Y] = (uint8_t)p->y;
    tensors.of[CLATTN_SLOT_PACKED_W] = (uint8_t)p->packed;
    return add_linear(b, CLATTN__PASS_FORWARD, p, &desc, &tensors);
}

/* The gradient by what was projected. */
static clattn_status project_back(builder *b, int which, bool accumulate)
{
    const projection *p = &b->projection[which];
    clattn_linear_desc desc;
    clattn__tensors tensors = {{0}};
    clattn_linear_desc_init(&desc);
    desc.pass = CLATTN_LINEAR_GRADIENT_X;
    desc.accumulate = accumulate;
    tensors.of[CLATTN_SLOT_X] = (uint8_t)p->grad_x;
    tensors.of[CLATTN_SLOT_W] = (uint8_t)p->w;
    tensors.of[CLATTN_SLOT_Y] = (uint8_t)p->grad_y;
    tensors.of[CLATTN_SLOT_PACKED_W] = (uint8_t)p->turned;
    return add_linear(b, CLATTN__PASS_BACKWARD, p, &desc, &tensors);
}

/* The gradients by the parameters that `slots` names. */
static clattn_status parameters_back(builder *b, const projection *p, uint64_t slots,
                                     bool accumulate)
{
    clattn_linear_desc desc;
    clattn__tensors tensors = {{0}};
    clattn_linear_desc_init(&desc);
    desc.pass = CLATTN_LINEAR_GRADIENT_W;
    desc.accumulate = accumulate;
    desc.slots = slots;
    tensors.of[CLATTN_SLOT_X] = (uint8_t)p->x;
    tensors.of[CLATTN_SLOT_W] = (uint8_t)p->grad_w;
    tensors.of[CLATTN_SLOT_B] = (uint8_t)p->grad_b;
    tensors.of[CLATTN_SLOT_Y] = (uint8_t)p->grad_y;
    return add_linear(b, CLATTN__PASS_BACKWARD, p, &desc, &tensors);
}

/* Both at once where both are added to, or neither is. */
static clattn_status learn(builder *b, int which)
{
    const projection *p = &b->projection[which];
    const uint64_t w = wants(b, p->grad_w) ? CLATTN_SLOT_BIT(CLATTN_SLOT_W) : 0;
    const uint64_t bias = wants(b, p->grad_b) ? CLATTN_SLOT_BIT(CLATTN_SLOT_B) : 0;
    const bool add_w = accumulates(b, p->grad_w), add_b = accumulates(b, p->grad_b);
    if (w && bias && add_w == add_b)
        return parameters_back(b, p, w | bias, add_w);
    if (w)
        CLATTN__TRY(parameters_back(b, p, w, add_w));
    return bias ? parameters_back(b, p, bias, add_b) : CLATTN_OK;
}

/* ---- rotary embedding ------------------------------------------------------------------------ */

/* Angles on the device, and with the sines turned round: the inverse rotation. */
static clattn_status make_angles(builder *b)
{
    const clattn__env *env = &b->layer->context->env;
    const int64_t positions = b->d.n_q > b->d.n_kv ? b->d.n_q : b->d.n_kv;
    const int64_t count = (positions > 0 ? positions : 1) * b->d.rotary_dim;
    const uint64_t size = sizeof(float) * (uint64_t)count;
    clattn__own *own = b->layer->own;
    int32_t *zeros = clattn__alloc_array(env, (size_t)b->d.batch + 1, sizeof *zeros);
    own[CLATTN__LAYER_POSITIONS].host = zeros;
    float *angles = clattn__alloc_array(env, (size_t)count, sizeof *angles);
    clattn_status status = zeros && angles ? CLATTN_OK : CLATTN_ERR_OUT_OF_MEMORY;
    for (uint32_t back = 0; status == CLATTN_OK && back < 2; back++) {
        clattn_buffer **buffer = &own[CLATTN__LAYER_ANGLES + back].buffer;
        status = clattn_rotary_angles(positions, b->d.rotary_dim, b->d.rotary_base, NULL, angles);
        for (int64_t i = 1; back && i < count; i += 2)
            angles[i] = -angles[i];
        if (status == CLATTN_OK)
            status = clattn_buffer_create(b->layer->context, size, buffer);
        if (status == CLATTN_OK)
            status = clattn_buffer_write(*buffer, 0, angles, size);
    }
    clattn__free(env, angles);
    return status;
}

/* (batch, heads, n, dim) of a tensor that has tokens before heads. */
static clattn_tensor heads_of(clattn_dtype dtype, int64_t n, int64_t heads, int64_t dim)
{
    return (clattn_tensor){
        .dtype = dtype, .strided = 1, .stride = {n * heads * dim, dim, heads * dim, 1}};
}

static clattn_status rotate(builder *b, clattn__pass pass, int which, uint32_t from, uint32_t to)
{
    const clattn_multi_head_desc *d = &b->d;
    clattn_rotary_desc desc;
    clattn__problem problem;
    clattn__tensors tensors = {{0}};
    clattn_rotary_desc_init(&desc);
    desc.batch = d->batch;
    desc.n_head = which == KEYS ? d->n_kv_head : d->n_head;
    desc.n = which == KEYS ? d->n_kv : d->n_q;
    desc.head_dim = d->head_dim;
    desc.rotary_dim = d->rotary_dim;
    desc.interleaved = d->rotary_interleaved;
    desc.n_positions = d->n_q > d->n_kv ? d->n_q : d->n_kv;
    if (desc.n_positions == 0)
        desc.n_positions = 1;
    desc.tensor[CLATTN_SLOT_Q] = desc.tensor[CLATTN_SLOT_OUT] =
        heads_of(CLATTN_F32, desc.n, desc.n_head, desc.head_dim);
    tensors.of[CLATTN_SLOT_Q] = (uint8_t)from;
    tensors.of[CLATTN_SLOT_OUT] = (uint8_t)to;
    tensors.of[CLATTN_SLOT_POSITIONS] = CLATTN__LAYER_POSITIONS;
    tensors.of[CLATTN_SLOT_ANGLES] =
        pass == CLATTN__PASS_BACKWARD ? CLATTN__LAYER_ANGLES_BACK : CLATTN__LAYER_ANGLES;
    CLATTN__TRY(clattn__problem_init_rotary(&problem, &desc));
    return clattn__layer_add(b->layer, pass, &problem, &tensors);
}

/* ---- attention ------------------------------------------------------------------------------- */

static void describe_attention(const builder *b, clattn_attention_desc *desc)
{
    const clattn_multi_head_desc *d = &b->d;
    const clattn_tensor q = heads_of(CLATTN_F32, d->n_q, d->n_head, d->head_dim);
    const clattn_tensor k = heads_of(CLATTN_F32, d->n_kv, d->n_kv_head, d->head_dim);
    const clattn_tensor v = heads_of(CLATTN_F32, d->n_kv, d->n_kv_head, d->value_dim);
    const clattn_tensor o = heads_of(CLATTN_F32, d->n_q, d->n_head, d->value_dim);
    clattn_attention_desc_init(desc);
    desc->batch = d->batch;
    desc->n_head = d->n_head;
    desc->n_kv_head = d->n_kv_head;
    desc->n_q = d->n_q;
    desc->n_kv = d->n_kv;
    desc->head_dim = d->head_dim;
    desc->value_dim = d->value_dim;
    desc->causal = d->causal;
    desc->align = d->align;
    desc->dropout = d->dropout;
    desc->has_scale = d->has_scale;
    desc->scale = d->scale;
    desc->tensor[CLATTN_SLOT_Q] = desc->tensor[CLATTN_SLOT_GRAD_Q] = q;
    desc->tensor[CLATTN_SLOT_K] = desc->tensor[CLATTN_SLOT_GRAD_K] = k;
    desc->tensor[CLATTN_SLOT_V] = desc->tensor[CLATTN_SLOT_GRAD_V] = v;
    desc->tensor[CLATTN_SLOT_OUT] = desc->tensor[CLATTN_SLOT_GRAD_OUT] = o;
    desc->tensor[CLATTN_SLOT_MASK] = d->mask;
    desc->slots = clattn__layer_restrictions(d->optional);
    if (d->dropout > 0)
        desc->slots |= CLATTN_SLOT_BIT(CLATTN_SLOT_SEED);
    if (d->gradients)
        desc->slots |= CLATTN_SLOT_BIT(CLATTN_SLOT_LSE);
}

static const clattn__tensors tensors_of_attention = {{
    [CLATTN_SLOT_Q] = CLATTN__LAYER_Q,
    [CLATTN_SLOT_K] = CLATTN__LAYER_K,
    [CLATTN_SLOT_V] = CLATTN__LAYER_V,
    [CLATTN_SLOT_OUT] = CLATTN__LAYER_O,
    [CLATTN_SLOT_LSE] = CLATTN__LAYER_LSE,
    [CLATTN_SLOT_WEIGHTS] = CLATTN_LAYER_WEIGHTS,
    [CLATTN_SLOT_MASK] = CLATTN_LAYER_MASK,
    [CLATTN_SLOT_Q_LENGTHS] = CLATTN_LAYER_Q_LENGTHS,
    [CLATTN_SLOT_KV_LENGTHS] = CLATTN_LAYER_KV_LENGTHS,
    [CLATTN_SLOT_SEED] = CLATTN_LAYER_SEED,
    [CLATTN_SLOT_GRAD_OUT] = CLATTN__LAYER_GRAD_O,
    [CLATTN_SLOT_GRAD_Q] = CLATTN__LAYER_GRAD_Q,
    [CLATTN_SLOT_GRAD_K] = CLATTN__LAYER_GRAD_K,
    [CLATTN_SLOT_GRAD_V] = CLATTN__LAYER_GRAD_V,
}};

static clattn_status attend(builder *b)
{
    clattn_attention_desc desc;
    describe_attention(b, &desc);
    if (b->d.optional & BIT(WEIGHTS))
        desc.slots |= CLATTN_SLOT_BIT(CLATTN_SLOT_WEIGHTS);
    return clattn__layer_add_attention(b->layer, CLATTN__PASS_FORWARD, &desc,
                                       &tensors_of_attention);
}

static clattn_status attend_back(builder *b)
{
    clattn_attention_desc desc;
    describe_attention(b, &desc);
    for (int which = QUERIES; which <= VALUES; which++)
        if (is_needed(b, which))
            desc.slots |= CLATTN_SLOT_BIT(CLATTN_SLOT_GRAD_Q + which);
    return clattn__layer_add_attention(b->layer, CLATTN__PASS_BACKWARD, &desc,
                                       &tensors_of_attention);
}

/* ---- the passes ------------------------------------------------------------------------------ */

/* What the backward pass needs is kept, the rest is scratch. */
static void place_tensors(builder *b)
{
    const clattn_multi_head_desc *d = &b->d;
    const clattn_layer_tensor kept = d->gradients ? CLATTN_LAYER_STATE : CLATTN_LAYER_SCRATCH;
    const int64_t q = d->batch * d->n_q * d->n_head * d->head_dim;
    const int64_t k = d->batch * d->n_kv * d->n_kv_head * d->head_dim;
    const int64_t v = d->batch * d->n_kv * d->n_kv_head * d->value_dim;
    const int64_t o = d->batch * d->n_q * d->n_head * d->value_dim;
    const struct {
        uint32_t tensor;
        clattn_layer_tensor within;
        int64_t elements;
        bool wanted;
    } rows[] = {
        {CLATTN__LAYER_Q, kept, q, true},
        {CLATTN__LAYER_K, kept, k, true},
        {CLATTN__LAYER_V, kept, v, true},
        {CLATTN__LAYER_O, kept, o, true},
        {CLATTN__LAYER_LSE, kept, d->batch * d->n_q * d->n_head, d->gradients != 0},
        {CLATTN__LAYER_PLAIN_Q, CLATTN_LAYER_SCRATCH, q, d->rotary_dim > 0},
        {CLATTN__LAYER_PLAIN_K, CLATTN_LAYER_SCRATCH, k, d->rotary_dim > 0},
        {CLATTN__LAYER_GRAD_O, CLATTN_LAYER_SCRATCH, o, needs_attention(b)},
        {CLATTN__LAYER_GRAD_Q, CLATTN_LAYER_SCRATCH, q, is_needed(b, QUERIES)},
        {CLATTN__LAYER_GRAD_K, CLATTN_LAYER_SCRATCH, k, is_needed(b, KEYS)},
        {CLATTN__LAYER_GRAD_V, CLATTN_LAYER_SCRATCH, v, is_needed(b, VALUES)},
        {CLATTN__LAYER_GRAD_PLAIN_Q, CLATTN_LAYER_SCRATCH, q,
         d->rotary_dim > 0 && is_needed(b, QUERIES)},
        {CLATTN__LAYER_GRAD_PLAIN_K, CLATTN_LAYER_SCRATCH, k,
         d->rotary_dim > 0 && is_needed(b, KEYS)},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
        if (rows[i].wanted)
            clattn__layer_place(b->layer, rows[i].tensor, rows[i].within, rows[i].elements);
}

static clattn_status build_forward(builder *b)
{
    for (int which = QUERIES; which <= VALUES; which++)
        CLATTN__TRY(project(b, which));
    if (b->d.rotary_dim) {
        CLATTN__TRY(
            rotate(b, CLATTN__PASS_FORWARD, QUERIES, CLATTN__LAYER_PLAIN_Q, CLATTN__LAYER_Q));
        CLATTN__TRY(rotate(b, CLATTN__PASS_FORWARD, KEYS, CLATTN__LAYER_PLAIN_K, CLATTN__LAYER_K));
    }
    CLATTN__TRY(attend(b));
    return project(b, RESULTS);
}

static clattn_status rotate_back(builder *b)
{
    if (b->d.rotary_dim && is_needed(b, QUERIES))
        CLATTN__TRY(rotate(b, CLATTN__PASS_BACKWARD, QUERIES, CLATTN__LAYER_GRAD_Q,
                           CLATTN__LAYER_GRAD_PLAIN_Q));
    if (b->d.rotary_dim && is_needed(b, KEYS))
        CLATTN__TRY(rotate(b, CLATTN__PASS_BACKWARD, KEYS, CLATTN__LAYER_GRAD_K,
                           CLATTN__LAYER_GRAD_PLAIN_K));
    return CLATTN_OK;
}

/* In self-attention queries, keys and values add up in GRAD_X. */
static clattn_status build_backward(builder *b)
{
    CLATTN__TRY(learn(b, RESULTS));
    if (!needs_attention(b))
        return CLATTN_OK;
    CLATTN__TRY(project_back(b, RESULTS, false));
    CLATTN__TRY(attend_back(b));
    CLATTN__TRY(rotate_back(b));
    for (int which = QUERIES; which <= VALUES; which++) {
        const uint32_t gradient = b->projection[which].grad_x;
        const bool joins = which != QUERIES && gradient == CLATTN_LAYER_GRAD_X;
        if (wants(b, gradient))
            CLATTN__TRY(project_back(b, which, joins || accumulates(b, gradient)));
        CLATTN__TRY(learn(b, which));
    }
    return CLATTN_OK;
}

static clattn_status build(builder *b)
{
    list_projections(b);
    place_tensors(b);
    if (b->d.rotary_dim)
        CLATTN__TRY(make_angles(b));
    CLATTN__TRY(build_forward(b));
    return b->d.gradients ? build_backward(b) : CLATTN_OK;
}

clattn_status clattn__multi_head_create(clattn_context *context, const clattn_multi_head_desc *desc,
                                        clattn_layer **layer)
{
    builder b = {.d = *desc};
    CLATTN__TRY(clattn__multi_head_check(&b.d));
    CLATTN__TRY(clattn__layer_begin(context, &b.layer));
    const clattn_status status = build(&b);
    if (status == CLATTN_OK)
        *layer = b.layer;
    else
        clattn__layer_free(b.layer);
    return status;
}
