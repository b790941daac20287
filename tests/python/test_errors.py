"""Every text of an error that the package has, in one list: `errors.txt`.

It names the test that provokes each, and, where none can on every machine, why. A text that is new or changed in the
sources belongs into the list, with what was given, what is needed and what to do; {} stands for what is put in.
"""

from __future__ import annotations

import ast
from collections.abc import Callable
from pathlib import Path

import openmm
import pytest
import torch

from error_texts import all_texts, texts_in_cpp, texts_in_python
from openmmnnp import NNPForce

FOLDER = Path(__file__).parent
NOT_PROVOKED = "not provoked: "
MOST_NOT_PROVOKED = 60


def listed() -> dict[str, str]:
    """Text -> test or reason, from the list: unindented lines begin a group."""
    found: dict[str, str] = {}
    group = ""
    for line in (FOLDER / "errors.txt").read_text(encoding="utf-8").splitlines():
        if line.startswith("    "):
            text = line[4:].replace("\\n", "\n")
            assert text not in found, f"twice in the list: {text}"
            found[text] = group
        elif line:
            group = line
    return found


def test_every_text_of_the_sources_is_in_the_list() -> None:
    missing = {text: path for text, path in all_texts().items() if text not in listed()}
    assert missing == {}


def test_every_text_of_the_list_is_in_the_sources() -> None:
    assert sorted(set(listed()) - set(all_texts())) == []


def test_every_test_of_the_list_exists() -> None:
    for group in sorted(set(listed().values())):
        if not group.startswith(NOT_PROVOKED):
            module, name = group.split("::")
            tree = ast.parse((FOLDER / module).read_text(encoding="utf-8"))
            assert name in {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}, group


def test_few_are_not_provoked() -> None:
    assert sum(group.startswith(NOT_PROVOKED) for group in listed().values()) <= MOST_NOT_PROVOKED


def test_texts_are_found() -> None:
    code = 'if (x) // throw ModelError("no")\n  throw ModelError("The file \'" + path + "\' is " "bad: https://a.b");'
    assert list(texts_in_cpp(code)) == ["The file '{}' is bad: https://a.b"]
    assert list(texts_in_python('raise ValueError(f"{a} is given, " "not " + b)')) == [" is given, not "]


# Errors that no other test is about


def context_of(force: openmm.Force) -> openmm.Context:
    system = openmm.System()
    system.addParticle(1)
    system.addForce(force)
    return openmm.Context(system, openmm.VerletIntegrator(0.001), openmm.Platform.getPlatformByName("Reference"))


def empty(attributes: str = "") -> NNPForce:
    xml = f'<Force type="NNPForce" version="1" {attributes}/>'
    return NNPForce.cast(openmm.XmlSerializer.deserialize(xml))


def test_force_without_a_model() -> None:
    with pytest.raises(
        openmm.OpenMMException, match=r"^NNPForce: the force has no model: give it one with setModelFile"
    ):
        empty().getModelHash()
    with pytest.raises(
        openmm.OpenMMException, match=r"^NNPForce: The force has no model: give it one with setModelFile"
    ):
        context_of(empty())


def test_multiplicity_in_xml(save_scripted: Callable[..., Path]) -> None:
    force = NNPForce(save_scripted("return (positions**2).sum()", inputs=["positions"]))
    xml = openmm.XmlSerializer.serialize(force).replace('multiplicity="1"', 'multiplicity="0"')
    with pytest.raises(
        openmm.OpenMMException, match=r"setMultiplicity\(\) was given 0, but 2S\+1, at least 1, is needed"
    ):
        context_of(openmm.XmlSerializer.deserialize(xml))


def test_program_without_forward() -> None:
    module = torch.jit.script(type("Nothing", (torch.nn.Module,), {})())
    module.define("def other(self, positions):\n    return positions.sum()\n")
    with pytest.raises(
        openmm.OpenMMException, match=r"no method forward\(\), which is needed; save the module that has"
    ):
        context_of(NNPForce(module))


def test_parameter_of_a_model_that_takes_none(save_scripted: Callable[..., Path]) -> None:
    path = save_scripted("return (positions**2).sum()", inputs=["positions"])
    force = NNPForce(path)
    force.addGlobalParameter("k", 1)
    with pytest.raises(openmm.OpenMMException, match=r"'k', which the model does not take \(it takes none\)"):
        context_of(force)


@pytest.mark.parametrize(
    "output, value, text",
    [
        (
            "parameter_derivative.k",
            "positions",
            r"'parameter_derivative.k' that is float64 \[1, 3\], but one number is",
        ),
        (
            "charges",
            "positions.to(torch.float16)",
            r"'charges' that is another dtype \[1, 3\], but float32, float64, int32",
        ),
    ],
)
def test_wrong_named_output(save_scripted: Callable[..., Path], output: str, value: str, text: str) -> None:
    body = f"return k * (positions**2).sum(), {value}"
    inputs = ["positions", "parameters.k"]
    force = NNPForce(save_scripted(body, "positions, k", inputs=inputs, outputs=["energy", output]))
    force.addGlobalParameter("k", 1)
    force.addEnergyParameterDerivative("k")
    context = context_of(force)
    context.setPositions([[1, 2, 3]])
    with pytest.raises(openmm.OpenMMException, match=text):
        context.getState(energy=True)
        force.getOutput(context, output)
