#!/usr/bin/env python3
"""Writes tests/data: a tiny random Z-Image and what torch, diffusers and transformers make of it.

    pip install torch diffusers transformers safetensors
    python3 tests/fidelity/make_goldens.py tests/data

The model, tests/data/tiny, is a diffusers folder with the classes of Z-Image-Turbo.  Every parameter
is random and none is trivial: norm weights are not 1, biases and pad tokens not 0.  Matrices are
rounded to bfloat16 (text encoder: float16) before anything is computed and stored as such, vectors
stay float32; so the files are small, the engine reads every dtype, and float32 torch and the engine
still have exactly the same numbers.

What each file holds (float32 unless noted; shapes of one item, no batch):

  golden-text.safetensors      ids.S, ids.L, ids.N (int32): the wrapped prompts PROMPTS
                               hidden.S, .L: hidden_states[-2]; layer0.S: output of the first layer
  golden-z-image.safetensors   for picture A (latent 8x16, 32 tokens, caption S) and B (12x20, 60
                               tokens, caption L, over 32 tokens): latent.A [16, h, w], x.A out of
                               the embedder, noise_refined.A, caption.A out of the embedder,
                               caption_refined.A, layerI.A, out.A (before unpatchify, image tokens
                               only), image.A (unpatchified) at t[0];  out1.B at t[1].
                               t [2];  sinusoid [2, 256], temb [2, dim], modulation [2, sum]: the
                               adaLN vectors of noise refiners, layers, final layer side by side
  golden-vae.safetensors       latent [16, 8, 12] in model space, image [64, 96, 3] decoded from it;
                               photo [64, 96, 3], mean [16, 8, 12] encoded from it, in model space
  golden-pipeline.safetensors  what ZImagePipeline itself makes, 8 steps: sigmas [9];
                               B.noise, B.latent0 ... B.latent7 after each step, B.rgb (uint8
                               [h, w, 3]): prompt L, no guidance; B.velocity0 at the first step
                               A.*: the same for prompt S with negative prompt N, guidance_scale 3
                               (CFG 4); C.latent7: as A with cfg_normalization 1, cfg_truncation 0.6
                               noise: torch.Generator("cpu").manual_seed(SEED)
"""

import json
import shutil
import sys
from pathlib import Path

import diffusers
import numpy as np
import tokenizers
import torch
import transformers
from diffusers import AutoencoderKL, FlowMatchEulerDiscreteScheduler
from diffusers import ZImagePipeline, ZImageTransformer2DModel
from safetensors.torch import save_file
from transformers import AutoTokenizer, Qwen3Config, Qwen3Model

SEED = 20260
PROMPTS = {
    "S": "a red kite",
    "L": "A small wooden boat on a calm lake below snowy mountains, evening light, 远处的山",
    "N": "fog",
}
SIZES = {"A": (8, 16, "S"), "B": (12, 20, "L")}  # latent height and width, prompt
T = [0.0, 0.36]
DIM, STEPS, GUIDANCE = 48, 8, 3.0

TRANSFORMER = dict(
    dim=DIM, n_heads=3, n_kv_heads=3, axes_dims=[4, 6, 6], axes_lens=[256, 64, 64], n_layers=2,
    n_refiner_layers=1, in_channels=16, cap_feat_dim=64,
)
TEXT_ENCODER = dict(
    hidden_size=64, intermediate_size=88, num_hidden_layers=3, num_attention_heads=4,
    num_key_value_heads=2, head_dim=24, max_position_embeddings=1024, tie_word_embeddings=True,
    rope_parameters={"rope_type": "default", "rope_theta": 50000.0},
)
VAE = dict(
    block_out_channels=[8, 16, 16, 32], layers_per_block=2, norm_num_groups=4, latent_channels=16,
    down_block_types=["DownEncoderBlock2D"] * 4, up_block_types=["UpDecoderBlock2D"] * 4,
    scaling_factor=0.55, shift_factor=0.07, use_quant_conv=False, use_post_quant_conv=False,
    sample_size=64,
)
SPLIT = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*"
    r"|\s*[\r\n]+|\s+(?!\S)|\s+"
)
TEMPLATE = (
    "{%- for m in messages %}{{- '<|im_start|>' + m.role + '\\n' + m.content + '<|im_end|>\\n' }}"
    "{%- endfor %}{%- if add_generation_prompt %}{{- '<|im_start|>assistant\\n' }}{%- endif %}"
)


def randomise(model, half):
    """Gives every parameter values that matter, exact in half when it is a matrix."""
    generator = torch.Generator().manual_seed(SEED)
    for name, p in sorted(model.named_parameters()):
        noise = torch.randn(p.shape, generator=generator)
        if p.ndim >= 2 and "pad_token" not in name and "embed_tokens" not in name:
            noise *= p[0].numel() ** -0.5
        elif p.ndim == 1:
            noise = 1 + 0.2 * noise if name.endswith("weight") else 0.2 * noise
        if "conv_out" in name:  # keeps most of the image off the ends of its range
            noise *= 0.4
        p.data = noise.to(half).float() if p.ndim >= 2 else noise
    return model.eval()


def save_model(model, folder, half):
    """As save_pretrained, with matrices in half and vectors in float32."""
    model.save_pretrained(folder)
    (path,) = folder.glob("*.safetensors")
    state = {
        k: (v.to(half) if v.ndim >= 2 else v).contiguous() for k, v in model.state_dict().items()
    }
    save_file(state, path, {"format": "pt"})


def make_tokenizer(folder):
    t = tokenizers.Tokenizer(tokenizers.models.BPE())
    t.normalizer = tokenizers.normalizers.NFC()
    byte_level = tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    split = tokenizers.pre_tokenizers.Split(tokenizers.Regex(SPLIT), "isolated")
    t.pre_tokenizer = tokenizers.pre_tokenizers.Sequence([split, byte_level])
    t.decoder = tokenizers.decoders.ByteLevel()
    alphabet = tokenizers.pre_tokenizers.ByteLevel.alphabet()
    trainer = tokenizers.trainers.BpeTrainer(
        vocab_size=297, initial_alphabet=sorted(alphabet), show_progress=False
    )
    t.train_from_iterator(list(PROMPTS.values()) * 3, trainer)
    t.add_special_tokens(["<|endoftext|>", "<|im_start|>", "<|im_end|>"])
    folder.mkdir()
    t.save(str(folder / "tokenizer.json"))
    config = dict(
        tokenizer_class="PreTrainedTokenizerFast", eos_token="<|im_end|>", bos_token=None,
        pad_token="<|endoftext|>", unk_token=None, model_max_length=1024, padding_side="right",
        clean_up_tokenization_spaces=False, chat_template=TEMPLATE,
    )
    (folder / "tokenizer_config.json").write_text(json.dumps(config, indent=1) + "\n")
    return AutoTokenizer.from_pretrained(folder)


class Recorder:
    """Keeps the outputs of named modules of the next forward pass."""

    def __init__(self, model):
        self.seen = {}
        for name, module in model.named_modules():
            module.register_forward_hook(lambda m, i, o, name=name: self.keep(name, o))

    def keep(self, name, value):
        self.seen[name] = (value[0] if isinstance(value, tuple) else value)

    def __getitem__(self, name):
        return self.seen[name].detach().clone()


def text_goldens(pipe):
    out = {}
    for key, prompt in PROMPTS.items():
        text = pipe.tokenizer.apply_chat_template(
            [{"role": "user", "content": prompt}], tokenize=False, add_generation_prompt=True,
            enable_thinking=True,
        )
        ids = torch.tensor(pipe.tokenizer(text)["input_ids"])
        out[f"ids.{key}"] = ids.to(torch.int32)
        if key == "N":
            continue
        states = pipe.text_encoder(input_ids=ids[None], output_hidden_states=True).hidden_states
        assert len(states) == TEXT_ENCODER["num_hidden_layers"] + 1
        out[f"hidden.{key}"] = states[-2][0]
        if key == "S":
            out["layer0.S"] = states[1][0]
        # The pipeline pads to 512 and drops the padding again; that must not matter.
        padded = pipe.encode_prompt(prompt, do_classifier_free_guidance=False)[0][0]
        assert torch.allclose(padded, states[-2][0], rtol=0, atol=2e-5), key
    return out


def modulation(seen):
    blocks = ["noise_refiner.0"] + [f"layers.{i}" for i in range(TRANSFORMER["n_layers"])]
    parts = [seen[f"{b}.adaLN_modulation"] for b in blocks]
    return torch.cat(parts + [seen["all_final_layer.2-1.adaLN_modulation"]], dim=-1)[0]


def z_image_goldens(pipe, text):
    generator = torch.Generator().manual_seed(SEED + 1)
    seen = Recorder(pipe.transformer)
    out = {"t": torch.tensor(T)}
    per_time = {"temb": [], "modulation": [], "sinusoid": []}
    for key, (h, w, prompt) in SIZES.items():
        n, hidden = h * w // 4, text[f"hidden.{prompt}"]
        latent = torch.randn([16, h, w], generator=generator)
        out[f"latent.{key}"] = latent
        for i, t in enumerate(T if key == "B" else T[:1]):
            (image,) = pipe.transformer(
                [latent[:, None]], torch.tensor([t]), [hidden], return_dict=False
            )[0]
            final = seen["all_final_layer.2-1"][0, :n]
            if key == "B":
                embed = pipe.transformer.t_embedder.timestep_embedding
                per_time["sinusoid"].append(embed(torch.tensor([t]) * 1000.0, 256)[0])
                per_time["temb"].append(seen["t_embedder"][0])
                per_time["modulation"].append(modulation(seen))
            if i > 0:
                out[f"out{i}.{key}"] = final
                continue
            out |= {
                f"x.{key}": seen["all_x_embedder.2-1"][:n],
                f"noise_refined.{key}": seen["noise_refiner.0"][0],
                f"caption.{key}": seen["cap_embedder"][: len(hidden)],
                f"caption_refined.{key}": seen["context_refiner.0"][0],
                f"out.{key}": final,
                f"image.{key}": image[:, 0],
            }
            for layer in range(TRANSFORMER["n_layers"]):
                out[f"layer{layer}.{key}"] = seen[f"layers.{layer}"][0]
    return out | {k: torch.stack(v) for k, v in per_time.items()}


def vae_goldens(pipe):
    generator = torch.Generator().manual_seed(SEED + 2)
    vae, c = pipe.vae, pipe.vae.config
    latent = torch.randn([1, 16, 8, 12], generator=generator)
    photo = torch.randn([1, 3, 64, 96], generator=generator).clamp(-1, 1)
    image = vae.decode(latent / c.scaling_factor + c.shift_factor).sample
    mean = (vae.encode(photo).latent_dist.mean - c.shift_factor) * c.scaling_factor
    hwc = lambda x: x[0].permute(1, 2, 0).contiguous()
    return {"latent": latent[0], "image": hwc(image), "photo": hwc(photo), "mean": mean[0]}


def run_pipeline(pipe, key, **options):
    h, w, prompt = SIZES[key]
    noise = torch.randn([1, 16, h, w], generator=torch.Generator().manual_seed(SEED))
    latents = []

    def after_step(pipe, step, t, tensors):
        latents.append(tensors["latents"][0].clone())
        return {}

    image = pipe(
        PROMPTS[prompt], height=8 * h, width=8 * w, num_inference_steps=STEPS, latents=noise,
        output_type="np", callback_on_step_end=after_step, **options,
    ).images[0]
    return noise[0], latents, torch.from_numpy((image * 255).round().astype(np.uint8))


def pipeline_goldens(pipe):
    pipe.set_progress_bar_config(disable=True)
    out = {}
    guided = dict(guidance_scale=GUIDANCE, negative_prompt=PROMPTS["N"])
    for key, options in {"B": dict(guidance_scale=0.0), "A": guided}.items():
        noise, latents, rgb = run_pipeline(pipe, key, **options)
        sigmas = pipe.scheduler.sigmas
        out |= {"sigmas": sigmas, f"{key}.noise": noise, f"{key}.rgb": rgb}
        out |= {f"{key}.latent{i}": x for i, x in enumerate(latents)}
    hidden = pipe.encode_prompt(PROMPTS["L"], do_classifier_free_guidance=False)[0]
    image = pipe.transformer([out["B.noise"][:, None]], torch.zeros(1), hidden).sample[0]
    out["B.velocity0"] = -image[:, 0]
    cut = dict(cfg_normalization=1.0, cfg_truncation=0.6)
    out["C.latent7"] = run_pipeline(pipe, "A", **guided, **cut)[1][-1]
    return out


@torch.no_grad()
def main(data):
    torch.use_deterministic_algorithms(True)
    tiny = data / "tiny"
    shutil.rmtree(tiny, ignore_errors=True)
    tiny.mkdir(parents=True)
    tokenizer = make_tokenizer(tiny / "tokenizer")
    ends = dict(eos_token_id=299, bos_token_id=None, vocab_size=len(tokenizer))
    encoder = Qwen3Model(Qwen3Config(**TEXT_ENCODER, **ends))
    encoder = randomise(encoder, torch.float16)
    transformer = randomise(ZImageTransformer2DModel(**TRANSFORMER), torch.bfloat16)
    vae = randomise(AutoencoderKL(**VAE), torch.bfloat16)
    save_model(encoder, tiny / "text_encoder", torch.float16)
    save_model(transformer, tiny / "transformer", torch.bfloat16)
    save_model(vae, tiny / "vae", torch.bfloat16)
    scheduler = FlowMatchEulerDiscreteScheduler(num_train_timesteps=1000, shift=3.0)
    scheduler.save_pretrained(tiny / "scheduler")
    index = {
        "_class_name": "ZImagePipeline",
        "_diffusers_version": diffusers.__version__,
        "scheduler": ["diffusers", "FlowMatchEulerDiscreteScheduler"],
        "text_encoder": ["transformers", "Qwen3Model"],
        "tokenizer": ["transformers", "PreTrainedTokenizerFast"],
        "transformer": ["diffusers", "ZImageTransformer2DModel"],
        "vae": ["diffusers", "AutoencoderKL"],
    }
    (tiny / "model_index.json").write_text(json.dumps(index, indent=1) + "\n")

    # Read back what was written: the goldens are of the files, not of what is in memory.
    pipe = ZImagePipeline.from_pretrained(tiny, torch_dtype=torch.float32)
    text = text_goldens(pipe)
    parts = {
        "text": text,
        "z-image": z_image_goldens(pipe, text),
        "vae": vae_goldens(pipe),
        "pipeline": pipeline_goldens(pipe),
    }
    origin = (
        f"tests/fidelity/make_goldens.py: torch {torch.__version__}, diffusers"
        f" {diffusers.__version__}, transformers {transformers.__version__}, float32, CPU"
    )
    for name, tensors in parts.items():
        tensors = {k: v.detach().contiguous().clone() for k, v in tensors.items()}
        save_file(tensors, data / f"golden-{name}.safetensors", {"origin": origin})
        for k, v in sorted(tensors.items()):
            v = v.float()
            print(f"{name:9} {k:20} {list(v.shape)!s:16} mean {v.mean():9.4f} std {v.std():9.4f}")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
