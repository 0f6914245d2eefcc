/* What training needs besides attention and projections: small operations on plain arrays. A
 * work-item for each of `count` elements, or rows where that is said; groups are whole, so that the
 * last one may have work-items without work. */
#define GROUP  64
#define KERNEL __kernel __attribute__((reqd_work_group_size(GROUP, 1, 1))) void

/* Rows: x (count, symbols) is 1 at the token's symbol, 0 elsewhere. */
KERNEL one_hot(uint count, __global const int *tokens, uint first, uint symbols, __global float *x)
{
    const size_t i = get_global_id(0);
    if (i >= count)
        return;
    const int token = tokens[first + i];
    for (uint s = 0; s < symbols; s++)
        x[i * symbols + s] = token == (int)s ? 1.0f : 0.0f;
}

/* In place: y = tanh(x). */
KERNEL tanh_forward(uint count, __global float *x)
{
    const size_t i = get_global_id(0);
    if (i < count)
        x[i] = tanh(x[i]);
}

/* In place: dx = dy (1 - y^2), with y = tanh(x). */
KERNEL tanh_gradient(uint count, __global const float *y, __global float *gradient)
{
    const size_t i = get_global_id(0);
    if (i < count)
        gradient[i] *= 1 - y[i] * y[i];
}

KERNEL add(uint count, __global float *sum, __global const float *more)
{
    const size_t i = get_global_id(0);
    if (i < count)
        sum[i] += more[i];
}

/* Rows: losses (count), from losses_first on, is -log(softmax(logits) of the target), predicted
 * (count) the symbol of the largest logit, and gradient (count, symbols) that of the rows' mean
 * loss. targets are read from `first` on. */
KERNEL cross_entropy(uint count, __global const float *logits, uint symbols,
                     __global const int *targets, uint first, __global float *gradient,
                     __global float *losses, uint losses_first, __global int *predicted)
{
    const size_t i = get_global_id(0);
    if (i >= count)
        return;
    __global const float *row = logits + i * symbols;
    const int target = targets[first + i];
    uint best = 0;
    float sum = 0;
    for (uint s = 1; s < symbols; s++)
        best = row[s] > row[best] ? s : best;
    for (uint s = 0; s < symbols; s++)
        sum += exp(row[s] - row[best]);
    for (uint s = 0; s < symbols; s++) {
        const float probability = exp(row[s] - row[best]) / sum;
        gradient[i * symbols + s] = (probability - (target == (int)s ? 1.0f : 0.0f)) / count;
    }
    losses[losses_first + i] = log(sum) - (row[target] - row[best]);
    predicted[i] = (int)best;
}

/* Gradient descent with momentum; Polyak 1964. */
KERNEL sgd(uint count, __global float *w, __global const float *gradient, __global float *velocity,
           float rate, float momentum)
{
    const size_t i = get_global_id(0);
    if (i >= count)
        return;
    velocity[i] = momentum * velocity[i] + gradient[i];
    w[i] -= rate * velocity[i];
}

/* Kingma & Ba 2015, "Adam: A Method for Stochastic Optimization", algorithm 1. mean_part and
 * square_part are 1 - beta^step: what the averages of `step` gradients have of their whole weight.
 */
KERNEL adam(uint count, __global float *w, __global const float *gradient, __global float *mean,
            __global float *square, float rate, float mean_part, float square_part)
{
    const size_t i = get_global_id(0);
    if (i >= count)
        return;
    mean[i] += (gradient[i] - mean[i]) * 0.1f;
    square[i] += (gradient[i] * gradient[i] - square[i]) * 0.001f;
    w[i] -= rate * (mean[i] / mean_part) / (sqrt(square[i] / square_part) + 1e-8f);
}
