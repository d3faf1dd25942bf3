"""JSONL: a value a line, with the line's place."""

import json
import sys
from collections.abc import Iterator
from typing import Any

from actors.train.data.problems import Problems
from configs.errors import UserError


def json_lines(path: str, data: bytes, problems: Problems) -> Iterator[tuple[str, Any]]:
    """`file:line` and value of each line that is not blank; what is no JSON becomes a problem."""
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data[: error.start].count(b"\n") + 1
        raise UserError(f"{path}:{line}: not UTF-8 text: {error.reason}.") from None
    for number, line in enumerate(text.split("\n"), start=1):
        if not line.strip():
            continue
        where = f"{path}:{number}"
        try:
            yield where, json.loads(line)
        except json.JSONDecodeError as error:
            problems.add(f"{where}: not valid JSON: {error.msg} at column {error.colno}.")
        except RecursionError:
            problems.add(f"{where}: lists or mappings are nested too deeply to be read.")
        except ValueError:  # Python's own limit, against quadratic time
            limit = sys.get_int_max_str_digits()
            problems.add(f"{where}: an integer has more than {limit} digits.")
