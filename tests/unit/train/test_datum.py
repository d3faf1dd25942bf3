"""What a data set's digest knows."""

from dataclasses import replace

import numpy as np

from actors.train.datum import Datum, data_digest


def test_other_tokens_another_mask_and_another_order_are_other_data(datums: list[Datum]):
    first, *others = datums
    masked = replace(first, weights=np.zeros_like(first.weights))
    retold = replace(first, token_ids=first.token_ids + 1)
    sets = [datums, [masked, *others], [retold, *others], datums[::-1]]
    assert len({data_digest(one) for one in sets}) == 4
