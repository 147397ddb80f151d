/* kernels/cuda/cudnn_conv.c - convolution by cuDNN, with what is added to it.
 *
 * In the order convolution, add, bias: for that one the library has engines ready, for the other
 * it compiles slower ones.  Sums stay in f32 until the end. */
#include "kernels/cuda/cudnn_plan.h"
#include "kernels/cuda/ops.h"

enum { X = 1, W, Y, ADD, BIAS, SUM, SUM_2 }; /* names in the graph */

/* Numbers of the key. */
enum {
  KIND,
  IMAGES,
  H,
  WIDTH,
  IN,
  OUT,
  KH,
  KW,
  H_OUT,
  W_OUT,
  STRIDE,
  PAD_BEFORE,
  PAD_AFTER,
  X_STRIDE,
  Y_STRIDE,
  ADD_STRIDE, /* 0: nothing is added */
  HAS_BIAS,
};

/* As it lies in memory, [n, h, w, c] and a stride from a pixel to the next, in the library's order.
 */
static cudnn_desc
make_image (struct cudnn_parts *parts, int64_t uid, const int64_t dim[4], int64_t stride)
{
  const struct cudnn_tensor tensor = {
    .uid = uid,
    .dtype = CUDNN_DATA_BFLOAT16,
    .dim = { dim[0], dim[3], dim[1], dim[2] },
    .stride = { dim[1] * dim[2] * stride, 1, dim[2] * stride, stride },
  };

  return cudnn_make_tensor (parts, &tensor);
}

/* What is not yet the result: f32, never in memory. */
static cudnn_desc
make_sum (struct cudnn_parts *parts, int64_t uid, const int64_t dim[4])
{
  const struct cudnn_tensor tensor = {
    .uid = uid,
    .dtype = CUDNN_DATA_FLOAT,
    .kind = CUDNN_VIRTUAL,
    .dim = { dim[0], dim[3], dim[1], dim[2] },
    .stride = { dim[1] * dim[2] * dim[3], 1, dim[2] * dim[3], dim[3] },
  };

  return cudnn_make_tensor (parts, &tensor);
}

/* The library's description of strides and pads. */
static cudnn_desc
make_geometry (struct cudnn_parts *parts, int64_t stride, int64_t pad_before, int64_t pad_after)
{
  static const cudnnDataType_t f32 = CUDNN_DATA_FLOAT;
  static const cudnnConvolutionMode_t mode = CUDNN_CROSS_CORRELATION;
  static const int64_t n_axes = 2, dilations[2] = { 1, 1 };
  const int64_t strides[2] = { stride, stride };
  const int64_t before[2] = { pad_before, pad_before }, after[2] = { pad_after, pad_after };
  cudnn_desc conv = cudnn_make (parts, CUDNN_BACKEND_CONVOLUTION_DESCRIPTOR);

  cudnn_set (parts, conv, CUDNN_ATTR_CONVOLUTION_SPATIAL_DIMS, CUDNN_TYPE_INT64, 1, &n_axes);
  cudnn_set (parts, conv, CUDNN_ATTR_CONVOLUTION_COMP_TYPE, CUDNN_TYPE_DATA_TYPE, 1, &f32);
  cudnn_set (parts, conv, CUDNN_ATTR_CONVOLUTION_CONV_MODE, CUDNN_TYPE_CONVOLUTION_MODE, 1, &mode);
  cudnn_set (parts, conv, CUDNN_ATTR_CONVOLUTION_PRE_PADDINGS, CUDNN_TYPE_INT64, 2, before);
  cudnn_set (parts, conv, CUDNN_ATTR_CONVOLUTION_POST_PADDINGS, CUDNN_TYPE_INT64, 2, after);
  cudnn_set (parts, conv, CUDNN_ATTR_CONVOLUTION_DILATIONS, CUDNN_TYPE_INT64, 2, dilations);
  cudnn_set (parts, conv, CUDNN_ATTR_CONVOLUTION_FILTER_STRIDES, CUDNN_TYPE_INT64, 2, strides);
  cudnn_finish (parts, conv);
  return conv;
}

static cudnn_desc
make_convolution (struct cudnn_parts *parts, const int64_t *key, cudnn_desc y)
{
  static const float one = 1.f, zero = 0.f;
  const int64_t x_dim[4] = { key[IMAGES], key[H], key[WIDTH], key[IN] };
  const int64_t w_dim[4] = { key[OUT], key[KH], key[KW], key[IN] };
  cudnn_desc x = make_image (parts, X, x_dim, key[X_STRIDE]);
  cudnn_desc w = make_image (parts, W, w_dim, key[IN]);
  cudnn_desc conv = make_geometry (parts, key[STRIDE], key[PAD_BEFORE], key[PAD_AFTER]);
  cudnn_desc operation = cudnn_make (parts, CUDNN_BACKEND_OPERATION_CONVOLUTION_FORWARD_DESCRIPTOR);

  cudnn_set_desc (parts, operation, CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_CONV_DESC, conv);
  cudnn_set_desc (parts, operation, CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_X, x);
  cudnn_set_desc (parts, operation, CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_W, w);
  cudnn_set_desc (parts, operation, CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_Y, y);
  cudnn_set (parts, operation, CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_ALPHA, CUDNN_TYPE_FLOAT, 1,
             &one);
  cudnn_set (parts, operation, CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_BETA, CUDNN_TYPE_FLOAT, 1,
             &zero);
  cudnn_finish (parts, operation);
  return operation;
}

/* What training calls the gradient of a convolution's input. */
static cudnn_desc
describe_transposed (struct cudnn_parts *parts, const struct cudnn_key *numbers)
{
  static const float one = 1.f, zero = 0.f;
  const int64_t *key = numbers->number;
  const int64_t x_dim[4] = { key[IMAGES], key[H], key[WIDTH], key[IN] };
  const int64_t y_dim[4] = { key[IMAGES], key[H_OUT], key[W_OUT], key[OUT] };
  const int64_t w_dim[4] = { key[IN], key[KH], key[KW], key[OUT] };
  cudnn_desc x = make_image (parts, X, x_dim, key[X_STRIDE]);
  cudnn_desc y = make_image (parts, Y, y_dim, key[Y_STRIDE]);
  cudnn_desc w = make_image (parts, W, w_dim, key[OUT]);
  cudnn_desc conv = make_geometry (parts, key[STRIDE], key[PAD_BEFORE], key[PAD_AFTER]);
  cudnn_desc operation =
      cudnn_make (parts, CUDNN_BACKEND_OPERATION_CONVOLUTION_BACKWARD_DATA_DESCRIPTOR);

  cudnn_set_desc (parts, operation, CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_CONV_DESC, conv);
  cudnn_set_desc (parts, operation, CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_DY, x);
  cudnn_set_desc (parts, operation, CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_W, w);
  cudnn_set_desc (parts, operation, CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_DX, y);
  cudnn_set (parts, operation, CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_ALPHA, CUDNN_TYPE_FLOAT, 1,
             &one);
  cudnn_set (parts, operation, CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_BETA, CUDNN_TYPE_FLOAT, 1,
             &zero);
  cudnn_finish (parts, operation);
  return cudnn_make_graph (parts, &operation, 1);
}

/* to = from + what, which may be one pixel for all. */
static cudnn_desc
make_addition (struct cudnn_parts *parts, cudnn_desc to, cudnn_desc from, cudnn_desc what)
{
  static const cudnnPointwiseMode_t mode = CUDNN_POINTWISE_ADD;
  static const cudnnDataType_t f32 = CUDNN_DATA_FLOAT;
  cudnn_desc add = cudnn_make (parts, CUDNN_BACKEND_POINTWISE_DESCRIPTOR), operation;

  cudnn_set (parts, add, CUDNN_ATTR_POINTWISE_MODE, CUDNN_TYPE_POINTWISE_MODE, 1, &mode);
  cudnn_set (parts, add, CUDNN_ATTR_POINTWISE_MATH_PREC, CUDNN_TYPE_DATA_TYPE, 1, &f32);
  cudnn_finish (parts, add);

  operation = cudnn_make (parts, CUDNN_BACKEND_OPERATION_POINTWISE_DESCRIPTOR);
  cudnn_set_desc (parts, operation, CUDNN_ATTR_OPERATION_POINTWISE_PW_DESCRIPTOR, add);
  cudnn_set_desc (parts, operation, CUDNN_ATTR_OPERATION_POINTWISE_XDESC, from);
  cudnn_set_desc (parts, operation, CUDNN_ATTR_OPERATION_POINTWISE_BDESC, what);
  cudnn_set_desc (parts, operation, CUDNN_ATTR_OPERATION_POINTWISE_YDESC, to);
  cudnn_finish (parts, operation);
  return operation;
}

static cudnn_desc
describe (struct cudnn_parts *parts, const struct cudnn_key *numbers)
{
  const int64_t *key = numbers->number;
  const int64_t y_dim[4] = { key[IMAGES], key[H_OUT], key[W_OUT], key[OUT] };
  const int64_t bias_dim[4] = { 1, 1, 1, key[OUT] };
  const bool add = key[ADD_STRIDE] != 0, bias = key[HAS_BIAS] != 0;
  cudnn_desc y = make_image (parts, Y, y_dim, key[Y_STRIDE]), operations[3], from;
  int n = 0;

  from = add || bias ? make_sum (parts, SUM, y_dim) : y;
  operations[n++] = make_convolution (parts, key, from);
  if (add) {
    cudnn_desc other = make_image (parts, ADD, y_dim, key[ADD_STRIDE]);
    cudnn_desc to = bias ? make_sum (parts, SUM_2, y_dim) : y;

    operations[n++] = make_addition (parts, to, from, other);
    from = to;
  }
  if (bias)
    operations[n++] = make_addition (parts, y, from, make_image (parts, BIAS, bias_dim, key[OUT]));
  return cudnn_make_graph (parts, operations, n);
}

static bool
is_for_cudnn (krn_tensor y, krn_tensor x, krn_tensor w, krn_tensor bias,
              const struct krn_conv *args)
{
  return !args->upsample && x.dim[3] % 8 == 0 && y.dim[3] % 8 == 0 && krn_is_aligned (y) &&
         krn_is_aligned (x) && krn_is_aligned (w) && krn_is_aligned (bias) &&
         krn_is_aligned (args->add);
}

static void
add_tensor (struct cudnn_problem *problem, int64_t uid, krn_tensor tensor)
{
  if (!tensor.data)
    return;
  problem->uid[problem->n] = uid;
  problem->data[problem->n++] = tensor.data;
}

krn_status
krn_cudnn_conv2d (krn_stream *stream, krn_tensor y, krn_tensor x, krn_tensor w, krn_tensor bias,
                  const struct krn_conv *args)
{
  struct cudnn_problem problem = {
    .key.number = { [KIND] = CUDNN_KEY_CONV,
                    [IMAGES] = x.dim[0],
                    [H] = x.dim[1],
                    [WIDTH] = x.dim[2],
                    [IN] = x.dim[3],
                    [OUT] = y.dim[3],
                    [KH] = w.dim[1],
                    [KW] = w.dim[2],
                    [H_OUT] = y.dim[1],
                    [W_OUT] = y.dim[2],
                    [STRIDE] = args->stride,
                    [PAD_BEFORE] = args->pad_before,
                    [PAD_AFTER] = args->pad_after,
                    [X_STRIDE] = x.stride,
                    [Y_STRIDE] = y.stride,
                    [ADD_STRIDE] = args->add.data ? args->add.stride : 0,
                    [HAS_BIAS] = bias.data != NULL },
    .describe = describe,
    .timed = true,
    .output_bytes = (size_t) (krn_rows (y) * y.stride) * krn_dtype_size (y.dtype),
  };

  if (!is_for_cudnn (y, x, w, bias, args))
    return KRN_ERROR_UNSUPPORTED;
  add_tensor (&problem, Y, y); /* first: the output */
  add_tensor (&problem, X, x);
  add_tensor (&problem, W, w);
  add_tensor (&problem, ADD, args->add);
  add_tensor (&problem, BIAS, bias);
  return cudnn_run (stream, &problem);
}

krn_status
krn_cudnn_transposed (krn_stream *stream, krn_tensor y, krn_tensor x, krn_tensor w)
{
  static const struct krn_conv plain = { .stride = 2 };
  struct cudnn_problem problem = {
    .key.number = { [KIND] = CUDNN_KEY_TRANSPOSED,
                    [IMAGES] = x.dim[0],
                    [H] = x.dim[1],
                    [WIDTH] = x.dim[2],
                    [IN] = x.dim[3],
                    [OUT] = y.dim[3],
                    [KH] = w.dim[1],
                    [KW] = w.dim[2],
                    [H_OUT] = y.dim[1],
                    [W_OUT] = y.dim[2],
                    [STRIDE] = 2,
                    [PAD_BEFORE] = 1,
                    [PAD_AFTER] = 1,
                    [X_STRIDE] = x.stride,
                    [Y_STRIDE] = y.stride },
    .describe = describe_transposed,
    .timed = true,
    .output_bytes = (size_t) (krn_rows (y) * y.stride) * krn_dtype_size (y.dtype),
    .scratch_used = (size_t) krn_count (w) * krn_dtype_size (w.dtype),
  };

  if (!is_for_cudnn (y, x, w, (krn_tensor){ 0 }, &plain))
    return KRN_ERROR_UNSUPPORTED;
  add_tensor (&problem, Y, y); /* first: the output */
  add_tensor (&problem, X, x);
  add_tensor (&problem, W, w);
  return cudnn_run (stream, &problem);
}
