"""The `kit` command: which commands it has, and an example of each.

A command's module imports heavy packages inside its function, so that help answers at once.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated

import typer

from kit.cli import (
    audit,
    benchmark,
    calibrate,
    check,
    convert,
    cross_validate,
    demo,
    deploy,
    doctor,
    evaluate,
    info,
    label,
    monitor,
    package,
    report,
    review,
    serve,
    sign,
    sweep,
    train,
    weights,
)
from kit.cli.command import Command, application
from kit.cli.options import grouped
from kit.cli.terminal import reports_errors

app = application(
    name="kit",
    help="Retrain a MobileNet on a folder of photographs, and run it on a small device.",
)
weights_app = application(help="Fetch pretrained weights.")
deploy_app = application(help="Bring a model to a device.")
audit_app = application(help="Check the log of answers that a device kept.")

_COMMANDS: tuple[tuple[str, Callable[..., None], str], ...] = (
    ("demo", demo.demo, "kit demo --output kit-demo"),
    ("doctor", doctor.doctor, "kit doctor"),
    (
        "check",
        check.check,
        "kit check photos/\nkit check xray/ --labels-csv xray/labels.csv --group-column patient",
    ),
    (
        "train",
        train.train,
        "kit train photos/ --output run/\n"
        "kit train photos/ --output run/ --alpha 0.25 --recipe best\n"
        "kit train photos/ --output again/ --config run/settings.toml",
    ),
    (
        "cross-validate",
        cross_validate.cross_validate,
        "kit cross-validate photos/ --folds 5",
    ),
    (
        "sweep",
        sweep.sweep,
        "kit sweep photos/ --output sweep/ --alpha 0.25,0.5 --input-resolution 128,224",
    ),
    (
        "evaluate",
        evaluate.evaluate,
        "kit evaluate run/model_int8.tflite photos/ --part test\n"
        "kit evaluate model.tflite photos/ --report report.html",
    ),
    (
        "calibrate",
        calibrate.calibrate,
        "kit calibrate run/model_int8.tflite clinic/ --positive PNEUMONIA --target-sensitivity 0.9 "
        "--note 'Ward 3, Dr Ada Osei' --output clinic.tflite",
    ),
    (
        "label",
        label.label,
        "kit label run/model_int8.tflite rose.jpg\n"
        "kit label run/model_int8.tflite photos/ --format csv",
    ),
    ("monitor", monitor.monitor, "kit monitor results.csv --model clinic.tflite"),
    ("info", info.info, "kit info run/model_int8.tflite"),
    ("benchmark", benchmark.benchmark, "kit benchmark run/model_int8.tflite --runs 100"),
    (
        "convert",
        convert.convert,
        "kit convert run/ --quantize float16 --output model_float16.tflite\n"
        "kit convert saved_model/ --labels labels.txt --images photos/ --output model.tflite",
    ),
    (
        "package",
        package.package,
        "kit package theirs.tflite --labels labels.txt --mean 127.5 --std 127.5 \\\n"
        "    --output ours.tflite",
    ),
    ("report", report.report, "kit report run/model_int8.tflite --output model-card.md"),
    ("review", review.review, "kit review photos/ --output review/"),
    ("serve", serve.serve, "kit serve site/\nkit serve site/ --https"),
    (
        "sign",
        sign.sign,
        "kit sign clinic.tflite --key clinic.key --new-key\n"
        "kit sign clinic.tflite --key clinic.key",
    ),
)
_DEPLOY = (
    ("pi", deploy.pi, "kit deploy pi run/model_int8.tflite --output pi/"),
    ("android", deploy.android, "kit deploy android run/model_int8.tflite"),
    (
        "web",
        deploy.web,
        "kit deploy web run/model_int8_screening.tflite --output site/\n"
        "kit deploy web run/model_int8.tflite --output label.html --single-file",
    ),
)
_AUDIT = (("verify", audit.verify, "kit audit verify audit.jsonl"),)
_WEIGHTS = (("pull", weights.pull, "kit weights pull weights/ --backbone mobilenet_v1 --every"),)


@app.callback(invoke_without_command=True)
def _root(
    version: Annotated[bool, typer.Option("--version", help="Show the version and exit.")] = False,
) -> None:
    if version:
        from kit import __version__

        print(f"kit {__version__}")
        raise typer.Exit


def _add(group: typer.Typer, commands: tuple[tuple[str, Callable[..., None], str], ...]) -> None:
    for name, function, examples in commands:
        register = group.command(name, cls=Command, epilog=examples)
        register(reports_errors(grouped(function)))


_add(app, _COMMANDS)
_add(deploy_app, _DEPLOY)
_add(audit_app, _AUDIT)
_add(weights_app, _WEIGHTS)
app.add_typer(deploy_app, name="deploy")
app.add_typer(audit_app, name="audit")
app.add_typer(weights_app, name="weights")
