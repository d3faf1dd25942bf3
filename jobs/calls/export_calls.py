"""`export_calls`: the stored calls of a study as one file that `provider=replay:FILE` reads."""

from actors.pool.books.export import export_calls
from actors.pool.books.journal import has_books, open_books
from configs.errors import UserError
from configs.export_calls import ExportCallsConfig
from jobs import console


def run(config: ExportCallsConfig) -> int:
    """Write the file and say what is in it."""
    if not has_books(config.storage):
        raise UserError(f"storage={config.storage}: no calls are stored there. Give another.")
    store, _ = open_books(config.storage)
    try:
        exported = export_calls(store, config.out)
    finally:
        store.close()
    providers = ", ".join(exported.providers)
    failures = f" and {exported.num_failures} failures" if exported.num_failures else ""
    console.say(f"{exported.num_answers} answers{failures} of {providers}: {config.out}")
    names = exported.providers
    chosen = f"#{names[0]}" if len(names) > 1 else ""
    console.say(f"To replay them: provider=replay:{config.out}{chosen}")
    return 0
