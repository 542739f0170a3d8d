"""Slicer's Segment Editor inside the panel, with its own parameter node, so that the Segment Editor module keeps its state.

What is here follows from what the editor does by itself: it shows its source volume in every slice view (switched off), paints in
every view in which a segmentation is visible (each is shown in its own scan's view only), loses its segmentation when a scene
closes (given again), and keeps undo states of one segmentation at a time (said in the page).
"""

from __future__ import annotations

from typing import Any

import slicer

NODE_TAG = "MRDeltaNet.SegmentEditor"

EFFECTS = ("Paint", "Draw", "Erase", "Threshold", "Scissors", "Islands", "Smoothing", "Fill between slices")
"""Effects that outlining a tumour needs, as Slicer names them; the others are in the Segment Editor module."""

EFFECT_COLUMNS = 3
"""With the arrow that ends an effect three rows of buttons: the page fits a window of 1280x800."""

UNDO_STATES = 10


class Editor:
    """The editor widget of one page.

    widget  slicer.qMRMLSegmentEditorWidget from the page's .ui
    """

    def __init__(self, widget: Any) -> None:
        self.widget = widget
        widget.setMaximumNumberOfUndoStates(UNDO_STATES)
        widget.setAutoShowSourceVolumeNode(False)
        widget.setSegmentationNodeSelectorVisible(False)
        widget.setSourceVolumeNodeSelectorVisible(False)
        widget.setSwitchToSegmentationsButtonVisible(False)
        widget.setEffectNameOrder(list(EFFECTS))
        widget.unorderedEffectsVisible = False
        widget.setEffectColumnCount(EFFECT_COLUMNS)
        self._node = None
        self._selectNode()                              # before the scene, or the widget's own choices would be lost
        widget.setMRMLScene(slicer.mrmlScene)
        self._effects = slicer.qSlicerSegmentEditorEffectFactory.instance()
        self._effects.connect("effectRegistered(QString)", self._effectRegistered)

    def edit(self, segmentation: Any, volume: Any, segmentId: str | None) -> None:
        """Offer a segmentation for editing on its scan.

        segmentation, volume  nodes or None; segmentId  the segment to begin with
        """
        self.widget.setSegmentationNode(segmentation)
        self.widget.setSourceVolumeNode(volume)
        if segmentation is not None and segmentId:
            self.widget.setCurrentSegmentID(segmentId)

    def keepForUndo(self, segmentation: Any) -> None:
        """Remember a segmentation as it is, before something else than an effect writes into it; of one that is not being edited no state can be kept.

        segmentation  node or None
        """
        if segmentation is not None and self.widget.segmentationNode() is segmentation:
            self.widget.saveStateForUndo()

    def enter(self) -> None:
        """The page is shown."""
        self.widget.installKeyboardShortcuts()
        self._selectNode()
        self.widget.updateWidgetFromMRML()

    def exit(self) -> None:
        """The page is left: no effect goes on painting."""
        self.widget.setActiveEffect(None)
        self.widget.uninstallKeyboardShortcuts()
        self.widget.removeViewObservations()

    def sceneCloses(self) -> None:
        """The scene is about to be emptied."""
        self._node = None
        self.widget.setSegmentationNode(None)
        self.widget.removeViewObservations()

    def sceneChanged(self) -> None:
        """A scene was closed or read."""
        self._selectNode()
        self.widget.updateWidgetFromMRML()

    def cleanup(self) -> None:
        """The panel goes; after a Reload another one takes over its node and its keys, and an editor that held on to them would paint too."""
        self.exit()
        self.sceneCloses()
        self.widget.setMRMLSegmentEditorNode(None)
        self._effects.disconnect("effectRegistered(QString)", self._effectRegistered)

    def _selectNode(self) -> None:
        node = slicer.mrmlScene.GetSingletonNode(NODE_TAG, "vtkMRMLSegmentEditorNode")
        if node is None:
            node = slicer.mrmlScene.CreateNodeByClass("vtkMRMLSegmentEditorNode")
            node.UnRegister(None)
            node.SetSingletonTag(NODE_TAG)
            node = slicer.mrmlScene.AddNode(node)
        node.SetOverwriteMode(slicer.vtkMRMLSegmentEditorNode.OverwriteNone)      # viable tumour lies inside its bed: drawing one must not erase the other
        if node is not self._node:
            self._node = node
            self.widget.setMRMLSegmentEditorNode(node)

    def _effectRegistered(self, name: str) -> None:
        self.widget.updateEffectList()
