"""Every row, in the order of docs/reliability.md."""

from collections.abc import Sequence

from tests.chaos.row import Row
from tests.chaos.rows_outages import ROWS as OUTAGES
from tests.chaos.rows_replicas import ROWS as REPLICAS
from tests.chaos.rows_secrets import ROWS as SECRETS

ROWS: Sequence[Row] = [*OUTAGES, *SECRETS, *REPLICAS]
