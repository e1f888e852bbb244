// The operator's page. Reads the JSON page and the series, and updates the document in place, so that focus, scroll
// position, selection and open details stay. Content comes in by `textContent` only: names are other programs' text.

const TIMEOUT = 10000;
/** Seconds to the next poll, by the number of polls that have failed in a row. */
const BACKOFF = [1, 1, 2, 5, 10];
const TIERS = {
  minute: { step: 1, count: 60, words: 'last minute', each: 'one sample a second', tick: 15 },
  hour: { step: 10, count: 360, words: 'last hour', each: 'means of 10 s with min and max', tick: 900 },
  day: { step: 300, count: 288, words: 'last day', each: 'means of 5 min with min and max', tick: 21600 },
};
const SEVERITIES = ['critical', 'warning', 'info'];
const LISTED_STATES = ['firing', 'pending', 'resolved'];

const byId = (id) => document.getElementById(id);
const all = (selector, root = document) => Array.from(root.querySelectorAll(selector));
// "/", "/ops" and "/ops/" all work. `origin` has no credentials: `fetch` rejects an address with them.
const base = location.origin + location.pathname.replace(/\/+$/, '');

// ---- Numbers and times as text

const formatter = (options) => {
  const format = new Intl.NumberFormat('en', options);
  return (value) => format.format(value);
};
const upToOneDecimal = formatter({ maximumFractionDigits: 1 });
const cutToTwoDecimals = formatter({ maximumFractionDigits: 2, roundingMode: 'trunc' });
const oneDecimal = formatter({ minimumFractionDigits: 1, maximumFractionDigits: 1 });
const threeDigits = formatter({ maximumSignificantDigits: 3 });
const compact = formatter({ notation: 'compact', maximumFractionDigits: 1 });

const count = (value) => (Math.abs(value) < 1e5 ? upToOneDecimal : compact)(value);

function decimal(value) {
  const size = Math.abs(value);
  if (size < 10) return threeDigits(value);
  return size < 1000 ? oneDecimal(value) : count(Math.round(value));
}

/** Rounds to one decimal, but not to a whole number: 79.96 is below a threshold of 80, and 99.96 is not full. */
const percent = (value) => (Math.round(value * 10) % 10 === 0 ? cutToTwoDecimals(value) : upToOneDecimal(value));

function bytes(value) {
  const units = ['B', 'KiB', 'MiB', 'GiB', 'TiB', 'PiB', 'EiB'];
  const power = value < 1 ? 0 : Math.min(Math.floor(Math.log2(value) / 10), units.length - 1);
  return `${upToOneDecimal(value / 1024 ** power)} ${units[power]}`;
}

const FORMATS = { count, percent, bytes, rate: decimal };

/** `units` is one text, or singular and plural separated by a bar. */
function unitOf(value, units) {
  const [singular, plural = singular] = units.split('|');
  return value === 1 ? singular : plural;
}

const withUnit = (value, kind = 'count', units = '') => `${FORMATS[kind](value)} ${unitOf(value, units)}`.trimEnd();
const plural = (n, word) => withUnit(n, 'count', `${word}|${word}s`);

function duration(seconds) {
  const s = Math.max(0, Math.floor(seconds));
  if (s < 60) return `${s} s`;
  if (s < 3600) return `${Math.floor(s / 60)} min`;
  if (s < 86400) return `${Math.floor(s / 3600)} h ${Math.floor((s % 3600) / 60)} min`;
  return `${Math.floor(s / 86400)} d ${Math.floor((s % 86400) / 3600)} h`;
}

function progressText(elapsed, whole) {
  const [size, unit] = whole < 120 ? [1, 's'] : whole < 7200 ? [60, 'min'] : [3600, 'h'];
  return `${upToOneDecimal(Math.floor(elapsed / size))} of ${upToOneDecimal(whole / size)} ${unit}`;
}

const timeFormat = (options) => new Intl.DateTimeFormat('en-GB', options);
const toSecond = timeFormat({ hour: '2-digit', minute: '2-digit', second: '2-digit' });
const toMinute = timeFormat({ hour: '2-digit', minute: '2-digit' });
const dayOnly = timeFormat({ day: 'numeric', month: 'short' });

/** Local time, with the date when that is not today's. */
function moment(date, format = toSecond) {
  const today = date.toDateString() === new Date().toDateString();
  return today ? format.format(date) : `${dayOnly.format(date)} ${format.format(date)}`;
}

const parseTime = (text) => new Date(text);
const fromUnix = (seconds) => new Date(seconds * 1000);

// ---- Updates of the document

function setText(node, text) {
  if (node.textContent !== text) node.textContent = text;
}

/** A value of `null` removes the attribute. */
function setAttributes(node, values) {
  for (const [name, value] of Object.entries(values)) {
    if (value === null) node.removeAttribute(name);
    else if (node.getAttribute(name) !== String(value)) node.setAttribute(name, value);
  }
}

function setTime(node, date, format) {
  setText(node, date ? moment(date, format) : '');
  setAttributes(node, { datetime: date ? date.toISOString() : null });
}

function copyOf(template) {
  const node = byId(template).content.firstElementChild.cloneNode(true);
  const slots = {};
  for (const slot of all('[data-slot]', node)) slots[slot.dataset.slot] = slot;
  return { node, slots };
}

/** Shows items as the children of an element. A row belongs to a key and moves only when the order changes. */
class Rows {
  constructor(parent, { key, create, fill }) {
    Object.assign(this, { parent, key, create, fill, rows: new Map() });
  }

  show(items) {
    const rows = new Map();
    for (const item of items) rows.set(this.key(item), this.rows.get(this.key(item)) ?? this.create(item));
    for (const [key, row] of this.rows) if (!rows.has(key)) row.node.remove();
    this.rows = rows;
    let place = this.parent.firstElementChild;
    for (const item of items) {
      const row = rows.get(this.key(item));
      if (row.node === place) place = place.nextElementSibling;
      else this.parent.insertBefore(row.node, place);
      this.fill?.(row, item);
    }
  }
}

/** A list of the first `limit` items; the others are in a `<details>`, and in the document only while it is open. */
class LongList {
  constructor(id, limit, summary, rows) {
    Object.assign(this, { limit, summary, rest: [] });
    this.more = document.querySelector(`[data-more=${id}]`) ?? copyOf('t-more').node;
    if (limit > 0) {
      this.first = new Rows(byId(id), rows);
      byId(id).after(this.more);
    }
    this.others = new Rows(this.more.querySelector('ul'), rows);
    this.others.parent.className = limit > 0 ? byId(id).className : 'rows';
    this.more.addEventListener('toggle', () => this.showRest());
  }

  show(items) {
    this.first?.show(items.slice(0, this.limit));
    this.rest = items.slice(this.limit);
    this.more.hidden = this.rest.length === 0;
    setText(this.more.firstElementChild, this.summary(this.rest.length));
    this.showRest();
  }

  showRest() {
    this.others.show(this.more.open ? this.rest : []);
  }
}

// ---- Points of the series

/** The points of one tier by their Unix second. A restart of the server keeps them: the new process has none. */
class Tier {
  constructor(name) {
    Object.assign(this, { name, ...TIERS[name], points: new Map(), end: null, events: [], due: 0 });
    this.clock = this.step === 1 ? toSecond : toMinute;
  }

  get from() {
    return this.end - (this.count - 1) * this.step;
  }

  /** Makes the next request one for all points. */
  restart() {
    Object.assign(this, { whole: true, due: 0 });
  }

  async refresh() {
    // The time of the next try if this one fails.
    this.due = performance.now() + TIMEOUT;
    const since = this.end === null || this.whole ? '' : `&since=${this.end}`;
    this.merge(await fetchJson(`/parsec/series?tier=${this.name}${since}`));
  }

  merge({ at, started_at: process, tiers, events = [] }) {
    Object.assign(this, { events, whole: false });
    // Of the first process that was seen: nothing before that is missing.
    this.begun ??= parseTime(process) / 1000;
    const tier = tiers.find(({ name }) => name === this.name);
    if (tier?.end != null) {
      this.end = tier.end;
      for (let i = 0; i < tier.n; i++) this.add(tier.end - (tier.n - 1 - i) * this.step, process, tier, i);
      for (const t of this.points.keys()) if (t < this.from || t > this.end) this.points.delete(t);
    }
    const wait = this.end === null ? 0 : this.end + this.step - parseTime(at) / 1000;
    this.due = performance.now() + 1000 * Math.min(Math.max(wait, this.step / 30), this.step);
  }

  add(t, process, { series, aspects = {} }, i) {
    const point = { process, values: {}, aspects: { __proto__: null } };
    for (const [path, { avg, min = avg, max = avg }] of Object.entries(series)) {
      if (avg[i] !== null) point.values[path] = { mean: avg[i], min: min[i], max: max[i] };
    }
    for (const [aspect, rates] of Object.entries(aspects)) if (rates[i] !== null) point.aspects[aspect] = rates[i];
    // A full answer has gaps where an earlier process had points.
    const empty = Object.keys(point.values).length === 0;
    if (!empty || !this.points.has(t)) this.points.set(t, point);
  }

  /** The seconds of the points from `first` on, oldest first, gaps included. */
  times(first = this.from) {
    if (this.end === null || first === null) return [];
    return Array.from({ length: (this.end - first) / this.step + 1 }, (_, i) => first + i * this.step);
  }

  timeText(t) {
    return moment(fromUnix(t), this.step < 60 ? toSecond : toMinute);
  }

  fired() {
    return this.events.filter(({ t, to }) => to === 'firing' && t >= this.from && t <= this.end);
  }

  value(t, path) {
    return this.points.get(t)?.values[path];
  }

  /** The unbroken runs of a series: a missing value ends one, and so does a restart of the server. */
  runs(path) {
    const runs = [];
    let run = null;
    for (const t of this.times()) {
      const value = this.value(t, path);
      const process = this.points.get(t)?.process;
      if (!value) run = null;
      else if (run?.process === process) run.points.push({ t, ...value });
      else runs.push((run = { process, points: [{ t, ...value }] }));
    }
    return runs;
  }

  /** Rates per second by aspect: means of the last 10 seconds. */
  rates() {
    const sums = new Map();
    for (const t of this.times().filter((t) => t > this.end - 10)) {
      for (const [aspect, rate] of Object.entries(this.points.get(t)?.aspects ?? {})) {
        const [sum, n] = sums.get(aspect) ?? [0, 0];
        sums.set(aspect, [sum + rate, n + 1]);
      }
    }
    return new Map([...sums].map(([aspect, [sum, n]]) => [aspect, sum / n]));
  }
}

// ---- Charts

const HEIGHT = 132;
const TOP = 8;
const BOTTOM = HEIGHT - 20;
const RIGHT = 10;
const round = (pixels) => Math.round(pixels * 10) / 10;

/** A range with round ends and two to four round steps that includes 0 and all values. */
function niceScale(values, kind) {
  if (kind === 'percent') return { low: 0, high: 100, step: 50 };
  const low = Math.min(0, ...values);
  const high = Math.max(0, ...values);
  const rough = (high - low || 1) / 3;
  const power = 10 ** Math.floor(Math.log10(rough));
  const rounded = [1, 2, 5, 10].find((factor) => factor * power >= rough * 0.999) * power;
  const step = kind === 'count' ? Math.max(1, rounded) : rounded;
  return { low: Math.floor(low / step) * step, high: Math.max(Math.ceil(high / step), 1) * step, step };
}

/** Round local times: a tick every `step` seconds counted from local midnight. */
function timeTicks(from, end, step) {
  const offset = fromUnix(end).getTimezoneOffset() * 60;
  const ticks = [];
  for (let t = Math.ceil((from - offset) / step) * step + offset; t <= end; t += step) ticks.push(t);
  return ticks;
}

function axisLabel({ text, x, y, anchor }) {
  const label = document.createElementNS('http://www.w3.org/2000/svg', 'text');
  setText(label, text);
  setAttributes(label, { x, y, 'text-anchor': anchor });
  return label;
}

class Chart {
  constructor(host) {
    const { chart, second, label } = host.dataset;
    const section = host.closest('section');
    const fieldOf = (path) => ({ path, ...section.querySelector(`[data-field="${path}"]`).dataset });
    this.series = [chart, second].filter(Boolean).map(fieldOf);
    Object.assign(this, { host, label, kind: this.series[0].kind ?? 'count', tier: null, first: null, cursor: null });
    setAttributes(host, { tabindex: 0, role: 'slider', 'aria-roledescription': 'chart' });
    host.append(byId('t-chart').content.cloneNode(true));
    host.after(byId('t-reading').content.cloneNode(true));
    section.querySelector('.main').append(document.createElement('span'));
    [this.svg, this.labels] = [host.querySelector('svg'), host.querySelector('.labels')];
    this.paths = all('path', host);
    [this.reading, this.hint] = [section.querySelector('.reading'), section.querySelector('.hint')];
    this.table = new PointTable(section.querySelector('.table'), this);
    this.listen();
  }

  listen() {
    const { host } = this;
    host.addEventListener('keydown', (event) => this.key(event));
    for (const type of ['pointermove', 'pointerdown']) host.addEventListener(type, (event) => this.point(event));
    host.addEventListener('blur', () => this.read(null));
    // A finger leaves when it lifts: what it touched stays until the chart loses focus.
    host.addEventListener('pointerleave', ({ pointerType }) => pointerType === 'mouse' && this.read(null));
    new ResizeObserver(() => this.draw()).observe(host);
  }

  show(tier) {
    if (tier !== this.tier) {
      Object.assign(this, { tier, cursor: null });
      this.table.drawHead();
    }
    setAttributes(this.host, { 'aria-label': `${this.label}, ${tier.words}` });
    this.draw();
    this.table.draw();
  }

  draw() {
    const { tier } = this;
    const width = this.host.clientWidth;
    const runs = this.series.map(({ path }) => tier?.runs(path) ?? []);
    const points = runs.flat().flatMap((run) => run.points);
    this.first = points.length > 0 ? Math.min(...points.map(({ t }) => t)) : null;
    const empty = !tier || tier.end === null;
    setAttributes(this.svg, { hidden: empty ? '' : null });
    if (empty) setText(this.hint, tier?.begun ? `first point within ${duration(tier.step)}` : 'no points yet');
    else if (width > 0) this.drawPoints(runs, points, width - RIGHT);
    // A reading that leaves at the left ends: it does not move on to other points.
    if (this.cursor !== null && this.cursor < this.first) this.cursor = null;
    this.drawCursor();
  }

  drawPoints(runs, points, right) {
    const { tier } = this;
    const { low, high, step } = niceScale(points.flatMap(({ min, max }) => [min, max]), this.kind);
    const ticks = this.valueTicks(low, high, step);
    const left = 10 + Math.max(...ticks.map(({ text }) => text.length)) * 6.8;
    this.area = { left, right };
    this.x = (t) => round(left + ((t - tier.from) / (tier.end - tier.from)) * (right - left));
    this.y = (value) => round(BOTTOM - ((value - low) / (high - low)) * (BOTTOM - TOP));
    this.drawAxes(ticks);
    this.drawRuns(runs);
  }

  drawPaths(paths) {
    for (const path of this.paths) {
      const d = paths[path.getAttribute('class')];
      if (d !== undefined) setAttributes(path, { d });
    }
  }

  valueTicks(low, high, step) {
    const unit = { percent: ' %', rate: ' /s' }[this.kind] ?? '';
    const ticks = [];
    // Multiples of the step: a sum of steps would not reach 0 exactly.
    for (let i = Math.round(low / step); i * step <= high + step / 2; i++) {
      ticks.push({ value: i * step, text: (Math.abs(i * step) < 1e4 ? threeDigits : compact)(i * step) + unit });
    }
    return ticks;
  }

  drawAxes(ticks) {
    const { tier, area } = this;
    const labels = ticks.map(({ value, text }) => ({ text, x: area.left - 6, y: this.y(value) + 4, anchor: 'end' }));
    // A label needs 70 pixels; every second or fourth tick is left out until they fit.
    const room = Math.floor((area.right - area.left) / 70);
    let step = tier.tick;
    while ((tier.end - tier.from) / step > room) step *= 2;
    const times = timeTicks(tier.from, tier.end, step);
    for (const t of times) {
      const x = Math.min(Math.max(this.x(t), area.left + 14), area.right - 18);
      labels.push({ text: tier.clock.format(fromUnix(t)), x, y: HEIGHT - 4, anchor: 'middle' });
    }
    const lines = ticks.map(({ value }) => `M${area.left} ${this.y(value)}H${area.right}`);
    const marks = times.map((t) => `M${this.x(t)} ${BOTTOM}v4`);
    this.drawPaths({ axes: [...lines, ...marks].join('') });
    this.labels.replaceChildren(...labels.map(axisLabel));
  }

  drawRuns([first, second = []]) {
    const [gap, restart] = [this.gaps(first), this.restarts(first)];
    this.drawPaths({
      gap,
      band: this.band(first),
      band2: this.band(second),
      line: this.line(first),
      line2: this.line(second),
      restart,
      event: this.tier.fired().map(({ t }) => `M${this.x(t)} ${BOTTOM}V${TOP}l-4 -7h8l-4 7`).join(''),
    });
    setText(this.hint, [gap && 'hatched: not known', restart && 'dotted: restart'].filter(Boolean).join(', '));
  }

  line(runs) {
    // A run of one point gets a length that is not zero, or nothing is drawn.
    const path = ({ points }) => points.map(({ t, mean }) => `${this.x(t)} ${this.y(mean)}`).join('L');
    return runs.map((run) => `M${path(run)}${run.points.length === 1 ? 'h.1' : ''}`).join('');
  }

  band(runs) {
    if (this.tier.step === 1) return '';
    const edge = (points, key) => points.map((point) => `${this.x(point.t)} ${this.y(point[key])}`).join('L');
    return runs.map(({ points }) => `M${edge(points, 'max')}L${edge([...points].reverse(), 'min')}Z`).join('');
  }

  gaps(runs) {
    const { from, end, step, begun } = this.tier;
    const ends = runs.flatMap(({ points }) => [points[0].t, points[points.length - 1].t]);
    const known = [Math.max(from - step, begun + step), ...ends, end + step];
    let path = '';
    for (let i = 0; i < known.length; i += 2) {
      const [start, stop] = [Math.max(known[i], from), Math.min(known[i + 1], end)];
      const isGap = known[i + 1] - known[i] > step;
      if (isGap) path += `M${this.x(start)} ${TOP}H${this.x(stop)}V${BOTTOM}H${this.x(start)}Z`;
    }
    return path;
  }

  restarts(runs) {
    const after = runs.filter(({ process }, i) => i > 0 && process !== runs[i - 1].process);
    return after.map(({ points }) => `M${this.x(points[0].t)} ${TOP}V${BOTTOM}`).join('');
  }

  // A reading is kept by its time: it stays on its point while the chart moves on.

  key(event) {
    const { tier, first } = this;
    if (!tier || first === null || event.altKey || event.ctrlKey || event.metaKey) return;
    if (event.key === 'Escape') return this.read(null);
    const from = this.cursor ?? tier.end + tier.step;
    const moves = { ArrowLeft: -1, ArrowDown: -1, ArrowRight: 1, ArrowUp: 1, PageDown: -10, PageUp: 10 };
    const target = { Home: first, End: tier.end }[event.key] ?? from + moves[event.key] * tier.step;
    if (Number.isNaN(target)) return;
    event.preventDefault();
    this.read(target);
  }

  point({ clientX }) {
    const { tier, first, area, host } = this;
    if (!area || first === null) return;
    const share = (clientX - host.getBoundingClientRect().left - area.left) / (area.right - area.left);
    this.read(tier.from + Math.round(share * (tier.count - 1)) * tier.step);
  }

  read(t) {
    this.cursor = t;
    if (this.tier) this.drawCursor();
  }

  drawCursor() {
    const { tier, host, first } = this;
    if (this.cursor !== null) this.cursor = first === null ? null : Math.min(Math.max(this.cursor, first), tier.end);
    const { cursor } = this;
    const text = cursor === null ? '' : this.readingText(cursor);
    const value = cursor === null ? null : tier.value(cursor, this.series[0].path);
    setText(this.reading, text);
    this.drawPaths({
      cursor: cursor === null ? '' : `M${this.x(cursor)} ${TOP}V${BOTTOM}`,
      point: value ? `M${this.x(cursor)} ${this.y(value.mean)}h.1` : '',
    });
    // Constant while nothing is read: numbers that change on their own are not announced.
    setAttributes(host, {
      'aria-valuemin': cursor === null ? 0 : first,
      'aria-valuemax': cursor === null ? 0 : tier.end,
      'aria-valuenow': cursor ?? 0,
      'aria-valuetext': text || 'arrow keys read the points',
    });
  }

  readingText(t) {
    const values = this.series.map(({ path, unit }) => this.valueText(this.tier.value(t, path), unit));
    return `${this.tier.timeText(t)}: ${values.filter(Boolean).join(', ') || 'not known'}`;
  }

  valueText(value, unit) {
    if (!value) return '';
    const format = FORMATS[this.kind];
    const range = this.tier.step === 1 ? '' : ` (min ${format(value.min)}, max ${format(value.max)})`;
    return withUnit(value.mean, this.kind, unit) + range;
  }
}

/** The points of a chart as a table, newest first; filled only while it is open. */
class PointTable {
  constructor(details, chart) {
    Object.assign(this, { details, chart });
    const rows = { key: (t) => `${chart.tier.name} ${t}`, create: (t) => ({ node: cells('td', this.texts(t)) }) };
    this.rows = new Rows(details.querySelector('tbody'), rows);
    setAttributes(details.querySelector('.scroll'), { 'aria-label': `Points: ${chart.label}` });
    details.addEventListener('toggle', () => this.draw());
  }

  drawHead() {
    const { tier, series } = this.chart;
    const columns = tier.step === 1 ? [''] : [', mean', ', min', ', max'];
    const names = series.flatMap(({ unit }) => columns.map((column) => unitOf(2, unit) + column));
    this.details.querySelector('thead').replaceChildren(cells('th', ['time', ...names]));
  }

  draw() {
    const { tier, first } = this.chart;
    if (this.details.open && tier) this.rows.show(tier.times(first).reverse());
  }

  texts(t) {
    const { tier, kind, series } = this.chart;
    const keys = tier.step === 1 ? ['mean'] : ['mean', 'min', 'max'];
    const values = series.flatMap(({ path }) => keys.map((key) => tier.value(t, path)?.[key]));
    return [tier.timeText(t), ...values.map((value) => (value === undefined ? 'not known' : FORMATS[kind](value)))];
  }
}

function cells(tag, texts) {
  const row = document.createElement('tr');
  for (const text of texts) {
    const cell = document.createElement(tag);
    cell.textContent = text;
    if (tag === 'th') cell.scope = 'col';
    row.append(cell);
  }
  return row;
}

// ---- State

const tiers = Object.fromEntries(Object.keys(TIERS).map((name) => [name, new Tier(name)]));
const state = {
  span: 'hour',
  paused: false,
  page: null,
  answeredAt: null,
  failures: 0,
  reason: '',
  seriesError: '',
  nextTry: 0,
  verdict: { worst: 'pending', text: '', short: 'connecting' },
};

/** Seconds since the last answer. */
const age = () => Math.max(1, Math.round((Date.now() - state.answeredAt) / 1000));

function connectionState() {
  if (state.failures > 0) return 'lost';
  if (state.paused) return 'paused';
  if (!state.page) return 'connecting';
  return age() > 5 ? 'late' : 'live';
}

// ---- Views

const now = () => parseTime(state.page.at);
const secondsSince = (time) => (now() - parseTime(time)) / 1000;

/** Fills a row of template `t-row`. Times are dates, `progress` is a pair of done and whole. */
function fillRow({ node, slots }, attributes, { icon, since, until, format, progress, ...texts }) {
  setAttributes(node, attributes);
  setAttributes(slots.icon, { href: `#i-${icon}` });
  for (const name of ['word', 'name', 'lead', 'join', 'tail', 'text']) setText(slots[name], texts[name] ?? '');
  setTime(slots.since, since, format);
  setTime(slots.until, until, format);
  slots.progress.hidden = !progress;
  if (progress) setAttributes(slots.progress, { value: progress[0], max: progress[1] });
}

function fillAlert(row, { name, severity, state: phase, description: text, ...rule }) {
  const attributes = { 'data-alert': name, 'data-state': phase, 'data-severity': severity };
  const describe = { firing: describeFiring, pending: describePending, resolved: describeResolved }[phase];
  fillRow(row, attributes, { icon: severity, word: severity, name, text, ...describe?.(rule) });
}

function describeFiring({ since, fired_total: fired = 0 }) {
  const times = fired > 1 ? `; fired ${count(fired)} times` : '';
  const tail = ` (${duration(secondsSince(since))}${times})`;
  return { lead: 'firing, true since ', since: parseTime(since), tail };
}

function describePending({ since, for_seconds: whole = 0 }) {
  const elapsed = Math.min(Math.max(secondsSince(since), 0), whole);
  const lead = `pending ${progressText(elapsed, whole)}, since `;
  return { icon: 'pending', lead, since: parseTime(since), progress: [Math.round(elapsed), whole] };
}

function describeResolved({ since, resolved_at: until }) {
  const [from, to] = [parseTime(since), parseTime(until)];
  const tail = ` (true for ${duration((to - from) / 1000)})`;
  return { icon: 'ok', word: 'resolved', since: from, join: '–', until: to, tail, format: toMinute };
}

function fillEvent(row, { t, alert: name, to: word }) {
  const { severity } = state.page?.rules?.find((rule) => rule.name === name) ?? {};
  const icon = { firing: severity ?? 'problem', pending: 'pending' }[word] ?? 'ok';
  const attributes = { 'data-severity': severity ?? null, 'data-state': word };
  fillRow(row, attributes, { icon, word, name, since: fromUnix(t), text: severity });
}

function fillProblem(row, { kind, name, text }) {
  fillRow(row, { [`data-${kind}`]: name }, { icon: 'problem', word: kind, name, text });
}

function fillSource(row, { name, type, up, age_seconds: age, panics_total: panics, timeouts_total: timeouts }) {
  const lead = age === undefined ? 'never reported' : `${age < 1 ? 'under 1 s' : duration(age)} old`;
  const counts = [panics && plural(panics, 'panic'), timeouts && plural(timeouts, 'timeout')];
  const soFar = counts.filter(Boolean).join(', ');
  const text = [type !== name && type, soFar && `${soFar} so far`].filter(Boolean).join(', ');
  const [icon, word] = up ? ['ok', 'up'] : ['problem', 'stale'];
  fillRow(row, { 'data-source': name, 'data-up': up }, { icon, word, name, lead, text });
}

function fillBar({ node, slots }, { name, value, size, text, total = '' }) {
  setAttributes(node, { 'data-key': name, 'data-value': value });
  setText(slots.name, name);
  setText(slots.number, text);
  setText(slots.total, total);
  // A small value stays visible, and differs from none.
  const width = `${size > 0 ? Math.max(round(size * 100), 0.5) : 0}%`;
  if (slots.bar.style.inlineSize !== width) slots.bar.style.inlineSize = width;
}

const rows = (fill, key = ({ name }) => name) => ({ key, create: () => copyOf('t-row'), fill });
const bars = { ...rows(fillBar), create: () => copyOf('t-bar') };
const problemKey = ({ kind, name }) => `${kind} ${name}`;
const eventKey = ({ t, alert, to }) => `${t} ${to} ${alert}`;
const more = (n) => `${n} more`;
const transitions = (n) => `${plural(n, 'transition')} in the ${TIERS[state.span].words}`;
const lists = {
  alerts: new LongList('alerts', 12, more, rows(fillAlert)),
  problems: new LongList('problems', 6, more, rows(fillProblem, problemKey)),
  inactive: new LongList('inactive', 0, (n) => `${plural(n, 'rule')} inactive`, rows(fillAlert)),
  events: new LongList('events', 0, transitions, rows(fillEvent, eventKey)),
  aspects: new LongList('aspects', 10, more, bars),
  patterns: new LongList('patterns', 10, more, bars),
  sources: new LongList('sources', 12, more, rows(fillSource)),
};
const charts = all('[data-chart]').map((host) => new Chart(host));

function compareAlerts(a, b) {
  return (
    LISTED_STATES.indexOf(a.state) - LISTED_STATES.indexOf(b.state) ||
    SEVERITIES.indexOf(a.severity) - SEVERITIES.indexOf(b.severity) ||
    (b.since ?? '').localeCompare(a.since ?? '') ||
    a.name.localeCompare(b.name)
  );
}

function problemsOf({ rules = [], sources = [] }) {
  const problems = [];
  const add = (kind, name, text) => problems.push({ kind, name, text });
  for (const source of sources) if (!source.up) add('source', source.name, staleText(source));
  for (const { name, error } of rules) if (error) add('rule', name, `could not be evaluated: ${error}`);
  if (state.seriesError) add('page', '/parsec/series', `${state.seriesError}: the charts are not up to date.`);
  return problems;
}

function staleText({ age_seconds: age, error, sections = [] }) {
  // The error of a call in flight says the same.
  const because = error && !error.startsWith('no answer for') ? ` (${error})` : '';
  if (age === undefined) return `has not answered yet${because}: its numbers are missing.`;
  const named = sections.length > 0 ? `(${sections.join(', ')}) ` : '';
  return `${named}has not answered for ${duration(age)}${because}: its numbers are the last good ones.`;
}

/** What is wrong, as one line and in two or three words, and how bad it is. */
function verdictOf({ rules = [], started_at: started }, problems) {
  const inState = (wanted) => rules.filter((rule) => rule.state === wanted);
  const [firing, pending] = [inState('firing'), inState('pending').length];
  const stale = problems.filter(({ kind }) => kind === 'source').length;
  const others = problems.length - stale;
  const notes = [
    pending > 0 && `${pending} pending`,
    stale > 0 && plural(stale, 'stale source'),
    others > 0 && plural(others, stale > 0 ? 'other problem' : 'problem'),
  ].filter(Boolean);
  const countOf = (severity) => firing.filter((rule) => rule.severity === severity).length;
  const found = SEVERITIES.filter((severity) => countOf(severity) > 0);
  if (found.length > 0) {
    const counts = found.map((severity) => `${countOf(severity)} ${severity}`);
    const text = `${counts.join(', ')} ${firing.length === 1 ? 'alert is' : 'alerts are'} firing`;
    return { worst: found[0], text: [text, ...notes].join('; '), short: [...counts, ...notes].join(', ') };
  }
  const calm = pending > 0 ? 'No alert is firing' : 'No alert is firing or pending';
  if (notes.length > 0) {
    const worst = pending > 0 ? 'pending' : 'problem';
    return { worst, text: [calm, ...notes].join('; '), short: notes.join(', ') };
  }
  if (rules.length === 0) return { worst: 'none', text: 'No alert rules are configured', short: 'no alert rules' };
  // The states of rules do not outlive the process.
  const uptime = secondsSince(started);
  const since = uptime < 900 ? ` since the start ${duration(uptime)} ago` : '';
  return { worst: 'quiet', text: `All quiet${since}: no alert is firing or pending`, short: 'all quiet' };
}

function showAlerts(page) {
  const { rules = [] } = page;
  const problems = problemsOf(page);
  state.verdict = verdictOf(page, problems);
  const { worst } = state.verdict;
  const icon = { quiet: 'ok', none: 'info' }[worst] ?? worst;
  setAttributes(byId('state'), { 'data-worst': worst });
  setAttributes(byId('verdict-icon'), { href: `#i-${icon}` });
  lists.alerts.show(rules.filter((rule) => LISTED_STATES.includes(rule.state)).sort(compareAlerts));
  lists.inactive.show(rules.filter((rule) => rule.state === 'inactive'));
  lists.problems.show(problems);
}

/** The value of a JSON path, or `undefined` when it is not known: what is not measured reads 0 in the page. */
function valueAt(page, path) {
  const [section, field] = path.split('.');
  const { unmeasured = [] } = page;
  return unmeasured.includes(section) || unmeasured.includes(path) ? undefined : page[section]?.[field];
}

/** Says that a section has a source that does not answer. */
function agedText({ sources = [] }, section) {
  const ages = sources.filter(({ up, sections }) => !up && sections?.includes(section)).map((s) => s.age_seconds);
  return ages.length > 0 ? `last good value, ${duration(Math.max(...ages))} old` : '';
}

function showSections(page) {
  for (const section of all('.grid section[id]')) {
    const text = agedText(page, section.id);
    setAttributes(section, { 'data-measured': !page.unmeasured?.includes(section.id), 'data-stale': text !== '' });
    setText(section.querySelector('.main span'), text);
  }
  for (const node of all('[data-field]')) showField(node, page);
}

function showField(node, page) {
  const { field, kind, unit, missing = 'not known' } = node.dataset;
  // The number of entries is left out of the page when it is 0.
  const value = valueAt(page, field) ?? (field === 'cache.size_entries' ? 0 : undefined);
  setAttributes(node, { 'data-value': value ?? null });
  setText(node, value === undefined ? missing : withUnit(value, kind, unit));
}

const rateTier = () => tiers[state.span === 'hour' ? 'hour' : 'minute'];

function showAspects({ by_aspect: totals = {} } = {}) {
  const rates = rateTier().rates();
  const aspects = Object.entries(totals).map(([name, value]) => ({ name, value, rate: rates.get(name) ?? -1 }));
  aspects.sort((a, b) => b.rate - a.rate || b.value - a.value);
  const most = aspects[0]?.rate > 0 ? aspects[0].rate : 1;
  lists.aspects.show(aspects.map(({ name, value, rate }) => ({
    name,
    value,
    size: Math.max(rate, 0) / most,
    text: rate < 0 ? '–' : `${decimal(rate)} /s`,
    total: `${count(value)} in total`,
  })));
  const others = totals.other === undefined ? rates.get('other') : undefined;
  const note = others === undefined ? '' : `Those without a rate: ${decimal(others)} /s together.`;
  setText(byId('aspects-note'), aspects.length === 0 ? 'Nothing has been published.' : note);
}

function showPatterns({ by_pattern: counts = {} } = {}, aged) {
  const patterns = Object.entries(counts).sort(([, a], [, b]) => b - a);
  const most = patterns[0]?.[1] || 1;
  lists.patterns.show(patterns.map(([name, value]) => ({ name, value, size: value / most, text: count(value) })));
  setText(byId('patterns-note'), patterns.length === 0 ? 'No open channels.' : aged);
  setText(byId('pattern-count'), `of ${plural(patterns.length, 'pattern')}`);
}

function showSources({ sources = [] }) {
  lists.sources.show([...sources].sort((a, b) => a.up - b.up));
  setText(byId('sources-note'), sources.length === 0 ? 'No source is configured.' : '');
  const stale = sources.filter(({ up }) => !up).length;
  setText(byId('source-count'), `sources: ${sources.length - stale} up${stale > 0 ? `, ${stale} stale` : ''}`);
}

function showCharts() {
  const tier = tiers[state.span];
  for (const chart of charts) chart.show(tier);
  lists.events.show([...tier.events].reverse());
  if (tier.end === null) return setText(byId('range'), `Charts of the ${tier.words}: no points yet.`);
  const [from, to] = [tier.from, tier.end].map((t) => moment(fromUnix(t), tier.clock));
  const fired = tier.fired().length > 0 ? ' ▼ an alert fired.' : '';
  setText(byId('range'), `Charts of the ${tier.words}, ${from} to ${to}; ${tier.each}.${fired}`);
}

function showPage() {
  const { page } = state;
  byId('main').hidden = false;
  showAlerts(page);
  showSections(page);
  showAspects(page.envelopes);
  showPatterns(page.channels, agedText(page, 'channels'));
  showSources(page);
  const uptime = secondsSince(page.started_at);
  setText(byId('uptime'), `telemetry up ${duration(uptime)}`);
  setAttributes(byId('uptime'), { title: `since ${moment(parseTime(page.started_at))}` });
}

/** The server's time: the clock of the browser may be wrong. */
const answered = () => moment(now());

function connectionText(connection) {
  const dated = (text) => (state.page ? `${text} ${answered()}` : '');
  if (connection === 'paused') return `paused${dated(', values of')}`;
  if (connection === 'live') return `live, ${age()} s ago`;
  if (connection === 'late') return `late, last answer ${duration(age())} ago`;
  if (connection === 'connecting') return connection;
  const wait = Math.ceil((state.nextTry - Date.now()) / 1000);
  const next = wait > 0 ? `next try in ${wait} s` : polling ? 'trying now' : 'paused';
  return `${state.reason}${dated(' since')}, ${next}`;
}

const SIGNS = { critical: '✖', warning: '▲', info: 'ℹ', pending: '…', problem: '!', none: '–', quiet: '✔' };

function showConnection() {
  const connection = connectionState();
  const lost = connection === 'lost';
  const text = connectionText(connection);
  const before = document.body.dataset.state;
  if (connection !== before) announceConnection(before, connection);
  document.body.dataset.state = connection;
  setText(byId('connection'), text);
  if (!lost && document.activeElement === byId('retry')) byId('pause').focus();
  byId('lost').hidden = !lost;
  setText(byId('lost-text'), lost ? `${text}.` : '');
  setText(byId('lost-dated'), lost && state.page ? `The values below are of ${answered()}.` : '');
  const { worst, text: verdict, short } = state.verdict;
  setText(byId('verdict'), lost && state.page ? `At ${answered()}: ${verdict}` : verdict);
  const isDated = state.page && (connection !== 'live' || document.hidden);
  const summary = lost ? `? ${state.reason}` : `${isDated ? `${answered()} ` : ''}${SIGNS[worst]} ${short}`;
  document.title = `${summary} – parsec ${location.host}`;
}

// ---- Announcements to screen readers

let statesBefore = null;

/** The time makes each text differ from the last one: an equal one is not announced. */
const say = (id, text) => setText(byId(id), `${toSecond.format(state.page ? now() : new Date())}: ${text}`);

function announceRules({ rules = [] }) {
  const before = statesBefore;
  statesBefore = new Map(rules.map((rule) => [rule.name, rule.state]));
  const changed = rules.filter((rule) => {
    const last = before?.get(rule.name) ?? 'inactive';
    return before && last !== rule.state && !(last === 'resolved' && rule.state === 'inactive');
  });
  const isUrgent = (rule) => rule.severity === 'critical' && rule.state === 'firing';
  sayRules('say-critical', changed.filter(isUrgent));
  sayRules('say', changed.filter((rule) => !isUrgent(rule)));
}

function sayRules(id, rules) {
  const named = rules.slice(0, 3).map((rule) => `${rule.severity} alert ${rule.name} is ${rule.state}`);
  if (rules.length > 3) named.push(`${rules.length - 3} more`);
  if (named.length > 0) say(id, named.join(', '));
}

function announceConnection(before, connection) {
  if (connection === 'lost') say('say', 'no answer from the server');
  else if (connection === 'paused') say('say', connection);
  else if (connection === 'live' && ['lost', 'paused'].includes(before)) say('say', 'live again');
}

// ---- Polling

class StatusError extends Error {}

async function fetchJson(path) {
  const abort = new AbortController();
  const timer = setTimeout(() => abort.abort(), TIMEOUT);
  try {
    const options = { cache: 'no-store', credentials: 'same-origin', signal: abort.signal };
    const response = await fetch(base + path, options);
    const { ok, status, statusText } = response;
    const advice = status === 401 ? ' (reload the page to sign in)' : '';
    if (!ok) throw new StatusError(`Status ${status} ${statusText}`.trimEnd() + advice);
    return await response.json();
  } finally {
    clearTimeout(timer);
  }
}

function reasonOf(error) {
  if (error instanceof StatusError) return error.message;
  return error instanceof SyntaxError ? 'No readable answer' : 'No answer';
}

async function refreshSeries() {
  // The tier of a day has no rates by aspect.
  const needed = new Set([tiers[state.span], rateTier()]);
  const due = [...needed].filter((tier) => performance.now() >= tier.due);
  const answers = await Promise.allSettled(due.map((tier) => tier.refresh()));
  if (due.length === 0) return;
  const failed = answers.find(({ status }) => status === 'rejected');
  state.seriesError = failed ? reasonOf(failed.reason) : '';
  showCharts();
}

async function refreshPage() {
  const page = await fetchJson('/parsec/metrics');
  if (!page?.at || !page.started_at) throw new SyntaxError('not a metrics page');
  return page;
}

/** Both requests end before the next poll, also when one of them fails. */
async function refresh() {
  // The points of a server that is back may be those of a new process.
  if (state.failures > 0) for (const tier of Object.values(tiers)) tier.due = 0;
  const [answer] = await Promise.allSettled([refreshPage(), refreshSeries()]);
  if (answer.status === 'rejected') {
    Object.assign(state, { failures: state.failures + 1, reason: reasonOf(answer.reason) });
    return;
  }
  Object.assign(state, { page: answer.value, answeredAt: new Date(), failures: 0 });
  // First, so that it does not replace an announcement of alerts.
  showConnection();
  announceRules(state.page);
  showPage();
}

let timer = 0;
let polling = false;
let again = false;

async function poll() {
  clearTimeout(timer);
  again = polling;
  if (polling || document.hidden) return;
  polling = true;
  state.nextTry = 0;
  showConnection();
  try {
    await refresh();
  } finally {
    polling = false;
    schedule();
    showConnection();
  }
}

function schedule() {
  const seconds = again ? 0 : BACKOFF[Math.min(state.failures, BACKOFF.length - 1)];
  again = false;
  if (state.paused || document.hidden) return;
  state.nextTry = Date.now() + seconds * 1000;
  timer = setTimeout(poll, seconds * 1000);
}

// ---- Controls

function pause(paused) {
  Object.assign(state, { paused, nextTry: 0 });
  setAttributes(byId('pause'), { 'aria-pressed': paused });
  if (paused) clearTimeout(timer);
  else poll();
  showConnection();
}

/** The span of the address's fragment, so that a reload and a copied address keep it. */
function spanOfAddress() {
  const name = location.hash.slice(1);
  return Object.keys(TIERS).includes(name) ? name : 'hour';
}

async function choose(span) {
  state.span = span;
  for (const radio of all('[name=span]')) radio.checked = radio.value === span;
  tiers[span].restart();
  showCharts();
  if (!state.paused) return poll();
  await refreshSeries();
  if (state.page) showAlerts(state.page);
}

byId('pause').addEventListener('click', () => pause(!state.paused));
byId('retry').addEventListener('click', poll);
for (const radio of all('[name=span]')) {
  radio.addEventListener('change', () => {
    history.replaceState(null, '', `#${radio.value}`);
    choose(radio.value);
  });
}
window.addEventListener('hashchange', () => choose(spanOfAddress()));
document.addEventListener('visibilitychange', () => {
  if (document.hidden) clearTimeout(timer);
  else if (!state.paused) poll();
  showConnection();
});

setText(byId('host'), location.host);
byId('json').href = `${base}/parsec/metrics`;
byId('text').href = `${base}/parsec/telemetry/metrics`;
setInterval(showConnection, 1000);
choose(spanOfAddress());
