"""The regularizers. A run applies them in the order of this table, whatever order they are given in.

1. The first layer is frozen and images are made smaller before they are mixed; with both active cutmix works on
   what mixup made.
2. Penalties join the loss; sam replaces the gradients, gradient_clip then bounds what will be stepped with.
3. max_norm bounds the weights after the step, lookahead may return them to their average.
4. Averages come last (pruning acts just before them, so that they average what is left). For evaluation
   callbacks are asked in reverse order: ema replaces the model, and swa, once it has started, replaces that.
"""

from collections.abc import Callable

from cnnbench.techniques.callback import Callback
from cnnbench.techniques.regularizers.averaging import EMA, SWA
from cnnbench.techniques.regularizers.early_stopping import EarlyStopping
from cnnbench.techniques.regularizers.freeze_first_layer import FreezeFirstLayer
from cnnbench.techniques.regularizers.limits import GradientClip, MaxNorm
from cnnbench.techniques.regularizers.lookahead import Lookahead
from cnnbench.techniques.regularizers.mixing import CutMix, MixUp
from cnnbench.techniques.regularizers.penalties import L1, L2
from cnnbench.techniques.regularizers.progressive_resizing import ProgressiveResizing
from cnnbench.techniques.regularizers.sam import SAM
from cnnbench.techniques.regularizers.stochastic_depth import stochastic_depth

REGULARIZERS: dict[str, Callable[..., Callback]] = {
    "stochastic_depth": stochastic_depth,
    "freeze_first_layer": FreezeFirstLayer,
    "progressive_resizing": ProgressiveResizing,
    "mixup": MixUp,
    "cutmix": CutMix,
    "l1": L1,
    "l2": L2,
    "sam": SAM,
    "gradient_clip": GradientClip,
    "max_norm": MaxNorm,
    "lookahead": Lookahead,
    "swa": SWA,
    "ema": EMA,
    "early_stopping": EarlyStopping,
}
