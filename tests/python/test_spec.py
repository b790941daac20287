"""ModelSpec: the JSON, its errors, and the archive that holds it."""

import json
import zipfile
from dataclasses import replace

import pytest

from openmmnnp.spec import ENERGY_UNITS, LENGTH_UNITS, ModelSpec, read_spec, write_spec


def full_spec():
    reference = {
        "positions": [[0.1, 0.2, 0.30000000000000004], [1 / 3, 0.0, 0.0]],
        "box": [[2.0, 0.0, 0.0], [0.0, 2.0, 0.0], [0.0, 0.0, 2.0]],
        "atomic_numbers": [8, 1],
        "charge": -1,
        "parameters.k": 2.5,
        "energy": -2042.1234567890123,
        "forces": [[1e-300, 0.0, 0.0], [0.0, -1.5, 0.0]],
    }
    return ModelSpec(
        name="test",
        length_unit="angstrom",
        energy_unit="eV",
        dtype="float64",
        inputs=["positions", "box", "atomic_numbers", "charge", "parameters.k"],
        outputs=["energy", "forces", "charges", "parameter_derivative.k"],
        output_units={"charges": "e"},
        elements=[1, 8],
        cutoff=5.1,
        periodic=True,
        atomic_energies={1: -13.6, 8: -2041.9},
        authors=["A", "B"],
        license="MIT",
        references=[reference],
    )


def test_units_are_codata_2022():
    assert ENERGY_UNITS["eV"] == pytest.approx(96.48533212331001, rel=1e-15)
    assert ENERGY_UNITS["hartree"] == pytest.approx(2625.4996394, rel=1e-10)
    assert ENERGY_UNITS["kcal/mol"] == 4.184
    assert ENERGY_UNITS["hartree"] / ENERGY_UNITS["eV"] == pytest.approx(27.211386245981, rel=1e-13)
    assert LENGTH_UNITS["bohr"] == 0.0529177210544
    assert (LENGTH_UNITS["nm"], LENGTH_UNITS["angstrom"], ENERGY_UNITS["kJ/mol"]) == (1.0, 0.1, 1.0)


def test_json_round_trip_keeps_every_bit():
    spec = full_spec()
    text = spec.to_json()
    assert ModelSpec.from_json(text) == spec
    assert ModelSpec.from_json(text).to_json() == text
    assert json.loads(text)["format"] == 1
    assert "citation" not in json.loads(text) and "energy_offset" not in json.loads(text)


def test_edges_are_valid():
    spec = replace(
        full_spec(), references=[], inputs=["positions", "edges", "shifts", "atomic_numbers", "parameters.k"]
    )
    replace(spec, edges="full", shifts="cell", index_dtype="int32", edge_capacity=64, small_box="images").validate()


def test_names_and_constant_energy():
    spec = full_spec()
    assert spec.parameter_names() == ["k"]
    assert spec.constant_energy([8, 1, 1]) == -2041.9 - 27.2
    assert replace(spec, atomic_energies=None, energy_offset=-3.0).constant_energy() == -3.0
    with pytest.raises(ValueError, match=r"elements \[6\]"):
        spec.constant_energy([8, 6])
    with pytest.raises(ValueError, match="atomic numbers"):
        spec.constant_energy()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"energy_unit": "ev"}, r"'energy_unit': 'ev' was given, needed is one of kJ/mol, kcal/mol, eV, hartree"),
        ({"length_unit": "Angstrom"}, r"'length_unit': 'Angstrom' was given, needed is one of nm, angstrom, bohr"),
        ({"dtype": "float16"}, r"'dtype': 'float16' was given, needed is one of float32, float64"),
        ({"inputs": ["positions", "velocities"]}, r"'inputs': 'velocities' was given, needed is one of positions, box"),
        ({"inputs": ["positions", "parameters."]}, r"'inputs': 'parameters.' was given"),
        ({"inputs": ["positions", "positions"]}, r"'inputs': 'positions' was given, needed is every name once"),
        ({"inputs": ["box"]}, r"'inputs': .*'positions' among them"),
        ({"inputs": "positions"}, r"'inputs': 'positions' was given, needed is a list of texts"),
        (
            {"inputs": ["positions", "edges"], "cutoff": None},
            r"'cutoff': None was given, needed is a number in ang",
        ),
        ({"inputs": ["positions", "atomic_numbers", "parameters.k"]}, r"'box' .*since periodic is true"),
        ({"outputs": ["forces"]}, r"'outputs': \['forces'\] was given, needed is 'energy' among them \(or"),
        ({"outputs": ["energy", "a b"]}, r"'outputs': 'a b' was given, needed is letters"),
        ({"outputs": ["energy", "parameter_derivative.x"]}, r"needed is the input 'parameters.x' for it"),
        ({"output_units": {"energy": "eV"}}, r"'output_units': 'energy' was given, needed is one of the named outputs"),
        ({"particles": 0}, r"'particles': 0 was given, needed is 'dynamic' or a number of at least 1"),
        ({"particles": True}, r"'particles': True was given"),
        ({"atomic_numbers": [1, 8]}, r"'particles': .* needed is 2, since atomic_numbers fix the particles"),
        ({"atomic_numbers": [6], "particles": 1}, r"'elements': \[1, 8\] was given, needed is \[6\] also"),
        ({"elements": [0]}, r"'elements': \[0\] was given, needed is a list of atomic numbers"),
        (
            {"elements": [1, 6]},
            r"'atomic_energies': \[1, 8\] was given, needed is .* elements \[6\]",
        ),
        ({"energy_offset": 1.0}, r"energy_offset and atomic_energies are both given: give one"),
        ({"inputs": ["positions", "box", "parameters.k"]}, r"'atomic_energies': .*'atomic_numbers' among inputs"),
        ({"cutoff": -1.0}, r"'cutoff': -1.0 was given, needed is a positive number"),
        ({"edges": "both"}, r"'edges': 'both' was given, needed is one of full, half"),
        ({"periodic": "yes"}, r"'periodic': 'yes' was given, needed is true or false"),
        ({"type_map": {"H": -1}}, r"'type_map': .* needed is an object of types"),
        ({"atomic_energies": {1: float("nan")}}, r"'atomic_energies': .* finite"),
    ],
)
def test_wrong_values_are_named(change, message):
    with pytest.raises(ValueError, match=message):
        replace(full_spec(), references=[], **change).to_json()


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("energy", None, r"references\[0\]': .* was given, needed is exactly"),
        ("energy", float("inf"), r"inf was given, needed is finite numbers"),
        ("positions", [[0.0, 0.0], [0.0, 0.0]], r"references\[0\].positions': 'shape \[2, 2\]' was given"),
        ("positions", [[0.0, 0.0], [0.0]], r"ragged"),
        ("forces", [[0.0, 0.0, 0.0]], r"references\[0\].forces': 'shape \[1, 3\]' was given, needed is shape \[2, 3\]"),
        ("charge", [1.0], r"references\[0\].charge': \[1.0\] was given, needed is a number"),
    ],
)
def test_wrong_references_are_named(key, value, message):
    spec = full_spec()
    spec.references[0][key] = value
    if value is None:
        del spec.references[0][key]
    with pytest.raises(ValueError, match=message):
        spec.validate()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "is not JSON"),
        ("[]", "must be an object"),
        ("{}", "'format': None was given, needed is 1"),
        ('{"format": 2}', "'format': 2 was given, needed is 1; a file of a later format needs a later openmmnnp"),
        ('{"format": 1, "speed": 3}', "'speed': 3 was given, needed is no such key; the keys are format, name,"),
        ('{"format": 1, "name": "x"}', "'length_unit': None was given, needed is a value: the key is missing"),
    ],
)
def test_wrong_json_is_named(text, message):
    with pytest.raises(ValueError, match=message):
        ModelSpec.from_json(text)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (b'"name": "y"', "is not JSON: the key 'name' is there twice"),
        (b'"cutoff": NaN', "is not JSON: NaN is no number that a double holds"),
        (b'"cutoff": 1e999', "is not JSON: 1e999 is no number that a double holds"),
        (b'"cutoff": 1' + b"0" * 400, "'cutoff': 10+ was given, needed is a positive number"),
        (rb'"citation": "\ud800"', "is not JSON: .*surrogates not allowed"),
        (b'"license": "\xe4"', "is not JSON: .*invalid continuation byte"),
        (b'"license": ' + b"[" * 99_999 + b"]" * 99_999, "is not JSON: it is nested too deeply"),
    ],
)
def test_json_that_the_force_refuses_is_refused(given, message):
    right = full_spec().to_json().encode()
    with pytest.raises(ValueError, match=message):
        ModelSpec.from_json(right[:-1].replace(b', "cutoff": 5.1', b"") + b", " + given + b"}")


def test_atomic_energies_need_integer_keys():
    text = full_spec().to_json().replace('"8": -2041.9', '"O": -2041.9')
    with pytest.raises(ValueError, match=r"'atomic_energies': .* needed is atomic numbers as keys"):
        ModelSpec.from_json(text)


@pytest.fixture
def archive(tmp_path):
    path = tmp_path / "model.pt"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as out:
        out.writestr("model/data.pkl", b"\0" * 1000)
        out.writestr("model/data/0", b"weights")
    path.chmod(0o640)
    return path


def test_archive_gets_and_replaces_a_spec(archive):
    assert read_spec(archive) is None
    write_spec(archive, replace(full_spec(), name="first"))
    write_spec(archive, full_spec())
    assert read_spec(archive) == full_spec()
    with zipfile.ZipFile(archive) as found:
        assert found.namelist() == ["model/data.pkl", "model/data/0", "model/extra/openmmnnp.json"]
        assert found.testzip() is None
        assert found.read("model/data.pkl") == b"\0" * 1000
        assert {entry.compress_type for entry in found.infolist()} == {zipfile.ZIP_STORED}
    content = archive.read_bytes()
    assert content.index(b"weights", content.index(b"model/data/0")) % 64 == 0
    assert archive.stat().st_mode & 0o777 == 0o640
    assert [p.name for p in archive.parent.iterdir()] == ["model.pt"]


def test_write_spec_refuses_and_leaves_the_file(archive, tmp_path):
    before = archive.read_bytes()
    with pytest.raises(ValueError, match="'dtype'"):
        write_spec(archive, replace(full_spec(), dtype="half"))
    assert archive.read_bytes() == before
    other = tmp_path / "other.pt"
    other.write_bytes(b"no archive")
    with pytest.raises(ValueError, match=r"other\.pt: File is not a zip file"):
        write_spec(other, full_spec())
    with pytest.raises(ValueError, match=r"other\.pt"):
        read_spec(other)
    with zipfile.ZipFile(other, "w") as out:
        out.writestr("a.txt", "x")
    with pytest.raises(ValueError, match=r"other\.pt: this zip archive is no model"):
        read_spec(other)
    with pytest.raises(FileNotFoundError):
        read_spec(tmp_path / "missing.pt")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["model.pt", "other.pt"]
