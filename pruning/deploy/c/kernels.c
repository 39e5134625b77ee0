#include "kernels.h"

#include <stddef.h>

#if PARING_KERNELS != 0x00000000
#error "kernels.h is of another version than kernels.c: take both from one export"
#endif

/* All that is needed of a library; compilers call them, too, where there is no <string.h>. */
void *memcpy(void *to, const void *from, size_t count);
void *memset(void *to, int byte, size_t count);

/* Pairs of 16 bits in a word, and words at any address: only where the compiler uses them itself.
 * It does not with -mno-unaligned-access, as memory of devices or CCR.UNALIGN_TRP demand it.
 */
#if defined(__ARM_FEATURE_SIMD32) && defined(__ARM_FEATURE_UNALIGNED) && \
    !defined(__ARM_BIG_ENDIAN) && defined(__GNUC__) && \
    (defined(__thumb2__) || !defined(__thumb__))
#include <arm_acle.h>
#define DSP 1
#else
#define DSP 0
#endif

#if defined(__GNUC__)
#define INLINE static inline __attribute__((always_inline))
#define LIKELY(what) __builtin_expect(what, 1)
#define UNUSED __attribute__((unused))
#define NOINLINE static __attribute__((noinline)) /* its stack is its own */
#else
#define INLINE static inline
#define LIKELY(what) (what)
#define NOINLINE static
#endif

/* Nothing may come before the first instruction of assembly: no hook of a tracer, no counter. */
#if defined(__has_attribute)
#if __has_attribute(no_profile_instrument_function)
#define NO_COUNTERS , no_profile_instrument_function
#endif
#if __has_attribute(no_sanitize_coverage)
#define NO_COVERAGE , no_sanitize_coverage
#endif
#endif
#ifndef NO_COUNTERS
#define NO_COUNTERS
#endif
#ifndef NO_COVERAGE
#define NO_COVERAGE
#endif
#define ASSEMBLY                                                                                 \
    __attribute__((naked, noinline, aligned(4), no_instrument_function NO_COUNTERS NO_COVERAGE)) \
    static

#define FEW_TAPS 25 /* of windows whose codes are spread over four lanes */
#define FAR ((int64_t)1 << 30) /* beyond all codes */
#define PATCH 64 /* bytes: a window of at most so many inputs is gathered before it is used */
#define CHUNK 32 /* inputs of a tap that are used at once where a window is cut off */

/* The high word of the doubled product, ties up. Whatever is scaled stays below 2 ** 30. */
INLINE int32_t high_word(int32_t value, int32_t mantissa)
{
#if DSP
    int32_t high;
    __asm__("smmulr %0, %1, %2" : "=r"(high) : "r"(value * 2), "r"(mantissa));
    return high;
#else
    return (int32_t)(((int64_t)value * mantissa + ((int64_t)1 << 30)) >> 31);
#endif
}

/* value * mantissa * 2 ** (shift - 31), for shifts below zero: ties of the shift go away from zero. */
INLINE int32_t scaled_down(int32_t value, int32_t mantissa, int32_t shift)
{
    const int32_t high = high_word(value, mantissa);
    return (high + ((int32_t)1 << (-shift - 1)) + (high >> 31)) >> -shift;
}

/* Clipped to 32 bits. gcc 12 for RISC-V with Zbs crashes where both ends are compared. */
INLINE int64_t word_of(int64_t wide)
{
#if defined(__riscv_zbs)
    return wide == (int32_t)wide ? wide : wide < 0 ? INT32_MIN : INT32_MAX;
#else
    return wide > INT32_MAX ? INT32_MAX : wide < INT32_MIN ? INT32_MIN : wide;
#endif
}

/* The same for shifts from zero on. What leaves 32 bits is clipped; so is the result where no code
 * can be meant any more, that a zero point may be added to it.
 */
static int32_t scaled_up(int32_t value, int32_t mantissa, int32_t shift)
{
    int64_t wide = word_of((int64_t)value * ((int64_t)1 << shift));
    wide = (wide * mantissa + ((int64_t)1 << 30)) >> 31;
    return (int32_t)(wide > FAR ? FAR : wide < -FAR ? -FAR : wide);
}

INLINE int32_t scaled(int32_t value, int32_t mantissa, int32_t shift)
{
    if (shift < 0)
        return scaled_down(value, mantissa, shift);
    return shift == 0 ? high_word(value, mantissa) : scaled_up(value, mantissa, shift);
}

INLINE int8_t clamped(int32_t value, int8_t low, int8_t high)
{
    return (int8_t)(value < low ? low : value > high ? high : value);
}

/* How a result ends: above which zero point, and between which codes. */
typedef struct {
    int32_t zero;
    int8_t low, high;
} output_params;

INLINE output_params output_params_of(const paring_conv_params *layer)
{
    return (output_params){layer->zero_out, layer->low, layer->high};
}

INLINE int8_t result(int32_t total, int32_t mantissa, int32_t shift, output_params with)
{
    /* Factors of layers are hardly ever above a half. */
    const int32_t code =
        LIKELY(shift < 0) ? scaled_down(total, mantissa, shift) : scaled_up(total, mantissa, shift);
    return clamped(code + with.zero, with.low, with.high);
}

static int8_t layer_result(const paring_conv_params *layer, int32_t channel, int32_t total)
{
    const output_params with = output_params_of(layer);
    return result(total, layer->mantissas[channel], layer->shifts[channel], with);
}

#if DSP
INLINE uint32_t load_s8x4(const int8_t *from)
{
    uint32_t codes;
    memcpy(&codes, from, 4);
    return codes;
}

/* Codes 0 and 2 of four, and codes 1 and 3, as pairs of 16 bits. */
INLINE int16x2_t even(uint32_t codes)
{
    return __sxtb16((int8x4_t)codes);
}

INLINE int16x2_t odd(uint32_t codes)
{
    int16x2_t pair;
    __asm__("sxtb16 %0, %1, ror #8" : "=r"(pair) : "r"(codes));
    return pair;
}
#endif

/* Sums of products over runs of memory: two pixels by two channels, `end` - `first` of each.
 * All pointers move on to the ends of their runs.
 */
typedef struct {
    int32_t sums[4]; /* both channels of the first pixel, then those of the second */
    const int8_t *first, *second, *weights, *others;
    const int8_t *words_end, *end; /* of `first`: that of whole words, and of all */
} mac_state;

#if DSP
#define LIES(member, at) \
    typedef char member##_lies_where_assembly_reads_it[offsetof(mac_state, member) == (at) ? 1 : -1]
LIES(sums, 0);
LIES(first, 16);
LIES(second, 20);
LIES(weights, 24);
LIES(others, 28);
LIES(words_end, 32);
LIES(end, 36);

/* Compilers run short of registers here: all fourteen are needed. r0 to r3 hold the sums, r4 to r7
 * the pointers. A step takes four inputs of each pixel and four weights of each channel. Loads
 * that follow each other take a cycle each, others two.
 */
#define LOAD(word, from) "ldr " word ", [" from "], #4 \n"
#define WIDEN(even, word) "sxtb16 " even ", " word " \n sxtb16 " word ", " word ", ror #8 \n"
#define ADD(sum, even, odd, weights_even, weights_odd)                                           \
    "smlad " sum ", " even ", " weights_even ", " sum " \n"                                      \
    "smlad " sum ", " odd ", " weights_odd ", " sum " \n"
#define STEP_OF_TWO                                                                              \
    LOAD("r9", "r4") LOAD("r11", "r5") LOAD("lr", "r6")                                          \
    WIDEN("r8", "r9") WIDEN("r10", "r11") WIDEN("r12", "lr")                                     \
    ADD("r0", "r8", "r9", "r12", "lr") ADD("r2", "r10", "r11", "r12", "lr")                      \
    LOAD("lr", "r7") WIDEN("r12", "lr")                                                          \
    ADD("r1", "r8", "r9", "r12", "lr") ADD("r3", "r10", "r11", "r12", "lr")
#define STEP_OF_ONE                                                                              \
    LOAD("r9", "r4") LOAD("lr", "r6") LOAD("r11", "r7")                                          \
    WIDEN("r8", "r9") WIDEN("r12", "lr") WIDEN("r10", "r11")                                     \
    ADD("r0", "r8", "r9", "r12", "lr") ADD("r1", "r8", "r9", "r10", "r11")
#define LOAD_BYTES                                                                               \
    "ldrsb r8, [r4], #1 \n ldrsb r10, [r6], #1 \n ldrsb r11, [r7], #1 \n"
#define ADD_BYTES "mla r0, r8, r10, r0 \n mla r1, r8, r11, r1 \n"
#define BYTES_OF_ONE LOAD_BYTES ADD_BYTES
#define BYTES_OF_TWO                                                                             \
    LOAD_BYTES "ldrsb r9, [r5], #1 \n" ADD_BYTES "mla r2, r9, r10, r2 \n mla r3, r9, r11, r3 \n"
/* Cores lose cycles on wide instructions that lie across two words: loops begin with a whole one,
 * without a pad, because the first `ldm` is wide.
 */
#if defined(__thumb2__)
#define WIDE ".w"
#else
#define WIDE
#endif
#define RUN(step, bytes)                                                                         \
    "push {r0, r4-r11, lr} \n"                                                                   \
    "ldrd r8, r9, [r0, #32] \n"                                                                  \
    "push {r8, r9} \n"                                                                           \
    "ldm" WIDE " r0, {r0-r7} \n"                                                                 \
    "subs r9, r8, r4 \n"                                                                         \
    "beq 3f \n"                                                                                  \
    "tst r9, #4 \n" /* an odd number of steps begins with the second */                          \
    "bne 2f \n"                                                                                  \
    ".balign 4 \n 1: \n" step "2: \n" step                                                      \
    "ldr lr, [sp] \n"                                                                            \
    "cmp r4, lr \n"                                                                              \
    "bne 1b \n"                                                                                  \
    "3: ldr r12, [sp, #4] \n"                                                                    \
    "cmp r4, r12 \n"                                                                             \
    "beq 5f \n"                                                                                  \
    "4: \n" bytes                                                                                \
    "cmp r4, r12 \n"                                                                             \
    "bne 4b \n"                                                                                  \
    "5: add sp, sp, #8 \n"                                                                       \
    "pop {r12} \n"                                                                               \
    "stm r12, {r0-r7} \n"                                                                        \
    "pop {r4-r11, pc} \n"

ASSEMBLY void add_two_pixels(UNUSED mac_state *of)
{
    __asm__(RUN(STEP_OF_TWO, BYTES_OF_TWO));
}

ASSEMBLY void add_one_pixel(UNUSED mac_state *of)
{
    __asm__(RUN(STEP_OF_ONE, BYTES_OF_ONE));
}
#else
#define ADD()                                                                                    \
    do {                                                                                         \
        const int32_t x = *first++, y = *second++, w = *weights++, v = *others++;                \
        a += x * w;                                                                              \
        b += x * v;                                                                              \
        c += y * w;                                                                              \
        d += y * v;                                                                              \
    } while (0)

static void add_two_pixels(mac_state *of)
{
    const int8_t *first = of->first, *second = of->second;
    const int8_t *weights = of->weights, *others = of->others;
    int32_t a = of->sums[0], b = of->sums[1], c = of->sums[2], d = of->sums[3];

    while (first < of->words_end) {
        ADD();
        ADD();
        ADD();
        ADD();
    }
    while (first < of->end)
        ADD();
    *of = (mac_state){{a, b, c, d}, first, second, weights, others, of->words_end, of->end};
}

static void add_one_pixel(mac_state *of)
{
    const int8_t *first = of->first, *weights = of->weights, *others = of->others;
    int32_t a = of->sums[0], b = of->sums[1];

    while (first < of->end) {
        const int32_t x = *first++;
        a += x * *weights++;
        b += x * *others++;
    }
    of->first = first;
    of->weights = weights;
    of->others = others;
    of->sums[0] = a;
    of->sums[1] = b;
}
#endif

INLINE void add_run(mac_state *of, const int8_t *first, const int8_t *second, int32_t count,
                    const int32_t pixels)
{
    of->first = first;
    of->second = second;
    of->words_end = first + (count & ~3);
    of->end = first + count;
    if (pixels > 1)
        add_two_pixels(of);
    else
        add_one_pixel(of);
}

/* Where a window's first tap lies in the input, which may be before its beginning. */
typedef struct {
    int32_t row, column;
} corner;

INLINE int inside(const paring_conv_params *layer, int32_t row, int32_t column)
{
    return row >= 0 && row < layer->in.height && column >= 0 && column < layer->in.width;
}

INLINE const int8_t *tap_of(const paring_conv_params *layer, const int8_t *in, corner at,
                                   int32_t i, int32_t j, const int8_t *outside)
{
    const int32_t row = at.row + i * layer->dilation_y, column = at.column + j * layer->dilation_x;
    return inside(layer, row, column)
               ? in + (row * layer->in.width + column) * layer->in.channels
               : outside;
}

INLINE int8_t *copied(int8_t *to, const int8_t *from, int32_t count)
{
    for (; count >= 4; count -= 4, to += 4, from += 4)
        memcpy(to, from, 4);
    for (; count > 0; count--)
        *to++ = *from++;
    return to;
}

/* All inputs under a window, behind each other; zero points where it hangs over. `run` bytes of
 * every row follow each other where all its columns exist; it is 0 where they do not.
 */
static void gather(const paring_conv_params *layer, const int8_t *in, corner at, int32_t inputs,
                   int32_t run, int8_t *patch)
{
    const int8_t zero = layer->zero_in;
    for (int32_t i = 0; i < layer->rows; i++) {
        const int8_t *row = run ? tap_of(layer, in, at, i, 0, 0) : 0;
        if (row) {
            patch = copied(patch, row, run);
            continue;
        }
        for (int32_t j = 0; j < layer->columns; j++) {
            const int8_t *tap = tap_of(layer, in, at, i, j, 0);
            for (int32_t k = 0; k < inputs; k++)
                *patch++ = tap ? tap[k] : zero;
        }
    }
}

/* Windows that hang over, tap by tap. */
static void tap_by_tap(const paring_conv_params *layer, const int8_t *in, corner at, int32_t inputs,
                       const int8_t *outside, mac_state *of)
{
    const corner next = {at.row, at.column + layer->stride_x};
    for (int32_t i = 0; i < layer->rows; i++) {
        for (int32_t j = 0; j < layer->columns; j++) {
            const int8_t *first = tap_of(layer, in, at, i, j, 0);
            const int8_t *second = tap_of(layer, in, next, i, j, 0);
            for (int32_t from = 0; from < inputs; from += CHUNK) {
                const int32_t rest = inputs - from, count = rest < CHUNK ? rest : CHUNK;
                add_run(of, first ? first + from : outside, second ? second + from : outside,
                        count, 2);
            }
        }
    }
}

/* Windows of which all columns exist and follow each other: where the first row that exists
 * begins, how far it is to the next row and to the next window, how many bytes are read in a row,
 * and how many rows there are before, in and behind the input.
 */
typedef struct {
    const int8_t *first;
    int32_t line, next, run, before, rows, behind;
} view;

static view view_of(const paring_conv_params *layer, const int8_t *in, corner at, int32_t run)
{
    const int32_t pixel = layer->in.channels, line = layer->in.width * pixel;
    const int32_t step = layer->dilation_y;
    int32_t before = 0, rows = 0;
    while (before < layer->rows && at.row + before * step < 0)
        before++;
    while (before + rows < layer->rows && at.row + (before + rows) * step < layer->in.height)
        rows++;
    const int8_t *first = in + (at.row + before * step) * line + at.column * pixel;
    return (view){rows ? first : in, step * line, layer->stride_x * pixel, run, before, rows,
                  layer->rows - before - rows};
}

static void add_outside(mac_state *of, const int8_t *outside, int32_t count)
{
    for (; count > 0; count -= CHUNK)
        add_run(of, outside, outside, count < CHUNK ? count : CHUNK, 2);
}

INLINE void row_by_row(const view *seen, const int8_t *outside, mac_state *of, const int32_t pixels)
{
    const int8_t *first = seen->first;
    const int32_t run = seen->run, line = seen->line, next = seen->next;

    if (seen->before)
        add_outside(of, outside, seen->before * run);
    for (int32_t rest = seen->rows; rest > 0; rest--) {
        add_run(of, first, pixels > 1 ? first + next : first, run, pixels);
        first += line;
    }
    if (seen->behind)
        add_outside(of, outside, seen->behind * run);
}

/* All channels of one or two pixels of a row. */
INLINE void convolved(const paring_conv_params *layer, const int8_t *in, int8_t *out, corner at,
                      const int32_t pixels)
{
    const int32_t channels = layer->out.channels;
    const int32_t inputs = layer->in.channels / layer->groups, outputs = channels / layer->groups;
    const int32_t taps = layer->rows * layer->columns, window = taps * inputs;
    const int32_t last = at.column + (pixels - 1) * layer->stride_x +
                         (layer->columns - 1) * layer->dilation_x;
    const int gathered = taps > 1 && window <= PATCH;
    const int in_line = layer->columns == 1 || (layer->groups == 1 && layer->dilation_x == 1);
    const int whole = in_line && at.column >= 0 && last < layer->in.width;
    const output_params with = output_params_of(layer);
    const int32_t *bias = layer->bias, *mantissas = layer->mantissas;
    const int8_t *shifts = layer->shifts;
    int8_t patches[2 * PATCH], outside[CHUNK];
    mac_state of;

    memset(outside, layer->zero_in, sizeof outside);
    of.weights = layer->weights;
    for (int32_t group = 0; group < layer->groups; group++) {
        const view seen = view_of(layer, in, at, layer->columns * inputs);
        if (gathered) {
            const corner next = {at.row, at.column + layer->stride_x};
            gather(layer, in, at, inputs, whole ? seen.run : 0, patches);
            if (pixels > 1)
                gather(layer, in, next, inputs, whole ? seen.run : 0, patches + PATCH);
        }
        for (int32_t c = 0; c < outputs; c += 2) {
            const int32_t other = c + 1 < outputs; /* the last may be alone */
            of.others = of.weights + (other ? window : 0);
            of.sums[0] = of.sums[2] = bias[0];
            of.sums[1] = of.sums[3] = bias[other];
            if (gathered)
                add_run(&of, patches, patches + PATCH, window, pixels);
            else if (whole)
                row_by_row(&seen, outside, &of, pixels);
            else
                tap_by_tap(layer, in, at, inputs, outside, &of);
            of.weights = of.others;
            out[0] = result(of.sums[0], mantissas[0], shifts[0], with);
            if (pixels > 1)
                out[channels] = result(of.sums[2], mantissas[0], shifts[0], with);
            if (other) {
                out[1] = result(of.sums[1], mantissas[1], shifts[1], with);
                if (pixels > 1)
                    out[channels + 1] = result(of.sums[3], mantissas[1], shifts[1], with);
            }
            out += 1 + other;
            bias += 1 + other;
            mantissas += 1 + other;
            shifts += 1 + other;
        }
        in += inputs;
    }
}

NOINLINE void two_pixels(const paring_conv_params *layer, const int8_t *in, int8_t *out, corner at)
{
    convolved(layer, in, out, at, 2);
}

NOINLINE void one_pixel(const paring_conv_params *layer, const int8_t *in, int8_t *out, corner at)
{
    convolved(layer, in, out, at, 1);
}

/* The n-th of so many rows or columns, in the order in which they are written. */
INLINE int32_t nth(int32_t n, int32_t count, int32_t backward)
{
    return backward ? count - 1 - n : n;
}

/* The window of a pixel. */
INLINE corner corner_of(const paring_conv_params *layer, int32_t y, int32_t x)
{
    return (corner){y * layer->stride_y - layer->pad_y, x * layer->stride_x - layer->pad_x};
}

void paring_conv(const void *settings, const int8_t *in, int8_t *out)
{
    const paring_conv_params *layer = settings;
    const paring_shape made = layer->out;

    for (int32_t n = 0; n < made.height; n++) {
        const int32_t y = nth(n, made.height, layer->backward);
        int8_t *line = out + y * made.width * made.channels;
        for (int32_t m = 0; m + 1 < made.width; m += 2) {
            const int32_t x = layer->backward ? made.width - 2 - m : m;
            two_pixels(layer, in, line + x * made.channels, corner_of(layer, y, x));
        }
        if (made.width & 1) {
            const int32_t x = layer->backward ? 0 : made.width - 1;
            one_pixel(layer, in, line + x * made.channels, corner_of(layer, y, x));
        }
    }
}

/* What has been added up for four channels of a depthwise convolution. */
typedef struct {
    int32_t a, b, c, d;
} four_sums;

INLINE four_sums add_tap(four_sums sums, const int8_t *x, const int8_t *weights)
{
#if DSP
    const uint32_t codes = load_s8x4(x), filters = load_s8x4(weights);
    const int16x2_t x_even = even(codes), x_odd = odd(codes);
    const int16x2_t w_even = even(filters), w_odd = odd(filters);
    sums.a = __smlabb(x_even, w_even, sums.a);
    sums.b = __smlabb(x_odd, w_odd, sums.b);
    sums.c = __smlatt(x_even, w_even, sums.c);
    sums.d = __smlatt(x_odd, w_odd, sums.d);
#else
    sums.a += x[0] * weights[0];
    sums.b += x[1] * weights[1];
    sums.c += x[2] * weights[2];
    sums.d += x[3] * weights[3];
#endif
    return sums;
}

/* Four channels of a window that lies inside: the pixel and the weights of its first tap. */
INLINE four_sums add_window(const paring_conv_params *layer, four_sums sums, const int8_t *pixel,
                            const int8_t *weights)
{
    const int32_t channels = layer->in.channels, step = layer->dilation_x * channels;
    const int32_t line = layer->dilation_y * layer->in.width * channels;
    const int32_t filters = layer->columns * channels;

    for (int32_t i = 0; i < layer->rows; i++) {
        const int8_t *x = pixel + i * line, *end = weights + filters;
        for (; weights != end; weights += channels, x += step)
            sums = add_tap(sums, x, weights);
    }
    return sums;
}

/* Four channels, from `channel` on, of a window that hangs over. */
INLINE four_sums add_cut(const paring_conv_params *layer, four_sums sums, const int8_t *in, corner at,
                         int32_t channel, const int8_t *outside)
{
    const int32_t channels = layer->in.channels, width = layer->in.width;
    const int8_t *weights = layer->weights + channel;

    in += channel;
    for (int32_t i = 0; i < layer->rows; i++) {
        const int32_t row = at.row + i * layer->dilation_y;
        const int valid = row >= 0 && row < layer->in.height;
        const int8_t *line = in + (valid ? row : 0) * width * channels;
        const uint32_t end = valid ? (uint32_t)width : 0;
        int32_t column = at.column;
        for (int32_t j = layer->columns; j > 0; j--, weights += channels) {
            sums = add_tap(sums, (uint32_t)column < end ? line + column * channels : outside,
                           weights);
            column += layer->dilation_x;
        }
    }
    return sums;
}

static int8_t one_channel(const paring_conv_params *layer, const int8_t *in, corner at, int32_t channel,
                          int32_t filters)
{
    const int32_t channels = layer->in.channels, made = layer->out.channels;
    const int32_t width = layer->in.width, zero = layer->zero_in;
    const int8_t *weights = layer->weights + channel;
    int32_t total = layer->bias[channel];

    in += channel / filters;
    for (int32_t i = 0; i < layer->rows; i++) {
        const int32_t row = at.row + i * layer->dilation_y;
        const int valid = row >= 0 && row < layer->in.height;
        const int8_t *line = in + (valid ? row : 0) * width * channels;
        const uint32_t end = valid ? (uint32_t)width : 0;
        int32_t column = at.column;
        for (int32_t j = layer->columns; j > 0; j--, weights += made) {
            total += ((uint32_t)column < end ? line[column * channels] : zero) * *weights;
            column += layer->dilation_x;
        }
    }
    return layer_result(layer, channel, total);
}

/* Four channels, from `c` on, of one pixel of a depthwise convolution; `whole` is the pixel of the
 * window's first tap, where all of the window lies inside.
 */
INLINE void four_channels(const paring_conv_params *layer, const int8_t *in, int8_t *out, corner at,
                          int32_t c, const int8_t *whole, output_params with, const int8_t *outside)
{
    const int32_t *bias = layer->bias + c, *mantissas = layer->mantissas + c;
    const int8_t *shifts = layer->shifts + c;
    four_sums sums = {bias[0], bias[1], bias[2], bias[3]};

    if (whole)
        sums = add_window(layer, sums, whole + c, layer->weights + c);
    else
        sums = add_cut(layer, sums, in, at, c, outside);
    out += c;
    out[0] = result(sums.a, mantissas[0], shifts[0], with);
    out[1] = result(sums.b, mantissas[1], shifts[1], with);
    out[2] = result(sums.c, mantissas[2], shifts[2], with);
    out[3] = result(sums.d, mantissas[3], shifts[3], with);
}

/* All channels of one pixel, four at a time; the last four overlap those before them where the
 * channels are no multiple of four.
 */
static void depthwise_pixel(const paring_conv_params *layer, const int8_t *in, int8_t *out, corner at)
{
    const int32_t channels = layer->out.channels, filters = channels / layer->in.channels;
    const int fits = at.row >= 0 && at.column >= 0 &&
                     at.row + (layer->rows - 1) * layer->dilation_y < layer->in.height &&
                     at.column + (layer->columns - 1) * layer->dilation_x < layer->in.width;
    const int32_t place = (at.row * layer->in.width + at.column) * layer->in.channels;
    const int8_t *whole = fits ? in + place : 0;
    const output_params with = output_params_of(layer);
    int8_t outside[4];
    int32_t c = 0;

    memset(outside, layer->zero_in, sizeof outside);
    if (filters > 1 || channels < 4) {
        for (; c < channels; c++)
            out[c] = one_channel(layer, in, at, c, filters);
        return;
    }
    for (; c + 4 <= channels; c += 4)
        four_channels(layer, in, out, at, c, whole, with, outside);
    if (c < channels)
        four_channels(layer, in, out, at, channels - 4, whole, with, outside);
}

/* The codes of a window of fewer than four channels, tap by tap in lanes of four. */
static void widen_window(const paring_conv_params *layer, const int8_t *in, corner at, int8_t *lanes)
{
    const int32_t channels = layer->in.channels, width = layer->in.width;

    for (int32_t i = 0; i < layer->rows; i++) {
        const int32_t row = at.row + i * layer->dilation_y;
        const int valid = row >= 0 && row < layer->in.height;
        const int8_t *line = in + (valid ? row : 0) * width * channels;
        const uint32_t end = valid ? (uint32_t)width : 0;
        int32_t column = at.column;
        for (int32_t j = layer->columns; j > 0; j--, lanes += 4) {
            const int inside = (uint32_t)column < end;
            for (int32_t c = 0; c < channels; c++)
                lanes[c] = inside ? line[column * channels + c] : layer->zero_in;
            column += layer->dilation_x;
        }
    }
}

/* A depthwise convolution of fewer than four channels, which are added up as if there were four. */
static void depthwise_few(const paring_conv_params *layer, const int8_t *in, int8_t *out)
{
    const int32_t channels = layer->in.channels, taps = layer->rows * layer->columns;
    const paring_shape made = layer->out;
    int8_t weights[4 * FEW_TAPS] = {0}, lanes[4 * FEW_TAPS] = {0};

    for (int32_t t = 0; t < taps; t++)
        memcpy(weights + 4 * t, layer->weights + t * channels, (size_t)channels);
    for (int32_t n = 0; n < made.height; n++) {
        const int32_t y = nth(n, made.height, layer->backward);
        for (int32_t m = 0; m < made.width; m++) {
            const int32_t x = nth(m, made.width, layer->backward);
            int8_t *pixel = out + (y * made.width + x) * channels;
            four_sums sums = {0, 0, 0, 0};
            widen_window(layer, in, corner_of(layer, y, x), lanes);
            for (int32_t t = 0; t < 4 * taps; t += 4)
                sums = add_tap(sums, lanes + t, weights + t);
            const int32_t totals[4] = {sums.a, sums.b, sums.c, sums.d};
            for (int32_t c = 0; c < channels; c++)
                *pixel++ = layer_result(layer, c, layer->bias[c] + totals[c]);
        }
    }
}

void paring_depthwise_conv(const void *settings, const int8_t *in, int8_t *out)
{
    const paring_conv_params *layer = settings;
    const paring_shape made = layer->out;

    if (layer->in.channels < 4 && layer->in.channels == layer->out.channels &&
        layer->rows * layer->columns <= FEW_TAPS) {
        depthwise_few(layer, in, out);
        return;
    }

    for (int32_t n = 0; n < made.height; n++) {
        const int32_t y = nth(n, made.height, layer->backward);
        int8_t *line = out + y * made.width * made.channels;
        for (int32_t m = 0; m < made.width; m++) {
            const int32_t x = nth(m, made.width, layer->backward);
            depthwise_pixel(layer, in, line + x * made.channels, corner_of(layer, y, x));
        }
    }
}

/* The pixel that tap `tap` of a transposed convolution adds from, or -1. */
static int32_t source(int32_t at, int32_t tap, int32_t dilation, int32_t pad, int32_t stride,
                      int32_t extent)
{
    const int32_t place = at + pad - tap * dilation;
    return place < 0 || place % stride || place / stride >= extent ? -1 : place / stride;
}

void paring_conv_transpose(const void *settings, const int8_t *in, int8_t *out)
{
    const paring_conv_params *layer = settings;
    const paring_shape read = layer->in, made = layer->out;
    const int32_t inputs = read.channels / layer->groups;
    const int32_t outputs = made.channels / layer->groups;

    for (int32_t n = 0; n < made.height; n++) {
        const int32_t y = nth(n, made.height, layer->backward);
        for (int32_t m = 0; m < made.width; m++) {
            const int32_t x = nth(m, made.width, layer->backward);
            const int8_t *weights = layer->weights;
            int8_t *to = out + (y * made.width + x) * made.channels;
            for (int32_t channel = 0; channel < made.channels; channel++) {
                const int32_t first = channel / outputs * inputs;
                int32_t total = layer->bias[channel];
                for (int32_t i = 0; i < layer->rows; i++) {
                    const int32_t row = source(y, i, layer->dilation_y, layer->pad_y,
                                               layer->stride_y, read.height);
                    for (int32_t j = 0; j < layer->columns; j++, weights += inputs) {
                        const int32_t column = source(x, j, layer->dilation_x, layer->pad_x,
                                                      layer->stride_x, read.width);
                        if (row < 0 || column < 0)
                            continue;
                        const int8_t *pixel =
                            in + (row * read.width + column) * read.channels + first;
                        for (int32_t k = 0; k < inputs; k++)
                            total += (pixel[k] - layer->zero_in) * weights[k];
                    }
                }
                *to++ = layer_result(layer, channel, total);
            }
        }
    }
}

#define ADD_SHIFT 20 /* bits by which the operands of a sum are widened */

static int32_t widened(const paring_operand *operand, const int8_t *in, int32_t place)
{
    const int32_t steps = (in[place] - operand->zero) * ((int32_t)1 << ADD_SHIFT);
    return scaled(steps, operand->factor.mantissa, operand->factor.shift);
}

static void sum(const paring_binary_params *pair, int32_t sign, const int8_t *first, int8_t *out)
{
    const int8_t *second = pair->other;
    const paring_operand *a = &pair->first, *b = &pair->second;

    for (int32_t y = 0; y < pair->out.height; y++) {
        for (int32_t x = 0; x < pair->out.width; x++) {
            for (int32_t c = 0; c < pair->out.channels; c++) {
                const int32_t one =
                    widened(a, first, y * a->step_y + x * a->step_x + c * a->step_c);
                const int32_t other =
                    widened(b, second, y * b->step_y + x * b->step_x + c * b->step_c);
                const int32_t code =
                    scaled(one + sign * other, pair->factor.mantissa, pair->factor.shift);
                *out++ = clamped(code + pair->zero_out, pair->low, pair->high);
            }
        }
    }
}

void paring_add(const void *settings, const int8_t *in, int8_t *out)
{
    sum(settings, 1, in, out);
}

void paring_sub(const void *settings, const int8_t *in, int8_t *out)
{
    sum(settings, -1, in, out);
}

void paring_mul(const void *settings, const int8_t *first, int8_t *out)
{
    const paring_binary_params *pair = settings;
    const int8_t *second = pair->other;
    const paring_operand *a = &pair->first, *b = &pair->second;

    for (int32_t y = 0; y < pair->out.height; y++) {
        for (int32_t x = 0; x < pair->out.width; x++) {
            for (int32_t c = 0; c < pair->out.channels; c++) {
                const int32_t one = first[y * a->step_y + x * a->step_x + c * a->step_c];
                const int32_t other = second[y * b->step_y + x * b->step_x + c * b->step_c];
                const int32_t code = scaled((one - a->zero) * (other - b->zero),
                                            pair->factor.mantissa, pair->factor.shift);
                *out++ = clamped(code + pair->zero_out, pair->low, pair->high);
            }
        }
    }
}

void paring_max_pool(const void *settings, const int8_t *in, int8_t *out)
{
    const paring_pool_params *pool = settings;
    const paring_shape read = pool->in, made = pool->out;

    for (int32_t n = 0; n < made.height; n++) {
        const int32_t y = nth(n, made.height, pool->backward);
        for (int32_t m = 0; m < made.width; m++) {
            const int32_t x = nth(m, made.width, pool->backward);
            int8_t *to = out + (y * made.width + x) * made.channels;
            for (int32_t c = 0; c < made.channels; c++) {
                int32_t largest = INT8_MIN;
                for (int32_t i = 0; i < pool->rows; i++) {
                    const int32_t row = y * pool->stride_y + i - pool->pad_y;
                    if (row < 0 || row >= read.height)
                        continue;
                    for (int32_t j = 0; j < pool->columns; j++) {
                        const int32_t column = x * pool->stride_x + j - pool->pad_x;
                        if (column < 0 || column >= read.width)
                            continue;
                        const int32_t code = in[(row * read.width + column) * read.channels + c];
                        largest = code > largest ? code : largest;
                    }
                }
                *to++ = clamped(largest, pool->low, pool->high);
            }
        }
    }
}

void paring_average_pool(const void *settings, const int8_t *in, int8_t *out)
{
    const paring_pool_params *pool = settings;
    const paring_shape read = pool->in, made = pool->out;

    for (int32_t n = 0; n < made.height; n++) {
        const int32_t y = nth(n, made.height, pool->backward);
        for (int32_t m = 0; m < made.width; m++) {
            const int32_t x = nth(m, made.width, pool->backward);
            int8_t *to = out + (y * made.width + x) * made.channels;
            for (int32_t c = 0; c < made.channels; c++) {
                int32_t total = 0, count = 0;
                for (int32_t i = 0; i < pool->rows; i++) {
                    const int32_t row = y * pool->stride_y + i - pool->pad_y;
                    for (int32_t j = 0; j < pool->columns; j++) {
                        const int32_t column = x * pool->stride_x + j - pool->pad_x;
                        if (row >= 0 && row < read.height && column >= 0 && column < read.width) {
                            total += in[(row * read.width + column) * read.channels + c];
                            count++;
                        } else if (pool->padded) {
                            total += pool->zero;
                            count++;
                        }
                    }
                }
                const int32_t half = total < 0 ? -(count / 2) : count / 2;
                *to++ = clamped((total + half) / count, pool->low, pool->high);
            }
        }
    }
}

void paring_mean(const void *settings, const int8_t *in, int8_t *out)
{
    const paring_mean_params *mean = settings;
    for (int32_t c = 0; c < mean->channels; c++) {
        int32_t total = 0;
        for (int32_t pixel = 0; pixel < mean->pixels; pixel++)
            total += in[pixel * mean->channels + c] - mean->zero_in;
        const int32_t code = scaled(total, mean->factor.mantissa, mean->factor.shift);
        out[c] = clamped(code + mean->zero_out, mean->low, mean->high);
    }
}

void paring_prelu(const void *settings, const int8_t *in, int8_t *out)
{
    const paring_prelu_params *prelu = settings;
    for (int32_t pixel = 0; pixel < prelu->pixels; pixel++) {
        for (int32_t c = 0; c < prelu->channels; c++) {
            const int32_t steps = *in++ - prelu->zero_in;
            const paring_multiplier *factor = steps < 0 ? &prelu->below : &prelu->above;
            const int32_t value = steps < 0 ? steps * prelu->slopes[c] : steps;
            const int32_t code = scaled(value, factor->mantissa, factor->shift);
            *out++ = clamped(code + prelu->zero_out, prelu->low, prelu->high);
        }
    }
}

void paring_lut(const void *settings, const int8_t *in, int8_t *out)
{
    const paring_lut_params table = *(const paring_lut_params *)settings;
    for (int32_t i = 0; i < table.count; i++)
        out[i] = table.entries[in[i] + 128];
}

static void gather_pixel(const paring_gather_params *gather, const int8_t *in, int8_t *out)
{
    if (gather->which == 0) {
        memcpy(out, in + gather->first, (size_t)gather->channels);
        return;
    }
    for (int32_t c = 0; c < gather->channels; c++) {
        const int32_t which = gather->which[c];
        out[c] = which == paring_pad ? gather->fill : in[which];
    }
}

void paring_gather(const void *settings, const int8_t *in, int8_t *out)
{
    const paring_gather_params *gather = settings;
    const int32_t channels = gather->channels;
    for (int32_t y = 0; y < gather->height; y++) {
        const int32_t row = gather->rows[y];
        for (int32_t x = 0; x < gather->width; x++, out += channels) {
            const int32_t column = gather->columns[x];
            if (row == paring_pad || column == paring_pad)
                memset(out, gather->fill, (size_t)channels);
            else
                gather_pixel(gather, in + (row + column) * gather->channels_in, out);
        }
    }
}

void paring_index(const void *settings, const int8_t *in, int8_t *out)
{
    const paring_index_params move = *(const paring_index_params *)settings;
    const uint16_t *places = move.places;
    for (int32_t i = 0; i < move.count; i++)
        out[i] = places[i] == UINT16_MAX ? move.fill : in[places[i]];
}

void paring_index_large(const void *settings, const int8_t *in, int8_t *out)
{
    const paring_index_params move = *(const paring_index_params *)settings;
    const uint32_t *places = move.places;
    for (int32_t i = 0; i < move.count; i++)
        out[i] = places[i] == UINT32_MAX ? move.fill : in[places[i]];
}

void paring_concat(const void *settings, const int8_t *in, int8_t *out)
{
    const paring_concat_params part = *(const paring_concat_params *)settings;
    for (int32_t i = 0; i < part.times; i++)
        memcpy(out + i * part.step, in + i * part.run, (size_t)part.run);
}

void paring_run(const paring_step *steps, int32_t count)
{
    for (const paring_step *step = steps; step < steps + count; step++)
        step->run(step->settings, step->in, step->out);
}
