'use strict';

// The operator's page. Reads the JSON page and the series, and updates the document in place, so that focus, scroll
// position, selection and open details stay. Content comes in by `textContent` only: names are other programs' text.
(() => {
  const TIMEOUT = 10_000;
  /** Seconds to the next poll, by the number of polls that have failed in a row. */
  const BACKOFF = [1, 1, 2, 5, 10];
  const TIERS = {
    minute: { step: 1, count: 60, words: 'the last minute', each: 'one sample a second', tick: 15 },
    hour: { step: 10, count: 360, words: 'the last hour', each: 'means of 10 s, band from minimum to maximum', tick: 900 },
    day: { step: 300, count: 288, words: 'the last day', each: 'means of 5 min, band from minimum to maximum', tick: 21_600 },
  };
  const SEVERITIES = ['critical', 'warning', 'info'];
  const LISTED_STATES = ['firing', 'pending', 'resolved'];

  const byId = (id) => document.getElementById(id);
  // Without a trailing slash, so that "/", "/ops" and "/ops/" all work. `origin` leaves out credentials of the address,
  // which `fetch` rejects.
  const base = location.origin + location.pathname.replace(/\/+$/, '');

  // ---- Numbers and times as text ------------------------------------------------------------------------------------

  const formatter = (options) => {
    const format = new Intl.NumberFormat('en', options);
    return (value) => format.format(value);
  };
  const upToOneDecimal = formatter({ maximumFractionDigits: 1 });
  const oneDecimal = formatter({ minimumFractionDigits: 1, maximumFractionDigits: 1 });
  const threeDigits = formatter({ maximumSignificantDigits: 3 });
  const compact = formatter({ notation: 'compact', maximumFractionDigits: 1 });
  const scientific = formatter({ notation: 'scientific', maximumFractionDigits: 2 });

  const large = (value) => (Math.abs(value) < 1e15 ? compact(value) : scientific(value));
  const count = (value) => (Math.abs(value) < 1e5 ? upToOneDecimal(value) : large(value));

  function decimal(value) {
    const size = Math.abs(value);
    if (size < 10) return threeDigits(value);
    return size < 1000 ? oneDecimal(value) : count(Math.round(value));
  }

  /** Rounds, but never up to 100: a buffer that is not full does not read as full. */
  const percent = (value) => (value > 99.9 && value < 100 ? '99.9' : upToOneDecimal(value));

  function bytes(value) {
    const units = ['B', 'KiB', 'MiB', 'GiB', 'TiB', 'PiB', 'EiB'];
    const power = value < 1 ? 0 : Math.min(Math.floor(Math.log2(value) / 10), units.length - 1);
    return `${threeDigits(value / 1024 ** power)} ${units[power]}`;
  }

  const FORMATS = { count, percent, bytes, rate: decimal, mean: decimal };

  /** `units` is one text, or singular and plural separated by a bar. */
  function unitOf(value, units) {
    const [singular, plural = singular] = units.split('|');
    return value === 1 ? singular : plural;
  }

  const withUnit = (value, kind, units) => `${FORMATS[kind](value)} ${unitOf(value, units)}`.trimEnd();
  const plural = (n, singular, several = `${singular}s`) => `${count(n)} ${n === 1 ? singular : several}`;

  function duration(seconds) {
    const s = Math.max(0, Math.floor(seconds));
    if (s < 60) return `${s} s`;
    if (s < 3600) return `${Math.floor(s / 60)} min`;
    if (s < 86_400) return `${Math.floor(s / 3600)} h ${Math.floor((s % 3600) / 60)} min`;
    return `${Math.floor(s / 86_400)} d ${Math.floor((s % 86_400) / 3600)} h`;
  }

  /** "2 of 5 min": both in the unit that suits the whole. */
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

  /** Engines need not accept more than three fraction digits; the server writes up to nine. */
  const parseTime = (text) => new Date(text.replace(/(\.\d{3})\d+/, '$1'));
  const fromUnix = (seconds) => new Date(seconds * 1000);

  // ---- Updates of the document --------------------------------------------------------------------------------------

  function setText(node, text) {
    if (node.textContent !== text) node.textContent = text;
  }

  /** `null` removes the attribute. */
  function setAttribute(node, name, value) {
    if (value === null) node.removeAttribute(name);
    else if (node.getAttribute(name) !== String(value)) node.setAttribute(name, value);
  }

  function setAttributes(node, values) {
    for (const [name, value] of Object.entries(values)) setAttribute(node, name, value);
  }

  function setHidden(node, hidden) {
    if (node.hidden !== hidden) node.hidden = hidden;
  }

  function setTime(node, date, format) {
    setText(node, date ? moment(date, format) : '');
    setAttribute(node, 'datetime', date ? date.toISOString() : null);
  }

  const setIcon = (use, name) => setAttribute(use, 'href', `#i-${name}`);

  function newRow(template) {
    const node = template.content.firstElementChild.cloneNode(true);
    const slots = {};
    for (const slot of node.querySelectorAll('[data-slot]')) slots[slot.dataset.slot] = slot;
    return { node, slots };
  }

  /** Shows `items` as the children of an element. A row belongs to a key and moves only when the order changes. */
  class Rows {
    constructor(parent, { template, key, fill }) {
      Object.assign(this, { parent, template: byId(template), key, fill, rows: new Map() });
    }

    show(items) {
      const rows = new Map(items.map((item) => [this.key(item), this.rows.get(this.key(item)) ?? newRow(this.template)]));
      for (const [key, row] of this.rows) if (!rows.has(key)) row.node.remove();
      this.rows = rows;
      let place = this.parent.firstElementChild;
      for (const item of items) {
        const row = rows.get(this.key(item));
        if (row.node === place) place = place.nextElementSibling;
        else this.parent.insertBefore(row.node, place);
        this.fill(row, item);
      }
    }
  }

  /** A list of the first `limit` items; the others are in a `<details>`, and in the document only while it is open. */
  class LongList {
    constructor(id, { limit, summary, ...rows }) {
      this.limit = limit;
      this.summary = summary;
      this.first = limit > 0 ? new Rows(byId(id), rows) : null;
      this.more = document.querySelector(`[data-more=${id}]`);
      this.others = new Rows(this.more.querySelector('ul'), rows);
      this.rest = [];
      this.more.addEventListener('toggle', () => this.showRest());
    }

    show(items) {
      this.first?.show(items.slice(0, this.limit));
      this.rest = items.slice(this.limit);
      setHidden(this.more, this.rest.length === 0);
      setText(this.more.firstElementChild, this.summary(this.rest.length));
      this.showRest();
    }

    showRest() {
      this.others.show(this.more.open ? this.rest : []);
    }
  }

  // ---- Points of the series -----------------------------------------------------------------------------------------

  /** The points of one tier by their Unix second. A restart of the server keeps them: the new process has none. */
  class Tier {
    constructor(name) {
      Object.assign(this, { name, ...TIERS[name], points: new Map(), end: null, events: [], due: 0 });
    }

    get from() {
      return this.end - (this.count - 1) * this.step;
    }

    /** Makes the next request one for all points. */
    restart() {
      this.whole = true;
      this.due = 0;
    }

    query() {
      const since = this.end === null || this.whole ? '' : `&since=${this.end}`;
      return `?tier=${this.name}${since}`;
    }

    merge({ at, started_at: process, tiers, events = [] }) {
      this.events = events;
      this.whole = false;
      const tier = tiers.find(({ name }) => name === this.name);
      if (tier?.end != null) {
        this.end = tier.end;
        for (let i = 0; i < tier.n; i++) this.add(tier.end - (tier.n - 1 - i) * this.step, process, tier, i);
        this.forget();
      }
      const wait = this.end === null ? 0 : this.end + this.step - parseTime(at) / 1000;
      this.due = performance.now() + 1000 * Math.min(Math.max(wait, this.step / 30), this.step);
    }

    add(t, process, { series, aspects = {} }, i) {
      const point = { process, values: {}, aspects: {} };
      for (const [path, { avg, min = avg, max = avg }] of Object.entries(series)) {
        if (avg[i] !== null) point.values[path] = { mean: avg[i], min: min[i], max: max[i] };
      }
      for (const [aspect, rates] of Object.entries(aspects)) if (rates[i] !== null) point.aspects[aspect] = rates[i];
      // A full answer has gaps where an earlier process had points.
      const empty = Object.keys(point.values).length === 0;
      if (!empty || !this.points.has(t)) this.points.set(t, point);
    }

    forget() {
      for (const t of this.points.keys()) if (t < this.from || t > this.end) this.points.delete(t);
    }

    value(t, path) {
      return this.points.get(t)?.values[path];
    }

    /** The unbroken runs of a series: a missing value ends one, and so does a restart of the server. */
    runs(path) {
      const runs = [];
      let run = null;
      for (let t = this.from; this.end !== null && t <= this.end; t += this.step) {
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
      for (let t = this.end; this.end !== null && t > this.end - 10; t -= this.step) {
        for (const [aspect, rate] of Object.entries(this.points.get(t)?.aspects ?? {})) {
          const [sum, n] = sums.get(aspect) ?? [0, 0];
          sums.set(aspect, [sum + rate, n + 1]);
        }
      }
      return new Map([...sums].map(([aspect, [sum, n]]) => [aspect, sum / n]));
    }
  }

  // ---- Charts -------------------------------------------------------------------------------------------------------

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

  class Chart {
    constructor(host) {
      const { chart, second, kind, unit, secondUnit, label } = host.dataset;
      Object.assign(this, { host, kind, label, tier: null, cursor: null, stale: true });
      this.series = [{ path: chart, unit }];
      if (second) this.series.push({ path: second, unit: secondUnit });
      host.append(byId('t-chart').content.cloneNode(true));
      host.after(byId('t-reading').content.cloneNode(true));
      this.labels = host.querySelector('.labels');
      this.paths = {};
      for (const path of host.querySelectorAll('path')) this.paths[path.getAttribute('class')] = path;
      const section = host.closest('section');
      this.reading = section.querySelector('.reading');
      this.hint = section.querySelector('.hint');
      this.table = new PointTable(section.querySelector('details.table'), this);
      this.listen();
    }

    listen() {
      const { host } = this;
      host.addEventListener('keydown', (event) => this.key(event));
      host.addEventListener('pointermove', (event) => this.point(event));
      host.addEventListener('pointerdown', (event) => this.point(event));
      host.addEventListener('pointerleave', () => this.read(null));
      host.addEventListener('blur', () => this.read(null));
      new ResizeObserver(() => this.draw()).observe(host);
    }

    show(tier) {
      if (tier !== this.tier) this.cursor = null;
      this.tier = tier;
      setAttribute(this.host, 'aria-label', `${this.label}, ${tier.words}`);
      this.draw();
      this.table.draw();
    }

    draw() {
      const width = this.host.clientWidth;
      const { tier } = this;
      if (!tier || tier.end === null || width === 0) return;
      const runs = this.series.map(({ path }) => tier.runs(path));
      const points = runs.flat().flatMap((run) => run.points);
      const scale = niceScale(points.flatMap(({ min, max }) => [min, max]), this.kind);
      this.first = points.length ? Math.min(...points.map(({ t }) => t)) : null;
      const ticks = this.valueTicks(scale);
      const left = 10 + Math.max(...ticks.map(({ text }) => text.length)) * 6.8;
      const span = tier.end - tier.from;
      this.area = { left, right: width - RIGHT };
      this.x = (t) => round(left + ((t - tier.from) / span) * (width - RIGHT - left));
      this.y = (value) => round(BOTTOM - ((value - scale.low) / (scale.high - scale.low)) * (BOTTOM - TOP));
      this.drawAxes(ticks);
      this.drawRuns(runs);
      this.drawCursor();
    }

    valueTicks({ low, high, step }) {
      const unit = this.kind === 'percent' ? ' %' : this.kind === 'rate' ? ' /s' : '';
      const ticks = [];
      for (let i = 0; low + i * step <= high + step / 2; i++) ticks.push(low + i * step);
      return ticks.map((value) => {
        const exact = Number(value.toPrecision(12));
        return { value, text: (Math.abs(exact) < 1e4 ? threeDigits(exact) : large(exact)) + unit };
      });
    }

    drawAxes(ticks) {
      const { tier, area } = this;
      const clock = tier.step === 1 ? toSecond : toMinute;
      const labels = ticks.map(({ value, text }) => ({ text, x: area.left - 6, y: this.y(value) + 4, anchor: 'end' }));
      // A label needs 70 pixels; every second or fourth tick is left out until they fit.
      const room = Math.floor((area.right - area.left) / 70);
      let step = tier.tick;
      while ((tier.end - tier.from) / step > room) step *= 2;
      const times = timeTicks(tier.from, tier.end, step);
      for (const t of times) {
        const x = Math.min(Math.max(this.x(t), area.left + 14), area.right - 18);
        labels.push({ text: clock.format(fromUnix(t)), x, y: HEIGHT - 4, anchor: 'middle' });
      }
      const lines = ticks.map(({ value }) => `M${area.left} ${this.y(value)}H${area.right}`);
      const marks = times.map((t) => `M${this.x(t)} ${BOTTOM}v4`);
      setAttribute(this.paths.grid, 'd', [...lines, ...marks].join(''));
      this.drawLabels(labels);
    }

    drawLabels(labels) {
      const { children } = this.labels;
      while (children.length > labels.length) this.labels.lastChild.remove();
      while (children.length < labels.length) {
        this.labels.append(document.createElementNS('http://www.w3.org/2000/svg', 'text'));
      }
      labels.forEach(({ text, x, y, anchor }, i) => {
        setText(children[i], text);
        setAttributes(children[i], { x: round(x), y: round(y), 'text-anchor': anchor });
      });
    }

    drawRuns([first, second = []]) {
      setAttribute(this.paths.line, 'd', this.line(first));
      setAttribute(this.paths.line2, 'd', this.line(second));
      setAttribute(this.paths.band, 'd', this.band(first));
      setAttribute(this.paths.band2, 'd', this.band(second));
      const gaps = this.gaps(first);
      setAttribute(this.paths.gap, 'd', gaps);
      setAttribute(this.paths.restart, 'd', this.restarts(first));
      setText(this.hint, gaps === '' ? '' : first.length === 0 ? 'no points in this span' : 'hatched: not known');
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
      const { tier } = this;
      const starts = [tier.from, ...runs.map(({ points }) => points.at(-1).t)];
      const ends = [...runs.map(({ points }) => points[0].t), tier.end];
      const gaps = starts.map((start, i) => ({ start, end: ends[i], inner: i > 0 && i < runs.length }));
      return gaps
        .filter(({ start, end, inner }) => end - start > (inner ? tier.step : 0))
        .map(({ start, end }) => `M${this.x(start)} ${TOP}H${this.x(end)}V${BOTTOM}H${this.x(start)}Z`)
        .join('');
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
      const { tier, host, paths, first } = this;
      if (this.cursor !== null) this.cursor = first === null ? null : Math.min(Math.max(this.cursor, first), tier.end);
      const { cursor } = this;
      const text = cursor === null ? '' : this.readingText(cursor);
      const value = cursor === null ? null : tier.value(cursor, this.series[0].path);
      setText(this.reading, text);
      setAttribute(paths.cursor, 'd', cursor === null ? '' : `M${this.x(cursor)} ${TOP}V${BOTTOM}`);
      setAttribute(paths.mark, 'd', value ? `M${this.x(cursor)} ${this.y(value.mean)}h.1` : '');
      // Constant while nothing is read: numbers that change on their own are not announced.
      setAttributes(host, {
        'aria-valuemin': cursor === null ? 0 : first,
        'aria-valuemax': cursor === null ? 0 : tier.end,
        'aria-valuenow': cursor ?? 0,
        'aria-valuetext': text || 'arrow keys read the points',
      });
    }

    readingText(t) {
      const time = moment(fromUnix(t), this.tier.step < 60 ? toSecond : toMinute);
      const values = this.series.map(({ path, unit }) => this.valueText(this.tier.value(t, path), unit));
      return `${time}: ${values.every((text) => text === null) ? 'not known' : values.filter(Boolean).join(', ')}`;
    }

    valueText(value, unit) {
      if (!value) return null;
      const range = ` (min ${FORMATS[this.kind](value.min)}, max ${FORMATS[this.kind](value.max)})`;
      return withUnit(value.mean, this.kind, unit) + (this.tier.step === 1 ? '' : range);
    }
  }

  /** The points of a chart as a table, newest first; filled only while it is open. */
  class PointTable {
    constructor(details, chart) {
      Object.assign(this, { details, chart, rows: new Map(), tier: null });
      [this.head, this.body] = [details.querySelector('thead'), details.querySelector('tbody')];
      setAttribute(details.querySelector('.scroll'), 'aria-label', `${chart.label}: points`);
      details.addEventListener('toggle', () => this.draw());
    }

    draw() {
      const { tier, first } = this.chart;
      if (!this.details.open || !tier || tier.end === null) return;
      if (tier !== this.tier) this.clear(tier);
      const rows = new Map();
      let place = this.body.firstElementChild;
      for (let t = tier.end; first !== null && t >= first; t -= tier.step) {
        const row = this.rows.get(t) ?? this.row(t);
        if (row === place) place = place.nextElementSibling;
        else this.body.insertBefore(row, place);
        rows.set(t, row);
      }
      for (const [t, row] of this.rows) if (!rows.has(t)) row.remove();
      this.rows = rows;
    }

    clear(tier) {
      this.tier = tier;
      this.rows.clear();
      this.body.replaceChildren();
      const names = this.chart.series.flatMap(({ unit }) => {
        const name = unitOf(2, unit);
        return tier.step === 1 ? [name] : [`${name}, mean`, 'min', 'max'];
      });
      this.head.replaceChildren(this.cells('th', ['time', ...names]));
    }

    row(t) {
      const { tier, chart } = this;
      const format = FORMATS[chart.kind];
      const texts = chart.series.flatMap(({ path }) => {
        const value = tier.value(t, path);
        if (!value) return tier.step === 1 ? ['not known'] : ['not known', '', ''];
        return (tier.step === 1 ? [value.mean] : [value.mean, value.min, value.max]).map(format);
      });
      return this.cells('td', [moment(fromUnix(t), tier.step < 60 ? toSecond : toMinute), ...texts]);
    }

    cells(tag, texts) {
      const row = document.createElement('tr');
      for (const text of texts) {
        const cell = document.createElement(tag);
        cell.textContent = text;
        if (tag === 'th') cell.scope = 'col';
        row.append(cell);
      }
      return row;
    }
  }

  // ---- State --------------------------------------------------------------------------------------------------------

  const tiers = Object.fromEntries(Object.keys(TIERS).map((name) => [name, new Tier(name)]));
  const state = {
    span: 'hour',
    paused: false,
    /** The last JSON page, and when it came. */
    page: null,
    answeredAt: null,
    /** Polls that have failed in a row, and why the last one did. */
    failures: 0,
    reason: '',
    seriesError: '',
    nextTry: null,
  };

  const connectionState = () =>
    state.paused ? 'paused' : state.failures > 0 ? 'lost' : state.page ? 'live' : 'connecting';

  // ---- Views --------------------------------------------------------------------------------------------------------

  const rowKey = ({ name }) => name;

  function fillAlert({ node, slots }, rule) {
    const { name, severity, state: phase, description = '' } = rule;
    setAttributes(node, { 'data-alert': name, 'data-state': phase, 'data-severity': severity });
    setIcon(slots.icon, phase === 'resolved' ? 'ok' : phase === 'pending' ? 'pending' : severity);
    setText(slots.word, phase === 'resolved' ? 'resolved' : severity);
    setText(slots.name, name);
    setText(slots.text, description);
    ({ firing: fillFiring, pending: fillPending, resolved: fillResolved })[phase]?.(slots, rule);
  }

  const now = () => parseTime(state.page.at);
  const secondsSince = (time) => (now() - parseTime(time)) / 1000;

  function fillFiring(slots, { since, fired_total: fired = 0 }) {
    setText(slots.lead, 'firing since ');
    setTime(slots.since, parseTime(since));
    setText(slots.tail, ` (${duration(secondsSince(since))}${fired > 1 ? `; fired ${count(fired)} times` : ''})`);
    fillRest(slots);
  }

  function fillPending(slots, { since, for_seconds: whole = 0 }) {
    const elapsed = Math.min(Math.max(secondsSince(since), 0), whole);
    setText(slots.lead, `pending ${progressText(elapsed, whole)}, since `);
    setTime(slots.since, parseTime(since));
    setText(slots.tail, '');
    fillRest(slots);
    setHidden(slots.progress, whole === 0);
    if (whole > 0) setAttributes(slots.progress, { max: whole, value: Math.round(elapsed) });
  }

  function fillResolved(slots, { since, resolved_at: until }) {
    setText(slots.lead, '');
    setTime(slots.since, since ? parseTime(since) : null, toMinute);
    fillRest(slots, since ? '–' : 'at ', until);
    setText(slots.tail, since && until ? ` (fired for ${duration((parseTime(until) - parseTime(since)) / 1000)})` : '');
  }

  function fillRest(slots, join = '', until = null) {
    setText(slots.join, join);
    setTime(slots.until, until ? parseTime(until) : null, toMinute);
    setHidden(slots.progress, true);
  }

  function fillInactive({ slots }, { name, severity, description = '' }) {
    setIcon(slots.icon, severity);
    setText(slots.word, severity);
    setText(slots.name, name);
    setText(slots.text, description);
  }

  function fillEvent({ slots }, { t, alert, to }) {
    setIcon(slots.icon, { firing: 'problem', pending: 'pending' }[to] ?? 'ok');
    setText(slots.word, to);
    setText(slots.name, alert);
    setTime(slots.since, fromUnix(t));
  }

  function fillProblem({ node, slots }, { kind, name, text }) {
    setAttributes(node, { 'data-source': kind === 'source' ? name : null, 'data-rule': kind === 'rule' ? name : null });
    setIcon(slots.icon, 'problem');
    setText(slots.word, kind);
    setText(slots.name, name);
    setText(slots.text, text);
  }

  function fillSource({ node, slots }, { name, type, up, age_seconds: age, panics_total: panics, timeouts_total: late }) {
    setAttributes(node, { 'data-source': name, 'data-up': up });
    setIcon(slots.icon, up ? 'ok' : 'problem');
    setText(slots.word, up ? 'up' : 'stale');
    setText(slots.name, name);
    setText(slots.lead, age === undefined ? 'has never reported' : `report ${age < 1 ? 'under 1 s' : duration(age)} old`);
    const counts = [panics && plural(panics, 'panic'), late && plural(late, 'timeout')].filter(Boolean);
    setText(slots.text, [type, ...counts].join(', '));
  }

  function fillBar({ node, slots }, { name, value, size, text, total = '' }) {
    setAttributes(node, { 'data-key': name, 'data-value': value });
    setText(slots.name, name);
    setText(slots.number, text);
    setText(slots.total, total);
    const width = `${round(size * 100)}%`;
    if (slots.bar.style.inlineSize !== width) slots.bar.style.inlineSize = width;
  }

  const row = (fill) => ({ template: 't-row', key: rowKey, fill });
  const bar = { template: 't-bar', key: rowKey, fill: fillBar, limit: 10, summary: (n) => `${n} more` };
  const lists = {
    alerts: new LongList('alerts', { ...row(fillAlert), limit: 12, summary: (n) => `${plural(n, 'more alert')}` }),
    problems: new LongList('problems', {
      ...row(fillProblem),
      key: ({ kind, name }) => `${kind} ${name}`,
      limit: 6,
      summary: (n) => plural(n, 'more problem'),
    }),
    inactive: new LongList('inactive', { ...row(fillInactive), limit: 0, summary: (n) => `${plural(n, 'rule')} inactive` }),
    events: new LongList('events', {
      ...row(fillEvent),
      key: ({ t, alert, to }) => `${t} ${to} ${alert}`,
      limit: 0,
      summary: (n) => plural(n, 'past transition'),
    }),
    aspects: new LongList('aspects', bar),
    patterns: new LongList('patterns', bar),
    sources: new LongList('sources', { ...row(fillSource), limit: 12, summary: (n) => plural(n, 'more source') }),
  };
  const charts = Array.from(document.querySelectorAll('[data-chart]'), (host) => new Chart(host));

  const rank = (order, value) => (order.indexOf(value) + order.length + 1) % (order.length + 1);

  /** By state, severity, the newest first, then the name. */
  function compareAlerts(a, b) {
    return (
      rank(LISTED_STATES, a.state) - rank(LISTED_STATES, b.state) ||
      rank(SEVERITIES, a.severity) - rank(SEVERITIES, b.severity) ||
      (b.since ?? '').localeCompare(a.since ?? '') ||
      a.name.localeCompare(b.name)
    );
  }

  function problemsOf({ rules = [], sources = [] }) {
    const stale = sources.filter(({ up }) => !up).map((source) => ({ ...source, kind: 'source', text: staleText(source) }));
    const failing = rules.filter(({ error }) => error).map(({ name, error }) => ({
      kind: 'rule',
      name,
      text: `could not be evaluated: ${error}. Its state is the last one known.`,
    }));
    const series = { kind: 'page', name: '/parsec/series', text: `${state.seriesError}: the charts are not up to date.` };
    return [...stale, ...failing, ...(state.seriesError ? [series] : [])];
  }

  function staleText({ age_seconds: age, error }) {
    const because = error ? ` (${error})` : '';
    if (age === undefined) return `has not answered yet${because}: what it measures is missing.`;
    return `has not answered for ${duration(age)}${because}: its numbers are the last good ones.`;
  }

  /** What is wrong, as one line, and how bad it is. */
  function verdictOf({ rules = [] }, problems) {
    const firing = rules.filter((rule) => rule.state === 'firing');
    const pending = rules.filter((rule) => rule.state === 'pending').length;
    const waiting = pending > 0 ? `, ${pending} pending` : '';
    if (firing.length > 0) {
      const found = SEVERITIES.map((severity) => [severity, firing.filter((rule) => rule.severity === severity).length]);
      const parts = found.filter(([, n]) => n > 0);
      const words = parts.map(([severity, n]) => `${n} ${severity}`).join(' and ');
      const be = firing.length === 1 ? 'alert is firing' : 'alerts are firing';
      return { worst: parts[0][0], text: `${words} ${be}${waiting}`, short: words };
    }
    const trouble = problems.length > 0 ? `, but ${plural(problems.length, 'problem')}` : '';
    const worst = pending > 0 ? 'pending' : trouble ? 'problem' : 'quiet';
    const short = pending > 0 ? `${pending} pending` : trouble ? plural(problems.length, 'problem') : 'all quiet';
    if (rules.length === 0) return { worst, text: `No alert rules are configured${trouble}`, short: trouble ? short : 'no rules' };
    if (pending > 0) return { worst, text: `No alert is firing${waiting}${trouble}`, short };
    if (trouble) return { worst, text: `No alert is firing or pending${trouble}`, short };
    return { worst, text: 'All quiet: no alert is firing or pending', short };
  }

  function showAlerts(page) {
    const { rules = [] } = page;
    const problems = problemsOf(page);
    const { worst, text, short } = verdictOf(page, problems);
    setAttribute(byId('state'), 'data-worst', worst);
    setIcon(byId('verdict-icon'), worst === 'quiet' ? 'ok' : worst);
    state.verdict = { worst, text, short };
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

  function showSections(page) {
    for (const section of document.querySelectorAll('[data-measured]')) {
      setAttribute(section, 'data-measured', !page.unmeasured?.includes(section.id));
    }
    for (const node of document.querySelectorAll('[data-field]')) showField(node, page);
    const patterns = Object.keys(page.channels?.by_pattern ?? {}).length;
    setText(byId('pattern-count'), `of ${plural(patterns, 'pattern')}`);
  }

  function showField(node, page) {
    const { field, kind, unit, missing = 'not known' } = node.dataset;
    // The number of entries is left out of the page when it is 0.
    const value = valueAt(page, field) ?? (field === 'cache.size_entries' ? 0 : undefined);
    setAttribute(node, 'data-value', value ?? null);
    setText(node, value === undefined ? missing : withUnit(value, kind, unit));
  }

  const rateTier = () => tiers[state.span === 'hour' ? 'hour' : 'minute'];

  function showAspects(page) {
    const rates = rateTier().rates();
    const totals = Object.entries(page.envelopes?.by_aspect ?? {});
    const rows = totals.map(([name, value]) => ({ name, value, rate: rates.get(name) }));
    rows.sort((a, b) => (b.rate ?? -1) - (a.rate ?? -1) || b.value - a.value || a.name.localeCompare(b.name));
    const most = Math.max(...rows.map(({ rate = 0 }) => rate), 0) || 1;
    lists.aspects.show(rows.map(({ name, value, rate }) => ({
      name,
      value,
      size: (rate ?? 0) / most,
      text: rate === undefined ? '–' : withUnit(rate, 'rate', '/s'),
      total: `${count(value)} in total`,
    })));
    const others = rates.get('other');
    const together = others !== undefined && !totals.some(([name]) => name === 'other');
    setText(byId('aspects-note'), rows.length === 0 ? 'No aspects.' : together ? `Those without a rate: ${decimal(others)} /s together.` : '');
  }

  function showPatterns(page) {
    const patterns = Object.entries(page.channels?.by_pattern ?? {});
    patterns.sort(([a, n], [b, m]) => m - n || a.localeCompare(b));
    const most = patterns[0]?.[1] || 1;
    lists.patterns.show(patterns.map(([name, value]) => ({ name, value, size: value / most, text: count(value) })));
    setText(byId('patterns-note'), patterns.length === 0 ? 'No open channels.' : '');
  }

  function showSources({ sources = [] }) {
    // Stale ones first: a list of many is cut.
    lists.sources.show([...sources].sort((a, b) => a.up - b.up));
    setText(byId('sources-note'), sources.length === 0 ? 'No sources are configured.' : '');
    const stale = sources.filter(({ up }) => !up).length;
    setText(byId('source-count'), `sources: ${sources.length - stale} up${stale > 0 ? `, ${stale} stale` : ''}`);
  }

  function showCharts() {
    const tier = tiers[state.span];
    for (const chart of charts) chart.show(tier);
    lists.events.show([...tier.events].reverse());
    if (tier.end === null) return setText(byId('range'), `Charts: ${tier.words}, no points yet.`);
    const clock = tier.step === 1 ? toSecond : toMinute;
    const [from, to] = [tier.from, tier.end].map((t) => moment(fromUnix(t), clock));
    setText(byId('range'), `Charts: ${tier.words}, ${from} to ${to}; ${tier.each}.`);
  }

  function showPage() {
    const { page } = state;
    setHidden(byId('main'), false);
    showAlerts(page);
    showSections(page);
    showAspects(page);
    showPatterns(page);
    showSources(page);
    const uptime = secondsSince(page.started_at);
    setText(byId('uptime'), `telemetry up ${duration(uptime)}`);
    setAttribute(byId('uptime'), 'title', `since ${moment(parseTime(page.started_at))}`);
  }

  const answered = () => (state.answeredAt ? moment(state.answeredAt) : '');

  function connectionText() {
    const age = Math.max(1, Math.round((Date.now() - state.answeredAt) / 1000));
    const wait = state.nextTry === null ? 0 : Math.ceil((state.nextTry - Date.now()) / 1000);
    const next = wait > 0 ? `next try in ${wait} s` : 'trying now';
    switch (connectionState()) {
      case 'paused':
        return state.page ? `paused, values of ${answered()}` : 'paused';
      case 'lost':
        return `${state.reason}${state.page ? ` since ${answered()}` : ''}, ${next}`;
      case 'live':
        return `live, ${age} s ago`;
      default:
        return 'connecting';
    }
  }

  const SIGNS = { critical: '✖', warning: '▲', info: 'ℹ', pending: '…', problem: '!', quiet: '✔' };

  /** What changes with time alone. */
  function showConnection() {
    const connection = connectionState();
    const lost = connection === 'lost';
    const text = connectionText();
    setAttribute(document.body, 'data-state', connection);
    setText(byId('connection'), text);
    setHidden(byId('lost'), !lost);
    setText(byId('lost-text'), lost ? `${text}.` : '');
    setText(byId('lost-dated'), lost && state.page ? `Everything below is of ${answered()}.` : '');
    if (state.verdict) {
      const { worst, text: verdict, short } = state.verdict;
      setText(byId('verdict'), lost ? `At ${answered()}: ${verdict}` : verdict);
      document.title = `${lost ? '? no answer' : `${SIGNS[worst]} ${short}`} – parsec ${location.host}`;
    } else {
      document.title = `${lost ? '? no answer – ' : ''}parsec ${location.host}`;
    }
  }

  // ---- Announcements to screen readers ------------------------------------------------------------------------------

  const said = { states: null, connection: 'connecting', startedAt: null };

  /** The time makes each text differ from the last one: an equal one is not announced. */
  const say = (id, text) => setText(byId(id), `${toSecond.format(new Date())}: ${text}`);

  function announceRules({ rules = [] }) {
    const before = said.states;
    said.states = new Map(rules.map((rule) => [rule.name, rule.state]));
    if (before === null) return;
    const changed = rules.filter(({ name, state: phase }) => {
      const last = before.get(name) ?? 'inactive';
      return last !== phase && !(last === 'resolved' && phase === 'inactive');
    });
    const urgent = changed.filter((rule) => rule.severity === 'critical' && rule.state === 'firing');
    const others = changed.filter((rule) => !urgent.includes(rule));
    if (urgent.length > 0) say('say-critical', sentence(urgent));
    if (others.length > 0) say('say', sentence(others));
  }

  function sentence(rules) {
    const named = rules.slice(0, 3).map((rule) => `${rule.severity} alert ${rule.name} is ${rule.state}`);
    return [...named, ...(rules.length > 3 ? [`${rules.length - 3} more`] : [])].join(', ');
  }

  function announceConnection() {
    const connection = connectionState();
    if (connection === said.connection) return;
    if (connection === 'lost') say('say', 'no answer from the server');
    else if (said.connection !== 'connecting') say('say', connection);
    said.connection = connection;
  }

  // ---- Polling ------------------------------------------------------------------------------------------------------

  class StatusError extends Error {}

  async function fetchJson(path) {
    const abort = new AbortController();
    const timer = setTimeout(() => abort.abort(), TIMEOUT);
    try {
      const options = { cache: 'no-store', credentials: 'same-origin', signal: abort.signal };
      const response = await fetch(base + path, options);
      if (!response.ok) throw new StatusError(`${response.status} ${response.statusText}`.trimEnd());
      return await response.json();
    } finally {
      clearTimeout(timer);
    }
  }

  function reasonOf(error) {
    if (error instanceof StatusError) return `Answer ${error.message}`;
    return error instanceof SyntaxError ? 'No readable answer' : 'No answer';
  }

  async function refreshSeries() {
    // The tier of a day has no rates by aspect.
    const needed = new Set([tiers[state.span], rateTier()]);
    const due = [...needed].filter((tier) => performance.now() >= tier.due);
    try {
      await Promise.all(due.map(async (tier) => tier.merge(await fetchJson(`/parsec/series${tier.query()}`))));
      state.seriesError = '';
    } catch (error) {
      state.seriesError = reasonOf(error);
    }
    if (due.length > 0) showCharts();
  }

  async function refresh() {
    const series = refreshSeries();
    try {
      const page = await fetchJson('/parsec/metrics');
      await series;
      Object.assign(state, { page, answeredAt: new Date(), failures: 0 });
      announceRules(page);
      showPage();
    } catch (error) {
      // Also after a failure: the next poll must not overlap this one.
      await series;
      Object.assign(state, { failures: state.failures + 1, reason: reasonOf(error) });
    }
  }

  let timer = 0;
  let polling = false;
  let again = false;

  async function poll() {
    clearTimeout(timer);
    if (polling) return void (again = true);
    polling = true;
    state.nextTry = null;
    showConnection();
    await refresh();
    polling = false;
    schedule();
    announceConnection();
    showConnection();
  }

  function schedule() {
    const seconds = again ? 0 : BACKOFF[Math.min(state.failures, BACKOFF.length - 1)];
    again = false;
    if (state.paused || document.hidden) return;
    state.nextTry = Date.now() + seconds * 1000;
    timer = setTimeout(poll, seconds * 1000);
  }

  // ---- Controls -----------------------------------------------------------------------------------------------------

  function pause(paused) {
    state.paused = paused;
    setAttribute(byId('pause'), 'aria-pressed', paused);
    if (paused) clearTimeout(timer);
    else poll();
    announceConnection();
    showConnection();
  }

  /** The span of the address's fragment, so that a reload and a copied address keep it. */
  function spanOfAddress() {
    const name = location.hash.slice(1);
    return name in TIERS ? name : 'hour';
  }

  async function choose(span) {
    state.span = span;
    document.querySelector(`[name=span][value=${span}]`).checked = true;
    tiers[span].restart();
    showCharts();
    if (!state.paused) return poll();
    await refreshSeries();
  }

  byId('pause').addEventListener('click', () => pause(!state.paused));
  byId('retry').addEventListener('click', poll);
  for (const radio of document.querySelectorAll('[name=span]')) {
    radio.addEventListener('change', () => {
      history.replaceState(null, '', `#${radio.value}`);
      choose(radio.value);
    });
  }
  window.addEventListener('hashchange', () => choose(spanOfAddress()));
  document.addEventListener('visibilitychange', () => {
    if (document.hidden) clearTimeout(timer);
    else if (!state.paused) poll();
  });

  setText(byId('host'), location.host);
  byId('json').href = `${base}/parsec/metrics`;
  byId('text').href = `${base}/parsec/telemetry/metrics`;
  setInterval(showConnection, 1000);
  choose(spanOfAddress());
})();
