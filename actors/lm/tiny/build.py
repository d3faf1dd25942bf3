"""Train the tiny model: a Llama shape from random weights to whole sentences in under a minute.

What makes two builds the same: a fixed number of steps, seeds of its own, and a fixed number of
threads, because the order of floating-point sums depends on it.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch
from torch.nn.functional import cross_entropy
from torch.optim.lr_scheduler import LambdaLR
from transformers import LlamaConfig, LlamaForCausalLM
from transformers.tokenization_utils_base import PreTrainedTokenizerBase
from transformers.utils import logging

from actors.lm.chat import render
from actors.lm.tiny.batches import IGNORED, Batch, endless_batches
from actors.lm.tiny.corpus import dialogues
from actors.lm.tiny.progress import steps_shown
from actors.lm.tiny.recipe import Recipe
from actors.lm.tiny.vocabulary import learn_tokenizer


def build(recipe: Recipe, directory: Path) -> None:
    """Write the model and its tokenizer to `directory`, as transformers writes them."""
    with _own_torch(recipe):
        conversations = dialogues(recipe.dialogues, recipe.seed)
        tokenizer = learn_tokenizer(conversations, recipe.vocabulary, recipe.positions)
        rows = [render(tokenizer, messages) for messages in conversations]
        model = _untrained(recipe, tokenizer)
        _train(model, endless_batches(rows, recipe.batch_tokens, recipe.seed), recipe)
        with torch.no_grad():
            model.model.norm.weight.mul_(recipe.sharpening)
    with _no_transformers_bar():
        model.eval().save_pretrained(directory)
    tokenizer.save_pretrained(directory)


def _untrained(recipe: Recipe, tokenizer: PreTrainedTokenizerBase) -> LlamaForCausalLM:
    return LlamaForCausalLM(
        LlamaConfig(
            vocab_size=len(tokenizer),
            hidden_size=recipe.hidden,
            intermediate_size=recipe.intermediate,
            num_hidden_layers=recipe.layers,
            num_attention_heads=recipe.heads,
            max_position_embeddings=recipe.positions,
            tie_word_embeddings=True,
            bos_token_id=None,
            eos_token_id=tokenizer.eos_token_id,
            pad_token_id=tokenizer.pad_token_id,
            dtype=torch.float32,
        )
    )


def _train(model: LlamaForCausalLM, batches: Iterator[Batch], recipe: Recipe) -> None:
    optimizers = _optimizers(model, recipe)
    schedules = [LambdaLR(optimizer, lambda i: _lr_share(i, recipe)) for optimizer in optimizers]
    model.train()
    with steps_shown(recipe.name, recipe.steps) as shown:
        for _ in range(recipe.steps):
            loss = _loss(model, next(batches))
            loss.backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            for step in (*optimizers, *schedules):
                step.step()
            model.zero_grad()
            shown(loss.item())


def _optimizers(model: LlamaForCausalLM, recipe: Recipe) -> list[torch.optim.Optimizer]:
    """Muon for the layers' matrices, which halves the steps to whole sentences; Adam elsewhere."""
    matrices, others = [], []
    for name, parameter in model.named_parameters():
        is_matrix = parameter.ndim == 2 and "embed" not in name
        (matrices if is_matrix else others).append(parameter)
    return [
        torch.optim.Muon(matrices, lr=recipe.matrix_lr, weight_decay=0.05),
        torch.optim.AdamW(others, lr=recipe.other_lr, betas=(0.9, 0.98), weight_decay=0.0),
    ]


def _loss(model: LlamaForCausalLM, batch: Batch) -> torch.Tensor:
    """Mean cross-entropy; the head is applied only where there is something to learn."""
    hidden = model.model(input_ids=batch.token_ids).last_hidden_state
    learned = batch.targets != IGNORED
    return cross_entropy(model.lm_head(hidden[learned]), batch.targets[learned])


def _lr_share(step: int, recipe: Recipe) -> float:
    """Linear warm-up, then linear down to zero."""
    rising = (step + 1) / recipe.warmup_steps
    falling = (recipe.steps - step) / (recipe.steps - recipe.warmup_steps)
    return min(rising, falling, 1.0)


@contextmanager
def _own_torch(recipe: Recipe) -> Iterator[None]:
    """Threads and seed of the recipe inside, the caller's again afterwards."""
    threads = torch.get_num_threads()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(recipe.seed)
        torch.set_num_threads(recipe.threads)
        try:
            yield
        finally:
            torch.set_num_threads(threads)


@contextmanager
def _no_transformers_bar() -> Iterator[None]:
    """Saving one small file needs no bar of its own."""
    was_shown = logging.is_progress_bar_enabled()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        if was_shown:
            logging.enable_progress_bar()
