"""Export of modules to .pt and .pt2, against NumPy formulas and central differences.

The two packages are compiled once, in the fixtures of conftest.py; all that can be tested without compiling is.
"""

import json
import zipfile

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from models import ENERGIES, Pair, pair_example, pair_oracle, pair_spec, walls_example, walls_spec  # noqa: E402
from openmmnnp.export import compile, eager, package, references, save_pt, save_pt2  # noqa: E402
from openmmnnp.spec import ModelSpec, read_spec, write_spec  # noqa: E402


class Harmonic(torch.nn.Module):
    def forward(self, positions: torch.Tensor) -> torch.Tensor:
        return 50.0 * (positions * positions).sum()


def harmonic_spec(**changes):
    values = {"name": "harmonic", "length_unit": "nm", "energy_unit": "kJ/mol", "dtype": "float64"}
    return ModelSpec(**(values | changes))


def harmonic_examples(*counts):
    return [{"positions": np.random.default_rng(n).normal(size=(n, 3))} for n in counts]


def run_package(path, example, spec):
    outputs = torch._inductor.aoti_load_package(str(path))(*eager.tensors(spec, example).values())
    return dict(zip(spec.outputs, outputs, strict=True))


@pytest.mark.parametrize("n", [2, 3, 5, 8, 33])
def test_pt2_equals_formula_at_any_count(pair_package, n):
    path, spec = pair_package
    example = pair_example(n, seed=100)
    found = run_package(path, example, spec)
    assert list(found) == ["energy", "forces", "atomic_energy", "parameter_derivative.k"]
    assert [x.dtype for x in found.values()] == [torch.float64] + 3 * [torch.float32]
    for name, right in pair_oracle(*example.values()).items():
        assert found[name].shape == np.shape(right)
        assert found[name].is_contiguous()
        np.testing.assert_allclose(found[name].numpy(), right, rtol=2e-5, atol=2e-6 * np.abs(right).max())


def test_pt2_holds_spec_references_and_version(pair_package):
    path, spec = pair_package
    assert read_spec(path) == spec
    for reference, example in zip(spec.references, [pair_example(3), pair_example(6)], strict=True):
        right = pair_oracle(*example.values())
        constant = sum(ENERGIES[z] for z in example["atomic_numbers"])
        assert reference["positions"] == example["positions"].tolist()
        assert reference["energy"] == pytest.approx(right["energy"] + constant, rel=1e-14)
        np.testing.assert_allclose(reference["forces"], right["forces"], rtol=1e-12, atol=1e-14)
    with zipfile.ZipFile(path) as archive:
        (name,) = [name for name in archive.namelist() if name.endswith("wrapper_metadata.json")]
        metadata = json.loads(archive.read(name))
        assert archive.testzip() is None
    assert metadata["openmmnnp_torch_version"] == torch.__version__
    assert metadata["AOTI_DEVICE_KEY"] == "cpu" and metadata["AOTI_CPU_ISA"]


def test_module_is_not_changed(pair_package, pair_module):
    assert pair_module.training and pair_module.a.requires_grad and pair_module.a.grad is None
    assert pair_module.a.item() == 0.5 and pair_module.a.dtype == torch.float32


def test_forces_of_the_module_are_taken(walls_package):
    spec, example = read_spec(walls_package), walls_example(7)
    found = run_package(walls_package, example, spec)
    x = example["positions"] - np.diag(example["box"]) / 2
    np.testing.assert_allclose(found["forces"].numpy(), -36 * x, rtol=1e-13)
    assert found["energy"].item() == pytest.approx(6 * (x**2).sum(), rel=1e-13)
    x = np.array(spec.references[0]["positions"]) - np.diag(example["box"]) / 2
    assert spec.references[0]["energy"] == pytest.approx(6 * (x**2).sum() - 1e6, rel=1e-14)


def test_forces_are_central_differences(pair_package):
    _, spec = pair_package
    module, example = Pair(torch.float64), pair_example(5)
    (x, z, k), forces = example.values(), references(module, spec, [example, pair_example(4)])[0]["forces"]
    for i, j in np.ndindex(5, 3):
        ends = []
        for h in (1e-5, -1e-5):
            moved = x.copy()
            moved[i, j] += h
            ends.append(pair_oracle(moved, z, k)["energy"])
        assert forces[i][j] == pytest.approx(-(ends[0] - ends[1]) / 2e-5, rel=1e-7, abs=1e-8)


def test_outputs_are_contiguous_and_no_views_of_inputs(walls_package):
    spec, inputs = read_spec(walls_package), eager.tensors(walls_spec(), walls_example(7))
    outputs = torch._inductor.aoti_load_package(str(walls_package))(*inputs.values())
    found = dict(zip(spec.outputs, outputs, strict=True))
    assert torch.equal(found["centers"], inputs["positions"])
    assert found["centers"].data_ptr() != inputs["positions"].data_ptr()
    assert found["columns"].is_contiguous() and found["columns"].shape == (3, 4)


@pytest.mark.parametrize("scripted", [False, True])
def test_pt_is_saved_with_what_the_module_returns(tmp_path, scripted, capsys):
    module = torch.jit.script(Pair()) if scripted else Pair()
    path = tmp_path / "pair.pt"
    spec = save_pt(module, pair_spec(), path, examples=[pair_example(3), pair_example(6)])
    assert spec.outputs == ["energy", "atomic_energy"]
    assert read_spec(path) == spec
    assert "scripting" in capsys.readouterr().err
    example = pair_example(7)
    energy, energies = torch.jit.load(str(path))(*eager.tensors(spec, example).values())
    right = pair_oracle(*example.values())
    assert energy.item() == pytest.approx(right["energy"], rel=1e-5)
    np.testing.assert_allclose(energies.detach().numpy(), right["atomic_energy"], rtol=1e-4)


def test_writing_a_spec_changes_no_number(tmp_path):
    path = tmp_path / "net.pt"
    net = torch.nn.Sequential(torch.nn.Linear(3, 17), torch.nn.Tanh(), torch.nn.Linear(17, 1))
    torch.jit.script(net).save(str(path))
    x = torch.randn(5, 3)
    before = torch.jit.load(str(path))(x)
    write_spec(path, harmonic_spec())
    assert torch.equal(torch.jit.load(str(path))(x), before) and torch.equal(net(x), before)
    extra = {"openmmnnp.json": ""}
    torch.jit.load(str(path), _extra_files=extra)
    assert ModelSpec.from_json(extra["openmmnnp.json"]) == harmonic_spec()


def test_quiet_if_asked(tmp_path, capsys):
    save_pt(Harmonic(), harmonic_spec(), tmp_path / "h.pt", examples=harmonic_examples(3, 4), progress=False)
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize(
    ("examples", "message"),
    [
        (harmonic_examples(3), "1 example.* at least two geometries"),
        (harmonic_examples(3, 5), r"examples of \[3, 5\] particles given, but needed are an odd and an even"),
        ([{"positions": np.zeros((4, 2))}], r"'positions' of shape \[4, 2\], but needed is \[4, 3\]"),
        ([{"x": np.zeros((4, 3))}], r"the inputs \['x'\], but the spec's are \['positions'\]"),
    ],
)
def test_wrong_examples_are_named(examples, message):
    with pytest.raises(ValueError, match=message):
        references(Harmonic(), harmonic_spec(), examples)


def test_the_energy_must_be_returned():
    with pytest.raises(ValueError, match=r"\['atomic_energy', 'forces'\], but a model that is exported must return"):
        references(Harmonic(), harmonic_spec(outputs=["atomic_energy", "forces"]), harmonic_examples(3, 4))


def test_sizes_within_an_example_must_agree():
    example = pair_example(4) | {"atomic_numbers": [1, 1]}
    with pytest.raises(ValueError, match=r"'atomic_numbers' of shape \[2\], but needed is \[4\]"):
        references(Pair(), pair_spec(), [example])


class Returns(torch.nn.Module):
    """Returns what a function makes of the positions."""

    def __init__(self, function):
        super().__init__()
        self.function = function

    def forward(self, positions):
        return self.function(positions)


@pytest.mark.parametrize(
    ("function", "message"),
    [
        (lambda x: (x.sum(), x, x), r"forward returned 3 values, but the spec says \['energy'\]"),
        (lambda x: {"e": x.sum()}, r"forward returned a dict, but the spec says"),
        (lambda x: x.sum().reshape(1, 1), r"'energy' is float64 \[1, 1\], but must be one number"),
        (lambda x: [x.sum().item()], r"'energy' is a float, but must be a tensor"),
        (lambda x: x.detach().sum(), "the energy does not depend on the positions"),
        (lambda x: (x / 0).sum(), "finite"),
        (lambda x: x[:, 3].sum(), r"can't be called with the inputs of its spec \(positions float64 \[3, 3\]\)"),
    ],
)
def test_wrong_results_are_named(function, message):
    with pytest.raises(ValueError, match=message):
        references(Returns(function), harmonic_spec(), harmonic_examples(3, 4))


@pytest.mark.parametrize(
    ("function", "message"),
    [
        (lambda x: sum((x[i] ** 2).sum() for i in range(len(x))), r"can't be traced .* particles=6 in the spec"),
        (lambda x: x.sum() * (2 if x.sum().item() > 0 else 3), r"can't be traced .*\.item\(\)"),
    ],
)
def test_what_holds_for_the_example_only_is_refused(tmp_path, function, message):
    with pytest.raises(ValueError, match=message):
        path = tmp_path / "x.pt2"
        save_pt2(Returns(function), harmonic_spec(), path, examples=harmonic_examples(5, 6), progress=False)
    assert list(tmp_path.iterdir()) == []


def test_wrong_file_names_and_modules(tmp_path):
    examples = harmonic_examples(4, 5)
    with pytest.raises(ValueError, match=r"its name must end in \.pt2"):
        save_pt2(Harmonic(), harmonic_spec(), tmp_path / "x.pt", examples=examples)
    with pytest.raises(FileNotFoundError, match="does not exist"):
        save_pt(Harmonic(), harmonic_spec(), tmp_path / "no" / "x.pt", examples=examples)
    with pytest.raises(ValueError, match="a scripted module was given"):
        save_pt2(torch.jit.script(Harmonic()), harmonic_spec(), tmp_path / "x.pt2", examples=examples)
    with pytest.raises(ValueError, match="at least four"):
        save_pt2(Harmonic(), harmonic_spec(), tmp_path / "x.pt2", examples=harmonic_examples(2, 3), progress=False)


@pytest.mark.parametrize(("factor", "output"), [((1 + 1e-5, 1.0), "energy"), ((1.0, -1.0), "forces")])
def test_a_package_with_other_results_is_refused(tmp_path, monkeypatch, factor, output):
    def wrong(x):
        return torch.as_tensor(factor[0] * 50 * (x * x).sum()), -100 * factor[1] * x

    def empty(program, path, options):
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("x/data/aotinductor/model/a.wrapper.so", b"")

    monkeypatch.setattr(package, "compile_package", empty)
    monkeypatch.setattr(package, "load_package", lambda path, name: wrong)
    with pytest.raises(ValueError, match=f"output '{output}' of the saved model is off by"):
        save_pt2(Harmonic(), harmonic_spec(), tmp_path / "x.pt2", examples=harmonic_examples(4, 5), progress=False)
    assert list(tmp_path.iterdir()) == []


def test_a_package_bound_to_sizes_is_refused(tmp_path, monkeypatch):
    def bound(x):
        if len(x) > 8:
            raise RuntimeError("input_handles[0]: dim value is too large at 0, expected to be <= 8, but got: 10")
        return torch.as_tensor(50 * (x * x).sum()), -100 * x

    def empty(program, path, options):
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("x/data/aotinductor/model/a.wrapper.so", b"")

    monkeypatch.setattr(package, "compile_package", empty)
    monkeypatch.setattr(package, "load_package", lambda path, name: bound)
    examples = {"examples": harmonic_examples(4, 5), "also": harmonic_examples(10)}
    with pytest.raises(ValueError, match=r"can't take all sizes that the spec allows \(positions float64 \[10, 3\]\)"):
        save_pt2(Harmonic(), harmonic_spec(), tmp_path / "x.pt2", **examples, progress=False)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        (
            "a.wrapper.json",
            '{"nodes": [{"name": "b", "node": {"target": "lab::twice"}}]}',
            r"lab::twice'\] have no",
        ),
        ("a.wrapper_weights.blob", "", "weights lie outside the library"),
        ("weights_config.json", "{}", "weights lie outside the library"),
        ("b.so", "", "holds 2 libraries, but must hold one"),
        ("a.wrapper.json", '{"nodes": []}', None),
    ],
)
def test_packages_that_can_not_run_alone_are_refused(tmp_path, name, content, message):
    path = tmp_path / "x.pt2"
    with zipfile.ZipFile(path, "w") as archive:
        for entry, text in {"a.wrapper.so": "", "a.wrapper_metadata.json": "{}", name: content}.items():
            archive.writestr(f"x/data/aotinductor/model/{entry}", text)
    if message is None:
        compile.check_package(path)
        return
    with pytest.raises(ValueError, match=message):
        compile.check_package(path)


def test_a_package_that_can_not_be_loaded_is_named(monkeypatch, tmp_path):
    """As where torch's loader finds no place for its temporary files."""

    def fails(*_):
        raise RuntimeError("Error generating temporary directory")

    monkeypatch.setattr(package, "load_package", fails)
    with pytest.raises(ValueError, match=r"m\.pt2 can't be loaded once compiled: Error generating temporary directory"):
        package._runner(tmp_path / "m.pt2", "model", ["energy"])
