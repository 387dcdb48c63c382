"""`t5distill report`: what runs found, as one page and as the same numbers in JSON and CSV."""

from __future__ import annotations

import argparse
import pathlib

HELP = (
    "One self-contained HTML page of what runs found, with the same numbers as JSON and CSV beside "
    "it. A RUN is a recipe's folder in the WORKDIR of `t5distill reproduce`, or any folder below "
    "which `t5distill score` wrote; several are set side by side."
)
EXAMPLE = "t5distill report runs/magister/magister_gsm8k"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    parser.add_argument("runs", nargs="+", metavar="RUN", help="a folder with results")
    parser.add_argument(
        "--out",
        metavar="FILE",
        help="the page, FILE.html; FILE.json and FILE.csv are written beside it (default: "
        "report.html in the first RUN)",
    )


def run(args: argparse.Namespace) -> None:
    """Read the runs, work the numbers out, write three files."""
    import datetime

    from t5distill import __version__, places
    from t5distill.errors import UserError
    from t5distill.records import atomic_write, write_json
    from t5distill.report import across, figures, loose, page, predictions, tables

    for path in (*args.runs, args.out or ""):
        if places.is_remote(path):
            raise UserError(f"{path}: in a bucket; wanted a folder on this machine: copy it here")
    out = pathlib.Path(args.out or pathlib.Path(args.runs[0]) / "report.html")
    if out.suffix.lower() not in (".html", ".htm"):
        raise UserError(f"--out {out}: wanted a file that ends in .html")
    if out.is_dir():
        raise UserError(f"--out {out}: a folder; wanted a file in it, such as {out}/report.html")
    twice = [r for i, r in enumerate(args.runs) if r in args.runs[:i]]
    if twice:
        raise UserError(f"{twice[0]}: given twice; wanted each RUN once")
    written = {"html": out, "json": out.with_suffix(".json"), "csv": out.with_suffix(".csv")}
    _check_own(written["json"], b'{\n  "made": ')
    _check_own(written["csv"], ",".join(tables.COLUMNS).encode())
    runs = loose.distinct([loose.read_run(path) for path in args.runs])
    reports = [figures.figures(r) for r in runs]
    browser = predictions.browser(runs)
    now = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
    text = page.page(
        reports,
        browser,
        beside=[written["json"].name, written["csv"].name],
        made=f"Made {now} by t5distill {__version__}.",
    )
    shown = {"predictions": browser.total, "predictions_left_out": browser.left_out}
    write_json(
        written["json"],
        {
            "made": now,
            "version": __version__,
            "runs": reports,
            "across": across.across(reports),
            **shown,
        },
    )
    for kind, content in (("csv", tables.to_csv(reports)), ("html", text)):
        with atomic_write(written[kind]) as f:
            f.write(content)
    for report in reports:
        print(f"{report['run']}: {report['answer']['sentence']}")
        for said in report["missing"]:
            print(f"  missing: {said}")
        for said in report["warnings"]:
            print(f"  warning: {said}")
    print(f"\nwrote {written['html']}, {written['json'].name} and {written['csv'].name}")


def _check_own(path: pathlib.Path, begins: bytes) -> None:
    """Raise UserError where a file that is no report's would be replaced."""
    from t5distill.errors import UserError

    if path.is_file() and not path.read_bytes().startswith(begins):
        raise UserError(f"{path} would be replaced and is no report's; wanted another --out")
