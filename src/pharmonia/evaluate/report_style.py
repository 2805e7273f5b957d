"""Colours and style sheet of the HTML report; one colour, line and mark per arm everywhere."""

from dataclasses import dataclass

from pharmonia.evaluate.gain import Verdict
from pharmonia.evaluate.outcome import Arm


@dataclass(frozen=True, slots=True, kw_only=True)
class Look:
    """How one arm or verdict is drawn; the mark tells it apart where colours cannot."""

    colour: str
    ink: str  # the same, dark enough for text on white (WCAG AA, 4.5 to 1)
    symbol: str
    dash: str


# Okabe and Ito 2008, Color Universal Design: told apart with any common colour blindness.
ARM_LOOK = {
    Arm.ALONE: Look(colour="#E69F00", ink="#8A5F00", symbol="circle", dash="dot"),
    Arm.ENSEMBLE: Look(colour="#CC79A7", ink="#A0447A", symbol="square", dash="dashdot"),
    Arm.FEDERATED: Look(colour="#0072B2", ink="#005F96", symbol="diamond", dash="solid"),
    Arm.POOLED: Look(colour="#009E73", ink="#00714F", symbol="triangle-up", dash="dash"),
}
VERDICT_LOOK = {
    Verdict.GAINS: Look(colour="#0072B2", ink="#005F96", symbol="circle", dash="solid"),
    Verdict.LOSES: Look(colour="#D55E00", ink="#A84A00", symbol="x", dash="solid"),
    Verdict.NO_DIFFERENCE: Look(colour="#6B7785", ink="#55616E", symbol="circle-open", dash="solid"),
    Verdict.TOO_FEW_ROWS: Look(colour="#A9B2BC", ink="#66727F", symbol="circle-open-dot", dash="dot"),
}
SPLIT_COLOURS = {"train": "#34495E", "valid": "#8CA0B3", "test": "#CBD5DF"}
INK = "#1B2733"
MUTED = "#566472"
GRID = "#E3E8ED"
FONT = 'system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue", Arial, "DejaVu Sans", sans-serif'

CSS = f"""
:root {{ color-scheme: light; }}
* {{ box-sizing: border-box; }}
body {{ margin: 0; background: #F4F6F8; color: {INK}; font: 16px/1.5 {FONT}; }}
main, header.top {{ max-width: 1200px; margin: 0 auto; padding: 0 20px; }}
header.top {{ padding-top: 28px; }}
.over {{ color: {MUTED}; font-size: 14px; margin: 0 0 10px; }}
.over b {{ color: {INK}; }}
.answer {{ background: #fff; border-left: 8px solid var(--verdict); border-radius: 6px; padding: 18px 24px 16px;
  box-shadow: 0 1px 2px rgba(27,39,51,.12); }}
h1 {{ font-size: 27px; line-height: 1.28; margin: 0 0 8px; font-weight: 650; letter-spacing: -.2px; }}
.answer p {{ margin: 0; color: #36434F; }}
.tiles {{ display: grid; grid-template-columns: repeat(4, 1fr); gap: 14px; margin: 16px 0 0; padding: 0; }}
.tile {{ background: #fff; border-radius: 6px; padding: 12px 16px; box-shadow: 0 1px 2px rgba(27,39,51,.12);
  display: flex; flex-direction: column-reverse; justify-content: flex-end; }}
.tile dd {{ margin: 0; font-size: 26px; font-weight: 650; line-height: 1.2; }}
.tile dt {{ color: {MUTED}; font-size: 14px; line-height: 1.35; margin-top: 4px; }}
.row {{ display: grid; grid-template-columns: 1fr 1fr; gap: 16px; margin-top: 16px; }}
.row > * {{ min-width: 0; }}
section.card {{ background: #fff; border-radius: 6px; padding: 16px 20px 14px; box-shadow: 0 1px 2px rgba(27,39,51,.12);
  margin-top: 16px; min-width: 0; }}
.row section.card {{ margin-top: 0; }}
h2 {{ font-size: 19px; margin: 0 0 2px; line-height: 1.3; }}
h3 {{ font-size: 15px; margin: 14px 0 4px; }}
.lead {{ margin: 0 0 8px; color: {MUTED}; font-size: 14.5px; line-height: 1.45; }}
figure {{ margin: 0; }}
figcaption {{ color: {MUTED}; font-size: 13.5px; line-height: 1.4; }}
.plot {{ width: 100%; }}
.quad {{ display: grid; grid-template-columns: repeat(4, 1fr); gap: 8px; }}
.pair {{ display: grid; grid-template-columns: 1fr 1fr; gap: 16px; }}
.quad > *, .pair > * {{ min-width: 0; }}
.scroll {{ overflow-x: auto; }}
table {{ border-collapse: collapse; width: 100%; font-size: 14px; font-variant-numeric: tabular-nums; }}
caption {{ text-align: left; color: {MUTED}; font-size: 13.5px; padding: 4px 0; }}
th, td {{ padding: 6px 10px; border-bottom: 1px solid {GRID}; text-align: right; vertical-align: top; }}
th:first-child, td:first-child {{ text-align: left; }}
thead th {{ color: {MUTED}; font-weight: 600; font-size: 13px; line-height: 1.3; vertical-align: bottom; }}
tbody th {{ font-weight: 600; white-space: nowrap; }}
td small {{ display: block; color: {MUTED}; font-size: 12.5px; white-space: nowrap; }}
tr.federated {{ background: #EAF3FA; }}
.key {{ display: inline-block; width: 11px; height: 11px; border-radius: 3px; margin-right: 7px; }}
.meaning {{ color: {MUTED}; font-weight: 400; font-size: 13px; white-space: normal; display: block; }}
dl.how {{ display: grid; grid-template-columns: 170px 1fr; gap: 6px 16px; margin: 8px 0 0; font-size: 14.5px; }}
dl.how dt {{ font-weight: 600; }}
dl.how dd {{ margin: 0; overflow-wrap: anywhere; }}
code {{ font: 13px/1.4 ui-monospace, "DejaVu Sans Mono", Menlo, Consolas, monospace; }}
ul {{ margin: 6px 0 0; padding-left: 20px; font-size: 14.5px; }}
li {{ margin: 3px 0; }}
details {{ margin-top: 10px; }}
summary {{ cursor: pointer; color: #005A8D; font-size: 14.5px; }}
footer {{ max-width: 1200px; margin: 18px auto 36px; padding: 0 20px; color: {MUTED}; font-size: 13px; }}
@media (max-width: 820px) {{
  .row, .pair {{ grid-template-columns: minmax(0, 1fr); }}
  .tiles, .quad {{ grid-template-columns: 1fr 1fr; }}
  main, header.top {{ padding: 0 12px; }} header.top {{ padding-top: 14px; }}
  h1 {{ font-size: 21px; }} .answer {{ padding: 14px 16px; }} .tile dd {{ font-size: 21px; }}
  section.card {{ padding: 14px 12px; }}
  dl.how {{ grid-template-columns: 1fr; gap: 0; }} dl.how dd {{ margin-bottom: 8px; }}
}}
@media (max-width: 480px) {{ .quad {{ grid-template-columns: minmax(0, 1fr); }} }}
@media print {{
  body {{ background: #fff; }}
  section.card, .tile, .answer {{ box-shadow: none; break-inside: avoid; }}
}}
"""
