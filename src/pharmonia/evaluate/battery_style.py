"""Looks of the battery's page: methods, verdicts, light and dark; and its small script."""

from pharmonia.evaluate.battery_effects import Answer
from pharmonia.evaluate.battery_stats import Call
from pharmonia.evaluate.gain import Verdict
from pharmonia.evaluate.report_style import GRID, INK, MUTED, VERDICT_LOOK, Look

# Okabe and Ito 2008, as in report_style; colours that show on white and on dark alike.
_COLOURS = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#D55E00", "#56B4E9", "#8C8C8C", "#A6761D")
_SYMBOLS = ("circle", "square", "diamond", "triangle-up", "triangle-down", "pentagon", "hexagon", "star")
_DASHES = (  # Plotly's names, then lengths of line and gap
    *("solid", "dash", "dot", "dashdot", "longdash", "longdashdot"),
    *("2px,6px", "12px,2px", "6px,6px", "1px,1px", "16px,4px,2px,4px,2px,4px", "8px,3px,8px,3px,1px,3px"),
    *("20px,8px", "4px,1px", "3px,3px,10px,3px", "1px,8px"),
)
CALL_LOOK = {
    Call.BETTER: VERDICT_LOOK[Verdict.GAINS],
    Call.WORSE: VERDICT_LOOK[Verdict.LOSES],
    Call.NO_DIFFERENCE: VERDICT_LOOK[Verdict.NO_DIFFERENCE],
    Call.NOT_TESTED: VERDICT_LOOK[Verdict.TOO_FEW_ROWS],
}
ANSWER_LOOK = {
    Answer.SUPPORTED: VERDICT_LOOK[Verdict.GAINS],
    Answer.NOT_SUPPORTED: VERDICT_LOOK[Verdict.LOSES],
    Answer.CANNOT_SAY: VERDICT_LOOK[Verdict.NO_DIFFERENCE],
}
_DARK = {INK: "#E3E9EF", MUTED: "#A3B1BF", GRID: "#34424F", "#0072B2": "#4AA3DF"}


def look_of(place: int) -> Look:
    """Colour, mark and dash of the method, or number of partners, at this place.

    No two of 64 places share colour and mark, and no two of 16 the dash.
    """
    n = len(_COLOURS)
    colour = _COLOURS[place % n]
    return Look(
        colour=colour,
        ink=colour,
        symbol=_SYMBOLS[(place + place // n) % n],
        dash=_DASHES[place % len(_DASHES)],
    )


BATTERY_CSS = f"""
:root {{ color-scheme: light dark; }}
.three {{ display: grid; grid-template-columns: repeat(3, 1fr); gap: 16px; margin-top: 16px; }}
.three > * {{ min-width: 0; }}
.three section.card {{ margin-top: 0; border-top: 6px solid var(--verdict); }}
.two {{ display: grid; grid-template-columns: 1fr 1fr; gap: 8px 24px; }}
.two > * {{ min-width: 0; }}
.badge {{ display: inline-block; border-radius: 4px; padding: 1px 9px; font-size: 14px; font-weight: 650; color: #fff;
  background: var(--badge); white-space: nowrap; }}
.claim {{ font-size: 16px; font-weight: 650; margin: 0 0 8px; line-height: 1.35; }}
.claim + p {{ margin: 0 0 6px; }}
.said {{ font-size: 14.5px; margin: 8px 0 0; }}
h2 {{ scroll-margin-top: 12px; }}
nav {{ font-size: 14px; margin: 14px 0 0; display: flex; flex-wrap: wrap; gap: 4px 16px; }}
a {{ color: #005A8D; }}
.tools {{ display: flex; flex-wrap: wrap; gap: 8px 14px; align-items: center; margin: 8px 0; font-size: 14px; }}
.tools input, .tools select {{ font: inherit; padding: 4px 8px; border: 1px solid #8CA0B3; border-radius: 4px;
  background: #fff; color: {INK}; max-width: 100%; }}
.long {{ max-height: 75vh; overflow: auto; }}
.long thead th {{ position: sticky; top: 0; background: #fff; z-index: 2; box-shadow: 0 1px 0 {GRID}; }}
.sortable th button {{ font: inherit; color: inherit; background: none; border: 0; padding: 0; cursor: pointer;
  text-align: inherit; }}
.sortable th button::after {{ content: " \\2195"; opacity: .45; }}
.sortable th[aria-sort=ascending] button::after {{ content: " \\2191"; opacity: 1; }}
.sortable th[aria-sort=descending] button::after {{ content: " \\2193"; opacity: 1; }}
td .call {{ white-space: nowrap; }}
td .call::before {{ content: ""; display: inline-block; width: 9px; height: 9px; border-radius: 50%;
  background: var(--call); margin-right: 6px; }}
.sortable {{ font-size: 13.5px; }}
.sortable th, .sortable td {{ padding: 4px 7px; }}
.sortable tbody td {{ white-space: nowrap; }}
.sortable td.word {{ text-align: left; }}
.sortable thead th.word {{ text-align: left; }}
:focus-visible {{ outline: 2px solid #0072B2; outline-offset: 2px; }}
@media (max-width: 980px) {{ .three {{ grid-template-columns: minmax(0, 1fr); }} }}
@media (max-width: 820px) {{ .two {{ grid-template-columns: minmax(0, 1fr); }} .long {{ max-height: none; }} }}
@media (prefers-color-scheme: dark) {{
  body {{ background: #10171E; color: {_DARK[INK]}; }}
  .answer, .tile, section.card, .long thead th, .tools input, .tools select {{
    background: #1A242E; color: {_DARK[INK]}; }}
  .answer p, .over b {{ color: {_DARK[INK]}; }}
  .over, .tile dt, .lead, figcaption, caption, thead th, td small, .meaning, footer {{ color: {_DARK[MUTED]}; }}
  th, td {{ border-bottom-color: {_DARK[GRID]}; }}
  .long thead th {{ box-shadow: 0 1px 0 {_DARK[GRID]}; }}
  summary, a {{ color: #7CC0EE; }}
  :focus-visible {{ outline-color: #7CC0EE; }}
}}
@media print {{ .tools, nav {{ display: none; }} .long {{ max-height: none; }} }}
"""

_SWAPS = ", ".join(f"['{light}', '{dark}']" for light, dark in _DARK.items())
SCRIPT = f"""
const dark = matchMedia('(prefers-color-scheme: dark)');
const swaps = [{_SWAPS}];
function draw() {{
  const mode = dark.matches ? 'dark' : 'light';
  for (const place of document.querySelectorAll('.plot')) {{
    if (place.offsetParent === null || place.dataset.mode === mode) continue;
    let text = document.getElementById(place.id + '-data').textContent;
    if (dark.matches) for (const [light, other] of swaps) text = text.replaceAll(light, other);
    const spec = JSON.parse(text);
    Plotly.react(place, spec.data, spec.layout, {{responsive: true, displayModeBar: false}});
    place.dataset.mode = mode;
  }}
}}
draw();
dark.addEventListener('change', draw);
document.addEventListener('toggle', draw, true);
for (const choice of document.querySelectorAll('select[data-choice]')) {{
  const show = () => {{
    for (const part of document.querySelectorAll('[data-of="' + choice.dataset.choice + '"]'))
      part.hidden = part.dataset.part !== choice.value;
    draw();
  }};
  choice.addEventListener('change', show);
  show();
}}
for (const button of document.querySelectorAll('.sortable th button')) button.addEventListener('click', () => {{
  const head = button.parentElement, row = head.parentElement, body = head.closest('table').tBodies[0];
  const index = [...row.children].indexOf(head);
  const now = head.getAttribute('aria-sort'), first = head.dataset.first;
  const next = now === null ? first : now === 'ascending' ? 'descending' : 'ascending';
  for (const other of row.children) other.removeAttribute('aria-sort');
  head.setAttribute('aria-sort', next);
  const sign = next === 'ascending' ? 1 : -1;
  const value = line => line.children[index].dataset.value;
  const order = (a, b) => {{
    const x = value(a), y = value(b);
    if (x === '' || y === '') return (x === '') - (y === '');
    return sign * (isNaN(x) || isNaN(y) ? x.localeCompare(y, 'en', {{numeric: true}}) : x - y);
  }};
  body.append(...[...body.rows].sort(order));
}});
for (const field of document.querySelectorAll('input[data-filter]')) field.addEventListener('input', () => {{
  const rows = [...document.getElementById(field.dataset.filter).tBodies[0].rows];
  const words = field.value.toLowerCase().split(/\\s+/).filter(Boolean);
  const fits = (cell, word) => isNaN(word) ? cell.includes(word) : cell === word;
  for (const row of rows) {{
    const cells = [...row.children].map(cell => cell.textContent.toLowerCase());
    row.hidden = !words.every(word => cells.some(cell => fits(cell, word)));
  }}
  const left = rows.filter(row => !row.hidden).length;
  document.getElementById(field.dataset.filter + '-count').textContent = left + ' of ' + rows.length + ' settings';
}});
"""
