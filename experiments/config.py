"""What a person sets: frozen dataclasses, and their checks.

No JAX here: arguments are checked before it is imported.
"""

from __future__ import annotations

import dataclasses
import math
import typing
from pathlib import Path

from experiments.errors import ConfigError
from experiments.families import check_families, expand, known
from experiments.processes import Processes, check_devices, check_processes
from experiments.source import check_source
from experiments.trackers import TRACKERS
from icl import arms as arms_lib
from icl.conditions import DEMONSTRATIONS, METHODS

READS = ("hash-map", "nearest-neighbour", "5-nearest-neighbours", "hash-map-else-nearest")
"""The readers of agents/retrieval.py, which needs JAX."""
LINES = 20_000
"""Lines of metrics of a run, at most: each checkpoint has all of them up to it in its notes."""
ALL_LINES = 125_000
"""Lines of metrics of a comparison, at most: as many as experiments/jsonfile.py surely reads."""


@dataclasses.dataclass(frozen=True)
class CompareConfig(Processes):
    """The main job: arms compared at the same transitions, tokens and compute."""

    arms: tuple[str, ...] = ("bursty", "bursty-chunks", "isolated-chunks")
    """Arms, in the order of the report; `name:c` sets another chunk length."""
    readers: tuple[str, ...] = ("hash-map", "nearest-neighbour")
    """Baselines that read the context without learning."""
    families: tuple[str, ...] = ("dark-room", "teleporters", "lava-crossing", "key-door")
    """Training families, also tested on levels never seen; `suite.navigation`, `suite.all` … stand
    for the training side of a suite, `module:Class` and `xland:ID` for what others wrote."""
    test_families: tuple[str, ...] = ("random-graph",)
    """Families that are only tested on; a suite stands for the families that it holds out."""
    allow_overlap: bool = False
    """Allow a test family that is also trained on; it counts among the unseen levels only."""
    seed: int = 0
    """First seed; the runs take seed, seed + 1 …"""
    seeds: int = 5
    """Independent runs of each arm: levels, parameters and data are drawn anew."""
    updates: int = 800
    """Updates of each run, a multiple of `report_every`."""
    report_every: int = 50
    """Updates in one compiled chunk, after which the host hears of the metrics."""
    curve: int = 0
    """Evaluations on the way, for curves of the score; a divisor of the number of chunks."""

    horizon: int = 16
    """T, steps of an episode, the same for all families."""
    chunk: int = 4
    """c, steps of a cell in the chunked arms; it divides the horizon."""
    slots: int = 4
    """E, trajectories of a level and slots of a context; its length is slots * horizon."""
    contexts: int = 64
    """Contexts of an update, shared equally by the training families."""
    pool: int = 1
    """Updates that one pool of groups spans; foreign cells are exchanged within a pool."""
    query_loss: bool = False
    """Train on the query's actions only instead of every valid action."""
    observations: str = "symbols"
    """What the agent sees: symbols, or pixels (64 x 64 x 3 bytes; only actions are scrambled)."""
    lethality: float = 0.0
    """Share of the mistakes that end the episode."""
    recoverability: float = 1.0
    """Share of the other mistakes that do not throw the agent back to the start."""
    stickiness: float = 0.1
    """Probability that the last action is executed again in place of the chosen one."""
    scramble_actions: bool = True
    """Draw the meaning of the actions anew for every level."""
    scramble_symbols: bool = True
    """Draw the meaning of the symbols anew for every level."""
    symbols: int = 0
    """V, the common vocabulary; 0 takes what the largest family needs."""
    margin: float = 0.3
    """Least lead of the optimal over the random return in an admitted level."""
    train_levels: int = 2048
    """Different training levels of each family."""
    zipf: float = 0.0
    """Exponent of the training levels' frequencies; 0 is uniform."""
    store: str = ""
    """Store (`levelburst collect`) that training reads its groups from; generated without one."""
    fresh: bool = True
    """Draw new rollouts at every visit of a training level. Without, a level has its own, the same
    at each visit: those that `collect` writes."""

    expert_updates: int = 300
    """PPO updates (4,096 steps each) of the expert of a family that has no oracle."""

    width: int = 64
    """Residual stream of the transformer."""
    layers: int = 2
    """Blocks of the transformer."""
    heads: int = 2
    """Attention heads of a block."""
    dtype: str = "float32"
    """Activations: float32 or bfloat16."""
    remat: bool = False
    """Recompute blocks in the backward pass to save memory."""
    method: str = "imitation"
    """How it is trained: imitation, return-conditioned (decision transformer), distillation (of a
    learner's attempts), pretraining (DPT) or reinforcement (RL²)."""
    head_start: float = 0.5
    """Share of the updates that reinforcement imitates in, before it plays for itself."""
    history: int = 128
    """Episodes of the learner that distillation shows its attempts of."""
    kind: str = "transformer"
    """The model: transformer, or recurrent (gated recurrent units in the place of attention)."""
    tokens: str = "step"
    """Positions of the transformer: step, one each; or interleaved, outcome and sight apart."""
    rewards: bool = True
    """Tell rewards in the tokens."""
    learning_rate: float = 1e-2
    """Peak of the schedule: linear warm-up, then a cosine down to a tenth."""
    warmup: int = 50
    """Updates of the warm-up."""
    weight_decay: float = 0.01
    """Decoupled, on matrices."""

    test_stickiness: float = -1.0
    """Stickiness of the test levels, references included; -1 takes that of training."""
    regent: float = 0.0
    """Test models with retrieve-and-play in REGENT's manner around them: its lambda, 10 in the
    paper; 0 is the model alone."""
    demonstrations: tuple[str, ...] = ("whole", "as-trained")
    """What tests show: whole, as-trained, foreign, swapped, suboptimal, truncated, corrupted,
    relabelled, reordered (icl/conditions.py says what each is)."""
    demos: int = 3
    """K: tests show k = 0 … K demonstrations; at most slots - 1."""
    attempts: int = 0
    """Test agents also without demonstrations, over so many attempts of their own that they
    remember; at most slots. 0 leaves that out."""
    levels: int = 64
    """Test levels of each family and split, a multiple of 16."""
    episodes: int = 1
    """Episodes of each test level, k, kind of demonstrations and way of acting."""

    devices: int = 0
    """Devices of each process to spread runs over; 0 takes all, on CPU one a core."""
    runs_per_device: int = 0
    """Runs that one device trains at the same time, in one program; 0 takes as many as fit an
    accelerator's memory, and one on a core of a CPU."""
    data: int = 1
    """Devices that share the contexts of one run."""
    model: int = 1
    """Devices that split the heads and the perceptrons of one run."""
    fsdp: bool = False
    """Cut parameters and Adam's moments over `data`, too, and gather them when they are used."""
    accumulate: int = 1
    """Parts that an update reads its contexts in, to save memory; the loss is the same."""
    save_every: float = 60.0
    """Seconds of training between checkpoints, at most lost to a crash; 0 saves at every chunk.
    They are written while training goes on."""
    keep: int = 2
    """Training checkpoints of each run that are kept: the last so many, and the one of the lowest
    loss."""
    log: tuple[str, ...] = ()
    """Where the lines of metrics.jsonl go besides, as they are written: wandb, trackio, tensorboard
    (extra `log`); nowhere by default."""
    preset: str = "quick"
    """Where the other fields start from: smoke, quick, ladder or paper."""
    out: str = ""
    """Run folder; by default runs/compare-PRESET-TIME."""
    overwrite: bool = False
    """Use the run folder even if it holds something; what it holds is deleted first."""


def from_stored(stored: dict[str, typing.Any], path: Path) -> CompareConfig:
    """The config that a run's config.json holds; fields that it lacks keep their defaults.

    Raises:
        ConfigError: a field is unknown or of another type.
    """
    kinds: dict[str, typing.Any] = typing.get_type_hints(CompareConfig)
    values: dict[str, typing.Any] = {}
    for name, value in stored.items():
        if name in ("command", "command_line"):
            continue
        try:
            known("field", (name,), tuple(kinds))
        except ConfigError as error:
            raise ConfigError(f"{path}: {error}") from None
        kind = kinds[name]
        if kind in (bool, int, float, str):
            wanted = kind.__name__
            value = float(value) if kind is float and type(value) is int else value
            fits = type(value) is kind
        else:  # a tuple of names
            wanted = "a list of names"
            fits = isinstance(value, list) and all(isinstance(item, str) for item in value)
        if not fits:
            raise ConfigError(f"{path}: {name} is {value!r}, expected {wanted}; correct it")
        values[name] = tuple(value) if isinstance(value, list) else value
    return CompareConfig(**values)


def with_suites(config: CompareConfig) -> CompareConfig:
    """The config with suites replaced by their families.

    Raises:
        ConfigError: there is no suite of that name.
    """
    return dataclasses.replace(
        config,
        families=expand(config.families, "train"),
        test_families=expand(config.test_families, "test"),
    )


def check(config: CompareConfig) -> None:
    """Checks all that can be checked without JAX.

    Raises:
        ConfigError: the first mistake found.
    """
    _check_numbers(config)
    _check_names(config)
    check_processes(config)
    check_devices(config)
    count = len(config.families)
    if config.contexts % count:
        raise ConfigError(
            f"contexts {config.contexts} cannot be shared equally by {count} families; "
            f"use a multiple of {count}"
        )
    if config.demos >= config.slots:
        raise ConfigError(
            f"demos {config.demos}: a context of {config.slots} slots holds at most "
            f"{config.slots - 1} demonstrations and the query; lower demos or raise slots"
        )
    if config.attempts > config.slots:
        raise ConfigError(
            f"attempts {config.attempts}: a context of {config.slots} slots holds that many; lower "
            "attempts or raise slots"
        )
    _check_method(config)
    check_source(config)
    chunks, rest = divmod(config.updates, config.report_every)
    if rest or config.report_every % config.pool:
        raise ConfigError(
            f"updates {config.updates} must be a multiple of report_every {config.report_every}, "
            f"and that a multiple of pool {config.pool}; change one of them"
        )
    if config.curve and chunks % config.curve:
        raise ConfigError(
            f"curve {config.curve} does not divide the {chunks} chunks of {config.report_every} "
            "updates; use a divisor"
        )
    lines = chunks + 3 * (config.demos + 1) * config.curve  # a test: three splits
    runs = len(config.arms) * config.seeds
    for whose, told, most in (("a run", lines, LINES), (f"{runs} runs", lines * runs, ALL_LINES)):
        if told > most:
            raise ConfigError(
                f"report_every {config.report_every}: {whose} would have {told} lines of metrics, "
                f"{most} are kept; raise report_every, or lower curve, seeds or the number of arms"
            )
    if config.levels % 16:
        raise ConfigError(f"levels {config.levels} is not a multiple of 16; use 16, 32, 48 …")
    if config.levels > config.train_levels:
        raise ConfigError(
            f"levels {config.levels}: only {config.train_levels} levels of a family are trained "
            "on and can be tested as seen; lower levels or raise train_levels"
        )
    pool = config.pool * config.contexts // count
    if pool > config.train_levels:
        raise ConfigError(
            f"train_levels {config.train_levels}: a pool holds {pool} different levels of a "
            "family; raise train_levels or lower contexts or pool"
        )
    for name in config.arms:
        try:
            arm = arms_lib.named(name, config.chunk)
            arms_lib.check(arm, pool, config.slots, config.horizon)
        except ValueError as error:
            raise ConfigError(str(error)) from None
        try:
            shown = max(config.demos, 1) + 1
            arms_lib.check(arm, config.levels, shown, config.horizon)
        except ValueError as error:
            raise ConfigError(f"levels {config.levels}, tested as one pool: {error}") from None


def _check_numbers(config: CompareConfig) -> None:
    least = {
        "seed": 0, "seeds": 1, "updates": 1, "report_every": 1, "curve": 0, "horizon": 1,
        "chunk": 1, "slots": 1, "contexts": 1, "pool": 1, "symbols": 0, "train_levels": 1,
        "zipf": 0, "width": 1, "layers": 1, "heads": 1, "warmup": 0, "weight_decay": 0,
        "demos": 0, "attempts": 0, "history": 1, "levels": 1, "regent": 0, "episodes": 1,
        "devices": 0, "runs_per_device": 0,
        "expert_updates": 1, "data": 1, "model": 1, "accumulate": 1, "save_every": 0, "keep": 1,
    }  # fmt: skip
    for field, low in least.items():
        if not low <= getattr(config, field) < math.inf:
            raise ConfigError(f"{field} {getattr(config, field)}: use a number of {low} or more")
    for field, value in vars(config).items():
        if type(value) is int and field != "seed" and value >= 2**31:
            raise ConfigError(f"{field} is 2**31 or more; use a smaller number")
    if config.seed + config.seeds > 2**32:
        raise ConfigError(f"seed {config.seed}: the last seed must be below 2**32; use a lower one")
    for field in ("lethality", "recoverability", "head_start"):
        if not 0 <= getattr(config, field) <= 1:
            raise ConfigError(f"{field} {getattr(config, field)}: use a share from 0 to 1")
    if config.observations not in ("symbols", "pixels"):
        raise ConfigError(f"observations {config.observations!r}: use symbols or pixels")
    if config.test_stickiness != -1 and not 0 <= config.test_stickiness < 1:
        raise ConfigError(
            f"test_stickiness {config.test_stickiness}: use a number from 0 up to 1, or -1 for "
            "that of training"
        )
    for field in ("stickiness", "margin"):
        if not 0 <= getattr(config, field) < 1:
            raise ConfigError(f"{field} {getattr(config, field)}: use a number from 0 up to 1")
    if not 0 < config.learning_rate < 10:
        raise ConfigError(f"learning_rate {config.learning_rate}: use a number above 0, as 0.003")
    if config.width % config.heads or config.width // config.heads % 2:
        raise ConfigError(
            f"width {config.width} over {config.heads} heads: the depth of a head must be an even "
            "whole number; change width or heads"
        )
    if config.kind not in ("transformer", "recurrent"):
        raise ConfigError(f"kind {config.kind!r}: use transformer or recurrent")
    if config.kind == "recurrent" and config.model > 1:
        raise ConfigError("model: a recurrent model has no heads to split; use 1, or data")
    if config.tokens not in ("step", "interleaved"):
        raise ConfigError(f"tokens {config.tokens!r}: use step or interleaved")
    if config.dtype not in ("float32", "bfloat16"):
        raise ConfigError(f"dtype {config.dtype!r}: use float32 or bfloat16")


def _check_method(config: CompareConfig) -> None:
    known("method", (config.method,), tuple(METHODS))
    if config.method in ("pretraining", "distillation") and "single" in config.arms:
        raise ConfigError(
            f"method {config.method} needs other trajectories of the level, and contexts of arm "
            "single have none; use --arms bursty"
        )
    if config.method == "pretraining" and config.attempts:
        raise ConfigError(
            "attempts: a model of method pretraining remembers nothing of its own; leave them out"
        )
    if config.method == "return-conditioned" and not config.rewards:
        raise ConfigError(
            "method return-conditioned tells returns in the rewards' place; leave out --no-rewards"
        )
    if config.method == "reinforcement" and (config.query_loss or config.accumulate > 1):
        raise ConfigError(
            "method reinforcement trains on all that it does, in parts of its own; leave out "
            "query_loss and accumulate"
        )
    if config.method == "reinforcement" and not config.head_start and len(config.arms) > 1:
        raise ConfigError(
            "method reinforcement without a head start sees its own contexts only, so arms "
            f"{' '.join(config.arms)} would be one; use --arms bursty, or raise head_start"
        )
    if config.method == "distillation" and config.history < config.slots:
        raise ConfigError(
            f"history {config.history}: {config.slots} attempts of the learner are shown; raise "
            "history or lower slots"
        )
    if config.method != "imitation" and (config.regent or config.data * config.model > 1):
        raise ConfigError(
            f"method {config.method} runs on one device a run and without retrieval; leave out "
            "data, model and regent"
        )


def _check_names(config: CompareConfig) -> None:
    for field in ("arms", "families", "test_families", "readers", "demonstrations", "log"):
        names = getattr(config, field)
        if len(set(names)) < len(names):
            raise ConfigError(f"{field} {' '.join(names)}: a name stands twice; give each once")
    try:
        rules = [arms_lib.named(name, config.chunk) for name in config.arms]
    except ValueError as error:
        raise ConfigError(str(error)) from None
    if len(set(rules)) < len(rules):
        raise ConfigError(
            f"arms {' '.join(config.arms)}: two names stand for one rule at chunk {config.chunk}; "
            "give each once"
        )
    for field in ("arms", "families", "demonstrations"):
        if not getattr(config, field):
            raise ConfigError(f"{field} is empty; give at least one")
    check_families(config.families + config.test_families)
    known("kind of demonstrations", config.demonstrations, tuple(DEMONSTRATIONS))
    known("reader", config.readers, READS)
    known("tracker", config.log, tuple(TRACKERS))
    both = set(config.families) & set(config.test_families)
    if both and not config.allow_overlap:
        raise ConfigError(
            f"{', '.join(sorted(both))} is trained on and held out at once; take it from one of "
            "--families and --test-families, or say --allow-overlap"
        )
