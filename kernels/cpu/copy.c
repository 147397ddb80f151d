#include "kernels/cpu/ops.h"

#include <string.h>

/* Between float dtypes a copy goes through a block of float32. */
enum { BLOCK = 2048 };

static float
from_bf16 (uint16_t half)
{
  const uint32_t bits = (uint32_t) half << 16;
  float value;

  memcpy (&value, &bits, sizeof value);
  return value;
}

/* The exponent moves by 112 when it is multiplied by 2^112, which is right for subnormal numbers
 * too; infinities and NaN get the highest exponent. */
static float
from_f16 (uint16_t half)
{
  const uint32_t magnitude = (uint32_t) (half & 0x7fff) << 13, sign = (uint32_t) (half & 0x8000)
                                                                      << 16;
  float value;
  uint32_t bits;

  memcpy (&value, &magnitude, sizeof value);
  value *= 0x1p112f;
  memcpy (&bits, &value, sizeof bits);
  bits |= sign | ((half & 0x7c00) == 0x7c00 ? 0x7f800000u : 0u);
  memcpy (&value, &bits, sizeof value);
  return value;
}

static uint16_t
to_bf16 (float value)
{
  uint32_t bits;

  memcpy (&bits, &value, sizeof bits);
  if (value != value)
    return (uint16_t) (bits >> 16 | 0x40);
  return (uint16_t) ((bits + 0x7fff + (bits >> 16 & 1)) >> 16); /* to nearest, ties to even */
}

static uint16_t
to_f16 (float value)
{
  uint32_t bits, magnitude;
  uint16_t sign;

  memcpy (&bits, &value, sizeof bits);
  sign = (uint16_t) (bits >> 16 & 0x8000);
  magnitude = bits & 0x7fffffff;
  if (magnitude > 0x7f800000)
    return sign | 0x7e00;
  if (magnitude >= 0x477ff000) /* 65520 and above round to infinity */
    return sign | 0x7c00;
  if (magnitude < 0x38800000) { /* subnormal: adding 0.5 rounds at 2^-24 */
    memcpy (&value, &magnitude, sizeof value);
    value += 0.5f;
    memcpy (&bits, &value, sizeof bits);
    return sign | (uint16_t) (bits - 0x3f000000);
  }
  magnitude -= 112u << 23;
  return sign | (uint16_t) ((magnitude + 0xfff + (magnitude >> 13 & 1)) >> 13);
}

static void
load (float *to, const void *from, krn_dtype dtype, int64_t n)
{
  const uint16_t *half = from;

  if (dtype == KRN_F32)
    memcpy (to, from, (size_t) n * sizeof (float));
  else if (dtype == KRN_BF16)
#pragma omp simd
    for (int64_t i = 0; i < n; i++)
      to[i] = from_bf16 (half[i]);
  else
#pragma omp simd
    for (int64_t i = 0; i < n; i++)
      to[i] = from_f16 (half[i]);
}

static void
store (void *to, krn_dtype dtype, const float *from, int64_t n)
{
  uint16_t *half = to;

  if (dtype == KRN_F32)
    memcpy (to, from, (size_t) n * sizeof (float));
  else
    for (int64_t i = 0; i < n; i++)
      half[i] = dtype == KRN_BF16 ? to_bf16 (from[i]) : to_f16 (from[i]);
}

static void
convert (void *to, krn_dtype to_dtype, const void *from, krn_dtype from_dtype, int64_t n)
{
  float block[BLOCK];

  if (to_dtype == from_dtype)
    memmove (to, from, (size_t) n * krn_dtype_size (to_dtype));
  else if (to_dtype == KRN_F32)
    load (to, from, from_dtype, n);
  else
    for (int64_t i = 0; i < n; i += BLOCK) {
      const int64_t part = n - i < BLOCK ? n - i : BLOCK;

      load (block, (const char *) from + (size_t) i * krn_dtype_size (from_dtype), from_dtype,
            part);
      store ((char *) to + (size_t) i * krn_dtype_size (to_dtype), to_dtype, block, part);
    }
}

static bool
converts (krn_dtype to, krn_dtype from)
{
  return to == from || ((to == KRN_F32 || to == KRN_BF16 || to == KRN_F16) &&
                        (from == KRN_F32 || from == KRN_BF16 || from == KRN_F16));
}

static bool
is_packed (krn_tensor t)
{
  return krn_is_tensor (t, t.dtype) && (t.stride == t.dim[3] || krn_rows (t) == 1);
}

/* Rows that are converted; steps in bytes, 0 to repeat one. */
struct conversion {
  char *to;
  const char *from;
  size_t to_step, from_step;
  krn_dtype to_dtype, from_dtype;
  int64_t n;
};

static void
convert_rows (const void *data, int64_t first, int64_t end, float *scratch)
{
  const struct conversion *self = data;

  for (int64_t r = first; r < end; r++)
    convert (self->to + (size_t) r * self->to_step, self->to_dtype,
             self->from + (size_t) r * self->from_step, self->from_dtype, self->n);
}

/* Element by element, so that any number of them can be shared out. */
static void
convert_elements (const void *data, int64_t first, int64_t end, float *scratch)
{
  const struct conversion *self = data;

  convert (self->to + (size_t) first * self->to_step, self->to_dtype,
           self->from + (size_t) first * self->from_step, self->from_dtype, end - first);
}

krn_status
krn_cpu_upload (krn_stream *stream, krn_tensor dst, const void *src, krn_dtype src_dtype)
{
  const struct conversion self = { .to = dst.data,
                                   .from = src,
                                   .to_step = krn_dtype_size (dst.dtype),
                                   .from_step = krn_dtype_size (src_dtype),
                                   .to_dtype = dst.dtype,
                                   .from_dtype = src_dtype };

  if (!is_packed (dst) || !src || !converts (dst.dtype, src_dtype))
    return KRN_ERROR_SHAPE;

  krn_team_run (stream->team, krn_count (dst), 16 * KRN_PART, convert_elements, &self);
  return KRN_OK;
}

krn_status
krn_cpu_download (krn_stream *stream, void *dst, krn_tensor src)
{
  if (!is_packed (src) || !dst)
    return KRN_ERROR_SHAPE;

  memcpy (dst, src.data, (size_t) krn_count (src) * krn_dtype_size (src.dtype));
  return KRN_OK;
}

krn_status
krn_cpu_copy (krn_stream *stream, krn_tensor dst, krn_tensor src)
{
  const size_t from_size = krn_dtype_size (src.dtype);
  const struct conversion self = { .to = dst.data,
                                   .from = src.data,
                                   .to_step = (size_t) dst.stride * krn_dtype_size (dst.dtype),
                                   .from_step =
                                       krn_rows (src) == 1 ? 0 : (size_t) src.stride * from_size,
                                   .to_dtype = dst.dtype,
                                   .from_dtype = src.dtype,
                                   .n = dst.dim[3] };

  if (!krn_is_tensor (dst, dst.dtype) || !krn_is_tensor (src, src.dtype) ||
      src.dim[3] != dst.dim[3] || (krn_rows (src) != krn_rows (dst) && krn_rows (src) != 1) ||
      !converts (dst.dtype, src.dtype))
    return KRN_ERROR_SHAPE;

  krn_for_rows (stream, krn_rows (dst), dst.dim[3], convert_rows, &self);
  return KRN_OK;
}
