import copy
import json

import pytest
import torch
from torch import nn

from cnnbench.models.graphs import NAMES, GraphNet, is_quantized, nodes_of, refuse_unfit
from cnnbench.models.tracing import traced


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(1, 4, 3)
        self.logits = nn.Linear(4, 3)

    def forward(self, images):
        maps = torch.relu(self.conv(images))
        return self.logits(torch.cat([maps, maps], 1)[:, :4].mean((2, 3)) * 0.5)


@pytest.fixture(scope="module")
def kept():
    """A network, and what is kept of it: its nodes and its tensors."""
    net = Net().eval()
    graph = traced(net, torch.randn(2, 1, 6, 6)).module()
    for node in list(graph.graph.nodes):
        if node.op == "call_module":
            graph.graph.erase_node(node)
    return net, nodes_of(graph.graph), dict(net.state_dict())


def test_a_network_is_rebuilt_from_plain_values(kept):
    net, nodes, tensors = kept
    again = GraphNet(json.loads(json.dumps(nodes)), tensors)
    for size in (1, 2, 5):
        images = torch.randn(size, 1, 6, 6)
        assert torch.allclose(again(images), net(images), atol=1e-6)
    assert again.tensors().keys() == tensors.keys()
    assert not is_quantized(again)
    assert torch.equal(copy.deepcopy(again)(images), again(images))


def test_every_operation_that_may_stand_in_a_graph_only_computes():
    aten = [name.split(".")[1] for name in NAMES if name.startswith("aten.")]
    assert not {"from_file", "_print", "set_", "resize_", "record_stream"} & set(aten)
    assert len(NAMES) == len(set(NAMES))


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda nodes: nodes[-2] | {"of": "aten.from_file.default"}, "it wants to call 'aten.from_file.default'"),
        (lambda nodes: nodes[-2] | {"of": "os.system"}, "it wants to call 'os.system'"),
        (lambda nodes: nodes[-2] | {"of": "__import__"}, "it wants to call"),
        (lambda nodes: nodes[-2] | {"op": "call_method"}, "is no operation"),
        (lambda nodes: nodes[-2] | {"args": [{"node": "nothing"}]}, "is no argument"),
        (lambda nodes: nodes[-2] | {"args": [{"dtype": "nothing"}]}, "is no argument"),
        (lambda nodes: {"name": "x", "op": "tensor", "of": "nothing"}, "is no operation"),
        (lambda nodes: {"name": "x", "op": "images"}, "is no operation"),
        (lambda nodes: "text", "is no operation"),
    ],
)
def test_a_node_that_is_none_is_refused(kept, change, said):
    _, nodes, tensors = kept
    wrong = [*nodes[:-2], change(nodes), nodes[-1]]
    with pytest.raises(ValueError, match=said):
        GraphNet(wrong, tensors)


@pytest.mark.parametrize("nodes", [[], ["x"], [{"name": "images", "op": "images"}] * 2, [None, None]])
def test_what_does_not_end_in_logits_is_refused(nodes):
    with pytest.raises(ValueError, match="is no"):
        GraphNet(nodes, {})


def test_a_graph_cut_short_is_refused(kept):
    _, nodes, tensors = kept
    with pytest.raises(ValueError, match="does not end in logits"):
        GraphNet(nodes[:-1], tensors)
    with pytest.raises(ValueError, match="does not end in logits"):
        GraphNet([*nodes, nodes[-2]], tensors)


def test_an_operation_that_cannot_be_kept_is_named():
    graph = traced(nn.Softplus(), torch.randn(2, 1, 6, 6)).module()
    for node in list(graph.graph.nodes):
        if node.op == "call_module":
            graph.graph.erase_node(node)
    with pytest.raises(ValueError, match="softplus"):
        nodes_of(graph.graph)


def test_a_graph_is_asked_for_its_sizes_before_anything_is_computed(kept):
    _, nodes, tensors = kept
    refuse_unfit(GraphNet(nodes, tensors), (1, 6, 6), 3)
    with pytest.raises(ValueError, match="no logit for each of 4 classes"):
        refuse_unfit(GraphNet(nodes, tensors), (1, 6, 6), 4)
    with pytest.raises(ValueError, match="does not take such images"):
        refuse_unfit(GraphNet(nodes, tensors), (3, 6, 6), 3)
    relu = next(place for place, node in enumerate(nodes) if str(node.get("of")).startswith("aten.relu"))
    borders = [{"node": nodes[relu]["name"]}, [10**7, 10**7, 0, 0], "constant", 0.0]
    giant = {"name": "giant", "op": "call", "of": "aten.pad.default", "args": borders, "kwargs": {}}
    after = json.loads(
        json.dumps(nodes[relu + 1 :]).replace(f'{{"node": "{nodes[relu]["name"]}"}}', '{"node": "giant"}')
    )
    with pytest.raises(ValueError, match="a map would have 640,000,128 values"):
        refuse_unfit(GraphNet([*nodes[: relu + 1], giant, *after], tensors), (1, 6, 6), 3)
