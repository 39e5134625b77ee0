/* Kernels of int8 networks, in C99. Values lie pixel by pixel: (height, width, channels).
 *
 * A code q stands for the real number scale * (q - zero). Real factors are held as
 * mantissa * 2 ** (shift - 31).
 */
#ifndef PARING_KERNELS_H
#define PARING_KERNELS_H

#include <stdint.h>

typedef struct {
    int32_t height, width, channels;
} paring_shape;

typedef struct {
    int32_t mantissa;
    int32_t shift;
} paring_factor;

/* Convolutions, plain, grouped and transposed. Weights: (outputs, rows, columns, inputs of a
 * group); those of a depthwise one: (rows, columns, outputs). Of each output channel there are
 * a bias, a mantissa and a shift. Biases hold the input's zero point times the weights, but for
 * transposed ones. The output may lie over what has been read of the input: a little lower, or a
 * little higher where a layer, or a pooling, runs `backward`, from the last pixel to the first.
 */
typedef struct {
    paring_shape in, out;
    const int8_t *weights;
    const int32_t *bias;
    const int32_t *mantissas;
    const int8_t *shifts;
    uint16_t groups;
    uint8_t rows, columns, stride_y, stride_x, pad_y, pad_x, dilation_y, dilation_x, backward;
    int8_t zero_in, zero_out, low, high;
} paring_layer;

void paring_convolution(const paring_layer *layer, const int8_t *in, int8_t *out);
void paring_depthwise(const paring_layer *layer, const int8_t *in, int8_t *out);
void paring_transposed(const paring_layer *layer, const int8_t *in, int8_t *out);

/* An operand of two: its steps from row to row, pixel to pixel and channel to channel, which
 * are 0 where it is spread.
 */
typedef struct {
    int32_t step_y, step_x, step_c;
    paring_factor factor;
    int8_t zero;
} paring_operand;

typedef struct {
    paring_shape out;
    paring_operand first, second;
    paring_factor factor;
    int8_t zero_out, low, high;
} paring_pair;

void paring_add(const paring_pair *pair, const int8_t *first, const int8_t *second, int8_t *out);
void paring_subtract(const paring_pair *pair, const int8_t *first, const int8_t *second,
                     int8_t *out);
void paring_multiply(const paring_pair *pair, const int8_t *first, const int8_t *second,
                     int8_t *out);

typedef struct {
    paring_shape in, out;
    uint8_t rows, columns, stride_y, stride_x, pad_y, pad_x, backward;
    uint8_t padded; /* an average counts padding, too */
    int8_t zero, low, high;
} paring_pool;

void paring_max_pool(const paring_pool *pool, const int8_t *in, int8_t *out);
void paring_average_pool(const paring_pool *pool, const int8_t *in, int8_t *out);

typedef struct {
    int32_t pixels, channels;
    paring_factor factor;
    int8_t zero_in, zero_out, low, high;
} paring_mean_settings;

void paring_mean(const paring_mean_settings *mean, const int8_t *in, int8_t *out);

typedef struct {
    int32_t pixels, channels;
    const int8_t *slopes;
    paring_factor above, below;
    int8_t zero_in, zero_out, low, high;
} paring_prelu_settings;

void paring_prelu(const paring_prelu_settings *prelu, const int8_t *in, int8_t *out);

/* entries[q + 128] is the result for code q. */
void paring_table(const int8_t *entries, int32_t count, const int8_t *in, int8_t *out);

/* Pixels and channels by tables of their places; `hole` is the place of those that are filled. */
typedef struct {
    int32_t height, width, channels, channels_in;
    const uint16_t *rows, *columns; /* the pixel that is read is the sum of two entries */
    const uint16_t *which;          /* the channels that are read; 0: those from `first` on */
    int32_t first;
    int8_t fill;
} paring_gather_settings;

enum { paring_hole = UINT16_MAX };

void paring_gather(const paring_gather_settings *gather, const int8_t *in, int8_t *out);

/* Elements by their places; the largest number is the place of those that are filled. */
void paring_move(const uint16_t *places, int32_t count, int8_t fill, const int8_t *in,
                 int8_t *out);
void paring_move_large(const uint32_t *places, int32_t count, int8_t fill, const int8_t *in,
                       int8_t *out);

/* Copy `times` runs of `run` bytes to places `step` bytes apart. */
void paring_place(int32_t times, int32_t run, int32_t step, const int8_t *in, int8_t *out);

#endif
