"""The weights of one of a peft model's adapters: out as our `Adapter`, in again."""

import peft
from peft import get_peft_model_state_dict, set_peft_model_state_dict

from actors.lm.adapter import Adapter, Manifest, adapter_digest
from actors.train.backend import Label
from configs.errors import UserError


def adapter_of(model: peft.PeftModel, name: str, label: Label) -> Adapter:
    """A copy of the adapter called `name` in the model, with its manifest."""
    fields = model.peft_config[name].to_dict() | {"inference_mode": True}
    config = {k: sorted(v) if isinstance(v, set) else v for k, v in fields.items()}
    # Otherwise peft asks the hub whether the base has other embeddings than this one.
    state = get_peft_model_state_dict(model, adapter_name=name, save_embedding_layers=False)
    copies = {k: v.detach().to("cpu", copy=True).contiguous() for k, v in state.items()}
    manifest = Manifest(
        name=label.name,
        version=label.version,
        step=label.step,
        run=label.name,
        base_model=str(config["base_model_name_or_path"]),
        digest=adapter_digest(config, copies),
    )
    return Adapter(config, copies, manifest)


def take_weights(model: peft.PeftModel, name: str, adapter: Adapter, path: str) -> None:
    """Overwrite the weights of the adapter called `name`; UserError when these do not fit it."""
    own = get_peft_model_state_dict(model, adapter_name=name, save_embedding_layers=False)
    if {k: v.shape for k, v in own.items()} != {k: v.shape for k, v in adapter.tensors.items()}:
        raise UserError(
            f"{path}: was saved with another LoRA (rank, targets, layers); use another run_id."
        )
    set_peft_model_state_dict(model, adapter.tensors, adapter_name=name)
