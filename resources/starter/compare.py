"""compare.py - measures model.py and vae.py against transformers and diffusers, in float32.

python compare.py model
"""

import sys

import torch
from diffusers import AutoencoderKL, ZImageTransformer2DModel
from transformers import Qwen3Model

import model
import vae


def relative(a, b):
    return ((a - b).norm() / b.norm()).item()


@torch.no_grad()
def main(folder):
    torch.manual_seed(0)
    w = model.fuse(model.read(folder))
    transformer = ZImageTransformer2DModel.from_pretrained(folder + "/transformer").float()
    encoder = Qwen3Model.from_pretrained(folder + "/text_encoder").float()
    for (h, wide), n in (((32, 32), 9), ((32, 48), 30), ((40, 60), 41)):
        length = (n + 31) // 32 * 32
        ids = torch.randint(0, model.VOCABULARY, (1, length))
        mask = (torch.arange(length) < n)[None]
        reference = encoder(ids, attention_mask=mask, output_hidden_states=True).hidden_states[-2][
            0, :n
        ]
        features = model.text(w, ids, torch.float32)
        x, sigma = torch.randn(1, 16, h, wide), torch.rand(1)
        v = -transformer([x[0][:, None]], 1 - sigma, [reference], return_dict=False)[0][0][:, 0]
        mine = model.velocity(w, x, sigma, features, ~mask)[0]
        print(
            "%dx%d, %d tokens: text %.1e, velocity %.1e"
            % (8 * wide, 8 * h, n, relative(features[0, :n], reference), relative(mine, v))
        )
    theirs = AutoencoderKL.from_pretrained(folder + "/vae").float()
    tensors, _ = model.read_vae(folder)
    x = torch.rand(1, 3, 64, 96) * 2 - 1
    z = theirs.encode(x).latent_dist.mean
    print(
        "vae: encode %.1e, decode %.1e"
        % (
            relative(vae.encode(tensors, x)[0], z),
            relative(vae.decode(tensors, z), theirs.decode(z).sample),
        )
    )
    assert set(vae.shapes()) == set(tensors) and all(
        tensors[k].shape == s for k, s in vae.shapes().items()
    )


if __name__ == "__main__":
    main(sys.argv[1])
