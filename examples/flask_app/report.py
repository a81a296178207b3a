"""Writes the PDF report about the site's day."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import Any
from xml.sax.saxutils import escape

from reportlab.graphics.charts.barcharts import HorizontalBarChart
from reportlab.graphics.shapes import Drawing
from reportlab.lib import colors
from reportlab.lib.enums import TA_CENTER
from reportlab.lib.pagesizes import A4
from reportlab.lib.styles import ParagraphStyle, getSampleStyleSheet
from reportlab.lib.units import mm
from reportlab.platypus import Flowable, Image, KeepTogether, Paragraph, SimpleDocTemplate, Spacer, Table
from sqlalchemy import func, select

from .folders import produced_by, whole
from .models import User, db, now
from .status import describe, recent_jobs

INK = colors.HexColor("#1d2433")
QUIET = colors.HexColor("#68718a")
RULE = colors.HexColor("#dfe3ec")
ACCENT = colors.HexColor("#d9552b")
MARGIN = 20 * mm
WIDTH = A4[0] - 2 * MARGIN - 12  # a frame keeps 6 points free on either side

STYLES = getSampleStyleSheet()
TITLE = ParagraphStyle("title", parent=STYLES["Title"], textColor=INK, alignment=0, fontSize=26, leading=30)
HEADING = ParagraphStyle("heading", parent=STYLES["Heading2"], textColor=INK, spaceBefore=8 * mm)
TEXT = ParagraphStyle("text", parent=STYLES["BodyText"], textColor=QUIET)
NUMBER = ParagraphStyle("number", parent=TEXT, alignment=TA_CENTER, textColor=INK, fontSize=22, leading=26)
CAPTION = ParagraphStyle("caption", parent=TEXT, alignment=TA_CENTER)


@dataclass(frozen=True, kw_only=True)
class Facts:
    """All that stands in a report."""

    written: datetime
    users: int
    jobs: list[dict[str, Any]]
    photographs: list[Path]


def collect() -> Facts:
    """Read from the database what the report is about."""
    jobs = [describe(job) for job in recent_jobs()]
    squares = [produced_by(job["id"]) / "photo-square.webp" for job in jobs if job["kind"] == "photo"]
    users = db.session.scalar(select(func.count()).select_from(User)) or 0
    return Facts(written=now(), users=users, jobs=jobs, photographs=[path for path in squares if path.exists()][:4])


def write(facts: Facts, path: Path) -> int:
    """Write the report and return its number of pages."""
    story = [*opening(facts), *numbers(facts), *photographs(facts), *durations(facts), *listing(facts)]
    with whole(path) as part:
        document = SimpleDocTemplate(
            str(part), pagesize=A4, title="The Darkroom: a day's work", author="The Darkroom",
            leftMargin=MARGIN, rightMargin=MARGIN, topMargin=MARGIN, bottomMargin=MARGIN,
        )  # fmt: skip
        document.build(story)
    return int(document.page)


def opening(facts: Facts) -> list[Flowable]:
    """Return title and date."""
    when = f"{facts.written:%A, %d %B %Y, %H:%M} UTC"
    return [Paragraph("A day in the Darkroom", TITLE), Paragraph(when, TEXT), Spacer(0, 6 * mm)]


def numbers(facts: Facts) -> list[Flowable]:
    """Return the row of large numbers."""
    tones = Counter(job["tone"] for job in facts.jobs)
    files = sum(len(job["files"]) for job in facts.jobs)
    shown = {"people": facts.users, "jobs": len(facts.jobs), "done": tones["done"], "files made": files}
    rows = [[Paragraph(str(n), NUMBER) for n in shown.values()], [Paragraph(word, CAPTION) for word in shown]]
    style: list[Any] = [("BOX", (0, 0), (-1, -1), 0.5, RULE), ("LINEABOVE", (0, 0), (-1, 0), 2, ACCENT)]
    return [Table(rows, colWidths=[WIDTH / 4] * 4, style=[*style, ("BOTTOMPADDING", (0, 1), (-1, 1), 8)])]


def photographs(facts: Facts) -> list[Flowable]:
    """Return a contact sheet of the newest photographs."""
    if not facts.photographs:
        return []
    pictures = [Image(str(path), 38 * mm, 38 * mm) for path in facts.photographs]
    sheet = Table([pictures], hAlign="LEFT", style=[("LEFTPADDING", (0, 0), (-1, -1), 0)])
    return [KeepTogether([Paragraph("Photographs", HEADING), sheet])]


def durations(facts: Facts) -> list[Flowable]:
    """Return a bar chart of how long the finished jobs took."""
    finished = [job for job in facts.jobs if "seconds" in job][:10][::-1]
    if not finished:
        return []
    height = 8 * mm * len(finished) + 10 * mm
    drawing = Drawing(WIDTH, height)
    drawing.add(bars(finished, height - 10 * mm))
    return [KeepTogether([Paragraph("Seconds of work", HEADING), drawing])]


def bars(finished: list[dict[str, Any]], height: float) -> HorizontalBarChart:
    """Draw the bars."""
    chart = HorizontalBarChart()
    chart.x, chart.y, chart.width, chart.height = int(52 * mm), int(8 * mm), int(WIDTH - 62 * mm), int(height)
    chart.data = [[job["seconds"] for job in finished]]
    chart.categoryAxis.categoryNames = [in_fonts(job["title"][:28]) for job in finished]
    chart.categoryAxis.strokeColor = chart.valueAxis.strokeColor = RULE
    chart.categoryAxis.labels.fillColor = chart.valueAxis.labels.fillColor = QUIET
    chart.categoryAxis.labels.fontSize = chart.valueAxis.labels.fontSize = 8
    chart.valueAxis.valueMin = 0
    chart.bars[0].fillColor, chart.bars[0].strokeColor = ACCENT, None
    chart.barLabelFormat, chart.barLabels.fontSize = "%.2f", 8
    chart.barLabels.fillColor, chart.barLabels.boxAnchor, chart.barLabels.dx = INK, "w", 3
    return chart


def listing(facts: Facts) -> list[Flowable]:
    """Return the table of all jobs."""
    head = ["Time", "Job", "State", "What came of it"]
    rows = [[f"{datetime.fromtimestamp(job['created'], timezone.utc):%H:%M:%S}", *told(job)] for job in facts.jobs]
    style: list[Any] = [
        ("TEXTCOLOR", (0, 0), (-1, 0), QUIET),
        ("TEXTCOLOR", (0, 1), (-1, -1), INK),
        ("FONTSIZE", (0, 0), (-1, -1), 9),
        ("LINEBELOW", (0, 0), (-1, -1), 0.5, RULE),
        ("VALIGN", (0, 0), (-1, -1), "TOP"),
        ("LEFTPADDING", (0, 0), (0, -1), 0),
    ]
    widths = [18 * mm, 52 * mm, 22 * mm, WIDTH - 92 * mm]
    return [Paragraph("Jobs", HEADING), Table([head, *rows], colWidths=widths, style=style, repeatRows=1)]


def told(job: dict[str, Any]) -> list[str | Paragraph]:
    """Return the words of a job's row."""
    return [Paragraph(printable(job["title"]), TEXT), job["tone"], Paragraph(printable(job.get("note", "")), TEXT)]


def printable(text: str) -> str:
    """Return text for a paragraph, which would take angle brackets for markup."""
    return escape(in_fonts(text))


def in_fonts(text: str) -> str:
    """Return text with question marks for what the PDF's built-in fonts lack."""
    return text.encode("cp1252", "replace").decode("cp1252")
