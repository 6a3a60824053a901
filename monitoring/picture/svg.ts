/** SVG as text. What is not markup yet goes through `text` or an attribute, and both escape it. */

/** Well-formed markup, as opposed to any text. */
export type Svg = string & { readonly isMarkup: true };

type Attributes = Readonly<Record<string, string | number | undefined>>;

const ENTITIES: Readonly<Record<string, string>> = {
  '&': '&amp;',
  '<': '&lt;',
  '>': '&gt;',
  '"': '&quot;',
  "'": '&#39;',
};

/** Line ends become blanks; what no XML may contain, even as a reference, becomes U+FFFD. */
function escape(text: string): string {
  return text
    .toWellFormed()
    .replaceAll(/[\t\r\n]/g, ' ')
    .replaceAll(/\p{Cc}|[\uFFFE\uFFFF]/gu, '\uFFFD')
    .replaceAll(/[&<>"']/g, (sign) => ENTITIES[sign] ?? sign);
}

export function element(name: string, attributes: Attributes, ...content: readonly Svg[]): Svg {
  const written = Object.entries(attributes)
    .filter(([, value]) => value !== undefined)
    .map(([name, value]) => ` ${name}="${typeof value === 'number' ? round(value) : escape(`${value}`)}"`)
    .join('');
  const inside = content.join('');
  return (inside === '' ? `<${name}${written}/>` : `<${name}${written}>${inside}</${name}>`) as Svg;
}

/** A line of text; `kind` names its classes. `at` is its left end unless `anchor` says otherwise. */
export function text(
  at: { x: number; y: number },
  kind: string,
  words: string,
  anchor?: 'middle' | 'end',
): Svg {
  const written = escape(words) as Svg;
  return element('text', { x: at.x, y: at.y, class: kind, 'text-anchor': anchor }, written);
}

export const group = (content: readonly Svg[]): Svg => content.join('\n') as Svg;

/** A tenth of a pixel is finer than anybody sees. */
export function round(value: number): string {
  return String(Math.round(value * 10) / 10);
}

/** The fonts of readers differ: this is the width of a rather wide one. */
const EM = 0.58;

export function widthOf(words: string, size: number): number {
  return words.length * size * EM;
}

/** Cut to what fits into `width`. */
export function fitted(words: string, size: number, width: number): string {
  const most = Math.max(1, Math.floor(width / (size * EM)));
  return words.length <= most ? words : `${words.slice(0, most - 1)}…`;
}

/** For people on light pages and on dark ones; without it (some readers ignore styles) everything would be black. */
const STYLE = `
.paper{fill:#fff}.card{fill:#fff;stroke:#d1d9e0}.ink{fill:#1f2328}.quiet{fill:#59636e}.track{fill:#eaeef2}
.grid{stroke:#e4e8ec;fill:none}.axis{stroke:#818b98;fill:none}.moment{stroke:#59636e;stroke-dasharray:3 3;fill:none}

.picture{font-size:19px;font-weight:600}.row{font-size:15px;font-weight:600}.title{font-size:13.5px;font-weight:600}
.text{font-size:12px}.small{font-size:11px}.big{font-size:32px;font-weight:600}
.flag{font-size:11.5px;paint-order:stroke;stroke:#fff;stroke-width:5px;stroke-linejoin:round}
.line{fill:none;stroke-width:1.8;stroke-linejoin:round;stroke-linecap:round}.area{fill-opacity:.28;stroke:none}.limit{stroke-dasharray:5 4;fill:none}
.green{fill:#1a7f37}.yellow{fill:#bf8700}.orange{fill:#bc4c00}.red{fill:#cf222e}.blue{fill:#0969da}.onColor{fill:#fff;font-size:11px}
.green-line{stroke:#1a7f37}.yellow-line{stroke:#bf8700}.orange-line{stroke:#bc4c00}.red-line{stroke:#cf222e}
`;
const DARK = `
.paper{fill:#0d1117}.card{fill:#0d1117;stroke:#3d444d}.ink{fill:#f0f6fc}.quiet{fill:#9198a1}.track{fill:#212830}
.grid{stroke:#212830}.axis{stroke:#656c76}.moment{stroke:#9198a1}.flag{stroke:#0d1117}
.green{fill:#3fb950}.yellow{fill:#d29922}.orange{fill:#f0883e}.red{fill:#f85149}.blue{fill:#58a6ff}.onColor{fill:#0d1117}
.green-line{stroke:#3fb950}.yellow-line{stroke:#d29922}.orange-line{stroke:#f0883e}.red-line{stroke:#f85149}
`;
const PALETTE = [
  ['#0969da', '#4493f8'],
  ['#1a7f37', '#3fb950'],
  ['#8250df', '#ab7df8'],
  ['#bc4c00', '#f0883e'],
  ['#bf3989', '#f778ba'],
  ['#1b7c83', '#39c5cf'],
  ['#9a6700', '#d29922'],
  ['#57606a', '#9198a1'],
] as const;

/** Class of the nth series: `s0` for its line, `f0` for what it fills. */
export const seriesClass = (kind: 's' | 'f', n: number): string => `${kind}${n % PALETTE.length}`;

const paletteStyle = (mode: 0 | 1): string =>
  PALETTE.map((colors, i) => `.s${i}{stroke:${colors[mode]}}.f${i}{fill:${colors[mode]}}`).join('');

/** The whole picture, with a title and a description for who cannot see it. */
export function picture(
  size: { w: number; h: number },
  title: string,
  description: string,
  content: readonly Svg[],
): Svg {
  const style = `${STYLE}${paletteStyle(0)}\n@media (prefers-color-scheme: dark) {${DARK}${paletteStyle(1)}}\n`;
  return element(
    'svg',
    {
      xmlns: 'http://www.w3.org/2000/svg',
      viewBox: `0 0 ${round(size.w)} ${round(size.h)}`,
      'font-family': "system-ui, -apple-system, 'Segoe UI', 'DejaVu Sans', sans-serif",
      role: 'img',
      'aria-labelledby': 'title description',
    },
    element('title', { id: 'title' }, escape(title) as Svg),
    element('desc', { id: 'description' }, escape(description) as Svg),
    element('style', {}, style as Svg),
    element('rect', { class: 'paper', width: size.w, height: size.h, rx: 8 }),
    group(content),
  );
}
