// chart.js draws on canvases: the rate of events with its marks, and a line for each numeric series.

const RATE_SECONDS = 120;
const MARKS_MAX = 200;
const POINTS_MAX = 300;
const POINT_MS = 400; // values closer than this share a point: 300 points are the last 2 minutes of a fast series

/** Events a second over the last two minutes, with reconnects and gaps as vertical marks. */
export class RateChart {
  #surface;
  #counts = new Array(RATE_SECONDS + 1).fill(0); // the last count is that of the current second
  #second = seconds();
  #marks = [];
  #hover = null;

  constructor(canvas) {
    this.#surface = new Surface(canvas);
    canvas.addEventListener('pointermove', (pointer) => { this.#hover = pointer.offsetX / canvas.clientWidth; });
    canvas.addEventListener('pointerleave', () => { this.#hover = null; });
  }

  count() {
    this.#turn();
    this.#counts[RATE_SECONDS] += 1;
  }

  /** Marks this moment: `kind` is 'gap' or 'reconnect'. */
  mark(kind) {
    this.#marks.push({ at: Date.now() / 1000, kind });
    if (this.#marks.length > MARKS_MAX) this.#marks.shift();
  }

  clear() {
    this.#counts.fill(0);
    this.#marks = [];
  }

  /** Returns the mean rate of the last five whole seconds. */
  rate() {
    this.#turn();
    return this.#counts.slice(-6, -1).reduce((sum, count) => sum + count, 0) / 5;
  }

  peak() {
    return Math.max(...this.#counts);
  }

  /** Describes the point under the pointer, or returns null. */
  reading() {
    if (this.#hover === null) return null;
    const index = Math.max(0, Math.min(RATE_SECONDS, Math.round(this.#hover * RATE_SECONDS)));
    const ago = RATE_SECONDS - index;
    return `${number(this.#counts[index])} events, ${ago === 0 ? 'this second' : `${ago} s ago`}`;
  }

  draw() {
    this.#turn();
    this.#surface.paint((pen, { width, height, colours }) => {
      const [top, bottom] = [14, height - 15];
      const ceiling = niceCeiling(this.peak());
      const slot = width / (RATE_SECONDS + 1);
      const y = (count) => bottom - (count / ceiling) * (bottom - top);

      pen.fillStyle = colours.grid;
      for (const share of [0, 0.5, 1]) pen.fillRect(0, Math.round(y(ceiling * share)), width, 1);

      pen.fillStyle = colours.line;
      const bar = Math.max(1, slot - (slot > 2.4 ? 1 : 0));
      this.#counts.forEach((count, index) => {
        if (count === 0) return;
        const tall = Math.max(1.5, bottom - y(count));
        pen.globalAlpha = index === RATE_SECONDS ? 0.45 : 0.9;
        pen.beginPath();
        pen.roundRect(index * slot, bottom - tall, bar, tall, [Math.min(1.5, bar / 2), Math.min(1.5, bar / 2), 0, 0]);
        pen.fill();
      });
      pen.globalAlpha = 1;

      for (const { at, kind } of this.#marks) {
        const x = Math.round((at - this.#second + RATE_SECONDS) * slot);
        this.#drawMark(pen, kind, x, top, bottom, colours);
      }
      if (this.#hover !== null) {
        pen.fillStyle = colours.text;
        pen.fillRect(Math.round(this.#hover * width), top, 1, bottom - top);
      }

      pen.fillStyle = colours.text;
      pen.textBaseline = 'alphabetic';
      label(pen, `${number(ceiling)}/s`, 0, top - 4, 'left');
      label(pen, '2 min ago', 0, height - 2, 'left');
      label(pen, '1 min', width / 2, height - 2, 'center');
      label(pen, 'now', width, height - 2, 'right');
    });
  }

  #drawMark(pen, kind, x, top, bottom, colours) {
    const gap = kind === 'gap';
    pen.fillStyle = gap ? colours.gap : colours.mark;
    if (gap) {
      pen.fillRect(x - 1, top, 2, bottom - top);
      pen.beginPath();
      pen.moveTo(x - 5, top - 5);
      pen.lineTo(x + 5, top - 5);
      pen.lineTo(x, top + 3);
      pen.fill();
    } else {
      for (let y = top; y < bottom; y += 5) pen.fillRect(x, y, 1.5, 3);
    }
  }

  #turn() {
    const now = seconds();
    const passed = Math.min(now - this.#second, RATE_SECONDS + 1);
    for (let i = 0; i < passed; i += 1) {
      this.#counts.shift();
      this.#counts.push(0);
    }
    this.#second = now;
    this.#marks = this.#marks.filter((mark) => mark.at > now - RATE_SECONDS);
  }
}

/** One numeric series over event time: the last 300 points, each with the minimum, maximum and last value. */
export class SeriesChart {
  #surface;
  #points = [];
  dirty = false;

  constructor(canvas) {
    this.#surface = new Surface(canvas);
  }

  add(at, value) {
    this.dirty = true;
    const last = this.#points.at(-1);
    if (last !== undefined && at - last.at < POINT_MS) {
      last.min = Math.min(last.min, value);
      last.max = Math.max(last.max, value);
      last.value = value;
      return;
    }
    this.#points.push({ at, value, min: value, max: value });
    if (this.#points.length > POINTS_MAX) this.#points.shift();
  }

  /** Returns `{last, min, max, span}` of the drawn points; the span is in milliseconds. */
  summary() {
    let [min, max] = [Infinity, -Infinity];
    for (const point of this.#points) {
      min = Math.min(min, point.min);
      max = Math.max(max, point.max);
    }
    const [first, last] = [this.#points[0], this.#points.at(-1)];
    return { last: last.value, min, max, span: last.at - first.at };
  }

  draw() {
    this.dirty = false;
    if (this.#points.length === 0) return;
    this.#surface.paint((pen, { width, height, colours }) => {
      const { min, max, span } = this.summary();
      const [top, bottom, right] = [5, height - 5, width - 6];
      const x = (at) => (span === 0 ? right : ((at - this.#points[0].at) / span) * right);
      const y = (value) => (max === min ? (top + bottom) / 2 : bottom - ((value - min) / (max - min)) * (bottom - top));
      const trace = (of) => this.#points.forEach((point) => pen.lineTo(x(point.at), y(of(point))));

      pen.fillStyle = colours.grid;
      pen.fillRect(0, top, width, 1);
      pen.fillRect(0, bottom, width, 1);

      pen.beginPath();
      pen.moveTo(x(this.#points[0].at), height);
      trace((point) => point.value);
      pen.lineTo(right, height);
      pen.closePath();
      pen.globalAlpha = 0.1;
      pen.fillStyle = colours.line;
      pen.fill();

      // The band between the minimum and the maximum of each point.
      pen.beginPath();
      trace((point) => point.max);
      for (const point of this.#points.toReversed()) pen.lineTo(x(point.at), y(point.min));
      pen.closePath();
      pen.globalAlpha = 0.22;
      pen.fill();
      pen.globalAlpha = 1;

      pen.beginPath();
      trace((point) => point.value);
      pen.strokeStyle = colours.line;
      pen.lineWidth = 1.6;
      pen.lineJoin = 'round';
      pen.stroke();

      const last = this.#points.at(-1);
      pen.beginPath();
      pen.arc(x(last.at), y(last.value), 3, 0, 2 * Math.PI);
      pen.fill();
    });
  }
}

/** A canvas that fills its box in device pixels, with the theme's colours. */
class Surface {
  #canvas;
  #pen;

  constructor(canvas) {
    this.#canvas = canvas;
    this.#pen = canvas.getContext('2d');
  }

  paint(draw) {
    const { clientWidth: width, clientHeight: height } = this.#canvas;
    if (width === 0 || height === 0) return; // the layout is not done
    const ratio = window.devicePixelRatio || 1;
    const [wide, high] = [Math.round(width * ratio), Math.round(height * ratio)];
    if (this.#canvas.width !== wide) this.#canvas.width = wide;
    if (this.#canvas.height !== high) this.#canvas.height = high;

    const style = getComputedStyle(this.#canvas);
    const colours = { line: style.color };
    for (const name of ['grid', 'text', 'gap', 'mark']) colours[name] = style.getPropertyValue(`--chart-${name}`);
    this.#pen.setTransform(ratio, 0, 0, ratio, 0, 0);
    this.#pen.clearRect(0, 0, width, height);
    this.#pen.font = `10.5px ${style.fontFamily}`;
    draw(this.#pen, { width, height, colours });
  }
}

/** Formats a number in few characters, for a chart. */
export function number(value) {
  const size = Math.abs(value);
  if (size !== 0 && (size >= 1e9 || size < 1e-3)) return value.toExponential(2);
  const digits = size >= 10_000 ? 0 : size >= 1000 ? 1 : size >= 10 ? 2 : 3;
  return value.toLocaleString('en', { maximumFractionDigits: Number.isInteger(value) ? 0 : digits });
}

function label(pen, text, x, y, align) {
  pen.textAlign = align;
  pen.fillText(text, x, y);
}

function niceCeiling(peak) {
  if (peak <= 4) return 4;
  const power = 10 ** Math.floor(Math.log10(peak));
  return [1, 1.5, 2, 3, 4, 5, 6, 8, 10].map((step) => step * power).find((step) => step >= peak);
}

function seconds() {
  return Math.floor(Date.now() / 1000);
}
