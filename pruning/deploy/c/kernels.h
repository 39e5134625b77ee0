/* Kernels of int8 networks, in C99. Values lie pixel by pixel: (height, width, channels).
 *
 * A code q stands for the real number scale * (q - zero). Real factors are held as
 * mantissa * 2 ** (shift - 31).
 */
#ifndef PARING_KERNELS_H
#define PARING_KERNELS_H

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* A digest of these kernels. Networks that it was not written into neither compile nor link with
 * them.
 */
#define PARING_KERNELS 0x00000000
#define paring_run paring_run_00000000

/* Arrays begin with a whole word, whatever the compiler would do: words of bytes are read fastest
 * there.
 */
#if defined(__GNUC__) || defined(__CC_ARM) || defined(__TI_COMPILER_VERSION__)
#define PARING_ALIGNED __attribute__((aligned(4)))
#elif defined(__STDC_VERSION__) && __STDC_VERSION__ >= 201112L
#define PARING_ALIGNED _Alignas(4)
#elif defined(__ICCARM__)
#define PARING_ALIGNED _Pragma("data_alignment=4")
#else
#define PARING_ALIGNED
#endif

/* A kernel reads codes and writes others, as its settings say. */
typedef void paring_kernel(const void *settings, const int8_t *in, int8_t *out);

/* One step of a network. */
typedef struct {
    paring_kernel *run;
    const void *settings;
    const int8_t *in;
    int8_t *out;
} paring_step;

void paring_run(const paring_step *steps, int32_t count);

typedef struct {
    int32_t height, width, channels;
} paring_shape;

typedef struct {
    int32_t mantissa;
    int32_t shift;
} paring_multiplier;

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
} paring_conv_params;

paring_kernel paring_conv, paring_depthwise_conv, paring_conv_transpose;

/* An operand of two: its steps from row to row, pixel to pixel and channel to channel, which
 * are 0 where it is spread. The first is what the step reads, the second lies at `other`.
 */
typedef struct {
    int32_t step_y, step_x, step_c;
    paring_multiplier factor;
    int8_t zero;
} paring_operand;

typedef struct {
    paring_shape out;
    paring_operand first, second;
    const int8_t *other;
    paring_multiplier factor;
    int8_t zero_out, low, high;
} paring_binary_params;

paring_kernel paring_add, paring_sub, paring_mul;

typedef struct {
    paring_shape in, out;
    uint8_t rows, columns, stride_y, stride_x, pad_y, pad_x, backward;
    uint8_t padded; /* an average counts padding, too */
    int8_t zero, low, high;
} paring_pool_params;

paring_kernel paring_max_pool, paring_average_pool;

typedef struct {
    int32_t pixels, channels;
    paring_multiplier factor;
    int8_t zero_in, zero_out, low, high;
} paring_mean_params;

paring_kernel paring_mean;

typedef struct {
    int32_t pixels, channels;
    const int8_t *slopes;
    paring_multiplier above, below;
    int8_t zero_in, zero_out, low, high;
} paring_prelu_params;

paring_kernel paring_prelu;

/* entries[q + 128] is the result for code q. */
typedef struct {
    const int8_t *entries;
    int32_t count;
} paring_lut_params;

paring_kernel paring_lut;

/* Pixels and channels by tables of their places; `hole` is the place of those that are filled. */
typedef struct {
    int32_t height, width, channels, channels_in;
    const uint16_t *rows, *columns; /* the pixel that is read is the sum of two entries */
    const uint16_t *which;          /* the channels that are read; 0: those from `first` on */
    int32_t first;
    int8_t fill;
} paring_gather_params;

enum { paring_pad = UINT16_MAX };

paring_kernel paring_gather;

/* Elements by their places, in 16 bits or, of large moves, in 32; the largest number is the place
 * of those that are filled.
 */
typedef struct {
    const void *places;
    int32_t count;
    int8_t fill;
} paring_index_params;

paring_kernel paring_index, paring_index_large;

/* `times` runs of `run` bytes go to places that are `step` bytes apart. */
typedef struct {
    int32_t times, run, step;
} paring_concat_params;

paring_kernel paring_concat;

#ifdef __cplusplus
}
#endif

#endif
