"""Every row, in the order of docs/reliability.md."""

from collections.abc import Sequence

from tests.chaos.row import Row
from tests.chaos.rows_load import ROWS as LOAD
from tests.chaos.rows_outages import ROWS as OUTAGES
from tests.chaos.rows_process import ROWS as PROCESS
from tests.chaos.rows_replicas import ROWS as REPLICAS
from tests.chaos.rows_secrets import ROWS as SECRETS

GROUPS = ("1", "2", "3", "3b", "3c", "4", "5", "6", "7", "7b", "8", "8b", "8c", "8d", "8e", "9", "10", "11", "12", "13")
LAST = ("new", "own", "bench")
ROWS: Sequence[Row] = sorted(
    [*OUTAGES, *SECRETS, *REPLICAS, *LOAD, *PROCESS],
    key=lambda row: (*GROUPS, *LAST).index(row.number),
)
