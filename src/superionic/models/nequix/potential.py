"""Nequix (Koker, Kotak and Smidt, arXiv:2508.16067 (2025)): adapter.

No weights come with its wheel. A model comes by name, when its file is in the package's own cache or can be downloaded
into it, or by its ``file``: one line of settings as JSON, then arrays of numpy, and nothing that runs.

JAX compiles a network anew for each shape of its input, which takes ten seconds and more. So graphs are padded to few
shapes: the smallest that fits on a geometric grid, which depends on the structure and on nothing before it, so that an
evaluation repeats bit for bit. Of each pair of neighbours only one direction goes into the network: both have the same
radial functions, and their spherical harmonics differ by a sign. Layers are those of the package; how they are put
together is written here, for speed.

Options of :func:`load`: ``file``; ``energy_convention`` and ``level_of_theory`` of a file that is not on record;
``device`` ("cpu", or "cuda" where the JAX of the environment has it). Single precision only, as they were trained.
"""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Final

import numpy as np
import numpy.typing as npt
from ase import Atoms
from ase.data import chemical_symbols

from superionic.conventions import MP_RAW, OMAT24
from superionic.errors import EngineError, PotentialError
from superionic.foreign import open_regular
from superionic.potentials import checkpoints
from superionic.potentials.base import BasePotential, PotentialIdentity, Prediction, weights_sha256
from superionic.potentials.checkpoints import Statement
from superionic.potentials.elements import mptrj_elements

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]

PINNED_VERSION: Final = "0.4.5"
TEST_MODEL: Final = "test"
"""A small network with fixed random weights, built on the spot: it proves the engine, not a material."""

_DEFAULT: Final = "nequix-omat-1"
_MIT: Final = "MIT"
_LONGEST_HEADER: Final = 1_000_000
_PAIRS_TOGETHER: Final = 4096
"""Pairs of neighbours that are evaluated at once, of which frames of tens of atoms fill most."""

_KNOWN: Final[Mapping[str, Statement]] = {
    "2d0802ae7f5915cb488c44d25649d98404a103697e6500abb40f515e003a46a6": Statement(
        "nequix-omat-1", OMAT24, "PBE and PBE+U with the settings of OMat24", _MIT
    ),
    "1647af8e627e1afa11e2bfadeab0797326513a521afd7dd01606a96f56783eee": Statement(
        "nequix-mp-1", MP_RAW, "PBE and PBE+U of the Materials Project (MPtrj), uncorrected", _MIT
    ),
}
_TEST: Final = Statement(TEST_MODEL, "own: a test model", "nothing: a test model with random weights", _MIT)
_TEST_SETTINGS: Final[Mapping[str, Any]] = {
    "atomic_numbers": [3, 17, 39], "cutoff": 4.5, "hidden_irreps": "8x0e + 4x1o + 4x2e", "lmax": 2, "n_layers": 2,
    "radial_basis_size": 4, "radial_mlp_size": 16, "radial_mlp_layers": 2, "radial_polynomial_p": 6.0,
    "mlp_init_scale": 4.0, "index_weights": False, "layer_norm": True, "shift": -2.0, "scale": 20.0,
    "avg_n_neighbors": 20.0,
}  # fmt: skip
_SETTINGS: Final = tuple(name for name in _TEST_SETTINGS if name != "atomic_numbers")


@dataclass(frozen=True)
class _Graph:
    """A structure as the network sees it.

    Attributes
    ----------
    species
        Index of each atom's element, shape (n_atoms,).
    senders, receivers
        Atoms of each pair of neighbours, shape (n_pairs,); each pair stands once.
    displacements_A
        From receiver to sender, shape (n_pairs, 3).
    """

    species: IntArray
    senders: IntArray
    receivers: IntArray
    displacements_A: FloatArray
    volume_A3: float


class NequixPotential(BasePotential):
    """Nequix; make it with :func:`load`."""

    together = 64

    def __init__(
        self, identity: PotentialIdentity, network: Any, settings: Mapping[str, Any], *, device: str = "cpu"
    ) -> None:
        import equinox
        import jax

        super().__init__(identity)
        self._device = _device(device)
        arrays, rest = equinox.partition(network, equinox.is_array)
        self._arrays = jax.device_put(arrays, self._device)
        self._cutoff_A = float(settings["cutoff"])
        numbers = sorted(settings["atomic_numbers"])
        self._species = np.full(len(chemical_symbols), -1)
        self._species[numbers] = np.arange(len(numbers))

        def energies(displacements: Any, arrays: Any, species: Any, senders: Any, receivers: Any) -> tuple[Any, Any]:
            of_atoms = _node_energies(equinox.combine(arrays, rest), displacements, species, senders, receivers)
            return of_atoms.sum(), of_atoms

        self._gradient = jax.jit(jax.grad(energies, has_aux=True))

    def evaluate(self, atoms: Atoms, *, stress: bool = True) -> Prediction:
        """Return energy, forces and stress; see :class:`superionic.potentials.base.Potential`."""
        return self.evaluate_many([atoms], stress=stress)[0]

    def evaluate_many(self, structures: Sequence[Atoms], *, stress: bool = True) -> list[Prediction]:
        """Evaluate several structures, small ones together, so that fewer shapes are compiled.

        What a structure gives depends in the last digits of single precision on which ones stand beside it in
        ``structures``, and on nothing else.

        Raises
        ------
        PotentialError, CalculationFailed
            As :meth:`evaluate`, for any of them.
        """
        graphs = [self._graph(atoms) for atoms in structures]
        predictions: list[Prediction] = []
        for first, last in _batches([len(graph.senders) for graph in graphs]):
            predictions += self._evaluate(graphs[first:last], stress=stress)
        return predictions

    def _graph(self, atoms: Atoms) -> _Graph:
        from matscipy.neighbours import neighbour_list

        self.check_elements(atoms)
        cell = np.array(atoms.cell.array)
        positions = checkpoints.wrapped_fractions(atoms, "Nequix") @ cell
        receivers, senders, images, displacements = neighbour_list(
            "ijSD", cutoff=self._cutoff_A, positions=positions, cell=cell, pbc=np.array(atoms.pbc)
        )
        # Of the two directions of a pair, that from the atom that comes first; of an atom and its own image, that with
        # the first component that is not 0 above 0.
        a, b, c = images.T
        ahead = (a > 0) | ((a == 0) & ((b > 0) | ((b == 0) & (c > 0))))
        once = (receivers < senders) | ((receivers == senders) & ahead)
        return _Graph(
            self._species[atoms.numbers],
            senders[once],
            receivers[once],
            displacements[once],
            abs(float(np.linalg.det(cell))),
        )

    def _evaluate(self, graphs: Sequence[_Graph], *, stress: bool) -> list[Prediction]:
        """Evaluate graphs as one; padding is pairs at the cutoff, where the network gives nothing, of an extra atom."""
        import jax

        finest = 8 if len(graphs) == 1 else 2
        counts = [len(graph.species) for graph in graphs]
        first = np.concatenate([[0], np.cumsum(counts)])
        n_atoms, n_pairs = int(first[-1]), sum(len(graph.senders) for graph in graphs)
        n_padded, m_padded = padded(n_atoms + 1, min(finest, 4)), padded(max(n_pairs, 1), finest)
        species = np.zeros(n_padded, dtype=np.int32)
        senders, receivers = (np.full(m_padded, n_padded - 1, dtype=np.int32) for _ in range(2))
        displacements = np.zeros((m_padded, 3))
        displacements[n_pairs:, 0] = self._cutoff_A
        species[:n_atoms] = np.concatenate([graph.species for graph in graphs])
        senders[:n_pairs] = np.concatenate([graph.senders + at for graph, at in zip(graphs, first, strict=False)])
        receivers[:n_pairs] = np.concatenate([graph.receivers + at for graph, at in zip(graphs, first, strict=False)])
        displacements[:n_pairs] = np.concatenate([graph.displacements_A for graph in graphs])
        inputs = jax.device_put((displacements.astype(np.float32), species, senders, receivers), self._device)
        slopes, energies = self._gradient(inputs[0], self._arrays, *inputs[1:])
        # From here on in double precision: energies are summed, and slopes along pairs become forces and stress.
        of_atoms = np.asarray(energies).astype(np.float64)
        of_pairs = np.asarray(slopes).astype(np.float64)[:n_pairs]
        forces = np.zeros((n_atoms, 3))
        np.subtract.at(forces, senders[:n_pairs], of_pairs)
        np.add.at(forces, receivers[:n_pairs], of_pairs)
        predictions, done = [], 0
        for graph, begin, end in zip(graphs, first[:-1], first[1:], strict=True):
            pairs = slice(done, done := done + len(graph.senders))
            voigt = None
            if stress:
                voigt = checkpoints.voigt(graph.displacements_A.T @ of_pairs[pairs]) / graph.volume_A3
            predictions.append(Prediction(float(of_atoms[begin:end].sum()), forces[begin:end], voigt))
        return predictions


def padded(count: int, steps: int) -> int:
    """Return the smallest number on a geometric grid that is not below ``count``, of ``steps`` to each doubling."""
    if count <= 2 * steps:
        return count
    step: int = 2 ** ((count - 1).bit_length() - 1) // steps
    return -(-count // step) * step


def _batches(sizes: Sequence[int]) -> Iterator[tuple[int, int]]:
    """Split what has these sizes into runs of some :data:`_PAIRS_TOGETHER` at most, or of one that is larger."""
    first, total = 0, 0
    for index, size in enumerate(sizes):
        if index > first and total + size > _PAIRS_TOGETHER:
            yield first, index
            first, total = index, 0
        total += size
    if sizes:
        yield first, len(sizes)


def _node_energies(network: Any, displacements: Any, species: Any, senders: Any, receivers: Any) -> Any:
    """Energies of the atoms in eV, from pairs of neighbours that stand once."""
    import e3nn_jax as e3nn
    import jax
    import jax.numpy as jnp
    from nequix.model import bessel_basis, polynomial_cutoff

    distances = jnp.linalg.norm(displacements, axis=1)
    radial = bessel_basis(distances, network.radial_basis_size, network.cutoff)
    radial *= polynomial_cutoff(distances, network.cutoff, network.radial_polynomial_p)[:, None]
    ahead = e3nn.spherical_harmonics(
        e3nn.s2_irreps(network.lmax), displacements, normalize=True, normalization="component"
    ).array
    parity = np.concatenate([np.full(2 * degree + 1, (-1.0) ** degree) for degree in range(network.lmax + 1)])
    harmonics = jnp.concatenate([ahead, ahead * parity])
    sources, targets = jnp.concatenate([senders, receivers]), jnp.concatenate([receivers, senders])
    features = e3nn.IrrepsArray(f"{network.n_species}x0e", jax.nn.one_hot(species, network.n_species))
    for layer in network.layers:
        weights = jax.vmap(layer.radial_mlp)(radial)
        weights = jnp.concatenate([weights, weights])
        given = layer.linear_1(features)
        summed = _summed_messages(given, harmonics, weights, sources, targets, {ir.l for _, ir in layer.tp_irreps})
        kept = layer.skip(species, features) if layer.index_weights else layer.skip(features)
        features = layer.linear_2(summed / layer.avg_n_neighbors**0.5) + kept
        if layer.layer_norm is not None:
            features = layer.layer_norm(features)
        features = e3nn.gate(features, even_act=jax.nn.silu, odd_act=jax.nn.tanh, even_gate_act=jax.nn.silu)
    scaled = network.readout(features).array[:, 0] * network.scale + network.shift
    return scaled + network.atom_energies[species]


def _summed_messages(
    features: Any, harmonics: Any, weights: Any, sources: Any, targets: Any, degrees: Collection[int]
) -> Any:
    """Sum over the neighbours of each atom the products of their features, harmonics and radial weights.

    What ``e3nn_jax.tensor_product`` gives, times the weights and summed, in less than half of the time: products with
    harmonics are many and small, and are made for all channels at once, the channels side by side in memory.

    Parameters
    ----------
    features
        Of the atoms, as irreps of natural parity.
    harmonics
        Spherical harmonics of the directed pairs, shape (n, (lmax + 1)²).
    weights
        A number for each pair and output channel, in the order of the sorted irreps of the product.
    sources, targets
        Atoms whose features are taken, and to which messages go, shape (n,).
    degrees
        Degrees of the product that are used.
    """
    import e3nn_jax as e3nn
    import jax
    import jax.numpy as jnp

    lmax = round(harmonics.shape[1] ** 0.5) - 1
    products = [  # block of the features, its channels, and the degrees of features, harmonics and product
        (block, mul, ir.l, second, third)
        for block, (mul, ir) in enumerate(features.irreps)
        for second in range(lmax + 1)
        for third in range(abs(ir.l - second), ir.l + second + 1)
        if (ir.l + second + third) % 2 == 0 and third in degrees
    ]
    in_order = sorted(products, key=lambda product: product[4])
    starts = np.cumsum([0, *(product[1] for product in in_order)])
    start_of = dict(zip(in_order, starts, strict=False))
    summed: dict[tuple[int, ...], Any] = {}
    for block, (mul, ir) in enumerate(features.irreps):
        own = [product for product in products if product[0] == block]
        taken = jnp.swapaxes(features.chunks[block], 1, 2)[sources]
        mixing, factors = [], []
        for product in own:
            second, third = product[3:]
            with jax.ensure_compile_time_eval():
                coupling = np.asarray(e3nn.clebsch_gordan(ir.l, second, third)) * (2 * third + 1) ** 0.5
            part = harmonics[:, second**2 : (second + 1) ** 2]
            mixing.append(jnp.einsum("ej,ijk->eik", part, coupling.astype(np.float32)))
            own_weights = weights[:, None, start_of[product] : start_of[product] + mul]
            factors.append(jnp.broadcast_to(own_weights, (len(sources), 2 * third + 1, mul)))
        messages = _mixed()(taken, jnp.concatenate(mixing, axis=2)) * jnp.concatenate(factors, axis=1)
        total = jnp.zeros((len(features.array), *messages.shape[1:]), messages.dtype).at[targets].add(messages)
        ends = np.cumsum([2 * product[4] + 1 for product in own])
        parts = jnp.split(total, ends[:-1], axis=1)
        summed |= {product: jnp.swapaxes(part, 1, 2) for product, part in zip(own, parts, strict=True)}
    irreps = [(product[1], e3nn.Irrep(product[4], (-1) ** product[4])) for product in in_order]
    chunks = [summed[product] for product in in_order]
    return e3nn.from_chunks(irreps, chunks, (len(features.array),), chunks[0].dtype).regroup()


def _mixed() -> Any:
    """Return the function Σ_i x[e, i, u] m[e, i, k] → [e, k, u], whose derivatives are written out.

    XLA derives sums over channels that it does not vectorise, and which would take four fifths of all time; as products
    of small matrices they are fast.
    """
    import jax
    import jax.numpy as jnp

    def product(taken: Any, mixing: Any) -> Any:
        total = mixing[:, 0, :, None] * taken[:, 0, None, :]
        for component in range(1, taken.shape[1]):
            total = total + mixing[:, component, :, None] * taken[:, component, None, :]
        return total

    def forward(taken: Any, mixing: Any) -> tuple[Any, tuple[Any, Any]]:
        return product(taken, mixing), (taken, mixing)

    def backward(inputs: tuple[Any, Any], slopes: Any) -> tuple[Any, Any]:
        taken, mixing = inputs
        return jnp.einsum("eik,eku->eiu", mixing, slopes), jnp.einsum("eiu,eku->eik", taken, slopes)

    mixed: Any = jax.custom_vjp(product)
    mixed.defvjp(forward, backward)
    return mixed


def describe(model: str | None = None, **options: Any) -> PotentialIdentity:
    """Describe a published model or a user's file, without importing nequix.

    Raises
    ------
    PotentialError
        If there is no such model, or the file is none of Nequix.
    """
    file = options.get("file")
    if file is not None:
        with _opened(file) as handle:
            settings = _header(handle, file)
        digest = checkpoints.checksum(file)
        elements = _elements(settings)
        return _stated(digest, model, options).identity("nequix", PINNED_VERSION, digest, elements, _MIT)
    if model == TEST_MODEL:
        return _TEST.identity("nequix", PINNED_VERSION, "", _elements(_TEST_SETTINGS), _MIT)
    digest, statement = _published(model)
    return statement.identity("nequix", PINNED_VERSION, digest, mptrj_elements(), _MIT)


def load(
    model: str | None = None,
    *,
    weights: Mapping[str, np.ndarray] | None = None,
    threads: int = 1,
    file: str | None = None,
    energy_convention: str | None = None,
    level_of_theory: str | None = None,
    device: str = "cpu",
) -> NequixPotential:
    """Load Nequix.

    Parameters
    ----------
    model
        ``"nequix-omat-1"`` (default) or ``"nequix-mp-1"``; with ``file`` a name for it, for people; ``"test"`` builds
        the small test network.
    weights
        Must be None: nothing trains it here.
    threads
        Threads of JAX on the processor (a setting of the whole process, made before its first evaluation).
    file
        A model of the Nequix project (``.nqx``).
    energy_convention, level_of_theory
        What the energies of ``file`` are; needed where it is not on record.
    device
        ``"cpu"`` or ``"cuda"``.

    Raises
    ------
    EngineError
        If the file of a named model is not here and cannot be downloaded, is another than that on record, or JAX has
        no such device.
    PotentialError
        On an unknown model, a file that is none of Nequix, or weights.
    """
    if weights is not None:
        raise PotentialError("Nequix takes no weights here.", fix="Leave them out, and name its file.")
    with _settings_of_jax(threads, device):
        import jax

        _device(device)  # JAX reads its settings once, when it looks for devices first
        version = checkpoints.installed_version("nequix")
        with jax.default_device(_device("cpu")):
            if file is None and model == TEST_MODEL:
                settings, network = _TEST_SETTINGS, _test_network()
                digest = weights_sha256(dict(enumerate_leaves(network)))
                statement = _TEST
            else:
                path = Path(str(file)) if file is not None else _fetched(*_published(model))
                digest = checkpoints.checksum(path)
                statement = _stated(
                    digest, model, {"energy_convention": energy_convention, "level_of_theory": level_of_theory}
                )
                settings, network = _read(path)
        identity = statement.identity("nequix", version, digest, _elements(settings), _MIT)
        return NequixPotential(identity, network, settings, device=device)


def enumerate_leaves(network: Any) -> list[tuple[str, npt.NDArray[Any]]]:
    """All arrays of a network with their names, in the order in which its file has them."""
    import equinox
    import jax

    leaves = jax.tree_util.tree_leaves_with_path(equinox.filter(network, equinox.is_array))
    return [(jax.tree_util.keystr(path), np.asarray(leaf)) for path, leaf in leaves]


# ---- files ----------------------------------------------------------------------------------------------------------


def _stated(digest: str, model: str | None, options: Mapping[str, Any]) -> Statement:
    return checkpoints.stated(digest, _KNOWN.get(digest), options, engine="Nequix", model=model)


def _published(model: str | None) -> tuple[str, Statement]:
    """Checksum and description of a published model."""
    name = _DEFAULT if model is None else model
    for digest, statement in _KNOWN.items():
        if statement.model == name:
            return digest, statement
    raise PotentialError(
        f"Nequix has no model {name!r} here.",
        fix=f"Choose one of: {', '.join(known.model for known in _KNOWN.values())}; or give the `file` of another.",
    )


def _fetched(digest: str, statement: Statement) -> Path:
    """Return the file of a published model in the cache of the package, downloaded if it is not there."""
    import urllib.request

    from nequix.calculator import NequixCalculator

    url = str(NequixCalculator.URLS[statement.model])
    path = Path("~/.cache/nequix/models").expanduser() / f"{statement.model}.nqx"
    if not path.exists():
        draft = path.with_name(f"{path.name}.{os.getpid()}")
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with urllib.request.urlopen(url, timeout=60.0) as answer:  # noqa: S310 - an address of the package's own
                draft.write_bytes(answer.read())
            draft.replace(path)
        except OSError as error:
            raise EngineError(
                f"The file of {statement.model} is not here, and cannot be downloaded: {error}.",
                where=url,
                fix=f"Download it where there is a network, and say `file: {path.name}` in the campaign (with its "
                f"path), or put it at {path}.",
            ) from error
        finally:
            draft.unlink(missing_ok=True)
    if checkpoints.checksum(path) != digest:
        raise EngineError(
            f"The file of {statement.model} is not the one on record (SHA-256 {digest[:12]}...).",
            where=str(path),
            fix=f"Remove it, and let it be downloaded again, or put that of {url} in its place.",
        )
    return path


def _opened(path: str | Path) -> IO[bytes]:
    try:
        return open_regular(path, checkpoints.MOST_BYTES)
    except OSError as error:
        raise PotentialError(
            f"The Nequix file cannot be read: {error.strerror or error}.",
            where=str(path),
            fix="Correct its path: `file` is relative to the campaign file.",
        ) from error


def _header(handle: IO[bytes], path: str | Path) -> dict[str, Any]:
    """Read the first line of a file: the settings of its network."""
    try:
        settings = json.loads(handle.readline(_LONGEST_HEADER).decode("utf-8"))
        numbers = settings["atomic_numbers"]
        if missing := [name for name in _SETTINGS if name not in settings]:
            raise ValueError(f"its first line does not say {', '.join(missing)}")  # noqa: TRY301 - as all that is wrong
        if not all(isinstance(number, int) and 0 < number < len(chemical_symbols) for number in numbers):
            raise ValueError("its elements are none")  # noqa: TRY301
    except (ValueError, LookupError, TypeError, RecursionError) as error:
        raise PotentialError(
            f"This is no model of Nequix: {error}.",
            where=str(path),
            fix="Give an .nqx of the Nequix project (its .pt files are pickles, and are not read).",
        ) from error
    return dict(settings)


def _read(path: Path) -> tuple[dict[str, Any], Any]:
    """Read settings and network of a file."""
    import equinox

    with _opened(path) as handle:
        settings = _header(handle, path)
        try:
            network = equinox.tree_deserialise_leaves(handle, _skeleton(settings))
        except (OSError, ValueError, TypeError, RuntimeError, EOFError) as error:
            raise PotentialError(
                f"The arrays of this Nequix file do not fit its settings: {str(error).splitlines()[0]}",
                where=str(path),
                fix="Download it again.",
            ) from error
    return settings, network


def _skeleton(settings: Mapping[str, Any]) -> Any:
    """Build a network of shapes without arrays, which takes a tenth of the time."""
    import e3nn_jax as e3nn
    import equinox
    import jax
    from nequix.model import Nequix

    irreps = e3nn.Irreps(settings["hidden_irreps"]).regroup()
    if any(ir.p != (-1) ** ir.l for _, ir in irreps) or str(irreps) != str(e3nn.Irreps(settings["hidden_irreps"])):
        raise ValueError(f"its irreps are none of natural parity in order of degree: {irreps}")
    chosen = {name: settings[name] for name in _SETTINGS}
    n_species = len(settings["atomic_numbers"])
    return equinox.filter_eval_shape(lambda: Nequix(key=jax.random.key(0), n_species=n_species, kernel=False, **chosen))


def _test_network() -> Any:
    """Build the network of :data:`TEST_MODEL`, always with the same weights."""
    import jax
    import jax.numpy as jnp

    generator = np.random.Generator(np.random.PCG64(7))

    def filled(path: Any, leaf: Any) -> Any:
        if not isinstance(leaf, jax.ShapeDtypeStruct):
            return leaf
        if jax.tree_util.keystr(path) == ".atom_energies":
            return jnp.array([-0.3, -0.26, -2.26])
        numbers = generator.standard_normal(leaf.shape)
        # The layers of the radial network are not normalised; e3nn's are.
        return jnp.asarray(numbers / (leaf.shape[0] ** 0.5 if "radial_mlp" in jax.tree_util.keystr(path) else 1.0))

    return jax.tree_util.tree_map_with_path(filled, _skeleton(_TEST_SETTINGS))


def _elements(settings: Mapping[str, Any]) -> tuple[str, ...]:
    return checkpoints.by_number(chemical_symbols[number] for number in settings["atomic_numbers"])


# ---- JAX ------------------------------------------------------------------------------------------------------------


@contextlib.contextmanager
def _settings_of_jax(threads: int, device: str) -> Iterator[None]:
    """Set what JAX reads from the environment when it starts: threads, platform, and no memory ahead of need."""
    flags = os.environ.get("XLA_FLAGS", "")
    if threads == 1:
        flags += " --xla_cpu_multi_thread_eigen=false"
    ours = {"NPROC": str(threads), "XLA_FLAGS": flags.strip(), "XLA_PYTHON_CLIENT_PREALLOCATE": "false"}
    if device == "cpu":
        ours["JAX_PLATFORMS"] = "cpu"
    before = {name: os.environ.get(name) for name in ours}
    os.environ.update(ours)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


def _device(name: str) -> Any:
    """Return JAX's first device of a kind."""
    import jax

    try:
        return jax.devices(name)[0]
    except RuntimeError as error:
        raise EngineError(
            f"The JAX of this environment has no device {name!r}.",
            where=str(error).splitlines()[0],
            fix=f"Leave `device` out, or install jax[cuda12]=={jax.__version__} into the environment of the engine.",
        ) from error
