"""The command line. Every command is a few lines: collect choices, call the library, tell the outcome.

Heavy packages load inside the commands, so that `mrdeltanet --help` answers at once.
"""

from __future__ import annotations

import typer

from MRDeltaNetLib.cli import agree, cohort, dicom, evaluate, explain, model, patient, query, segment, serve, study

app = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False, rich_markup_mode=None,
                  help="Treatment response from MRI before and after neoadjuvant treatment. Research use only.")
for command in (patient.run, patient.check, patient.demo, patient.simulate, serve.serve, query.query, study.train, study.pretrain, study.ablate, study.controls, study.predict, evaluate.evaluate, model.info):
    app.command()(command)
app.command("dicom-seg")(dicom.dicom_seg)

model_app = typer.Typer(no_args_is_help=True, help="Model bundles.")
model_app.command()(model.verify)
app.add_typer(model_app, name="model")

explain_app = typer.Typer(cls=explain.DefaultCommand, no_args_is_help=True, help="More maps of a finished run: explain RESULT_DIR.")
explain_app.command(explain.DEFAULT)(explain.maps)
explain_app.command()(explain.verify)
app.add_typer(explain_app, name="explain")

cohort_app = typer.Typer(no_args_is_help=True, help="Tables of patients.")
cohort_app.command()(cohort.check)
cohort_app.command()(cohort.prepare)
app.add_typer(cohort_app, name="cohort")

segment.segment_app.command()(agree.agree)
app.add_typer(segment.segment_app, name="segment")
