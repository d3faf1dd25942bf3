"""A base whose weights are kept in 4 bits (NF4, Dettmers et al. 2023), computed with in `dtype`."""

from importlib.util import find_spec

import torch
from transformers import BitsAndBytesConfig

from configs.errors import UserError


def nf4(dtype: torch.dtype, device: str) -> BitsAndBytesConfig:
    """Transformers' settings for it; UserError where it cannot be had."""
    if torch.device(device).type != "cuda":
        raise UserError(
            "quantization=nf4 needs a CUDA GPU, and there is none here; give quantization=none "
            "(dtype=bfloat16 halves the base)."
        )
    if find_spec("bitsandbytes") is None:
        raise UserError("quantization=nf4 needs bitsandbytes: pip install 'hothouse[nf4]'.")
    return BitsAndBytesConfig(
        load_in_4bit=True,
        bnb_4bit_quant_type="nf4",
        bnb_4bit_use_double_quant=True,
        bnb_4bit_compute_dtype=dtype,
    )
