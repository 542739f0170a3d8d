"""What a Slicer module's file does the moment it is imported: the index's reviewers want no foreign package and no action there."""

from __future__ import annotations

import ast
import sys

ALLOWED_PACKAGES = set(sys.stdlib_module_names) | {"slicer", "qt", "ctk", "vtk", "vtkmodules", "SimpleITK", "numpy", "scipy"}
OWN_PACKAGES = {"MRDeltaNet", "MRDeltaNetLib", "MRDeltaNetPanel"}
NOT_CALLED = {"slicer", "qt", "ctk", "vtk", "os", "subprocess", "shutil", "socket", "urllib", "open", "print", "exec", "eval", "importlib"}
"""No value at file scope may come from a call into these: they act on the application, the disk, the network."""


def import_problems(text: str) -> list[str]:
    """Packages imported at file scope (inside if and try too) that neither Slicer nor Python brings, nor are our own."""
    roots = set()
    for node in _at_file_scope(ast.parse(text).body):
        if isinstance(node, ast.Import):
            roots |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            roots.add(node.module.split(".")[0])
    return [f"imports {name} at file scope" for name in sorted(roots - ALLOWED_PACKAGES - OWN_PACKAGES)]


def _at_file_scope(body: list[ast.stmt]):
    """Every statement that runs on import, those inside if, try, for and with among them, those of functions and classes not."""
    for node in body:
        yield node
        if not isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
            for field in ("body", "orelse", "finalbody"):
                yield from _at_file_scope(getattr(node, field, []))
            for handler in getattr(node, "handlers", []):
                yield from _at_file_scope(handler.body)


def action_problems(text: str) -> list[str]:
    """Statements that do something on import, but for making the library beside the module importable (sys.path.append)."""
    found = []
    for node in _at_file_scope(ast.parse(text).body):
        if isinstance(node, ast.Expr):
            if not isinstance(node.value, ast.Constant) and _called(node.value) != "sys.path.append":
                found.append(f"line {node.lineno} runs {ast.unparse(node)[:60]}")
        elif isinstance(node, (ast.Assign, ast.AnnAssign, ast.AugAssign)) and node.value is not None:
            calls = {_called(part).split(".")[0] for part in ast.walk(node.value) if isinstance(part, ast.Call)}
            found += [f"line {node.lineno} calls {name}" for name in sorted(calls & NOT_CALLED)]
        elif isinstance(node, (ast.For, ast.While, ast.With, ast.Delete, ast.Raise, ast.Assert)):
            found.append(f"line {node.lineno} runs {type(node).__name__.lower()}")
    return found


def _called(node: ast.AST) -> str:
    """Dotted name of what a call calls; "" where it is no plain name."""
    return ast.unparse(node.func) if isinstance(node, ast.Call) and isinstance(node.func, (ast.Name, ast.Attribute)) else ""


def torch_problems(text: str) -> list[str]:
    """Calls that would install torch by pip: its build depends on the graphics card, so the PyTorch extension does it."""
    return [f"line {node.lineno} installs torch" for node in ast.walk(ast.parse(text))
            if isinstance(node, ast.Call) and getattr(node.func, "attr", getattr(node.func, "id", "")) in {"pip_install", "pip_ensure"}
            and any(isinstance(part, ast.Constant) and isinstance(part.value, str) and part.value.strip().startswith(("torch", "light-the-torch"))
                    for argument in [*node.args, *(keyword.value for keyword in node.keywords)] for part in ast.walk(argument))]


def requirement_problems(text: str) -> list[str]:
    """Lines of requirements.txt that Slicer's reader takes wrongly or that a user pays for: comments behind a name, pins, torch."""
    found = []
    for number, line in enumerate(text.splitlines(), 1):
        if line.startswith("#") or not line.strip():
            continue
        if "#" in line:
            found.append(f"line {number}: a comment behind a requirement raises InvalidRequirement")
        if "==" in line or "<" in line or "~=" in line or "@" in line:
            found.append(f"line {number}: only minimum versions; what Slicer brings must not be replaced")
        if line.lower().startswith(("torch", "numpy", "simpleitk", "scipy", "pydicom")):
            found.append(f"line {number}: torch comes from its extension, the rest with Slicer")
    return found
