/** Values and axes as people read them. */

const KIB = 1024;
/** From there on a date has another form, and nobody cares. */
const YEAR_10000 = Date.UTC(10_000, 0);

/** By Grafana's names of units. */
export function formatted(unit: string, value: number): string {
  switch (unit) {
    case 'percentunit':
      return `${decimal(value * 100)} %`;
    case 's':
      return duration(value);
    case 'bytes':
      return bytes(value);
    case 'reqps':
      return `${decimal(value)}/s`;
    case 'dateTimeAsIso':
      return value < YEAR_10000 ? new Date(value).toISOString().slice(0, 16).replace('T', ' ') : '–';
    default:
      return decimal(value);
  }
}

function decimal(value: number): string {
  if (Math.abs(value) >= 10_000) return `${decimal(value / 1000)}k`;
  return String(Number(value.toFixed(Math.abs(value) >= 10 ? 0 : 2)));
}

function duration(seconds: number): string {
  if (seconds === 0) return '0 s';
  for (const [unit, size] of [
    ['d', 86_400],
    ['h', 3600],
    ['min', 60],
    ['s', 1],
  ] as const) {
    if (seconds >= size) return `${decimal(seconds / size)} ${unit}`;
  }
  return `${decimal(seconds * 1000)} ms`;
}

function bytes(value: number): string {
  const power = value < KIB ? 0 : Math.min(4, Math.floor(Math.log(value) / Math.log(KIB)));
  return `${decimal(value / KIB ** power)} ${['B', 'KiB', 'MiB', 'GiB', 'TiB'][power]}`;
}

/** Seconds that are round in minutes and hours. */
const DURATIONS = [15, 30, 60, 120, 300, 600, 1800, 3600, 7200, 21_600, 86_400];

/** Round numbers from 0 to at least `most`, some `count` of them. Counted things have no fractions. */
export function ticks(unit: string, most: number, count: number): number[] {
  if (most <= 0) return [0, 1];
  if (unit === 'percentunit') return most <= 1 ? [0, 0.25, 0.5, 0.75, 1] : ticks('short', most, count);
  if (unit === 's' && most > 20) return upTo(most, DURATIONS.find((step) => step * count >= most) ?? most);
  const base = unit === 'bytes' ? 2 : 10;
  const rough = most / Math.max(1, count);
  const power = base ** Math.floor(Math.log(rough) / Math.log(base));
  const nice = (base === 2 ? [1, 2] : [1, 2, 5, 10]).find((factor) => factor * power >= rough) ?? base;
  const step = unit === 'short' && most >= 1 ? Math.max(1, nice * power) : nice * power;
  return upTo(most, step);
}

function upTo(most: number, step: number): number[] {
  const steps = Math.max(1, Math.ceil(most / step - 1e-9));
  return Array.from({ length: steps + 1 }, (_, i) => Number((i * step).toPrecision(12)));
}

const MINUTE_MS = 60_000;
const TIME_STEPS = [1, 2, 5, 10, 15, 30, 60, 120, 180, 360, 720, 1440].map((minutes) => minutes * MINUTE_MS);

/** Round moments of the span, at most `count` or so. */
export function timeTicks({ from, to }: { from: number; to: number }, count: number): number[] {
  const rough = (to - from) / Math.max(1, count);
  const step = TIME_STEPS.find((step) => step >= rough) ?? rough;
  const first = Math.ceil(from / step) * step;
  return Array.from({ length: Math.max(0, Math.floor((to - first) / step) + 1) }, (_, i) => first + i * step);
}

/** `09:15`, UTC. */
export function clock(at: number): string {
  return new Date(at).toISOString().slice(11, 16);
}
