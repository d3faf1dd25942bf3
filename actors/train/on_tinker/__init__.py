"""Training on the Tinker service, or on any cluster that speaks its protocol, through its SDK."""

from importlib.util import find_spec

from configs.errors import UserError

if find_spec("tinker") is None:
    raise UserError(
        "Tinker is asked through its SDK, which is not installed here: pip install 'tinker==0.38.*'"
    )
