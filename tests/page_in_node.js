// As much of a browser's document as the script of a battery's page asks for, and what a reader does with the page.
// Reads {page, script, actions} from stdin; writes the leaderboard after each action.
'use strict';
const {page, script, actions} = JSON.parse(require('fs').readFileSync(0, 'utf8'));

class Element {
  constructor(node, parent) {
    this.tag = node.tag;
    this.attributes = new Map(Object.entries(node.attributes));
    this.parentElement = parent;
    this.listeners = {};
    this.hidden = false;
    this.offsetParent = null; // as of what is not shown: no picture is drawn
    this.value = this.attributes.get('value') ?? '';
    this.nodes = node.children.map(child => typeof child === 'string' ? child : new Element(child, this));
    this.dataset = {};
    for (const [name, value] of this.attributes)
      if (name.startsWith('data-'))
        this.dataset[name.slice(5).replace(/-(.)/g, (_, letter) => letter.toUpperCase())] = value;
  }
  get id() { return this.getAttribute('id'); }
  get children() { return this.nodes.filter(node => node instanceof Element); }
  get rows() { return this.querySelectorAll('tr'); }
  get tBodies() { return this.querySelectorAll('tbody'); }
  get textContent() { return this.nodes.map(node => node instanceof Element ? node.textContent : node).join(''); }
  set textContent(text) { this.nodes = [text]; }
  getAttribute(name) { return this.attributes.get(name) ?? null; }
  setAttribute(name, value) { this.attributes.set(name, String(value)); }
  removeAttribute(name) { this.attributes.delete(name); }
  addEventListener(kind, listener) { (this.listeners[kind] ??= []).push(listener); }
  fire(kind) { for (const listener of this.listeners[kind]) listener({target: this}); }
  append(...moved) {
    for (const one of moved) {
      one.parentElement.nodes = one.parentElement.nodes.filter(node => node !== one);
      one.parentElement = this;
      this.nodes.push(one);
    }
  }
  closest(selector) { return this.isA(selector) ? this : this.parentElement?.closest(selector) ?? null; }
  querySelectorAll(selector) {
    const found = [], words = selector.split(' ');
    const visit = element => {
      for (const child of element.children) {
        if (child.fits(words)) found.push(child);
        visit(child);
      }
    };
    visit(this);
    return found;
  }
  fits(words) { // the last word is of this element, those before it of elements around it
    if (!this.isA(words.at(-1))) return false;
    const before = words.slice(0, -1);
    if (before.length === 0) return true;
    for (let around = this.parentElement; around !== null; around = around.parentElement)
      if (around.fits(before)) return true;
    return false;
  }
  isA(word) { // such as td, .plot, select[data-choice] and [data-of="curves"]
    const [, tag, kind, name, value] = word.match(/^([a-z0-9]*)(?:\.([\w-]+))?(?:\[([\w-]+)(?:="([^"]*)")?\])?$/);
    return (!tag || tag === this.tag)
      && (kind === undefined || (this.getAttribute('class') ?? '').split(' ').includes(kind))
      && (name === undefined || this.attributes.has(name))
      && (value === undefined || this.getAttribute(name) === value);
  }
}

const document = new Element({tag: 'document', attributes: {}, children: [page]}, null);
document.getElementById = id => document.querySelectorAll('[id="' + id + '"]')[0];
const matchMedia = () => ({matches: false, addEventListener: () => {}});
new Function('document', 'matchMedia', 'Plotly', script)(document, matchMedia, {});

const board = document.getElementById('board-table');
const heads = board.querySelectorAll('th');
board.tBodies[0].rows.forEach((row, index) => row.setAttribute('index', index));
const seen = actions.map(action => {
  if ('click' in action) heads[action.click].children[0].fire('click');
  else {
    const field = document.getElementById('board-filter');
    field.value = action.type;
    field.fire('input');
  }
  const rows = board.tBodies[0].rows;
  return {
    order: rows.map(row => Number(row.getAttribute('index'))),
    shown: rows.filter(row => !row.hidden).map(row => Number(row.getAttribute('index'))),
    sorted: heads.map(head => head.getAttribute('aria-sort')),
    count: document.getElementById('board-table-count').textContent,
  };
});
process.stdout.write(JSON.stringify(seen));
