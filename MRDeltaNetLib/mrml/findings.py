"""What a run found, as nodes that travel with the scene: the sizes as a table, result.json as text, a question's point and its answer."""

from __future__ import annotations

from typing import Any, Iterable, Mapping, Sequence

import numpy as np

from MRDeltaNetLib.errors import require
from MRDeltaNetLib.mrml.alignment import follow
from MRDeltaNetLib.mrml.bootstrap import FEATURE, INSTALL
from MRDeltaNetLib.mrml.nodes import LPS_TO_RAS, make_ours, ours
from MRDeltaNetLib.mrml.outlines import show_only_in
from MRDeltaNetLib.report.tables import class_rows, sizes
from MRDeltaNetLib.report.words import number

COLUMNS = ("Measure", "Compared after treatment", "Unit", "Before treatment", "After treatment", "Change", "Change in percent")
RESULT_ROLE, MEASURES_ROLE = "result", "measures"
_QUESTION, _ANSWER = "query point", "query answer"


def measures_table(scene: Any, result: Mapping[str, Any], pre: Any) -> Any:
    """The sizes before and after treatment as a table node, made or filled anew.

    result   result.json as a dict
    pre      volume node of the pre scan: whose table it is
    returns  vtkMRMLTableNode, locked; columns COLUMNS, text; one row a size, then the classes of one lesion and the reader's grade; without masks
             it has no row
    """
    node = ours(scene, "vtkMRMLTableNode", MEASURES_ROLE, pre=pre)
    if node is None:
        node = make_ours(scene.AddNewNodeByClass("vtkMRMLTableNode", "MRDeltaNet measures"), MEASURES_ROLE, pre=pre)
    rows = [(row.label, group.after, row.unit, *_numbers(row)) for group in sizes(result.get("measures") or {}) for row in group.rows]
    rows += [(label, after, "", "", found, "", "") for label, after, found in class_rows(result.get("response") or {})]
    if result.get("mrtrg") is not None:
        rows.append(("mrTRG, the reader's opinion", "", "grade 1 to 5", "", str(result["mrtrg"]), "", ""))
    was_modified = node.StartModify()
    node.RemoveAllColumns()
    for index, name in enumerate(COLUMNS):
        node.AddColumn(_column(name, [row[index] for row in rows]))
    node.SetUseColumnTitleAsColumnHeader(True)
    node.SetLocked(True)
    node.EndModify(was_modified)
    return node


def result_text(scene: Any, text: str, pre: Any) -> Any:
    """result.json as a text node, made or filled anew. pre: volume node of the pre scan, whose result it is."""
    return kept_text(scene, text, pre, RESULT_ROLE, "MRDeltaNet result")


def kept_text(scene: Any, text: str, pre: Any, role: str, name: str) -> Any:
    """A text that belongs to a pair as a text node, made or filled anew.

    pre   volume node of the pre scan, whose text it is
    role  what text it is: one of each there is
    name  of a new node
    """
    node = ours(scene, "vtkMRMLTextNode", role, pre=pre)
    if node is None:
        node = make_ours(scene.AddNewNodeByClass("vtkMRMLTextNode", name), role, pre=pre)
    node.SetText(text)
    return node


def query_points(pre: Any, post: Any, pre_views: Iterable[Any] = (), post_views: Iterable[Any] = ()) -> tuple[Any, Any]:
    """The nodes for "where in the pre scan does this post voxel look?", made where they are not there.

    returns  the question: one point that the reader sets on the post scan, which it follows; and the answer on the pre scan: one point,
             locked. Each is shown in the views given; every view if none is
    """
    question = _point(post, _QUESTION, "Point in the post-treatment scan")
    answer = _point(pre, _ANSWER, "Where it looks in the pre-treatment scan")
    answer.SetLocked(True)
    follow(post, question)
    for node, views in ((question, post_views), (answer, pre_views)):
        show_only_in(node, views)
    return question, answer


def asked_point(question: Any) -> tuple[float, float, float] | None:
    """Where the reader set the point: LPS, mm, in the post scan's own space; None while no point is set (a preview is none)."""
    if question.GetNumberOfDefinedControlPoints() == 0:
        return None
    ras = [0.0, 0.0, 0.0]
    question.GetNthControlPointPositionWorld(0, ras)
    post = question.GetNodeReference("MRDeltaNet.scan")
    return tuple((LPS_TO_RAS[:3, :3] @ _from_world(post, ras)).tolist())


def show_answer(answer: Any, point_lps_mm: Sequence[float] | None) -> None:
    """Set the answer's point (LPS, mm, pre's space), or take it away."""
    answer.RemoveAllControlPoints()
    if point_lps_mm is not None:
        answer.AddControlPoint(*(LPS_TO_RAS[:3, :3] @ np.array(point_lps_mm, float)).tolist())
        answer.SetNthControlPointLocked(0, True)


def _point(scan: Any, role: str, name: str) -> Any:
    scene = scan.GetScene()
    node = ours(scene, "vtkMRMLMarkupsFiducialNode", role, scan=scan)
    if node is None:
        node = make_ours(scene.AddNewNodeByClass("vtkMRMLMarkupsFiducialNode", name), role, scan=scan)
        node.CreateDefaultDisplayNodes()
        node.SetMaximumNumberOfControlPoints(1)
        node.SetControlPointLabelFormat("")
    return node


def _from_world(node: Any, ras: Sequence[float]) -> np.ndarray:
    """A point of the scene in the node's own space (RAS, mm)."""
    parent = node.GetParentTransformNode()
    if parent is None:
        return np.array(ras)
    general = require("vtkmodules.vtkCommonTransforms", FEATURE, INSTALL).vtkGeneralTransform()
    parent.GetTransformFromWorld(general)
    return np.array(general.TransformPoint(*ras))


def _numbers(row: Any) -> tuple[str, ...]:
    return (number(row.before, 1), number(row.after, 1), number(row.change, 1, signed=True), number(row.percent, 0, signed=True))


def _column(name: str, values: Sequence[str]) -> Any:
    column = require("vtkmodules.vtkCommonCore", FEATURE, INSTALL).vtkStringArray()
    column.SetName(name)
    for value in values:
        column.InsertNextValue(value)
    return column
