#include "kernels/cpu/ops.h"

void
krn_cpu_fill (struct krn_device *device)
{
  device->upload = krn_cpu_upload;
  device->download = krn_cpu_download;
  device->copy = krn_cpu_copy;
  device->linear = krn_cpu_linear;
  device->embedding = krn_cpu_embedding;
  device->rms_norm = krn_cpu_rms_norm;
  device->layer_norm = krn_cpu_layer_norm;
  device->residual_norm = krn_cpu_residual_norm;
  device->qk_norm_rope = krn_cpu_qk_norm_rope;
  device->attention = krn_cpu_attention;
  device->silu_gate = krn_cpu_silu_gate;
  device->silu = krn_cpu_silu;
  device->conv2d = krn_cpu_conv2d;
  device->group_norm = krn_cpu_group_norm;
  device->group_stats = krn_cpu_group_stats;
  device->group_apply = krn_cpu_group_apply;
  device->patchify = krn_cpu_patchify;
  device->sampler_step = krn_cpu_sampler_step;
  device->to_nhwc = krn_cpu_to_nhwc;
  device->to_nchw = krn_cpu_to_nchw;
  device->latent_rgba = krn_cpu_latent_rgba;
  device->image_rgba = krn_cpu_image_rgba;
}
