"""What `cnnbench compress` can do to a trained network: functions of their settings, giving a Compression."""

from cnnbench.config.tables import Table
from cnnbench.techniques.compression.distill import distill
from cnnbench.techniques.compression.filters import filters
from cnnbench.techniques.compression.int8 import int8, int8_qat
from cnnbench.techniques.compression.low_precision import bf16
from cnnbench.techniques.compression.masks import masks

COMPRESSIONS: Table = {
    "filters": filters,
    "masks": masks,
    "bf16": bf16,
    "int8": int8,
    "int8_qat": int8_qat,
    "distill": distill,
}
