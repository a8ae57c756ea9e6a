"""A trained prior as an ONNX graph of one frame, written node by node and refused unless it does what the network does.

past, state, gumbel, noise, temperature  -->  latent, next_state
"""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import onnx
import torch
from numpy.typing import NDArray
from onnx import TensorProto, helper

from rtae.errors import ExportError
from rtae.prior import REACH, Network, PriorSpec
from rtae.spec import PRIOR_FILE, PRIOR_NETWORK_FILE
from rtae.training.prior import LEVEL_FLOOR, LEVELS, LOG_SCALES, PriorNet, PriorRun
from rtae.training.rhythm import (
    AHEAD,
    CONTEXT,
    ENERGY_FLOOR,
    KEPT,
    LAGS,
    LIKENESS_FLOOR,
    LOCAL,
    SHARPNESS,
    SMOOTH,
    SPANS,
    Rhythm,
)

from .graph import IR_VERSION, OPSET, GraphWriter

FloatArray = NDArray[np.float32]
PARITY_LIMIT = 1e-3  # standard deviations, over TRIAL_FRAMES frames that feed on each other
TRIAL_FRAMES = 64
DIGITS = 7


def prior_graph(net: PriorNet) -> bytes:
    """prior.onnx."""
    config, dims, writer = net.config, net.dims, GraphWriter()
    node, state = writer.node, {name: value.detach().numpy() for name, value in net.state_dict().items()}

    def constant(name: str, *values: float, kind: type = np.float32) -> str:
        return writer.weight(name, np.array(values, kind))

    def ints(name: str, *values: int) -> str:
        return writer.weight(name, np.array(values, np.int64))

    whole_past = node("Sub", ["past", writer.weight("mean", state["mean"])], "whole_x")
    ends = ints("x_from", config.context - config.order), ints("x_to", config.context), ints("x_axis", 1)
    x = node("Slice", [whole_past, *ends], "x")
    flat = node("Reshape", [x, ints("flat_shape", 1, config.order * dims)], "flat")
    power = node("ReduceMean", [node("Mul", [flat, flat], "squares")], "power", axes=[1], keepdims=1)
    level = node("Sqrt", [node("Add", [power, constant("floor", LEVEL_FLOOR**2)], "floored")], "level")
    whole, kept = config.order * dims, config.recent * dims
    recent = node("Slice", [flat, ints("from", whole - kept), ints("to", whole), ints("axis", 1)], "recent")
    seen = [node("Div", [recent, level], "scaled"), node("Log", [level], "loudness")]
    beats: list[str] = []
    if net.rhythm is not None:
        beats = [node("Concat", rhythm_nodes(writer, net.rhythm, whole_past, config.context), "beats", axis=1)]
        seen += beats
    seen = node("Concat", seen, "seen", axis=1)
    after = gru_nodes(writer, state, seen, config.state)
    head = [after, writer.weight("head.weight", state["head.weight"]), writer.weight("head.bias", state["head.bias"])]
    out = node("Gemm", head, "out", transB=1)
    parts = config.parts
    edges = (0, parts, parts * (1 + dims), parts * (1 + 2 * dims))
    logits, means, scales = (
        node("Slice", [out, ints(f"from_{name}", low), ints(f"to_{name}", high), "axis"], name)
        for name, low, high in zip(("logits", "means", "scales"), edges[:-1], edges[1:], strict=True)
    )
    table = ints("table_shape", parts, dims)
    heat = node("Mul", ["temperature", "gumbel"], "heat")
    chosen = node("ArgMax", [node("Add", [logits, heat], "tilted")], "chosen", axis=1, keepdims=0)
    means = node("Gather", [node("Reshape", [means, table], "mean_rows"), chosen], "mean_row", axis=0)
    scales = node("Gather", [node("Reshape", [scales, table], "scale_rows"), chosen], "scale_row", axis=0)
    if net.beat is not None:
        follows = node("MatMul", [*beats, writer.weight("beat.weight", state["beat.weight"].T)], "follows")
        accents = node("Relu", [follows], "accents")
        steep = node("Mul", [accents, constant("steepness", (config.pulse - 1) / config.depth)], "steep")
        more = node("Mul", [node("Tanh", [steep], "bounded"), constant("depth", config.depth)], "more")
        scales = node("Add", [node("Add", [scales, follows], "following"), more], "pulsed")
    bounds = [constant("lowest", LOG_SCALES[0]), constant("highest", LOG_SCALES[1])]
    clipped = node("Min", [node("Max", [scales, bounds[0]], "not_below"), bounds[1]], "within")
    spread = node("Mul", [node("Exp", [clipped], "spread"), node("Mul", ["temperature", "noise"], "hot")], "random")
    e = node("Add", [means, spread], "surprise")
    turned = node("MatMul", [e, writer.weight("triangle", np.ascontiguousarray(state["triangle"].T))], "turned")
    foreseen = node("MatMul", [flat, writer.weight("table", state["table"])], "foreseen")
    kept_level = node("Max", [level, constant("quietest", LEVELS[0])], "not_quieter")
    kept_level = node("Min", [kept_level, constant("loudest", LEVELS[1])], "not_louder")
    z = node("Add", [foreseen, node("Mul", [kept_level, turned], "loud")], "free")
    ends = [constant("reach_below", -REACH), constant("reach_above", REACH)]
    z = node("Min", [node("Max", [z, ends[0]], "above_reach"), ends[1]], "within_reach")
    node("Add", [z, "mean"], "latent")
    return finished(writer, config.context, dims, config.state, parts)


def gru_nodes(writer: GraphWriter, state: dict[str, FloatArray], x: str, hidden: int) -> str:
    """One step of torch's GRU with a row x (1, features), from the input "state" to what is returned, (1, hidden)."""
    node = writer.node

    def gates(name: str) -> FloatArray:
        reset, update, new = np.split(state[f"gru.{name}_l0"], 3)
        return np.concatenate([update, reset, new])  # the order of ONNX

    first = writer.weight("first", np.array([0], np.int64))
    inputs = [
        node("Unsqueeze", [x, first], "sequence"),
        writer.weight("gru.W", gates("weight_ih")[None]),
        writer.weight("gru.R", gates("weight_hh")[None]),
        writer.weight("gru.B", np.concatenate([gates("bias_ih"), gates("bias_hh")])[None]),
        "",
        node("Unsqueeze", ["state", first], "state_before"),
    ]
    writer.nodes.append(helper.make_node("GRU", inputs, ["", "state_after"], hidden_size=hidden, linear_before_reset=1))
    return node("Squeeze", ["state_after", first], "next_state")


def rhythm_nodes(writer: GraphWriter, rhythm: Rhythm, x: str, context: int) -> list[str]:
    """What `Rhythm` says of the newest frame of x (1, context, dims), as parts of one row."""
    node = writer.node

    def ints(name: str, *values: int) -> str:
        return writer.weight(name, np.array(values, np.int64))

    def part(source: str, first: int, end: int, name: str) -> str:
        return node("Slice", [source, ints(f"{name}_from", first), ints(f"{name}_to", end), "frames_axis"], name)

    ints("frames_axis", 2)
    groups = rhythm.groups.numpy()
    x = node("Slice", [x, ints("heard_from", context - CONTEXT), ints("heard_to", context), "x_axis"], "heard")
    powers = node("MatMul", [node("Mul", [x, x], "heard_squares"), writer.weight("groups", groups)], "grouped")
    powers = node("Transpose", [powers], "bands", perm=[0, 2, 1])
    smooth = node("AveragePool", [powers], "smooth", kernel_shape=[SMOOTH])
    floored = node(
        "Add", [smooth, writer.weight("energy_floor", np.array([ENERGY_FLOOR], np.float32))], "floored_bands"
    )
    logs = node("Log", [floored], "logs")
    average = node("AveragePool", [logs], "local", kernel_shape=[LOCAL])
    moves = node("Sub", [part(logs, LOCAL - 1, CONTEXT - SMOOTH + 1, "current"), average], "moves")
    power = node("ReduceSum", [node("Mul", [moves, moves], "move_squares"), ints("bands_axis", 1)], "move_power")
    newest = KEPT - 1
    places = (newest - np.array(LAGS)[:, None] + np.array(AHEAD)).reshape(-1)
    followed = node("Gather", [moves, writer.weight("followed_places", places)], "followed_flat", axis=2)
    shape = ints("followed_shape", 1, groups.shape[1], len(LAGS), len(AHEAD))
    followed = node("Reshape", [followed, shape], "followed")
    floor = writer.weight("likeness_floor", np.array([LIKENESS_FLOOR**2], np.float32))
    found = []
    for number, span in enumerate(SPANS):
        name = f"head{number}"
        query = part(moves, KEPT - span, KEPT, f"{name}.query")
        # Window i of the convolution ends at the frame i + span - 1.
        lags = writer.weight(f"{name}.lags", np.array([KEPT - span - lag for lag in LAGS]))
        products = node("Conv", [moves, query], f"{name}.products")
        same = node("Gather", [products, lags], f"{name}.same", axis=2)
        mean = node("AveragePool", [power], f"{name}.mean_power", kernel_shape=[span])
        powers = node("Mul", [mean, writer.weight(f"{name}.span", np.array([span], np.float32))], f"{name}.powers")
        before = node("Gather", [powers, lags], f"{name}.before", axis=2)
        now = part(powers, KEPT - span, KEPT - span + 1, f"{name}.now")
        both = node("Add", [node("Mul", [before, now], f"{name}.both"), floor], f"{name}.both_floored")
        likeness = node("Div", [same, node("Sqrt", [both], f"{name}.root")], f"{name}.likeness")
        sharp = node(
            "Mul", [likeness, writer.weight(f"{name}.sharpness", np.array([SHARPNESS], np.float32))], f"{name}.sharp"
        )
        weights = node("Softmax", [sharp], f"{name}.weights", axis=2)  # (1, 1, lags)
        spread = node("Unsqueeze", [weights, "bands_axis"], f"{name}.weights_row")
        foreseen = node("MatMul", [spread, followed], f"{name}.foreseen")  # (1, groups, 1, ahead)
        flat = ints(f"{name}.flat", 1, groups.shape[1] * len(AHEAD))
        found.append(node("Reshape", [foreseen, flat], f"{name}.row"))
        surest = node("ReduceMax", [likeness], f"{name}.surest", axes=[1, 2], keepdims=0)
        found.append(node("Reshape", [surest, ints(f"{name}.one", 1, 1)], f"{name}.sure"))
    return found


def finished(writer: GraphWriter, context: int, dims: int, state: int, parts: int) -> bytes:
    """The graph with its inputs and outputs."""

    def info(name: str, *shape: int) -> onnx.ValueInfoProto:
        return helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)

    shapes = {"past": (1, context, dims), "state": (1, state), "gumbel": (1, parts), "noise": (1, dims)}
    given = [info(name, *shape) for name, shape in (*shapes.items(), ("temperature", (1, 1)))]
    results = [info("latent", 1, dims), info("next_state", 1, state)]
    graph = helper.make_graph(writer.nodes, "rtae-prior", given, results, writer.weights)
    opset = [helper.make_opsetid("", OPSET)]
    model = helper.make_model(graph, opset_imports=opset, ir_version=IR_VERSION, producer_name="rtae")
    onnx.checker.check_model(model, full_check=True)
    return model.SerializeToString()


@torch.no_grad()
def parity(net: PriorNet, network: Network, frames: int = TRIAL_FRAMES) -> float:
    """Largest difference between torch and onnxruntime over frames that feed on each other, in standard deviations."""
    rng, worst = np.random.default_rng(0), 0.0
    network.restart()
    network.listen(rng.standard_normal((net.dims, net.config.context)).astype(np.float32))
    past, state = torch.from_numpy(network.past)[None].clone(), torch.from_numpy(network.state).clone()
    temperature = torch.ones(1, 1)
    for _ in range(frames):
        gumbel = rng.gumbel(size=net.config.parts).astype(np.float32)
        noise = rng.standard_normal(net.dims).astype(np.float32)
        z, state = net.step(past, state, torch.from_numpy(gumbel)[None], torch.from_numpy(noise)[None], temperature)
        past = torch.cat([past[:, 1:], z[:, None]], dim=1)
        worst = max(worst, float(np.abs(network.step(gumbel, noise, 1.0) - z[0].numpy()).max()))
    network.restart()
    return worst if np.isfinite(worst) else float("inf")


def spec_of(prior: PriorRun, content: bytes) -> PriorSpec:
    """What goes into prior.json beside the network."""

    def rows(table: np.ndarray) -> tuple[tuple[float, ...], ...]:
        return tuple(tuple(float(f"{value:.{DIGITS}g}") for value in row) for row in table)

    process = prior.process
    return PriorSpec(
        latent_dim=len(process.mean),
        mean=rows(process.mean[None])[0],
        coefficients=tuple(rows(table) for table in process.coefficients),
        innovation=rows(process.innovation),
        state=prior.config.state,
        parts=prior.config.parts,
        encoder=prior.encoder,
        files={PRIOR_NETWORK_FILE: hashlib.sha256(content).hexdigest()},
        context=prior.config.context,
        figures=prior.figures,
    )


def export_prior(prior: PriorRun, folder: Path) -> float:
    """Write a prior beside its model: the largest difference that was measured. Raises ExportError, nothing written."""
    net = prior.net.eval()
    content = prior_graph(net)
    spec = spec_of(prior, content)
    worst = parity(net, Network(spec, content, PRIOR_NETWORK_FILE))
    if not worst <= PARITY_LIMIT:
        raise ExportError(
            f"The prior does not verify, nothing was written: torch against ONNX is {worst:.3g}, allowed "
            f"is {PARITY_LIMIT:g} standard deviations"
        )
    spec.figures["parity"] = worst
    try:
        for name, data in ((PRIOR_NETWORK_FILE, content), (PRIOR_FILE, spec.to_json().encode())):
            beside = folder / (name + ".part")
            beside.write_bytes(data)
            beside.replace(folder / name)
    except OSError as error:
        raise ExportError(f"{folder} cannot be written ({error.strerror}); say where with --into FOLDER") from None
    return worst
